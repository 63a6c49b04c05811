"""Looking things up: rows of a table (`embedding`), places in a sorted sequence, membership, `one_hot`.

Invariant: a number that has no row, or no class, is an error; nothing wraps around.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rushlight.autograd.mode import reading
from rushlight.dtype import I64, result_type_of
from rushlight.ops.accumulate import add_rows
from rushlight.ops.arguments import array_of
from rushlight.ops.copies import tensor_type
from rushlight.ops.define import TITLES, Op, apply
from rushlight.ops.gather import first_outside
from rushlight.ops.kinds import primitive, public
from rushlight.ops.samples import Sample, T
from rushlight.tensor import Tensor

# -- embedding -----------------------------------------------------------------------------------------------


def _embedding(
    weight: np.ndarray, indices: np.ndarray, *, padding_idx: int, scale_grad_by_freq: bool
) -> np.ndarray:
    bad = first_outside(indices, len(weight))
    if bad is not None:
        raise IndexError(
            f"index out of range in self: there is no row {bad} in a table of {len(weight)} rows"
        )
    return weight.take(indices, 0) if weight.flags.c_contiguous else weight[indices]


def _embedding_backward(
    grad: np.ndarray, indices: np.ndarray, *, rows: int, padding_idx: int, scale_grad_by_freq: bool
) -> np.ndarray:
    numbers = indices.reshape(-1)
    grad = grad.reshape(numbers.size, grad.shape[-1])
    whole = np.zeros((rows, grad.shape[1]), grad.dtype)
    if padding_idx >= 0:
        kept = numbers != padding_idx
        if not kept.all():
            numbers, grad = numbers[kept], grad[kept]
    if scale_grad_by_freq:
        grad = grad / np.bincount(numbers, minlength=rows)[numbers, None].astype(grad.dtype)
    add_rows(whole, numbers, grad)
    return whole


def _looked_up_again(g: Tensor, indices: Tensor, padding_idx: int, scale_grad_by_freq: bool) -> Tensor:
    """The derivative of the gradient: the rows that were added up, but for the padding row."""
    if scale_grad_by_freq:
        raise RuntimeError("embedding(): double backward is not supported with scale_grad_by_freq")
    found = embedding(g, indices)
    return found if padding_idx < 0 else found.masked_fill(indices.eq(padding_idx).unsqueeze(-1), 0)


EMBEDDING: Op = primitive(
    "embedding",
    "indexed",
    _embedding,
    dict(
        weight=lambda g, indices, weight_shape, padding_idx, scale_grad_by_freq: apply(
            EMBEDDING_BACKWARD,
            (g, indices),
            {"rows": weight_shape[0], "padding_idx": padding_idx, "scale_grad_by_freq": scale_grad_by_freq},
        )
    ),
)
EMBEDDING_BACKWARD: Op = primitive(
    "embedding_dense_backward",
    "indexed",
    _embedding_backward,
    dict(
        grad=lambda g, indices, padding_idx, scale_grad_by_freq: _looked_up_again(
            g, indices, padding_idx, scale_grad_by_freq
        )
    ),
)


def _rows(values: Any, dtype: str = "int64") -> T:
    return T((), dtype, values=values)


def _embedding_samples() -> list[Sample]:
    table, rows = T((4, 3)), _rows([[1, 3], [1, 0]])
    found = [
        Sample([table, rows]),
        Sample([table, _rows(2)]),
        Sample([table, _rows([0, 1], "int32")]),
        Sample([table, rows, 1]),
    ]
    found += [
        Sample([table, rows, -1, True], second=False, why="PyTorch has no second derivative"),
        Sample([table, T((0, 2), "int64")]),
    ]
    found += [Sample([T((50, 40)), T((40,), "int64", low=0, high=50)]), Sample([T((4, 3), "float16"), rows])]
    refused = [
        (table, _rows([4])),
        (table, _rows([-1])),
        (table, T((2,))),
        (table, _rows([0], "int16")),
        (T((3,)), rows),
    ]
    return found + [Sample(each, raises=True) for each in refused]


@public(EMBEDDING, samples=_embedding_samples, method=False)
def embedding(
    weight: Tensor,
    indices: Tensor,
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """The rows of `weight` with the numbers `indices`: for numbers of shape (*), a shape of (*, columns).

    The row `padding_idx` gets no gradient (-1: none such); with `scale_grad_by_freq` each row's gradient is
    divided by how often the row was looked up. `sparse` gradients are not supported.

    >>> import rushlight as torch
    >>> torch.embedding(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([1, 0, 1]))
    tensor([[3., 4.],
            [1., 2.],
            [3., 4.]])
    """
    if sparse:
        raise NotImplementedError("embedding(): sparse=True is not supported: gradients are dense")
    table, numbers = array_of("embedding", weight, "weight"), array_of("embedding", indices, "indices", 2)
    if table.ndim != 2:
        raise RuntimeError("'weight' must be 2-D")
    if numbers.dtype != I64 and numbers.dtype != np.dtype(np.int32):
        raise RuntimeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, "
            f"Int; but got {tensor_type(indices)} instead (while checking arguments for embedding)"
        )
    params = {"padding_idx": padding_idx, "scale_grad_by_freq": scale_grad_by_freq}
    return apply(EMBEDDING, (weight, indices), params)


# -- one_hot -------------------------------------------------------------------------------------------------


def _one_hot(input: np.ndarray, *, num_classes: int) -> np.ndarray:
    if input.size and np.minimum.reduce(input, axis=None) < 0:
        raise RuntimeError("Class values must be non-negative.")
    if num_classes == -1:
        num_classes = int(input.max()) + 1
    elif input.size and np.maximum.reduce(input, axis=None) >= num_classes:
        raise RuntimeError(
            f"Class values must be smaller than num_classes. There is a class {input.max()}, and "
            f"num_classes is {num_classes}"
        )
    whole = np.zeros((input.size, num_classes), np.int64)
    whole[np.arange(input.size), input.reshape(-1)] = 1
    return whole.reshape(*input.shape, num_classes)


ONE_HOT = primitive("one_hot", "indexed", _one_hot)


def _one_hot_samples() -> list[Sample]:
    found = [
        Sample([_rows([[0, 2], [1, 1]])]),
        Sample([_rows([0, 2]), 5]),
        Sample([_rows(2), 4]),
        Sample([T((0,), "int64"), 3]),
    ]
    refused = [
        (_rows([3]), 3),
        (_rows([-1]),),
        (T((2,)),),
        (_rows([1], "int32"),),
        (T((0,), "int64"),),
        (_rows([0]), 0),
    ]
    return found + [Sample(each, raises=True) for each in refused]


@public(ONE_HOT, samples=_one_hot_samples, method=False, torch_name="nn.functional.one_hot")
def one_hot(input: Tensor, num_classes: int = -1) -> Tensor:
    """Class numbers of shape (*) as int64 rows of zeros with a one at that place, shape (*, num_classes).

    Without `num_classes`, there are as many as the largest number needs.

    >>> import rushlight as torch
    >>> torch.nn.functional.one_hot(torch.tensor([0, 2]))
    tensor([[1, 0, 0],
            [0, 0, 1]])
    """
    array = array_of("one_hot", input)
    if array.dtype != I64:
        raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor.")
    if array.size == 0 and num_classes <= 0:
        raise RuntimeError("Can not infer total number of classes from empty tensor.")
    if num_classes == -1:
        reading("one_hot() without num_classes", input)
    return apply(ONE_HOT, (input,), {"num_classes": num_classes})


# -- sorted sequences ----------------------------------------------------------------------------------------


def _searchsorted(sorted_sequence: np.ndarray, input: Any, *, right: bool, dtype: np.dtype) -> np.ndarray:
    side: Any = "right" if right else "left"
    values = np.asarray(input)
    if sorted_sequence.ndim == 1:
        return np.searchsorted(sorted_sequence, values, side).astype(dtype)
    rows = sorted_sequence.reshape(-1, sorted_sequence.shape[-1])
    wanted = values.reshape(len(rows), -1)
    found = [np.searchsorted(row, each, side) for row, each in zip(rows, wanted, strict=True)]
    return np.array(found, dtype).reshape(values.shape)


SEARCHSORTED = primitive("searchsorted", "opaque", _searchsorted)


def _search_samples() -> list[Sample]:
    sorted_row = T((), "float32", values=[1.0, 2.0, 2.0, 5.0])
    wanted = T((), "float32", values=[[0.0, 2.0], [5.0, 9.0]])
    rows = T((), "float32", values=[[1.0, 3.0, 5.0], [2.0, 4.0, 6.0]])
    found = [
        Sample([sorted_row, wanted]),
        Sample([sorted_row, wanted], {"right": True}),
        Sample([sorted_row, 2.0], {"side": "right"}),
    ]
    found += [
        Sample([rows, wanted]),
        Sample([sorted_row, T((), "int64", values=2)], {"out_int32": True}),
        Sample([T((0,)), wanted]),
    ]
    order = T((), "int64", values=[3, 1, 2, 0])
    found.append(Sample([T((), "float32", values=[5.0, 2.0, 2.0, 1.0]), wanted], {"sorter": order}))
    refused: list[tuple[Any, Any]] = [
        ([sorted_row, wanted], {"side": "left", "right": True}),
        ([sorted_row, wanted], {"side": "x"}),
        ([rows, 1.0], {}),
    ]
    refused += [
        ([rows, T((3,))], {}),
        ([T(()), wanted], {}),
        ([sorted_row, wanted], {"sorter": T((2,), "int64")}),
    ]
    refused += [
        ([sorted_row, wanted], {"sorter": T((4,))}),
        ([sorted_row, wanted], {"sorter": T((), "int64", values=[0, 1, 2, 9])}),
    ]
    return found + [Sample(args, kwargs, raises=True) for args, kwargs in refused]


@public(SEARCHSORTED, samples=_search_samples, method=False)
def searchsorted(
    sorted_sequence: Tensor,
    input: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
    out: Any = None,
) -> Tensor:
    """Where each value of `input` would go in a sequence that rises along its last dimension.

    Args:
        sorted_sequence: one row, or as many as `input` has.
        input: a number or a tensor.
        out_int32: give int32 instead of int64.
        right: go behind equal elements instead of before them.
        side: "right" or "left", the same said otherwise.
        sorter: indices that sort `sorted_sequence`, if it is not sorted itself.
        out: a tensor for the result.

    >>> import rushlight as torch
    >>> torch.searchsorted(torch.tensor([1, 3, 5]), torch.tensor([3, 6]))
    tensor([1, 3])
    """
    name = "torch.searchsorted()"
    sequence = array_of("searchsorted", sorted_sequence, "sorted_sequence")
    if side not in (None, "left", "right"):
        raise RuntimeError(f"{name}: side can only be 'left' or 'right' but got {side}")
    if side == "left" and right:
        raise RuntimeError(
            f"{name}: side and right can't be set to opposites, got side of left while right was True"
        )
    if sequence.ndim == 0:
        raise RuntimeError(f"{name}: boundaries tensor should have positive dimension, but got 0 dimension")
    shape = input._array.shape if isinstance(input, Tensor) else ()
    if sequence.ndim > 1 and not shape:
        raise RuntimeError(
            f"{name}: input value can be a scalar only when boundaries tensor dimension is 1, but we got "
            f"boundaries tensor dim({sequence.ndim}) and input value's dim(0) numel(1)"
        )
    if sequence.ndim > 1 and sequence.shape[:-1] != shape[:-1]:
        raise RuntimeError(
            f"{name}: boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries "
            "tensor and input value tensor must match, but we got boundaries tensor "
            f"{list(sequence.shape)} and input value tensor {list(shape)}"
        )
    if sorter is not None:
        sorted_sequence = _in_order(sorted_sequence, sorter)
    params = {"right": right or side == "right", "dtype": np.dtype(np.int32) if out_int32 else I64}
    return apply(SEARCHSORTED, (sorted_sequence, input), params, out)


def _in_order(sequence: Tensor, sorter: Tensor) -> Tensor:
    name, order = "torch.searchsorted()", array_of("searchsorted", sorter, "sorter", 3)
    if order.shape != sequence._array.shape:
        raise RuntimeError(
            f"{name}: boundary and sorter must have the same size, but got boundary tensor "
            f"{list(sequence.shape)}and got sorter tensor {list(order.shape)}"
        )
    if order.dtype != I64:
        raise RuntimeError(
            f"{name}: sorter must be a tensor of long dtype but got dtype {TITLES[sorter.dtype.name]}"
        )
    if first_outside(order, order.shape[-1]) is not None:
        raise RuntimeError(f"{name}: sorter index out of range")
    return sequence.gather(-1, sorter)


def _bucketize_samples() -> list[Sample]:
    bounds = T((), "float32", values=[1.0, 2.0, 5.0])
    wanted = T((), "float32", values=[[0.0, 2.0], [5.0, 9.0]])
    found = [
        Sample([wanted, bounds]),
        Sample([wanted, bounds], {"right": True}),
        Sample([2.0, bounds], {"out_int32": True}),
    ]
    return [*found, Sample([T((2,), "int64"), bounds]), Sample([wanted, T((2, 2))], raises=True)]


@public(SEARCHSORTED, samples=_bucketize_samples, method=False)
def bucketize(
    input: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False, out: Any = None
) -> Tensor:
    """The number of the bucket, between rising boundaries, that each value falls into.

    With `right`, a bucket holds its left boundary instead of its right one.

    >>> import rushlight as torch
    >>> torch.bucketize(torch.tensor([1, 4, 9]), torch.tensor([3, 6]))
    tensor([0, 1, 2])
    """
    ndim = array_of("bucketize", boundaries, "boundaries", 2).ndim
    if ndim != 1:
        raise RuntimeError(f"boundaries tensor must be 1 dimension, but got dim({ndim})")
    return searchsorted(boundaries, input, out_int32=out_int32, right=right, out=out)


# -- membership ----------------------------------------------------------------------------------------------


def _isin(elements: Any, test_elements: Any, *, invert: bool) -> np.ndarray:
    kind = result_type_of([elements, test_elements]).numpy
    return np.isin(np.asarray(elements, kind), np.asarray(test_elements, kind), invert=invert)


ISIN = primitive("isin", "opaque", _isin)


def _isin_samples() -> list[Sample]:
    some = T((), "int64", values=[[1, 2], [3, 1]])
    found = [
        Sample([some, T((), "int64", values=[1, 5])]),
        Sample([some, 1]),
        Sample([3, some]),
        Sample([some, T((0,), "int64")]),
    ]
    found += [
        Sample([some, T((), "float32", values=[1.0, 1.5])]),
        Sample([some, some], {"invert": True, "assume_unique": True}),
    ]
    return [
        *found,
        Sample([T((), "float32", values=[float("nan")]), T((), "float32", values=[float("nan")])]),
    ]


@public(ISIN, samples=_isin_samples, method=False)
def isin(
    elements: Any = None,
    test_elements: Any = None,
    *,
    assume_unique: bool = False,
    invert: bool = False,
    out: Any = None,
    element: Any = None,
    test_element: Any = None,
) -> Tensor:
    """Whether each of `elements` is (with `invert`: is not) among `test_elements`; one may be a number.

    `assume_unique` promises that neither repeats elements; the result is the same. `element` and
    `test_element` are other names for the one that is a number.

    >>> import rushlight as torch
    >>> torch.isin(torch.tensor([1, 2, 3]), torch.tensor([2, 9]))
    tensor([False,  True, False])
    """
    elements = element if elements is None else elements
    test_elements = test_element if test_elements is None else test_elements
    if not isinstance(elements, Tensor) and not isinstance(test_elements, Tensor):
        kinds = f"{type(elements).__name__}, {type(test_elements).__name__}"
        raise TypeError(
            f"isin() received an invalid combination of arguments - got ({kinds}): one must be a Tensor"
        )
    return apply(ISIN, (elements, test_elements), {"invert": invert}, out)
