"""Factorisations whose vectors have free signs, compared with PyTorch by values and gradients of what has
none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rushlight

torch = pytest.importorskip("torch", reason="needs the conformance extra")


def eigen(lib: Any, x: Any) -> Any:
    """A function of eigenvalues and of the projectors on eigenvectors."""
    values, vectors = lib.linalg.eigh(x @ x.mT)
    projector = vectors[:, :1] @ vectors[:, :1].mT
    return (values * lib.tensor([1.0, 2.0, 3.0], dtype=values.dtype)).sum() + projector[0, 1] * 5


def singular(lib: Any, x: Any) -> Any:
    """A function of singular values and of the product of the first pair of vectors."""
    u, s, vh = lib.linalg.svd(x, full_matrices=False)
    return (s * s * s).sum() + (u[:, :1] @ vh[:1])[1, 0] * 4


def triangular(lib: Any, x: Any) -> Any:
    """A function of Q's projector and of the squares in R."""
    q, r = lib.linalg.qr(x)
    return (q[:, :1] @ q[:, :1].mT)[0, 1] * 3 + (r * r)[0, -1]


@pytest.mark.parametrize("shape", [(3, 3), (3, 4)])
@pytest.mark.parametrize("function", [eigen, singular, triangular])
def test_values_and_gradients(function: Callable[[Any, Any], Any], shape: tuple[int, int]) -> None:
    """What does not depend on signs is the same, and so is its gradient."""
    if function is triangular:
        shape = (max(shape), min(shape))
    data = np.random.default_rng(4).standard_normal(shape)
    found = []
    for lib in (rushlight, torch):
        x = lib.tensor(data, requires_grad=True)
        value = function(lib, x)
        value.backward()
        found.append((value.item(), x.grad.numpy()))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-9)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-8, atol=1e-9)


@pytest.mark.filterwarnings("ignore:torch.qr is deprecated")
@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4)])
def test_older_names(shape: tuple[int, int]) -> None:
    """`svd` and `qr` beside the tensor functions: fields, shapes, and what does not depend on signs."""
    data = np.random.default_rng(2).standard_normal(shape)
    for some in (True, False):
        found = []
        for lib in (rushlight, torch):
            x = lib.tensor(data)
            u, s, v = lib.svd(x, some)
            q, r = x.qr(some)
            k = len(s)
            products = [(u[:, :k] * s) @ v[:, :k].mT, q @ r, s, lib.svd(x, compute_uv=False).S]
            shapes = [tuple(each.shape) for each in (u, s, v, q, r, *lib.svd(x, some, compute_uv=False))]
            found.append((shapes, [each.numpy() for each in products]))
        assert found[0][0] == found[1][0]
        for one, other in zip(found[0][1], found[1][1], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)
    with pytest.raises(RuntimeError, match=r"linalg\.svd: input should have at least 2 dimensions"):
        rushlight.ones(2).svd()
    with pytest.raises(RuntimeError, match=r"linalg\.qr: The input tensor A must have at least 2 dimensions"):
        rushlight.qr(rushlight.ones(2))


def test_full_matrices_are_orthogonal() -> None:
    """The square factors of a rectangular matrix."""
    x = rushlight.tensor(np.random.default_rng(1).standard_normal((2, 4)))
    u, s, vh = rushlight.linalg.svd(x)
    assert u.shape == (2, 2)
    assert vh.shape == (4, 4)
    np.testing.assert_allclose((vh @ vh.mT).numpy(), np.eye(4), atol=1e-12)
    np.testing.assert_allclose(((u * s) @ vh[:2]).numpy(), x.numpy(), atol=1e-12)


def values_only(lib: Any, x: Any) -> Any:
    """Of the full decomposition, what uses singular values only."""
    return (lib.linalg.svd(x).S * lib.tensor([1.0, 2.0], dtype=x.dtype)).sum()


def unique_part(lib: Any, x: Any) -> Any:
    """Of the full decomposition, what the reduced one has too."""
    u, s, vh = lib.linalg.svd(x)
    k = len(s)
    return ((u[:, :k] * s.exp()) @ vh[:k]).pow(2).sum() + (u[:, :1] @ vh[:1])[1, 0]


@pytest.mark.parametrize("shape", [(2, 2), (2, 4), (3, 2)])
@pytest.mark.parametrize("function", [values_only, unique_part])
def test_gradients_of_full_matrices(function: Callable[[Any, Any], Any], shape: tuple[int, int]) -> None:
    """Square factors let gradients through, to the values and to the vectors that are unique."""
    data = np.random.default_rng(6).standard_normal(shape)
    found = []
    for lib in (rushlight, torch):
        x = lib.tensor(data, requires_grad=True)
        function(lib, x).backward()
        found.append(x.grad.numpy())
    np.testing.assert_allclose(found[0], found[1], rtol=1e-9, atol=1e-12)


def test_gradients_of_equal_values() -> None:
    """Where only the values are used, it does not matter that the vectors of equal ones are not unique."""
    for name in ("svdvals", "eigvalsh"):
        found = []
        for lib in (rushlight, torch):
            x = lib.eye(3, dtype=lib.float64, requires_grad=True)
            getattr(lib.linalg, name)(x).sum().backward()
            found.append(x.grad.numpy())
        np.testing.assert_allclose(found[0], found[1])
