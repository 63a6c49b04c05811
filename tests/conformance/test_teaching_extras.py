"""Names of teaching code that belong to no op and no layer: typed constructors, retain_grad, eigenvalues."""

from __future__ import annotations

import importlib

import pytest

import rushlight
from rushlight.alias.finder import offered
from rushlight.nearest import nearest

pytest.importorskip("torch", reason="needs the conformance extra")

from tests.conformance.side_by_side import assert_same


def test_typed_constructors_and_counts() -> None:
    assert_same(
        """
        torch.LongTensor([1, 2, 3])
        torch.LongTensor(2, 3).shape
        torch.FloatTensor([1.5]).dtype
        torch.zeros(2, 3).nelement()
        isinstance(torch.tensor([1]), torch.LongTensor)
        """
    )


def test_gradients_of_what_was_computed_are_kept_when_asked_for() -> None:
    assert_same(
        """
        x = torch.tensor([1.0, 2.0], requires_grad=True)
        y = x * 3
        y.retain_grad()
        (y * y).sum().backward()
        y.grad
        x.grad
        y.retains_grad
        torch.ones(2).retain_grad()
        """
    )


def test_eigenvalues_that_may_be_complex_are_refused_by_name() -> None:
    with pytest.raises(NotImplementedError, match=r"use linalg\.eigh"):
        rushlight.linalg.eig(rushlight.eye(2))
    assert_same("torch.ones(2, 2).eig()")


@pytest.mark.parametrize(
    "place",
    ["torch", "torch.nn", "torch.nn.functional", "torch.linalg", "torch.special", "torch.nn.utils.rnn"],
)
def test_no_other_name_is_proposed_for_a_name_of_pytorchs(place: str) -> None:
    """Only misspelt names have a nearest one: who writes a name that PyTorch has means it."""
    known = offered(place)
    imported = {"Gradient", "Storage", "fill_", "os", "types"}  # not documented
    theirs = {name for name in dir(importlib.import_module(place)) if not name.startswith("_")}
    proposed = {name: nearest(name, known) for name in theirs - known - imported}
    assert {name: near for name, near in proposed.items() if near} == {}
    assert nearest("softmx", offered("torch")) == "softmax"
