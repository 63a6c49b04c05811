"""Copies that turn a matrix, compiled."""

import importlib

import numpy as np
import pytest

import rushlight as torch

pytest.importorskip("llvmlite", reason="native code needs llvmlite")

from rushlight.compile.turned import turned_copy

SIZES = [(16, 16), (8, 8), (17, 33), (100, 40), (64, 784), (31, 16), (16, 47), (5, 70)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", SIZES)
def test_every_element_arrives(size, dtype):
    x = torch.arange(size[0] * size[1], dtype=dtype).reshape(size)
    turn = torch.compile(lambda x: x.t().contiguous())
    for _ in range(2):
        assert np.array_equal(turn(x).numpy(), x.numpy().T)


def test_a_part_of_a_matrix():
    x = torch.rand(70, 90)
    turn = torch.compile(lambda x: x[3:43, 5:55].t().contiguous())
    for _ in range(2):
        assert torch.equal(turn(x), x[3:43, 5:55].t())


def test_special_values_are_copied_bit_by_bit():
    bits = np.arange(40 * 40, dtype=np.uint32).reshape(40, 40) * np.uint32(2_654_435)
    turn = torch.compile(lambda x: x.t().contiguous())
    for _ in range(2):
        made = turn(torch.from_numpy(bits.view(np.float32)))
    assert np.array_equal(made.numpy().view(np.uint32), bits.T)


def test_they_are_recognised(monkeypatch):
    found = []

    def noted(statements):
        found.append(turned_copy(statements))
        return found[-1]

    monkeypatch.setattr(importlib.import_module("rushlight.compile.loops"), "turned_copy", noted)
    monkeypatch.setenv("RUSHLIGHT_CACHE", "0")
    turn = torch.compile(lambda x: x.t().contiguous())
    turn(torch.rand(71, 93))
    assert any(found)
