"""``code()``: C that a C compiler takes, and that gives the numbers of the native program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rushlight as torch
from rushlight import nn
from rushlight.nn import functional as F

pytest.importorskip("llvmlite", reason="native code needs llvmlite")

from rushlight.compile.c_text import c_text, programs_of
from tests.c_code import Copies, check, library


def trained(model: nn.Module, loss_function: Any, optimizer: Any, *given: Any) -> Any:
    """A compiled training step, recorded."""
    step_of = optimizer(model.parameters())

    @torch.compile
    def step(*batch):
        loss = loss_function(model(*batch[:-1]), batch[-1])
        step_of.zero_grad()
        loss.backward()
        step_of.step()
        return loss

    for _ in range(3):
        step(*given)
    return step


def sgd(parameters: Any) -> Any:
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)


def adam(parameters: Any) -> Any:
    return torch.optim.AdamW(parameters, lr=0.01)


class Pairs(nn.Module):
    """Ratings from two look-ups."""

    def __init__(self) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(30, 10), nn.Embedding(40, 10)

    def forward(self, pairs):
        return torch.sigmoid((self.users(pairs[:, 0]) * self.items(pairs[:, 1])).sum(1, keepdim=True)) * 5.5


def classifier() -> tuple[Any, ...]:
    model = nn.Sequential(nn.Linear(50, 33), nn.ReLU(), nn.Dropout(0.2), nn.Linear(33, 7))
    return model, F.cross_entropy, (torch.rand(24, 50), torch.randint(0, 7, (24,)))


def regression() -> tuple[Any, ...]:
    model = nn.Sequential(nn.Linear(19, 24), nn.Tanh(), nn.LayerNorm(24), nn.GELU(), nn.Linear(24, 1))
    return model, F.smooth_l1_loss, (torch.rand(16, 19), torch.rand(16, 1))


def lookup() -> tuple[Any, ...]:
    pairs = torch.stack([torch.randint(0, 30, (20,)), torch.randint(0, 40, (20,))], 1)
    return Pairs(), F.mse_loss, (pairs, torch.rand(20, 1) * 5)


@pytest.mark.parametrize("optimizer", [sgd, adam])
@pytest.mark.parametrize("make", [classifier, regression, lookup])
def test_a_step_in_c_gives_the_numbers_of_the_native_one(make, optimizer, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, loss_function, given = make()
    step = trained(model, loss_function, optimizer, *given)
    made = step.latest()
    made.refresh()
    check(c_text(programs_of(made), "step"), made.executor, [x._array for x in given], tmp_path)


def test_numbers_of_all_types_folds_and_choices(tmp_path: Path) -> None:
    def mixed(x, n, small, flags):
        clipped = torch.where(flags & (x > 0.2), x.clamp(-0.5, 0.5), -x.abs())
        return (
            clipped.amax(1),
            clipped.prod(0, keepdim=True),
            (n // 3) * (n % -4) + n.sum(),
            (small + 100).to(torch.float64).mean(),
            torch.logaddexp(x, -x).mean(0),
            (flags ^ (n.reshape(1, 6) > 2)).sum(1),
            torch.remainder(x, 0.3) + torch.floor_divide(x, 0.25),
            ~small & 3,
        )

    given = (
        torch.randn(5, 6),
        torch.arange(-3, 3),
        torch.tensor([200, 3, 77], dtype=torch.uint8),
        torch.rand(5, 6) > 0.5,
    )
    compiled = torch.compile(mixed)
    compiled(*given)
    made = compiled.latest()
    check(c_text(programs_of(made), "mixed"), made.executor, [x._array for x in given], tmp_path)


def test_a_module_has_a_backward_half(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = torch.compile(nn.Sequential(nn.Linear(6, 5), nn.Sigmoid(), nn.Linear(5, 2)))
    x = torch.randn(4, 6)
    model(x).sum().backward()
    made = model._compiled.latest()
    written = c_text(programs_of(made), "model")
    assert [each.name for each in written.entries] == ["step", "step_backward"]
    assert '"0.weight", shape (5, 6), float32' in model.code(x)
    loaded = library(written, tmp_path)
    for entry, (_, native) in zip(written.entries, programs_of(made), strict=True):
        given = [each.copy() for each in native.arguments]
        copies = Copies(native, [entry], given)
        native.run(given)
        assert copies.run(loaded, entry) == 0
        assert copies.compare(1e-6) == []


def test_a_label_out_of_range_is_found_before_anything_is_changed(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, loss_function, (x, y) = classifier()
    made = trained(model, loss_function, sgd, x, y).latest()
    written = c_text(programs_of(made), "step")
    (entry,) = written.entries
    bad = y._array.copy()
    bad[3] = 7
    copies = Copies(made.executor, [entry], [x._array, bad])
    before = {number: array.copy() for number, array in copies.arrays.items()}
    assert copies.run(library(written, tmp_path), entry) != 0
    for each in entry.buffers:
        if each.kind == "state" and each.name != "generator":
            np.testing.assert_array_equal(copies.arrays[each.number], before[each.number])


def test_what_numpy_carries_out_is_said(tmp_path: Path) -> None:
    @torch.compile
    def ordered(x):
        return torch.cumsum(x * 2, 0) + 1

    ordered(torch.rand(7))
    text = ordered.code()
    assert "Here NumPy carries out cumsum" in text
    assert "int step_part1(void **buffers)" in text
    assert "int step_part2(void **buffers)" in text
    written = c_text(programs_of(ordered.latest()), "ordered")
    assert [each.name for each in written.entries] == ["step_part1", "cumsum", "step_part2"]
    library(written, tmp_path)


def test_names_that_c_cannot_take(tmp_path: Path) -> None:
    model = nn.Module()
    names = ["register", "i", "exp", "expf", "v1", "within", "größe", "step"]
    names += ["NAN", "INT64_MIN", "true", "bool", "maximum_f32", "random_bits"]
    for name in names:
        model.register_parameter(name, nn.Parameter(torch.rand(3)))

    def total(x):
        found = x
        for each in model.parameters():
            found = torch.maximum(found + torch.exp(each) * each, each / 2)
        return found.sum()

    model.forward = total
    compiled = torch.compile(model)
    with torch.no_grad():
        compiled(torch.rand(3))
    made = compiled._compiled.latest()
    check(c_text(programs_of(made), "total"), made.executor, [np.ones(3, np.float32)], tmp_path)


def test_code_is_of_the_call_that_is_meant() -> None:
    compiled = torch.compile(lambda x: x + 1, name="more")
    with pytest.raises(RuntimeError, match="call it first"):
        compiled.code()
    compiled(torch.ones(3))
    compiled(torch.ones(2, 2))
    assert "shape (2, 2), float32" in compiled.code()
    assert "shape (3,), float32" in compiled.code(torch.zeros(3))
    with pytest.raises(RuntimeError, match="no program for this call"):
        compiled.code(torch.zeros(9))
    replayed = torch.compile(lambda x: x + 1, backend="replay")
    replayed(torch.ones(3))
    with pytest.raises(NotImplementedError, match="no native code"):
        replayed.code()


def test_a_wrapped_module_keeps_its_own_code() -> None:
    class Reader(nn.Linear):
        def code(self) -> str:
            return "its own"

    assert torch.compile(Reader(2, 2)).code() == "its own"
    with pytest.raises(AttributeError):
        torch.compile(nn.Linear(2, 2)).nothing  # noqa: B018


def test_names_do_no_harm(tmp_path: Path) -> None:
    """Whatever a step and its parameters are called, and wherever its code lies."""
    model = nn.Module()
    model.register_parameter("a */ int b; /*", nn.Parameter(torch.ones(3)))
    source = "def step(x):\n    return [*model.parameters()][0] * x.cumsum(0)\n"
    exec(compile(source, 'dir */ "quoted"\n/* x.py', "exec"), space := {"model": model})
    for name in ('a */ b\n"x"', "*/*/ \\", "/*/\r\u2028#error", ""):
        step = torch.compile(space["step"], name=name)
        step(torch.ones(3))
        text = c_text(programs_of(step.latest()), step.name)
        library(text, tmp_path)
        assert text.text in step.code()
