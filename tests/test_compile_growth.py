"""Compiling takes work in proportion to the program: counted in executed lines, never timed."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="native code needs llvmlite")

import rushlight as rl
from rushlight import nn
from rushlight.compile import built
from rushlight.compile.extents import Extents
from rushlight.compile.order import Ordered, connect, depends, merge
from rushlight.compile.places import ALIGNMENT, places
from rushlight.compile.program import TEMPORARY, Buffer
from rushlight.nn import functional as F

PACKAGE = str(Path(rl.__file__).parent)


def lines_of(function: Callable[[], Any]) -> int:
    """How many lines of the package a call executes; every turn of a loop counts."""
    count = 0

    def line(frame: Any, event: str, argument: Any) -> Any:
        nonlocal count
        if event == "line":
            count += 1
        return line

    def call(frame: Any, event: str, argument: Any) -> Any:
        return line if frame.f_code.co_filename.startswith(PACKAGE) else None

    before = sys.gettrace()
    sys.settrace(call)
    try:
        function()
    finally:
        sys.settrace(before)
    return count


def plain(width: int) -> list[nn.Module]:
    return [nn.Linear(width, width), nn.ReLU()]


def rich(width: int) -> list[nn.Module]:
    return [nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU()]


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.layer = nn.LayerNorm(width), nn.Linear(width, width)

    def forward(self, x: rl.Tensor) -> rl.Tensor:
        return x + F.relu(self.layer(self.norm(x)))


CASES: dict[str, tuple[Callable[[int], list[nn.Module]], Callable[..., Any], bool]] = {
    "plain": (plain, lambda parameters: rl.optim.SGD(parameters, lr=0.1), False),
    "clipped": (plain, lambda parameters: rl.optim.SGD(parameters, lr=0.1), True),
    "rich": (rich, lambda parameters: rl.optim.SGD(parameters, lr=0.1, momentum=0.9), False),
    "residual": (lambda width: [Residual(width)], lambda parameters: rl.optim.SGD(parameters, lr=0.1), False),
}


def work(case: str, layers: int) -> int:
    """The lines executed to record a training step and to turn it into LLVM's text."""
    block, make, clip = CASES[case]
    rl.manual_seed(0)
    model = nn.Sequential(*[part for _ in range(layers) for part in block(6)], nn.Linear(6, 3))
    optimizer = make(model.parameters())
    x, y = rl.randn(2, 6), rl.tensor([0, 2])

    def step(x: rl.Tensor, y: rl.Tensor) -> rl.Tensor:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    step(x, y)  # makes the optimizer's state
    compiled = rl.compile(step, backend="replay")
    recording = lines_of(lambda: compiled(x, y))
    (made,) = compiled.all_recordings()
    live = [buffer for buffer, _ in made.live]
    return recording + lines_of(lambda: built.build(made.program, made.program.kept, live))


@pytest.mark.parametrize("case", CASES)
def test_four_times_the_layers_are_four_times_the_work(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(built, "object_code", lambda text: b"")
    work(case, 1)  # what is made on first use
    few, some, many = (work(case, layers) for layers in (3, 6, 12))
    assert many - some <= 2.03 * (some - few)


# -- the structures behind it --------------------------------------------------------------------------------


def reaches(edges: set[tuple[int, int]], start: int, end: int) -> bool:
    waiting, seen = [start], {start}
    while waiting:
        at = waiting.pop()
        following = {b for a, b in edges if a == at} - seen
        seen |= following
        waiting += following
    return end in seen


@pytest.mark.parametrize("seed", range(30))
def test_an_order_answers_what_the_edges_say(seed: int) -> None:
    rng = random.Random(seed)
    nodes = {number: Ordered(number) for number in range(14)}
    edges: set[tuple[int, int]] = set()
    for _ in range(60):
        a, b = rng.sample(sorted(nodes), 2)
        backwards = reaches(edges, b, a)
        assert depends([nodes[a]], nodes[b]) == backwards
        if backwards:
            continue
        others = {end for start, end in edges if start == a and end != b}
        through_others = any(reaches(edges, each, b) for each in others)
        if rng.random() < 0.1 and not through_others:
            merge(nodes[a], nodes[b])
            del nodes[b]
            edges = {(a if x == b else x, a if y == b else y) for x, y in edges} - {(a, a)}
        else:
            connect(nodes[a], nodes[b])
            edges.add((a, b))
        number_of = {node: number for number, node in nodes.items()}
        assert {(number_of[x], n) for n, node in nodes.items() for x in node.before} == edges
        assert {(n, number_of[x]) for n, node in nodes.items() for x in node.after} == edges
        assert all(nodes[x].place < nodes[y].place for x, y in edges)
        assert len({node.place for node in nodes.values()}) == len(nodes)


@pytest.mark.parametrize("seed", range(10))
def test_extents_are_sets_of_numbers(seed: int) -> None:
    rng = random.Random(seed)
    extents, numbers = Extents(), set()
    for _ in range(60):
        low = rng.randrange(100)
        high = low + rng.randrange(1, 9)
        assert extents.meet(low, high) == (not numbers.isdisjoint(range(low, high)))
        if rng.random() < 0.5:
            extents.add(low, high)
            numbers.update(range(low, high))


@pytest.mark.parametrize("seed", range(10))
def test_what_is_needed_at_the_same_time_lies_apart(seed: int) -> None:
    rng = random.Random(seed)
    buffers, spans = [], {}
    for number in range(60):
        buffers.append(Buffer(number, TEMPORARY, rng.randrange(400), np.dtype(np.float32)))
        first = rng.randrange(50)
        spans[number] = first, first + rng.randrange(12)
    found, size = places(buffers, spans)
    assert sorted(number for number, _ in found) == list(range(60))
    rows = [(*spans[n], begin, begin + 4 * buffers[n].size) for n, begin in found]
    for place, (first, last, begin, end) in enumerate(rows):
        assert begin % ALIGNMENT == 0
        assert end <= size
        for other_first, other_last, other_begin, other_end in rows[:place]:
            together = first <= other_last and other_first <= last
            assert not together or end <= other_begin or other_end <= begin or begin == end
    most = max(sum(end - begin for first, last, begin, end in rows if first <= t <= last) for t in range(62))
    assert size <= 1.6 * most
