"""Gradients that go from one compiled program to another, or are shared between leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rushlight as rl
from rushlight import nn, optim
from rushlight.nn import functional as F
from rushlight.storage import owner_of
from tests.footguns import batches, small_model


def same(ours: Any, theirs: Any) -> None:
    """Equal up to rounding."""
    np.testing.assert_allclose(ours, theirs, 2e-5, 2e-6)


def parameters(model: nn.Module) -> list[np.ndarray]:
    """Copies of all parameters."""
    return [each.detach().numpy().copy() for each in model.parameters()]


@pytest.mark.parametrize("backend", ["inductor", "replay"])
def test_one_program_leaves_gradients_and_another_takes_them(backend: str) -> None:
    """Backward in one compiled function, clipping in a second, the update in a third."""

    def train(wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Any:
        rl.manual_seed(0)
        model = small_model()
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

        def grads(x: rl.Tensor, y: rl.Tensor) -> None:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()

        first, norm, step = (
            wrap(grads),
            wrap(lambda: nn.utils.clip_grad_norm_(model.parameters(), 0.1)),
            wrap(lambda: optimizer.step()),
        )
        norms = []
        for x, y in batches(6, (6,)):
            first(x, y)
            norms.append(norm().item())
            step()
        return norms, parameters(model)

    plain, compiled = train(lambda f: f), train(lambda f: rl.compile(f, backend=backend))
    same(compiled[0], plain[0])
    for ours, theirs in zip(compiled[1], plain[1], strict=True):
        same(ours, theirs)


@pytest.mark.parametrize("pattern", [(False, True), (False, False, True)])
def test_gradients_add_up_over_calls_of_one_step(pattern: tuple[bool, ...]) -> None:
    """The usual loop with several batches to an update, all in one compiled step."""

    def train(wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Any:
        rl.manual_seed(0)
        model = small_model()
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

        def step(x: rl.Tensor, y: rl.Tensor, last: bool) -> rl.Tensor:
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            if last:
                optimizer.step()
                optimizer.zero_grad()
            return loss

        run = wrap(step)
        losses = [run(x, y, pattern[i % len(pattern)]).item() for i, (x, y) in enumerate(batches(12, (6,)))]
        return losses, parameters(model), run

    plain, compiled = train(lambda f: f), train(rl.compile)
    same(compiled[0], plain[0])
    for ours, theirs in zip(compiled[1], plain[1], strict=True):
        same(ours, theirs)
    assert repr(compiled[2]) == f"<compiled step, {len(pattern)} recorded>"


def test_a_gradient_that_a_program_leaves_owns_its_memory() -> None:
    """Offset, storage and views are those of a gradient by itself; who keeps a view keeps its values."""
    layer = nn.Linear(4, 3)

    @rl.compile
    def grads(x: rl.Tensor) -> None:
        layer.zero_grad()
        layer(x).square().sum().backward()

    for _ in range(3):
        grads(rl.randn(5, 4))
    grad = layer.weight.grad
    assert grad is not None and owner_of(grad._array) is grad._array
    assert grad.storage_offset() == 0 and grad.untyped_storage().nbytes() == 48
    part = grad[1:].t()[2]
    assert owner_of(part._array) is grad._array
    view = grad.numpy().view(np.uint8)[1:]
    del grad
    for kept in (part.numpy(), view):
        before = kept.copy()
        grads(rl.randn(5, 4))
        np.testing.assert_array_equal(kept, before)


def leaves(count: int) -> list[nn.Parameter]:
    """Ones."""
    return [nn.Parameter(rl.ones(2)) for _ in range(count)]


def both(case: Callable[[Callable[..., Any]], list[Any]]) -> None:
    """A case gives the same with a compiled step as with a plain one."""
    plain, compiled = case(lambda f: f), case(rl.compile)
    np.testing.assert_array_equal(compiled, plain)


@pytest.mark.parametrize("whole", [True, False])
def test_gradients_that_become_one(whole: bool) -> None:
    """Two leaves with one tensor, or with two views of it, as gradient, where there were two before."""

    def case(wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> list[Any]:
        a, b = leaves(2)

        def step() -> None:
            (a + b * 3).sum().backward()

        run = wrap(step)
        found = []
        for shared in (False, False, True, True, False):
            grad = rl.ones(2)
            a.grad, b.grad = grad, rl.ones(2)
            if shared:
                b.grad = grad if whole else grad[:]
            for _ in range(2):
                run()
                found.append([a.grad.tolist(), b.grad.tolist()])
        return found

    both(case)


def test_gradients_that_are_an_argument() -> None:
    """A gradient that the step adds to is what the step was called with, too."""

    def case(wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> list[Any]:
        (a,) = leaves(1)

        def step(x: rl.Tensor) -> rl.Tensor:
            (a * 3).sum().backward()
            return x.sum()

        run = wrap(step)
        found = []
        for shared in (False, False, True, False):
            x = rl.ones(2)
            a.grad = x if shared else rl.ones(2)
            for _ in range(2):
                found.append(run(x).item())
        return found

    both(case)


def test_gradients_that_are_captured() -> None:
    """A gradient, or an argument, that is changed and that the step reads as something captured."""

    def case(wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> list[Any]:
        (a,) = leaves(1)
        captured = rl.ones(2)

        def adds(x: rl.Tensor) -> rl.Tensor:
            x.add_(1)
            return captured.sum()

        def step() -> rl.Tensor:
            (a * 3).sum().backward()
            return captured.sum()

        first, second = wrap(step), wrap(adds)
        found = []
        for shared in (False, False, True, False):
            a.grad = captured if shared else rl.ones(2)
            for _ in range(2):
                found.append(first().item())
                found.append(second(captured if shared else rl.ones(2)).item())
        return found

    both(case)


def test_a_gradient_in_the_memory_of_its_parameter() -> None:
    """An update reads the gradient and writes the parameter."""

    def case(wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> list[Any]:
        a, b = leaves(2)
        optimizer = optim.SGD([a, b], lr=0.25)
        run = wrap(lambda: optimizer.step())
        found = []
        for shared in (False, False, True, False):
            a.grad, b.grad = rl.ones(2), a.detach() if shared else rl.ones(2)
            run()
            found.append([a.tolist(), b.tolist()])
        return found

    both(case)
