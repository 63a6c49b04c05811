"""The op table in C: what a C compiler makes of ``code()`` gives what the native programs give.

Programs of a part of the table, forward and backward, go into one C file, which is compiled once.
"""

import warnings
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the conformance extra")
pytest.importorskip("llvmlite", reason="native code needs llvmlite")

import rushlight as rl
from rushlight.compile.c_text import c_text, programs_of
from rushlight.compile.native import Native
from tests.c_code import Copies, compiler, library
from tests.conformance.coverage import TABLE
from tests.conformance.exemptions import WITHOUT_SAMPLES
from tests.conformance.matrix import Case, samples_of, specs_in
from tests.conformance.test_compiled_matrix import run

EACH = 6  # every sixth entry, to keep this quick


def recorded(name: str) -> list[tuple[str, Native]]:
    """The programs of an op's first sample, called once more with the same numbers."""
    entry = TABLE[name]
    sample = next((each for each in samples_of(entry) if not each.raises), None)
    if sample is None or any(spec.layout == "expanded" for spec in specs_in(sample)):
        return []
    compiled = rl.compile(entry.function)
    try:
        for _ in range(2):
            run(compiled, Case(name, sample, 0))
    except RuntimeError:  # what it refuses to record, and what needs a leaf without a gradient
        return []
    made = compiled.latest()
    return [] if made is None else [(f"{name}, {each}", native) for each, native in programs_of(made)]


def test_the_op_table_in_c_gives_the_numbers_of_native_code(tmp_path: Path) -> None:
    compiler()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names = sorted(TABLE.keys() - WITHOUT_SAMPLES.keys())[::EACH]
        found = [each for name in names for each in recorded(name)]
    native = [(name, each) for name, each in found if len(each.segments) == 1 and each.segments[0] == "step"]
    assert len(native) > 50
    written = c_text([(f"p{place}", each) for place, (_, each) in enumerate(native)], "the op table")
    loaded = library(written, tmp_path)
    wrong: list[Any] = []
    for entry, (name, each) in zip(written.entries, native, strict=True):
        given = [place.copy() for place in each.arguments]
        copies = Copies(each, [entry], given)
        each.run(given)
        assert copies.run(loaded, entry) == 0, name
        wrong += [f"{name}: {text}" for text in copies.compare(2e-6)]
    assert wrong == []
