"""The names that teaching code uses most are there, are in PyTorch too, and are tested."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import rushlight.nn.functional  # noqa: F401 - enters its functions in the table
from rushlight.ops.define import TABLE
from tests.conformance.exemptions import WITHOUT_SAMPLES
from tests.conformance.teaching import asked_for, full_path, has, listed, missing

torch = pytest.importorskip("torch", reason="needs the conformance extra")

TESTS = Path(__file__).parents[1]


def test_the_list_is_as_long_as_promised() -> None:
    kinds = [each.kind for each in listed()]
    assert (kinds.count("name"), kinds.count("method")) == (200, 120)
    assert {each.subject for each in listed()} == {"", "gpu"}


def test_none_is_missing() -> None:
    assert missing() == []


def test_the_names_are_pytorchs() -> None:
    for name in asked_for():
        if name.kind == "name" and not full_path(name.name).startswith("torchvision"):
            found = torch
            for part in full_path(name.name).split(".")[1:]:
                found = getattr(found, part)


def test_every_name_is_tested() -> None:
    """In the op matrix, or by a test that names it."""
    texts = [path.read_text("utf-8") for path in TESTS.rglob("*.py") if path.name != Path(__file__).name]
    words = set(re.findall(r"\w+", "\n".join(texts)))
    in_matrix = {entry.split(".")[-1] for entry in TABLE.keys() - WITHOUT_SAMPLES.keys()}
    untested = [
        each.name
        for each in asked_for()
        if has(each) and each.name.split(".")[-1] not in in_matrix and each.name.split(".")[-1] not in words
    ]
    assert untested == []
