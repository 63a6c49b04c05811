"""What freezes must not lie: Python around a compiled step, its arguments, and tensors that change hands."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rushlight as rl
from rushlight import nn, optim
from rushlight.compile.record import RecordingError
from rushlight.nn import functional as F
from tests.footguns import Step, batches, check, small_model

FACTOR = 2.0
SETTINGS: dict[str, Any] = {"factor": 2.0, "list": [1.0]}
NAMESPACE = types.SimpleNamespace(deep=types.SimpleNamespace(factor=2.0))


def helper(x: rl.Tensor) -> rl.Tensor:
    """A function that the step calls."""
    return x * FACTOR


class Owner:
    """An object whose method is the step."""

    shared = 2.0

    def __init__(self) -> None:
        self.factor = 2.0

    def step(self, x: rl.Tensor) -> rl.Tensor:
        """Reads attributes of the object and of its class."""
        return x * self.factor * self.scaled()

    def scaled(self) -> float:
        """A method that the step calls."""
        return self.shared


def test_globals_are_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers in globals, also those of functions the step calls, containers and attributes of objects."""
    step = rl.compile(lambda x: helper(x) * SETTINGS["factor"] * SETTINGS["list"][0] * NAMESPACE.deep.factor)
    x = rl.ones(1)
    assert [step(x).item(), step(x).item()] == [8.0, 8.0]
    monkeypatch.setitem(globals(), "FACTOR", 3.0)
    assert [step(x).item(), step(x).item()] == [12.0, 12.0]
    monkeypatch.setitem(SETTINGS, "factor", 1.0)
    assert step(x).item() == 6.0
    monkeypatch.setitem(SETTINGS, "list", [5.0])
    assert step(x).item() == 30.0
    SETTINGS["list"][0] = 5.5
    assert step(x).item() == 33.0
    SETTINGS["list"][0] = 5.0
    monkeypatch.setattr(NAMESPACE.deep, "factor", 0.0)
    assert step(x).item() == 0.0
    monkeypatch.setattr(NAMESPACE, "deep", types.SimpleNamespace(factor=1.0))
    assert step(x).item() == 15.0
    monkeypatch.setitem(globals(), "helper", lambda x: x)
    assert step(x).item() == 5.0


def test_attributes_and_methods_are_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a bound method reads of its object, of the class, and of methods it calls."""
    owner = Owner()
    step = rl.compile(owner.step)
    x = rl.ones(1)
    assert [step(x).item(), step(x).item()] == [4.0, 4.0]
    owner.factor = 3.0
    assert step(x).item() == 6.0
    monkeypatch.setattr(Owner, "shared", 1.0)
    assert step(x).item() == 3.0
    monkeypatch.setattr(Owner, "scaled", lambda self: 7.0)
    assert step(x).item() == 21.0


def test_a_decorated_method() -> None:
    """`@compile` on a method: each object has recordings of its own."""

    class Scale:
        def __init__(self, factor: float) -> None:
            self.factor = factor

        @rl.compile
        def step(self, x: rl.Tensor) -> rl.Tensor:
            return x * self.factor

    two, three = Scale(2.0), Scale(3.0)
    for _ in range(2):
        assert [each.step(rl.ones(1)).item() for each in (two, three)] == [2.0, 3.0]
    two.factor = 5.0
    assert [each.step(rl.ones(1)).item() for each in (two, three)] == [5.0, 3.0]


def test_defaults_and_closures_are_watched() -> None:
    """Default arguments, nested functions, and variables shared between functions."""
    scale = 2.0

    def inner(x: rl.Tensor, plus: dict[str, float] = {"by": 1.0}) -> rl.Tensor:  # noqa: B006
        return x * scale + plus["by"]

    step = rl.compile(lambda x: inner(x))
    assert [step(rl.ones(1)).item() for _ in range(2)] == [3.0, 3.0]
    scale = 4.0
    assert step(rl.ones(1)).item() == 5.0
    assert inner.__defaults__ is not None
    inner.__defaults__[0]["by"] = 0.0
    assert step(rl.ones(1)).item() == 4.0


def test_changes_of_python_values_inside_the_step_are_refused() -> None:
    """A program would not count on; neither in closures, nor in lists, nor in attributes."""
    count, seen, owner = 0, [1], Owner()

    def counts(x: rl.Tensor) -> rl.Tensor:
        nonlocal count
        count += 1
        return x * count

    def appends(x: rl.Tensor) -> rl.Tensor:
        seen.append(len(seen))
        return x * len(seen)

    def assigns(x: rl.Tensor) -> rl.Tensor:
        owner.factor += 1
        return x * owner.factor

    for function, name in ((counts, "count changed"), (appends, "added to seen"), (assigns, "factor")):
        step = rl.compile(function)
        step(rl.ones(1))
        with pytest.raises(RecordingError, match=f"changes something in Python.*({name})"):
            step(rl.ones(1))


def test_plain_arguments_and_structures() -> None:
    """Numbers, strings and None are part of what tells calls apart; tensors are found in containers."""

    @rl.compile
    def step(pair: tuple[rl.Tensor, rl.Tensor], scale: float, *, named: dict[str, Any]) -> rl.Tensor:
        return pair[0] * scale + pair[1] + (named["extra"] if named["extra"] is not None else 0)

    def result(a: float, scale: float, extra: Any) -> float:
        return step((rl.full((1,), a), rl.ones(1)), scale, named={"extra": extra}).item()

    for _ in range(2):
        assert result(1.0, 2.0, None) == 3.0
        assert result(2.0, 3.0, None) == 7.0
        assert result(2.0, 3.0, rl.ones(1)) == 8.0
        assert result(2.0, 3.0, 5) == 12.0


def test_too_many_recordings_warn_once_and_run_plainly() -> None:
    """A number that differs at every call would be compiled for ever."""

    @rl.compile(recompile_limit=3)
    def step(x: rl.Tensor, n: int) -> rl.Tensor:
        return x * n

    assert [step(rl.ones(1), n).item() for n in range(3)] == [0.0, 1.0, 2.0]
    with pytest.warns(UserWarning, match="recorded 3 times, and runs uncompiled .* as a tensor"):
        assert step(rl.ones(1), 3).item() == 3.0
    assert step(rl.ones(1), 4).item() == 4.0
    assert "3 recorded" in repr(step)


def test_shapes_strides_types_and_grad_modes_tell_calls_apart() -> None:
    """Each way of calling is right, in any order."""

    @rl.compile
    def step(x: rl.Tensor) -> Any:
        return x * 2, x.is_contiguous(), x.dtype, x.requires_grad

    x = rl.arange(6.0).reshape(2, 3)
    calls = [x, x.t(), x.double(), x[:1], x.clone().requires_grad_(), rl.tensor(1.0), rl.zeros(0, 3), x[:, 1]]
    for _ in range(3):
        for each in calls:
            doubled, contiguous, dtype, requires_grad = step(each)
            assert doubled.tolist() == (each * 2).tolist()
            assert (contiguous, dtype, requires_grad) == (
                each.is_contiguous(),
                each.dtype,
                each.requires_grad,
            )
            assert doubled.requires_grad == each.requires_grad
            assert doubled.stride() == (each * 2).stride()
            with rl.no_grad():
                assert not step(each)[0].requires_grad
            with rl.inference_mode():
                assert step(each)[0].tolist() == (each * 2).tolist()


def test_the_default_dtype_is_watched() -> None:
    """New tensors and promoted integers follow it."""
    step = rl.compile(lambda x: (x / 2 + rl.zeros(1)).dtype)
    whole = rl.ones(1, dtype=rl.int64)
    assert [step(whole), step(whole)] == [rl.float32, rl.float32]
    rl.set_default_dtype(rl.float64)
    try:
        assert [step(whole), step(whole)] == [rl.float64, rl.float64]
    finally:
        rl.set_default_dtype(rl.float32)


@pytest.mark.parametrize(
    "op",
    [
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: rl.masked_select(x, x > 0),
        lambda x: rl.unique(x),
        lambda x: rl.unique_consecutive(x),
        lambda x: rl.where(x > 0),
        lambda x: rl.bincount((x > 0).long()),
        lambda x: rl.repeat_interleave(x, (x > 0).long()),
        lambda x: x.to_sparse().to_dense(),
        lambda x: rl.sparse_coo_tensor((x > 0).long(), x, (2,), check_invariants=False).coalesce().values(),
        lambda x: (repr(rl.sparse_coo_tensor([[0, 1, 1]], x, (2,), check_invariants=False)), x)[1],
        lambda x: F.one_hot((x > 0).long()),
        lambda x: rl.quantile(x, 0.5),
        lambda x: rl.histc(x),
        lambda x: x[int((x > 0).sum())],
        lambda x: x.numpy().sum(),
        lambda x: np.asarray(x),
        lambda x: rl.equal(x, x),
        lambda x: bool(x.sum() > 0),
        lambda x: f"{x.sum()}",
        lambda x: 1 in x,
        lambda x: rl.tensor(x.tolist()),
        lambda x: x.clone().apply_(lambda v: v + 1),
    ],
)
def test_what_depends_on_values_is_refused_by_line(op: Callable[[rl.Tensor], Any]) -> None:
    """Shapes and Python values that depend on data; each message names this file and a line."""
    with pytest.raises(RecordingError, match=r"footguns_python\.py:\d+"):
        rl.compile(lambda x: op(x * 1))(rl.tensor([1.0, -1.0, 2.0]))
    with pytest.raises(RecordingError, match=r"footguns_python\.py:\d+"):
        rl.compile(op)(rl.tensor([1.0, -1.0, 2.0]))


def test_masks_that_keep_the_shape_are_fine() -> None:
    """Writing through a mask, where and masked_fill."""

    @rl.compile
    def step(x: rl.Tensor) -> rl.Tensor:
        y = x.clone()
        y[y > 0] = -1.0
        return y + rl.where(x > 1, x, 0.0) + x.masked_fill(x < 0, 9.0)

    for values in ([1.0, -2.0, 3.0], [-1.0, -2.0, -3.0], [5.0, 5.0, 5.0]):
        x = rl.tensor(values)
        assert step(x).tolist() == step.function(x).tolist()


def test_values_of_captured_tensors_may_be_read() -> None:
    """Small ones from before the step are guarded by value; what the step changes is refused."""
    scale = rl.tensor(2.0)
    step = rl.compile(lambda x: x * scale.item())
    assert [step(rl.ones(1)).item() for _ in range(2)] == [2.0, 2.0]
    scale.fill_(3.0)
    assert [step(rl.ones(1)).item() for _ in range(2)] == [3.0, 3.0]

    @rl.compile
    def counting(x: rl.Tensor) -> rl.Tensor:
        scale.add_(1)
        return x * scale.item()

    with pytest.raises(RecordingError, match="that the compiled step itself changes"):
        counting(rl.ones(1))


def test_results_are_fresh_and_share_memory_as_in_the_plain_step() -> None:
    """Results of different calls never share; within a call they do where the plain ones do."""
    table = rl.arange(4.0)

    @rl.compile
    def step(x: rl.Tensor) -> Any:
        y = x * 2
        return y, y[0], y.t(), x, x[1:], table, table[2:], y

    for _ in range(3):
        x = rl.ones(2, 2)
        y, row, turned, same, rest, whole, part, again = step(x)
        assert same is x and whole is table and again is y
        y[0, 1] = 7.0
        assert row.tolist() == [2.0, 7.0] and turned[1, 0].item() == 7.0
        rest[0, 0] = 5.0
        assert x[1, 0].item() == 5.0
        part[0] = 8.0
        assert table[2].item() == 8.0
        other = step(rl.ones(2, 2))[0]
        assert other.tolist() == [[2.0, 2.0], [2.0, 2.0]] and y[0, 1].item() == 7.0


def test_the_same_tensor_twice_and_overlapping_arguments() -> None:
    """Read-only overlaps are fine; writes into shared memory are refused, or run plainly in later calls."""
    add = rl.compile(lambda a, b: a + b * 2)
    series = rl.arange(5.0)
    for _ in range(2):
        assert add(series, series).tolist() == (series * 3).tolist()
        assert add(series[:4], series[1:]).tolist() == (series[:4] + series[1:] * 2).tolist()
        assert add(series[:4], rl.ones(4)).tolist() == (series[:4] + 2).tolist()

    @rl.compile
    def shift(a: rl.Tensor, b: rl.Tensor) -> None:
        a.mul_(2)
        b.add_(1)

    apart = rl.zeros(4), rl.ones(4)
    shift(*apart)
    shift(*apart)
    assert apart[1].tolist() == [3.0] * 4
    plain = rl.arange(5.0)
    shift.function(plain[:4], plain[1:])
    shift(series[:4], series[1:])
    assert series.tolist() == plain.tolist()
    with pytest.raises(RecordingError, match=r"share memory.*footguns_python\.py:\d+"):
        rl.compile(shift.function)(series[:4], series[1:])


def test_arguments_that_share_memory_with_captured_tensors() -> None:
    """A batch cut out of a captured data set is fine; a captured tensor that the step writes is not."""
    data, total = rl.arange(6.0), rl.zeros(2)
    centred = rl.compile(lambda x: x - data.mean())
    for start in (0, 2, 4):
        assert centred(data[start : start + 2]).tolist() == (data[start : start + 2] - 2.5).tolist()

    @rl.compile
    def accumulate(x: rl.Tensor) -> rl.Tensor:
        total.add_(x)
        return x + total

    assert accumulate(rl.ones(2)).tolist() == [2.0, 2.0]
    assert accumulate(rl.ones(2)).tolist() == [3.0, 3.0]
    assert accumulate(total).tolist() == [8.0, 8.0]  # runs plainly: x is total
    with pytest.raises(RecordingError, match="share memory"):
        rl.compile(accumulate.function)(total)


def test_arguments_changed_in_place() -> None:
    """The caller's tensor changes, whatever its layout, and its version counts on."""

    @rl.compile
    def step(x: rl.Tensor) -> rl.Tensor:
        x[0].mul_(2)
        x.t()[0] += 1
        return x.sum()

    for x in (rl.ones(2, 3), rl.ones(2, 3), rl.ones(3, 2).t(), rl.ones(2, 6)[:, ::2], rl.ones(2, 6)[:, ::2]):
        plain, version = x.clone(), x._version
        assert step(x).item() == step.function(plain).item()
        assert x.tolist() == plain.tolist()
        assert x._version > version


def test_exceptions_in_the_first_call_leave_nothing_behind() -> None:
    """The next call is recorded; in later calls an op's own error comes through, with the line."""
    fail, table = [True], rl.arange(3.0)

    @rl.compile
    def step(x: rl.Tensor, i: rl.Tensor) -> rl.Tensor:
        y = x * 2
        if fail[0]:
            raise KeyError("half way")
        return y + table[i]

    one = rl.tensor([1])
    with pytest.raises(KeyError, match="half way"):
        step(rl.ones(1), one)
    assert rl.is_grad_enabled()
    fail[0] = False
    assert [step(rl.ones(1), one).item() for _ in range(2)] == [3.0, 3.0]
    with pytest.raises(IndexError, match="out of bounds") as caught:
        step(rl.ones(1), rl.tensor([7]))
    assert "footguns_python.py:" in "".join(caught.value.__notes__)
    assert step(rl.ones(1), one).item() == 3.0


def changing(change: Callable[[nn.Module, optim.Optimizer], None]) -> Any:
    """A training step, and what to do to its model before every third call."""
    held: list[Any] = []

    def make() -> tuple[nn.Module, Step]:
        model = nn.Sequential(
            nn.Linear(5, 4, bias=False), nn.BatchNorm1d(4), nn.Dropout(0.3), nn.Linear(4, 3)
        )
        optimizer = optim.Adam(model.parameters(), lr=0.05)
        held[:] = [model, optimizer]

        def step(x: rl.Tensor, y: rl.Tensor) -> rl.Tensor:
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        return model, step

    def between(number: int, *_: Any) -> None:
        if number and number % 3 == 0:
            change(held[0], held[1])

    return make, between


def _reload(model: nn.Module, optimizer: optim.Optimizer) -> None:
    saved = {name: value.clone() * 0.5 for name, value in model.state_dict().items()}
    model.load_state_dict(saved)
    optimizer.load_state_dict(optimizer.state_dict())


def _replace(model: nn.Module, optimizer: optim.Optimizer) -> None:
    model[3].weight = nn.Parameter(model[3].weight.detach() * 0.5)
    optimizer.param_groups[0]["params"] = list(model.parameters())


CHANGES: dict[str, Callable[[nn.Module, optim.Optimizer], None]] = {
    "freeze": lambda model, _: [p.requires_grad_(not p.requires_grad) for p in model[0].parameters()],
    "replace": _replace,
    "reload": _reload,
    "evaluate": lambda model, _: model.train(not model.training),
    "data": lambda model, _: setattr(model[0].weight, "data", model[0].weight.data * 0.5),
    "in place": lambda model, _: rl.no_grad()(model[0].weight.mul_)(0.5),
    "betas": lambda _, optimizer: optimizer.param_groups[0].update(betas=(0.8, 0.9), eps=1e-3),
    "decay": lambda _, optimizer: optimizer.param_groups[0].update(weight_decay=0.1),
    "forget": lambda _, optimizer: optimizer.state.clear(),
    "layer": lambda model, _: model.__setitem__(2, nn.Dropout(0.9)),
    "probability": lambda model, _: setattr(model[2], "p", 0.1),
    "hook": lambda model, _: model[0].register_forward_hook(lambda module, args, output: output * 0.5),
    "gradient hook": lambda model, _: model[0].weight.register_hook(lambda grad: grad * 0.5),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changes_between_calls(name: str) -> None:
    """Parameters, state, modes, settings and hooks that are changed between calls."""
    make, between = changing(CHANGES[name])
    check(make, steps=8, between=between, native=name == "freeze")


def test_hooks_with_state_of_their_own_are_refused() -> None:
    """A hook that keeps what it saw, or counts, does Python's work at each call."""
    for kept, hook in (
        ([], lambda kept: lambda module, args, output: kept.append(output)),
        ([0], lambda kept: lambda module, args, output: kept.append(1)),
    ):
        model = small_model()
        model[0].register_forward_hook(hook(kept))
        step = rl.compile(lambda x, model=model: model(x).sum())
        x, _ = batches(1)[0]
        step(x)
        with pytest.raises(RecordingError, match=r"keeps a tensor|changes something in Python"):
            step(x)


def test_nested_compiled_functions_become_part_of_the_outer_one() -> None:
    """And what the inner one closes over is watched."""
    scale = 2.0
    inner = rl.compile(lambda x: x * scale)
    outer = rl.compile(lambda x: inner(x) + 1)
    assert [outer(rl.ones(1)).item() for _ in range(2)] == [3.0, 3.0]
    scale = 3.0
    assert outer(rl.ones(1)).item() == 4.0


def test_lbfgs_is_refused_by_line() -> None:
    """Its line search looks at losses."""
    weight = nn.Parameter(rl.ones(2))
    optimizer = optim.LBFGS([weight])

    def closure() -> rl.Tensor:
        optimizer.zero_grad()
        loss = (weight * weight).sum()
        loss.backward()
        return loss

    with pytest.raises(RecordingError, match=r"footguns_python\.py:\d+"):
        rl.compile(lambda: optimizer.step(closure))()


def test_what_is_returned_must_be_tensors_and_plain_values() -> None:
    """Objects could hide tensors that a program does not renew."""
    with pytest.raises(RecordingError, match="returned a SimpleNamespace"):
        rl.compile(lambda x: types.SimpleNamespace(y=x * 2))(rl.ones(1))
