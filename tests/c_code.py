"""Compiling the C text of programs with the system's C compiler, and comparing it with what native code does.

Used by tests only. Invariant: C runs on copies of the program's memory, taken before the native run.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rushlight.compile.c_text import CText, Entry
from rushlight.compile.native import Native, aligned
from rushlight.compile.program import TEMPORARY

FLAGS = ("-std=c99", "-O1", "-fwrapv", "-ffp-contract=off", "-Werror=implicit", "-shared", "-fPIC")


def compiler() -> str:
    """The C compiler, or the test is skipped."""
    found = shutil.which(os.environ.get("CC", "cc"))
    if found is None:
        pytest.skip("there is no C compiler: neither cc nor $CC")
    return found


def library(written: CText, folder: Path) -> ctypes.CDLL:
    """The text as a shared library."""
    source, target = folder / "step.c", folder / "step.so"
    source.write_text(written.text)
    command = [compiler(), *FLAGS, str(source), "-o", str(target), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(target))


class Copies:
    """The memory of a native program, copied before it runs."""

    def __init__(self, native: Native, entries: Sequence[Entry], given: Sequence[np.ndarray]) -> None:
        self.native = native
        for place, value in zip(native.arguments, given, strict=True):
            np.copyto(place, value)
        used = {each.number: each for entry in entries for each in entry.buffers}
        self.arrays = {number: native.memory.arrays[number].copy() for number in used}
        for number, each in used.items():
            if each.kind == TEMPORARY:  # what an earlier run left must not be taken for a result
                self.arrays[number].view(np.uint8)[...] = 0x55
        self.arena = aligned(max((entry.arena for entry in entries), default=0))

    def run(self, loaded: ctypes.CDLL, entry: Entry) -> int:
        """Call one function on the copies."""
        addresses = [self.arrays[each.number].ctypes.data for each in entry.buffers]
        table = np.array([*addresses, self.arena.ctypes.data], np.int64)
        return loaded[entry.name](ctypes.c_void_p(table.ctypes.data))

    def compare(self, relative: float) -> list[str]:
        """What differs from the program's memory, relative to the largest number of each buffer."""
        found = []
        buffers = self.native.built.buffers(self.native.program)
        for number, ours in self.arrays.items():
            theirs = self.native.memory.arrays[number]
            if differs(ours, theirs, relative):
                found.append(f"{buffers[number]!r}: {ours[:5]} instead of {theirs[:5]}")
        return found


def differs(ours: Any, theirs: Any, relative: float) -> bool:
    """Whether arrays differ by more than so much of their largest finite number."""
    if ours.dtype.kind != "f":
        return not np.array_equal(ours, theirs)
    finite = theirs[np.isfinite(theirs)]
    scale = float(np.abs(finite).max(initial=0))
    return not np.allclose(ours, theirs, rtol=relative, atol=relative * scale, equal_nan=True)


def check(written: CText, native: Native, given: Sequence[np.ndarray], folder: Path, runs: int = 1) -> None:
    """Run the C of a program without opaque ops beside the program itself, and compare their memory."""
    (entry,) = written.entries
    loaded = library(written, folder)
    copies = Copies(native, [entry], given)
    for _ in range(runs):
        native.run(given)
        assert copies.run(loaded, entry) == 0
    assert copies.compare(1e-6 * runs) == []
