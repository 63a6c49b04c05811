"""Convolutions as ops: three sums over the same products, each of which is what the others' gradients are.

An image, a kernel and a result meet in products ``image[n, c, p * stride + k * dilation - padding] * weight[
o, c, k] * result[n, o, p]``. Summed over image and kernel they make the result, over result and kernel the
image (which is what PyTorch calls a transposed convolution), over result and image the kernel. So second
derivatives need nothing more. Sums are products of matrices: windows of the image are copied to columns (see
`sliding`), when eager those of some samples at a time, so that columns stay in the caches. Arguments are
checked in `conv`. Invariant: images are ``(samples, channels, *size)``, with a batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from rushlight.dtype import BOOL_NUMPY, F16
from rushlight.ops.define import Op
from rushlight.ops.fused import fused
from rushlight.ops.kinds import primitive, renamed
from rushlight.ops.matmul import bmm, mm
from rushlight.ops.sliding import (
    Sliding,
    add_columns,
    column_tensor,
    columns,
    image_of_columns,
    surrounded,
)
from rushlight.tensor import Tensor

NEAR = 1 << 20  # bytes of columns at a time
FEW = 8  # samples, that are better done one by one than side by side

Numbers = tuple[int, ...]
Rules = dict[str, Callable[..., Any]]


# -- arrays --------------------------------------------------------------------------------------------------


def _batches(samples: int, bytes_of_one: int) -> Iterator[slice]:
    """Samples whose columns are made together: many, or one at a time."""
    together = min(NEAR // max(bytes_of_one, 1), samples)
    if together < FEW:
        together = 1
    for first in range(0, samples, together):
        yield slice(first, min(first + together, samples))


def _matrices(result: np.ndarray, groups: int) -> np.ndarray:
    """A result as a matrix for each group: its channels, and all samples at all places."""
    samples, channels, *places = result.shape
    return np.moveaxis(result, 0, -1).reshape(groups, channels // groups, math.prod(places) * samples)


def _computing_in_single(forward: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """Half precision is computed in single precision and rounded once; there is nothing for bools."""

    def computed(*operands: np.ndarray, **params: Any) -> np.ndarray:
        if operands[0].dtype is F16:
            return forward(*(each.astype(np.float32) for each in operands), **params).astype(F16)
        if operands[0].dtype is BOOL_NUMPY:
            dims = operands[0].ndim - 2
            raise NotImplementedError(f"\"slow_conv{max(dims, 2)}d_cpu\" not implemented for 'Bool'")
        return forward(*operands, **params)

    return computed


def _convolve(input: np.ndarray, weight: np.ndarray, *bias: np.ndarray, groups: int, **how: Numbers) -> Any:
    sliding = Sliding(weight.shape[2:], **how)
    samples, channels = input.shape[:2]
    places = sliding.places(input.shape[2:])
    outputs, area, depth = weight.shape[0], math.prod(places), channels // groups * sliding.elements
    made = np.empty((samples, outputs, *places), input.dtype)
    matrices = weight.reshape(groups, outputs // groups, depth)
    for some in _batches(samples, groups * depth * area * input.itemsize):
        found = columns(surrounded(input[some], sliding), sliding, places)
        product = np.matmul(matrices, found.reshape(groups, depth, -1))
        product = product.reshape(outputs, *places, -1)
        if bias:
            product += bias[0].reshape(-1, *[1] * (len(places) + 1))
        made[some] = np.moveaxis(product, -1, 0)
    return made


def _transpose(
    input: np.ndarray, weight: np.ndarray, *bias: np.ndarray, groups: int, size: Numbers, **how: Numbers
) -> Any:
    sliding = Sliding(weight.shape[2:], **how)
    samples, outputs, *places = input.shape
    channels, area = weight.shape[1] * groups, math.prod(places)
    depth = weight.shape[1] * sliding.elements
    made = np.empty((samples, channels, *size), input.dtype)
    matrices = weight.reshape(groups, outputs // groups, depth).swapaxes(1, 2)
    for some in _batches(samples, groups * depth * area * input.itemsize):
        count = some.stop - some.start
        found = np.matmul(matrices, _matrices(input[some], groups))
        image = np.zeros((channels, *sliding.sizes_around(size), count), input.dtype)
        add_columns(found.reshape(channels, *sliding.kernel, *places, count), image, sliding, places)
        made[some] = np.moveaxis(image[(slice(None), *sliding.within(size))], -1, 0)
    if bias:
        made += bias[0].reshape(-1, *[1] * len(size))
    return made


def _correlate(
    input: np.ndarray, grad: np.ndarray, *, groups: int, kernel: Numbers, **how: Numbers
) -> np.ndarray:
    sliding = Sliding(kernel, **how)
    samples, channels = input.shape[:2]
    outputs, *places = grad.shape[1:]
    area, depth = math.prod(places), channels // groups * sliding.elements
    made = np.zeros((groups, outputs // groups, depth), input.dtype)
    for some in _batches(samples, groups * depth * area * input.itemsize):
        found = columns(surrounded(input[some], sliding), sliding, places).reshape(groups, depth, -1)
        made += np.matmul(_matrices(grad[some], groups), found.swapaxes(1, 2))
    return made.reshape(outputs, channels // groups, *kernel)


# -- spelled out ---------------------------------------------------------------------------------------------


def _matrices_of(result: Tensor, groups: int) -> Tensor:
    """`_matrices` of a tensor, with places side by side instead of samples."""
    samples, channels, *places = result.shape
    apart = result.reshape(samples, groups, channels // groups, math.prod(places))
    return apart.permute(1, 2, 0, 3).reshape(groups, channels // groups, samples * math.prod(places))


def _product(left: Tensor, right: Tensor) -> Tensor:
    """Products of matrices, one for each group; a single one needs no batch."""
    if left.shape[0] == 1:
        return mm(left.squeeze(0), right.squeeze(0)).unsqueeze(0)
    return bmm(left, right)


def _convolve_spelled_out(
    input: Tensor, weight: Tensor, *bias: Tensor, groups: int, **how: Numbers
) -> Tensor:
    sliding = Sliding(tuple(weight.shape[2:]), **how)
    samples, channels, *size = input.shape
    places = sliding.places(size)
    outputs, area, depth = weight.shape[0], math.prod(places), channels // groups * sliding.elements
    found = column_tensor(input, sliding, places)
    if groups == 1:  # a product for each sample, so that results come in their order
        matrices = weight.reshape(1, outputs, depth).expand(samples, outputs, depth)
        made = bmm(matrices, found.reshape(depth, samples, area).transpose(0, 1))
    else:
        matrices = weight.reshape(groups, outputs // groups, depth)
        product = bmm(matrices, found.reshape(groups, depth, samples * area))
        made = product.reshape(outputs, samples, area).transpose(0, 1).contiguous()
    if bias:
        made = made + bias[0].reshape(1, outputs, 1)
    return made.reshape(samples, outputs, *places)


def _transpose_spelled_out(
    input: Tensor, weight: Tensor, *bias: Tensor, groups: int, size: Numbers, **how: Numbers
) -> Tensor:
    sliding = Sliding(tuple(weight.shape[2:]), **how)
    samples, outputs, *places = input.shape
    channels, depth = weight.shape[1] * groups, weight.shape[1] * sliding.elements
    matrices = weight.reshape(groups, outputs // groups, depth).transpose(1, 2)
    found = _product(matrices, _matrices_of(input, groups))
    found = found.reshape(channels, *sliding.kernel, samples, *places)
    made = image_of_columns(found, sliding, places, (samples, channels, *size))
    return made + bias[0].reshape(-1, *[1] * len(size)) if bias else made


def _correlate_spelled_out(
    input: Tensor, grad: Tensor, *, groups: int, kernel: Numbers, **how: Numbers
) -> Tensor:
    sliding = Sliding(kernel, **how)
    samples, channels = input.shape[:2]
    outputs, *places = grad.shape[1:]
    depth = channels // groups * sliding.elements
    found = column_tensor(input, sliding, places).reshape(groups, depth, samples * math.prod(places))
    made = _product(_matrices_of(grad, groups), found.transpose(1, 2))
    return made.reshape(outputs, channels // groups, *kernel)


# -- ops -----------------------------------------------------------------------------------------------------


def _how(stride: Numbers, padding: Numbers, dilation: Numbers, groups: int) -> dict[str, Any]:
    return {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


def _image_gradient(
    g: Tensor,
    weight: Tensor,
    input_shape: Numbers,
    stride: Numbers,
    padding: Numbers,
    dilation: Numbers,
    groups: int,
) -> Tensor:
    how = _how(stride, padding, dilation, groups)
    return _BACKWARD[1]((g, weight), {**how, "size": tuple(input_shape[2:])})


def _weight_gradient(
    g: Tensor,
    input: Tensor,
    weight_shape: Numbers,
    stride: Numbers,
    padding: Numbers,
    dilation: Numbers,
    groups: int,
) -> Tensor:
    how = _how(stride, padding, dilation, groups)
    return correlate((input, g), {**how, "kernel": tuple(weight_shape[2:])})


def _bias_gradient(g: Tensor) -> Tensor:
    return g.sum((0, *range(2, g.dim())))


def _result_gradient(
    g: Tensor, weight: Tensor, stride: Numbers, padding: Numbers, dilation: Numbers, groups: int
) -> Tensor:
    return _BACKWARD[0]((g, weight), _how(stride, padding, dilation, groups))


def _transposed_weight_gradient(
    g: Tensor,
    input: Tensor,
    weight_shape: Numbers,
    stride: Numbers,
    padding: Numbers,
    dilation: Numbers,
    groups: int,
) -> Tensor:
    how = _how(stride, padding, dilation, groups)
    return correlate((g, input), {**how, "kernel": tuple(weight_shape[2:])})


def _correlated_image_gradient(
    g: Tensor,
    grad: Tensor,
    input_shape: Numbers,
    stride: Numbers,
    padding: Numbers,
    dilation: Numbers,
    groups: int,
) -> Tensor:
    how = _how(stride, padding, dilation, groups)
    return _BACKWARD[1]((grad, g), {**how, "size": tuple(input_shape[2:])})


def _correlated_result_gradient(
    g: Tensor, input: Tensor, stride: Numbers, padding: Numbers, dilation: Numbers, groups: int
) -> Tensor:
    return _BACKWARD[0]((input, g), _how(stride, padding, dilation, groups))


def _forward_op(forward: Callable[..., Any], rules: Rules, inputs: tuple[str, ...]) -> Op:
    """One of the two ops that users call, under PyTorch's name for both."""
    return primitive(
        "convolution",
        "opaque",
        _computing_in_single(forward),
        {name: rule for name, rule in rules.items() if name in inputs},
        inputs=inputs,
        node_name="ConvolutionBackward0",
    )


_INPUTS = ("input", "weight"), ("input", "weight", "bias")
_RULES: Rules = dict(input=_image_gradient, weight=_weight_gradient, bias=_bias_gradient)
_TRANSPOSED_RULES: Rules = dict(
    input=_result_gradient, weight=_transposed_weight_gradient, bias=_bias_gradient
)
CONVOLUTIONS = tuple(_forward_op(_convolve, _RULES, inputs) for inputs in _INPUTS)
TRANSPOSED = tuple(_forward_op(_transpose, _TRANSPOSED_RULES, inputs) for inputs in _INPUTS)
CORRELATION = primitive(
    "convolution_backward",
    "opaque",
    _computing_in_single(_correlate),
    dict(input=_correlated_image_gradient, grad=_correlated_result_gradient),
    inputs=("input", "grad"),
    node_name="ConvolutionBackwardBackward0",
)

# Without a bias and with one: functions of the inputs and the params.
convolve = tuple(fused(op, _convolve_spelled_out) for op in CONVOLUTIONS)
transpose = tuple(fused(op, _transpose_spelled_out) for op in TRANSPOSED)
correlate = fused(CORRELATION, _correlate_spelled_out)
# The same as parts of a gradient, where PyTorch has another name for them.
_BACKWARD = tuple(
    fused(renamed(op, "ConvolutionBackwardBackward0"), spelled_out)
    for op, spelled_out in ((CONVOLUTIONS[0], _convolve_spelled_out), (TRANSPOSED[0], _transpose_spelled_out))
)
