"""Calls that PyTorch refuses are refused with the same type of error and the same first sentence."""

from __future__ import annotations

import pickle
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rushlight

torch = pytest.importorskip("torch", reason="needs the conformance extra")

FROM_DATA = [
    "torch.tensor([x, x])",
    "torch.tensor((x,))",
    "torch.tensor([[x], [x]])",
    "torch.tensor([1, x])",
    "torch.tensor([x[:0]])",
    "torch.tensor([i, i])",
    "torch.tensor([x, x], dtype=torch.int64)",
    "torch.tensor([i, i], dtype=torch.float64)",
    "torch.tensor([i > 0, i > 0])",
    "torch.tensor([torch.tensor(1.5)], dtype=torch.int32)",
    "torch.as_tensor([x, x])",
    "torch.Tensor([x, x])",
    "torch.tensor(np.ones(2)[::-1])",
    "torch.tensor(np.ones((2, 2))[:, ::-1], dtype=torch.float32)",
    "torch.as_tensor(np.ones(2)[::-1])",
    "torch.asarray(np.ones(2)[::-1])",
    "torch.Tensor(np.ones(2)[::-1])",
    "torch.tensor(np.ones(2, '>f4'))",
    "torch.arange()",
    "torch.arange(1, step=2)",
    "torch.arange(start=1)",
    "torch.arange(3, start=1)",
]


def outcome(library: Any, expression: str) -> Any:
    """What an expression gives in a library: its value, or the name and the first sentence of the error."""
    known = {"torch": library, "np": np, "F": library.nn.functional}
    known |= {"x": library.tensor([0.5, 0.25]), "i": library.tensor([0, 1])}
    try:
        return eval(expression, known)
    except Exception as error:  # noqa: BLE001 - whatever a library raises is what is compared
        return error


def first_sentence(error: Exception) -> str:
    return str(error).split("\n")[0].split(". ")[0].split("(You")[0].rstrip(". ")


def assert_refused_alike(expression: str) -> None:
    ours, theirs = outcome(rushlight, expression), outcome(torch, expression)
    assert isinstance(theirs, Exception), "PyTorch does not refuse it"
    assert isinstance(ours, Exception), f"gives {ours!r}"
    assert type(ours).__name__ == type(theirs).__name__
    said = first_sentence(theirs).split(", but expected")[0]
    assert str(ours).startswith(said), f"{ours} does not begin with {said}"


@pytest.mark.parametrize("expression", FROM_DATA)
def test_tensors_from_data(expression: str) -> None:
    assert_refused_alike(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "torch.tensor([x[:1], i[:1]])",
        "torch.tensor([x[:1].reshape(1, 1), 2])",
        "torch.tensor([[1, 2], x])",
        "torch.tensor([[1, 2], [x[0], x[1]]])",
        "torch.tensor([np.ones(2), x])",
        "torch.tensor([torch.tensor(True), torch.tensor(2)])",
        "torch.tensor(np.ones((2, 3)).T)",
    ],
)
@pytest.mark.filterwarnings("ignore:Creating a tensor from a list of numpy")
def test_tensors_of_one_element_are_numbers(expression: str) -> None:
    ours, theirs = outcome(rushlight, expression), outcome(torch, expression)
    assert ours.tolist() == theirs.tolist() and str(ours.dtype) == str(theirs.dtype)


LINEAR_ALGEBRA = [
    *(
        f"torch.{name}(torch.eye(2, dtype=torch.{kind}))"
        for name in ("det", "slogdet", "logdet", "inverse", "cholesky", "linalg.det", "linalg.slogdet")
        for kind in ("int64", "bool", "float16")
    ),
    *(
        f"torch.linalg.{name}(torch.eye(2, dtype=torch.{kind}))"
        for name in ("inv", "svd", "svdvals", "eigh", "eigvalsh", "qr", "cholesky")
        for kind in ("int64", "float16")
    ),
    "torch.linalg.solve(torch.eye(2).long(), torch.eye(2).long())",
    "torch.linalg.solve(torch.eye(2).half(), torch.eye(2).half())",
    "torch.linalg.solve(torch.eye(2), torch.eye(2).double())",
    "torch.linalg.svd(x)",
    "torch.linalg.qr(x)",
    "torch.linalg.qr(torch.eye(2), mode='all')",
    "torch.linalg.eigh(torch.eye(2), UPLO='X')",
    "torch.linalg.inv(torch.zeros(2, 2))",
    "torch.linalg.inv(torch.tensor([[1.0, 2.0], [2.0, 4.0]]))",
    "torch.linalg.inv(torch.tensor([[0.0, 2.0, 1.0], [1.0, 2.0, 3.0], [2.0, 6.0, 7.0]]))",
    "torch.linalg.inv(torch.stack([torch.eye(2), torch.zeros(2, 2)]))",
    "torch.inverse(torch.zeros(3, 3))",
    "torch.linalg.matrix_power(torch.zeros(2, 2), -1)",
    "torch.linalg.solve(torch.zeros(2, 2), torch.ones(2))",
    "torch.linalg.solve(torch.stack([torch.eye(2), torch.zeros(2, 2)]), torch.ones(2, 2, 1))",
    "torch.linalg.cholesky(-torch.eye(2))",
    "torch.linalg.cholesky(torch.tensor([[1.0, 2.0], [2.0, 1.0]]))",
    "torch.linalg.cholesky(torch.stack([torch.eye(2), -torch.eye(2)]))",
    "torch.cholesky(-torch.eye(2))",
    "torch.linalg.svd(torch.full((2, 2), float('nan')))",
]


@pytest.mark.parametrize("expression", LINEAR_ALGEBRA)
@pytest.mark.filterwarnings("ignore:torch.cholesky is deprecated")
def test_linear_algebra(expression: str) -> None:
    assert_refused_alike(expression)


def test_a_matrix_that_cannot_be_factored_raises_the_error_of_linalg() -> None:
    with pytest.raises(rushlight.linalg.LinAlgError):
        rushlight.linalg.inv(rushlight.zeros(2, 2))


@pytest.mark.parametrize("expression", ["torch.exp(1)", "torch.exp('a')", "torch.add('a', x)"])
def test_arguments_of_another_type(expression: str) -> None:
    ours = outcome(rushlight, expression)
    assert traceback.format_exception_only(ours)[-1].startswith("TypeError: ")
    assert type(pickle.loads(pickle.dumps(ours))) is TypeError
    if expression != "torch.add('a', x)":  # PyTorch lists the signatures there
        assert_refused_alike(expression)


@pytest.mark.parametrize("content", [b"", b'{"a": 1}', b"\x00"])
def test_files_that_are_no_checkpoints(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(EOFError if not content else pickle.UnpicklingError) as theirs:
        torch.load(path, weights_only=bool(content))
    with pytest.raises(theirs.type) as ours:
        rushlight.load(path)
    assert str(ours.value).startswith(first_sentence(theirs.value))


@pytest.mark.parametrize("location", ["cuda", "cuda:0", {"cpu": "cuda"}, "xpu"])
def test_devices_that_are_not_there(tmp_path: Path, location: Any) -> None:
    torch.save(torch.ones(2), tmp_path / "file.pt")
    errors = []
    for library in (torch, rushlight):
        with pytest.raises(RuntimeError, match="Attempting to deserialize") as raised:
            library.load(tmp_path / "file.pt", map_location=location)
        errors.append(str(raised.value))
    assert errors[0] == errors[1]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    for library in (torch, rushlight):
        for name in (tmp_path / "no" / "a.pt", "no/such/a.pt"):
            with pytest.raises(RuntimeError, match=r"Parent directory .*(no|such) does not exist\.$"):
                library.save(library.ones(1), name)


ARGUMENTS = [
    "torch.full(2, 3)",
    "torch.full((2,), torch.tensor([3]))",
    "torch.full((2,), 'a')",
    "torch.full((2,), None)",
    "torch.full_like(x, 'a')",
    "x.new_full(2, 3)",
    "torch.linspace(3, 10, 5.0)",
    "torch.linspace('a', 3, 2)",
    "torch.ones(2, 3, dtype=torch.int, out=torch.empty(2, 3))",
    "torch.arange(3, dtype=torch.int, out=torch.empty(3))",
    "torch.eye(2, dtype=torch.int, out=torch.empty(2, 2))",
    "torch.ones(2, requires_grad='a')",
    "torch.tensor([1.0], requires_grad=1)",
    "torch.tensor([1, 2], requires_grad=True)",
    "torch.zeros_like(x, requires_grad=1)",
    "x.requires_grad_(1)",
    "torch.dist(x, 2.5)",
    "torch.dist(2.0, x)",
    "torch.fmod(7, x)",
    "torch.rsub(0, x)",
    "(x > 0) @ (x > 0)",
    "torch.eye(2).bool() @ torch.eye(2).bool()",
    "torch.eye(2).bool() @ (x > 0)",
    "torch.bincount(i > 0)",
    "torch.bincount(x)",
    "torch.bincount(i, weights=x[:1])",
    "torch.histc(torch.tensor([1.0, float('inf')]))",
    "torch.zeros(0, 3).unique(dim=1)",
    "torch.nn.Linear(2, 1).to(torch.float64, device='cpu')",
    "torch.where(x > 0, 1.0, 2.0, out=torch.empty(2))",
    "torch.where(x > 0, x, 2.0, out=torch.empty(2))",
    "F.nll_loss(torch.zeros(2, 3, dtype=torch.int), i)",
    "F.nll_loss(torch.zeros(2, 3, 4, dtype=torch.bool), torch.zeros(2, 4).long())",
    "torch.ones(3, 4)[..., ..., 0]",
    "torch.ones(3, 4)[..., ..., :-1]",
    "torch.ones(3, 4)[..., ..., None]",
    "torch.ones(3, 4)[..., ..., [0]]",
    "torch.outer(x, torch.ones(2, 3))",
    "i @ x",
]
ARGUMENTS += [
    *(f"torch.tensor({data})" for data in ("['a', 'b']", "[['a']]", "'a'", "[1, 'a']", "b'ab'", "[b'ab']")),
    *(
        f"torch.tensor({data})"
        for data in ("[1, [2]]", "[1.0, [2]]", "[1, (2,)]", "[None]", "[1, None]", "[{}]")
    ),
    *(f"torch.tensor([None], dtype=torch.{kind})" for kind in ("float", "long")),
    "torch.Tensor([None])",
    "torch.LongTensor([float('nan')])",
    "torch.tensor([float('nan')], dtype=torch.long)",
    "torch.tensor([float('inf')], dtype=torch.int)",
    "torch.tensor([1.5, 1e30], dtype=torch.int)",
    "torch.tensor([300.0], dtype=torch.uint8)",
    "torch.tensor([-1.0], dtype=torch.uint8)",
    "torch.zeros(0, 3).mode(0)",
    "x.clamp(0, 'a')",
    "x.masked_fill(x > 0, 'a')",
    "x.masked_fill_(x > 0, None)",
    "x.__delitem__(0)",
    "torch.nn.Embedding(3, 2, max_norm=1)(x)",
    "torch.nn.BatchNorm1d(3)(torch.ones(4, 3).int())",
    "F.batch_norm(torch.ones(4, 3).long(), None, None, training=True)",
]
STRANGERS = [
    *(f"torch.{name}([1, 2])" for name in ("sort", "zeros_like", "ones_like", "empty_like", "median", "det")),
    "torch.topk([1, 2], 1)",
    "torch.outer([1], [2])",
    "torch.full_like([1], 2)",
    "torch.matmul(np.ones((2, 2)), torch.ones(2, 2))",
    "torch.dot([1], [2])",
    "torch.einsum('i,i', [1], [2])",
    "torch.kthvalue([1, 2], 1)",
    "torch.trace([1])",
    "torch.addmm([1], x, x)",
    "F.layer_norm('a', (3,))",
    "x.copy_(np.ones(2))",
]


@pytest.mark.parametrize("expression", [*ARGUMENTS, *STRANGERS])
def test_arguments(expression: str) -> None:
    assert_refused_alike(expression)


def test_several_ellipses_that_stand_for_nothing() -> None:
    for index in ("..., ...", "0, ..., ...", "..., 0, ...", "..., None, ...", "..., [0], ..."):
        expression = f"torch.ones(3, 4)[{index}]"
        ours, theirs = outcome(rushlight, expression), outcome(torch, expression)
        assert ours.tolist() == theirs.tolist()
