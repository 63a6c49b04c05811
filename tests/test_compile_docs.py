"""The page on what can be compiled, and that recording takes work in proportion to the number of ops."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import rushlight as rl
from rushlight import nn
from tests.documents import ROOT, check_blocks, python_blocks

PAGE = ROOT / "docs" / "compile.md"


def test_every_block_prints_what_the_page_shows() -> None:
    """As if typed one after the other."""
    check_blocks(python_blocks(PAGE), PAGE)


def calls_made(function: Callable[[], Any]) -> int:
    """How many Python functions are called: a measure of work that does not depend on the machine."""
    count = 0

    def note(frame: Any, event: str, _: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


def test_recording_takes_work_in_proportion_to_the_ops() -> None:
    """4, 16 and 64 layers: four times the layers are at most little more than four times the work."""
    work = []
    for layers in (4, 16, 64):
        model = nn.Sequential(*[nn.Linear(3, 3) for _ in range(layers)])
        step = rl.compile(lambda x, model=model: model(x).sum().backward(), backend="replay")
        work.append(calls_made(lambda step=step: step(rl.ones(2, 3))))
    assert work[1] < 4.2 * work[0] and work[2] < 4.2 * work[1], work
