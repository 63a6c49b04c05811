"""Random programs, compiled against eager: maps, reductions, products, views, writes, gathers, gradients.

``RUSHLIGHT_FUZZ=programs`` sets how many programs are run (120 by default), ``RUSHLIGHT_FUZZ_SEED=n`` repeats
a run; the seed of a failure is in its message. Each program is recorded with one set of numbers and run twice
with others. The replay must give the bits of the plain program with its fused ops spelled out; what `compile`
uses by default must agree up to rounding, in float64, where rounding decides no comparison.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rushlight as rl
from rushlight.compile.record import RecordingError
from tests.footguns import spelled_out

PROGRAMS = int(os.environ.get("RUSHLIGHT_FUZZ", "120"))
# Native code takes a while to be made, so unless more is asked for only one program in so many gets it.
NATIVE_EVERY = 1 if "RUSHLIGHT_FUZZ" in os.environ else 8
SEED = int(os.environ.get("RUSHLIGHT_FUZZ_SEED", str(random.SystemRandom().randrange(10**9))))

# An operation takes the random choices of the program and a tensor of at most three dimensions, and returns a
# tensor of moderate values; `None` means it does not apply.
Operation = Callable[[random.Random, list[rl.Tensor]], Any]


def maps(choose: random.Random, pool: list[rl.Tensor]) -> Any:
    """One element at a time."""
    x = choose.choice(pool)
    functions: list[Callable[[rl.Tensor], rl.Tensor]] = [
        rl.sin, rl.tanh, rl.sigmoid, rl.relu, rl.abs, rl.neg, rl.exp2,
        lambda x: x * 0.5 + 1, lambda x: (x * x + 1).sqrt(), lambda x: (x * x + 0.5).log(),
        lambda x: x.clamp(-1, 1), lambda x: rl.where(x > 0.1, x, x * 0.1), lambda x: 1 / (x * x + 1),
        lambda x: x.masked_fill(x < -0.5, 0.25), lambda x: x**2, lambda x: rl.nn.functional.gelu(x),
    ]  # fmt: skip
    return choose.choice(functions)(x.clamp(-3, 3))


def pairs(choose: random.Random, pool: list[rl.Tensor]) -> Any:
    """Two operands, broadcast."""
    x = choose.choice(pool)
    y = choose.choice(pool)
    try:
        np.broadcast_shapes(x.shape, y.shape)
    except ValueError:
        y = x.flip(0) if x.dim() else x + 1
    functions: list[Callable[[Any, Any], rl.Tensor]] = [
        rl.add, rl.sub, rl.mul, rl.maximum, rl.minimum, rl.atan2, lambda a, b: a / (b * b + 1),
        lambda a, b: rl.where(a > b, a, b * 0.5), lambda a, b: a.lerp(b, 0.3), lambda a, b: a.addcmul(b, b),
    ]  # fmt: skip
    return choose.choice(functions)(x, y).clamp(-4, 4)


def folds(choose: random.Random, pool: list[rl.Tensor]) -> Any:
    """Sums and other reductions, softmax, running sums."""
    x = choose.choice(pool)
    if not x.dim():
        return None
    dim = choose.randrange(x.dim())
    keep = choose.random() < 0.5
    functions: list[Callable[[rl.Tensor], rl.Tensor]] = [
        lambda x: x.mean(dim, keepdim=keep), lambda x: x.sum(dim, keepdim=keep).tanh(),
        lambda x: x.sum().tanh(),
        lambda x: x.amax(dim, keepdim=keep), lambda x: x.softmax(dim), lambda x: x.log_softmax(dim) * 0.2,
        lambda x: x.logsumexp(dim), lambda x: x.cumsum(dim) * 0.2, lambda x: x.max(dim, keepdim=keep)[0],
        lambda x: x.std(dim, unbiased=False) if x.shape[dim] > 1 else x.mean(dim), lambda x: x.norm() * 0.1,
        lambda x: rl.nn.functional.layer_norm(x, x.shape[-1:]), lambda x: x.var(dim, correction=0),
        lambda x: x.argmin(dim, keepdim=keep) * x.mean(), lambda x: (x > 0.1).all(dim) * x.mean(),
    ]  # fmt: skip
    return choose.choice(functions)(x)


def products(choose: random.Random, pool: list[rl.Tensor]) -> Any:
    """Matrix products of a tensor with a turned one."""
    x = choose.choice([each for each in pool if each.dim() >= 2] or [None])
    if x is None:
        return None
    y = choose.choice([each for each in pool if each.dim() == 2 and each.shape[-1] == x.shape[-1]] or [None])
    product = x @ (x if y is None else y).transpose(-1, -2)
    return product / x.shape[-1]


def views(choose: random.Random, pool: list[rl.Tensor]) -> Any:
    """Other looks at the same memory."""
    x = choose.choice(pool)
    if not x.dim():
        return x.unsqueeze(0)
    dim = choose.randrange(x.dim())
    start = choose.randrange(x.shape[dim])
    functions: list[Callable[[rl.Tensor], rl.Tensor]] = [
        lambda x: x.transpose(0, -1), lambda x: x.reshape(-1), lambda x: x.unsqueeze(dim),
        lambda x: x.narrow(dim, start, 1), lambda x: x.contiguous(),
        lambda x: x.select(dim, start), lambda x: x.flip(dim), lambda x: x[..., ::2], lambda x: x.squeeze(),
        lambda x: x.unsqueeze(0).expand(2, *x.shape), lambda x: x.roll(1, dim),
        lambda x: x.diagonal() if x.dim() > 1 else x, lambda x: x.tril() if x.dim() > 1 else x,
        lambda x: rl.cat([x, x * 0.5], dim), lambda x: rl.stack([x, x]), lambda x: x.chunk(2, dim)[0],
        lambda x: x.unbind(dim)[0], lambda x: x.movedim(dim, 0),
    ]  # fmt: skip
    made = choose.choice(functions)(x)
    return made if made.dim() <= 3 and 0 < made.numel() <= 200 else None


def writes(choose: random.Random, pool: list[rl.Tensor]) -> Any:
    """Changes in place of a copy, through views of it too."""
    x = choose.choice(pool).clone()
    other = choose.choice(pool).mean()
    part = x
    for _ in range(choose.randrange(3)):
        if part.dim():
            dim = choose.randrange(part.dim())
            index = choose.randrange(part.shape[dim])
            part = choose.choice([part.select(dim, index), part.narrow(dim, index, 1), part.transpose(0, -1)])
    changes: list[Callable[[rl.Tensor], Any]] = [
        lambda p: p.mul_(0.5), lambda p: p.add_(other), lambda p: p.sigmoid_(), lambda p: p.zero_(),
        lambda p: p.copy_(other), lambda p: p.fill_(0.3), lambda p: p.sub_(p.detach() * 0.5),
        lambda p: p.clamp_(-1, 1),
        lambda p: p.masked_fill_(p > 0.5, 0.0), lambda p: p.addcmul_(p.detach().clone(), other),
    ]  # fmt: skip
    choose.choice(changes)(part)
    if x.dim() and choose.random() < 0.3:
        x[x > 0.9] = 0.1
    return x


def gathers(choose: random.Random, pool: list[rl.Tensor]) -> Any:
    """Elements by number, and added at numbers."""
    x = choose.choice([each for each in pool if each.dim()] or [None])
    if x is None:
        return None
    dim = choose.randrange(x.dim())
    index = rl.tensor([choose.randrange(x.shape[dim]) for _ in range(choose.randrange(1, 4))])
    order = x.argsort(dim)
    functions: list[Callable[[rl.Tensor], rl.Tensor]] = [
        lambda x: x.index_select(dim, index), lambda x: x.gather(dim, order), lambda x: x[index % x.shape[0]],
        lambda x: rl.zeros_like(x).scatter_add(dim, order, x), lambda x: x.take_along_dim(order, dim),
        lambda x: rl.zeros_like(x).index_add(dim, index, x.index_select(dim, index)),
        lambda x: x.topk(1, dim)[0], lambda x: x.sort(dim)[0],
    ]  # fmt: skip
    made = choose.choice(functions)(x)
    return made if made.numel() <= 200 else None


def draws(choose: random.Random, pool: list[rl.Tensor]) -> Any:
    """Random numbers, and dropout."""
    x = choose.choice(pool)
    return choose.choice(
        [
            lambda: rl.nn.functional.dropout(x, 0.3),
            lambda: x * rl.rand(x.shape),
            lambda: x + 0.1 * rl.randn_like(x),
        ]
    )()


OPERATIONS: list[Operation] = [
    maps,
    maps,
    pairs,
    pairs,
    folds,
    products,
    views,
    views,
    writes,
    gathers,
    draws,
]


def random_program(number: int) -> tuple[Callable[..., Any], list[tuple[int, ...]], Any]:
    """A step on leaves of the shapes returned: it computes, goes backward and updates a captured state."""
    choose = random.Random(f"{SEED} {number}")
    shapes = [tuple(choose.choice([1, 2, 3, 5]) for _ in range(choose.randrange(4))) for _ in range(3)]
    length = choose.randrange(2, 14)
    kind = choose.choice([rl.float32, rl.float64])
    plan, inner = choose.randrange(10**9), choose.random() < 0.6

    def step(state: rl.Tensor, *leaves: rl.Tensor) -> Any:
        choices = random.Random(plan)
        pool = [*leaves, state * 0.5]
        for _ in range(length):
            made = choices.choice(OPERATIONS)(choices, pool)
            if made is not None:
                pool.append(made)
        loss = sum((each * each).mean() for each in pool[-3:])
        if inner:
            grads = rl.autograd.grad(loss, leaves, allow_unused=True)
            with rl.no_grad():
                for leaf, grad in zip(leaves, grads, strict=True):
                    if grad is not None:
                        state.mul_(0.9).add_((leaf - 0.1 * grad).mean())
            return loss.detach(), [each for each in grads if each is not None], pool[-1].detach()
        return loss, pool[-1], pool[-2]

    return step, shapes, kind


def run(step: Callable[..., Any], shapes: list[tuple[int, ...]], kind: Any, turns: int) -> list[np.ndarray]:
    """Everything that comes out of some calls, on different numbers each."""
    rl.manual_seed(7)
    state = rl.full((), 0.5, dtype=kind)
    found = []
    for turn in range(turns):
        rng = np.random.default_rng(turn)
        leaves = [rl.tensor(rng.uniform(-1, 1, shape), dtype=kind, requires_grad=True) for shape in shapes]
        results = step(state, *leaves)
        tensors = [each for part in results for each in (part if isinstance(part, list) else [part])]
        if tensors[0].requires_grad:
            tensors += [
                each for each in rl.autograd.grad(tensors[0], leaves, allow_unused=True) if each is not None
            ]
        found += [np.array(each.detach().numpy()) for each in (*tensors, state)]
    return found


def with_one_root(step: Callable[..., Any]) -> Callable[..., Any]:
    """The step with nothing to differentiate but its first result.

    A compiled backward pass adds the gradient of every result, if need be zeros, which may lie in memory
    otherwise than what they are added to; and that decides in which order NumPy takes sums.
    """

    def run(*args: Any) -> Any:
        first, *others = step(*args)
        return first, *(each if isinstance(each, list) else each.detach() for each in others)

    return run


def attempt(step: Callable[..., Any], number: int, kind: Any) -> Any:
    """What three calls give, or the error of a program that autograd refuses (a saved value was changed)."""
    try:
        return run(step, random_program(number)[1], kind, 3)
    except RecordingError:
        raise
    except RuntimeError as error:
        return str(error).split("[")[0]


@pytest.mark.parametrize("part", range(4))
def test_random_programs(part: int) -> None:
    """Each agrees with itself run plainly."""
    for number in range(part, PROGRAMS, 4):
        step, _, kind = random_program(number)
        place = f"program {number} of RUSHLIGHT_FUZZ_SEED={SEED}"
        try:
            compare(
                attempt(rl.compile(with_one_root(step), backend="replay"), number, kind),
                # the backward pass after the step too, which `compile` records with the step
                spelled_out(attempt)(with_one_root(step), number, kind),
                0.0,
            )
            compare(attempt(rl.compile(step), number, rl.float64), attempt(step, number, rl.float64), 1e-9)
        except Exception as error:
            error.add_note(place)
            raise


def compare(ours: Any, theirs: Any, tolerance: float) -> None:
    """Two outcomes of `attempt` agree."""
    if isinstance(theirs, str):
        assert ours == theirs
        return
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, tolerance, tolerance)
