"""The three products of a convolution: its result, and its gradients for the input and for the weight.

Each takes two of the three arrays and gives the third, so that each one's gradients are the other two, and
derivatives of any order are closed. A transposed convolution is the one that gives the input. How many places
a kernel has is an argument, not computed: what ``output_padding`` adds at the end may have room for more of
them. Each is a matrix product with columns (`columns.py`), for any number of spatial dimensions and groups.
Arguments are checked in `convolution.py`, not here. Invariant: ``sum(y * convolve(x, w))``, ``sum(x *
convolve_input(y, w))`` and ``sum(w * convolve_weight(x, y))`` are the same number.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from rushlight.dtype import F16
from rushlight.ops.columns import (
    Ints,
    Steps,
    add_up,
    chunks,
    tensor_add_up,
    tensor_columns,
    windows,
)
from rushlight.ops.define import Op
from rushlight.ops.fused import fused
from rushlight.ops.kinds import primitive, renamed
from rushlight.tensor import Tensor

# From so many places on, one product for each sample is as quick as one for all, and nothing is turned.
PLACES_OF_ONE_PRODUCT = 128


# -- on arrays -----------------------------------------------------------------------------------------------


def _wide(array: Any) -> Any:
    """Half precision is added up in float32, as PyTorch does."""
    return array.astype(np.float32) if array is not None and array.dtype is F16 else array


def _add_bias(made: np.ndarray, bias: np.ndarray | None) -> None:
    if bias is not None:
        made += bias.reshape(-1, *(1,) * (made.ndim - 2))


def _sample_inside(read: np.ndarray, dims: int) -> np.ndarray:
    """``(N, C, *kernel, *places)`` as ``(C, *kernel, N, *places)``: the columns of all samples in one row."""
    return read.transpose(*range(1, 2 + dims), 0, *range(2 + dims, 2 + 2 * dims))


def _convolve(
    input: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, *, places: Ints, how: Steps
) -> np.ndarray:
    kind, groups = input.dtype, how.groups
    input, weight, bias = _wide(input), _wide(weight), _wide(bias)
    outputs, kernel, dims = weight.shape[0], weight.shape[2:], weight.ndim - 2
    made = np.empty((len(input), outputs, *places), input.dtype)
    if not made.size:
        return made.astype(kind, copy=False)
    rows, count = weight[0].size, prod(places)
    matrix = weight.reshape(groups, outputs // groups, rows)
    for part in chunks(len(input), groups * rows * count * input.itemsize):
        read, result = windows(input[part], kernel, places, how), made[part]
        number = len(result)
        if count >= PLACES_OF_ONE_PRODUCT or number == 1:
            of_each = read.reshape(number, groups, rows, count)
            np.matmul(matrix, of_each, out=result.reshape(number, groups, outputs // groups, count))
        else:
            columns = _sample_inside(read, dims).reshape(groups, rows, number * count)
            product = np.matmul(matrix, columns)
            result[:] = product.reshape(outputs, number, *places).swapaxes(0, 1)
        _add_bias(result, bias)
    return made.astype(kind, copy=False)


def _convolve_input(
    grad: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, *, spatial: Ints, how: Steps
) -> np.ndarray:
    kind, groups = grad.dtype, how.groups
    grad, weight, bias = _wide(grad), _wide(weight), _wide(bias)
    outputs, kernel, places = grad.shape[1], weight.shape[2:], grad.shape[2:]
    channels = weight.shape[1] * groups
    made = np.empty((len(grad), channels, *spatial), grad.dtype)
    if not made.size:
        return made.astype(kind, copy=False)
    rows, count = weight.shape[1] * prod(kernel), prod(places)
    matrix = weight.reshape(groups, outputs // groups, rows).swapaxes(1, 2)
    for part in chunks(len(grad), groups * rows * count * grad.itemsize):
        given = grad[part]
        number = len(given)
        if count >= PLACES_OF_ONE_PRODUCT or number == 1:
            columns = np.matmul(matrix, given.reshape(number, groups, outputs // groups, count))
            columns = columns.reshape(number, channels, *kernel, *places)
        else:
            turned = given.swapaxes(0, 1).reshape(groups, outputs // groups, number * count)
            columns = np.matmul(matrix, turned).reshape(channels, *kernel, number, *places)
            columns = np.moveaxis(columns, weight.ndim - 1, 0)
        made[part] = add_up(columns, spatial, how)
        _add_bias(made[part], bias)
    return made.astype(kind, copy=False)


def _convolve_weight(input: np.ndarray, grad: np.ndarray, *, kernel: Ints, how: Steps) -> np.ndarray:
    kind, groups = input.dtype, how.groups
    input, grad = _wide(input), _wide(grad)
    channels, outputs = input.shape[1], grad.shape[1]
    places = grad.shape[2:]
    rows, count = channels // groups * prod(kernel), prod(places)
    made = np.zeros((groups, outputs // groups, rows), input.dtype)
    for part in chunks(len(input), groups * rows * count * input.itemsize):
        columns = _sample_inside(windows(input[part], kernel, places, how), len(kernel))
        turned = grad[part].swapaxes(0, 1).reshape(groups, outputs // groups, -1)
        made += np.matmul(turned, columns.reshape(groups, rows, turned.shape[2]).swapaxes(1, 2))
    return made.reshape(outputs, channels // groups, *kernel).astype(kind, copy=False)


# -- in plainer ops, for a step that is recorded -------------------------------------------------------------


def _for_each_sample(matrix: Tensor, samples: int) -> Tensor:
    """The matrices of all groups for each sample, without a copy where there is one group."""
    groups, rows, columns = matrix.shape
    if groups == 1:
        return matrix.expand(samples, rows, columns)
    return matrix.unsqueeze(0).expand(samples, groups, rows, columns).reshape(-1, rows, columns)


def _with_bias(made: Tensor, bias: Tensor | None) -> Tensor:
    return made if bias is None else made + bias.reshape(-1, *(1,) * (made.ndim - 2))


def _convolve_spelled_out(
    input: Tensor, weight: Tensor, bias: Tensor | None, *, places: Ints, how: Steps
) -> Tensor:
    samples, outputs, kernel = input.shape[0], weight.shape[0], tuple(weight.shape[2:])
    columns = tensor_columns(input, kernel, places, how)
    matrix = weight.reshape(how.groups, outputs // how.groups, columns.shape[1])
    product = _for_each_sample(matrix, samples).bmm(columns)
    return _with_bias(product.reshape(samples, outputs, *places), bias)


def _convolve_input_spelled_out(
    grad: Tensor, weight: Tensor, bias: Tensor | None, *, spatial: Ints, how: Steps
) -> Tensor:
    samples, outputs, places = grad.shape[0], grad.shape[1], tuple(grad.shape[2:])
    each, kernel = weight.shape[1], tuple(weight.shape[2:])
    rows = each * prod(kernel)
    matrix = weight.reshape(how.groups, outputs // how.groups, rows).transpose(1, 2)
    given = grad.reshape(samples * how.groups, outputs // how.groups, prod(places))
    columns = _for_each_sample(matrix, samples).bmm(given)
    columns = columns.reshape(samples, each * how.groups, *kernel, *places)
    return _with_bias(tensor_add_up(columns, spatial, how), bias)


def _convolve_weight_spelled_out(input: Tensor, grad: Tensor, *, kernel: Ints, how: Steps) -> Tensor:
    samples, outputs, places = grad.shape[0], grad.shape[1], tuple(grad.shape[2:])
    columns = tensor_columns(input, kernel, places, how)
    given = grad.reshape(samples * how.groups, outputs // how.groups, prod(places))
    each = given.bmm(columns.transpose(1, 2)).reshape(samples, outputs, columns.shape[1])
    return each.sum(0).reshape(outputs, input.shape[1] // how.groups, *kernel)


# -- the ops -------------------------------------------------------------------------------------------------


def _bias_rule(g: Tensor) -> Tensor:
    return g.sum((0, *range(2, g.ndim)))


CONVOLVE: Op = primitive(
    "convolution",
    "opaque",
    _convolve,
    dict(
        input=lambda g, weight, input_shape, how: _input_gradient(
            (g, weight, None), {"spatial": input_shape[2:], "how": how}
        ),
        weight=lambda g, input, weight_shape, how: convolve_weight(
            (input, g), {"kernel": weight_shape[2:], "how": how}
        ),
        bias=_bias_rule,
    ),
)
CONVOLVE_INPUT: Op = primitive(
    "convolution",
    "opaque",
    _convolve_input,
    dict(
        grad=lambda g, weight, grad_shape, how: _result_gradient(
            (g, weight, None), {"places": grad_shape[2:], "how": how}
        ),
        weight=lambda g, grad, weight_shape, how: convolve_weight(
            (g, grad), {"kernel": weight_shape[2:], "how": how}
        ),
        bias=_bias_rule,
    ),
)
CONVOLVE_WEIGHT: Op = primitive(
    "convolution_weight",
    "opaque",
    _convolve_weight,
    dict(
        input=lambda g, grad, input_shape, how: _input_gradient(
            (grad, g, None), {"spatial": input_shape[2:], "how": how}
        ),
        grad=lambda g, input, grad_shape, how: _result_gradient(
            (input, g, None), {"places": grad_shape[2:], "how": how}
        ),
    ),
    node_name="ConvolutionBackwardBackward0",
)
convolve = fused(CONVOLVE, _convolve_spelled_out)
convolve_input = fused(CONVOLVE_INPUT, _convolve_input_spelled_out)
convolve_weight = fused(CONVOLVE_WEIGHT, _convolve_weight_spelled_out)

# The same two as gradients of each other: PyTorch has another name for their nodes.
_result_gradient = fused(renamed(CONVOLVE, CONVOLVE_WEIGHT.node_name), _convolve_spelled_out)
_input_gradient = fused(renamed(CONVOLVE_INPUT, CONVOLVE_WEIGHT.node_name), _convolve_input_spelled_out)
