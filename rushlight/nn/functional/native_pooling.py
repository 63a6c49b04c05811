"""Pooling as PyTorch keeps it beside its tensor functions, such as ``torch.max_pool2d``.

They do what their namesakes in ``nn.functional`` do, without a choice of what is returned. Invariant: nothing
is computed here.
"""

from __future__ import annotations

from rushlight.nn.functional import adaptive_pooling, pooling
from rushlight.nn.functional.adaptive_pooling import Sizes
from rushlight.nn.functional.native import entered
from rushlight.nn.functional.pooling import Ints
from rushlight.ops.samples import Sample, T
from rushlight.tensor import Tensor


def _samples(*sizes: int) -> list[Sample]:
    image = T((7, 2, *sizes), distinct=True)
    return [Sample([image, 2]), Sample([image, 2, 1, 1, 1, True]), Sample([image, 9], raises=True)]


@entered(lambda: _samples(5))
def max_pool1d(
    input: Tensor,
    kernel_size: Ints,
    stride: Ints = (),
    padding: Ints = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """`nn.functional.max_pool1d`, without indices."""
    made: Tensor = pooling.max_pool1d(input, kernel_size, stride, padding, dilation, ceil_mode)
    return made


@entered(lambda: _samples(5))
def max_pool1d_with_indices(
    input: Tensor,
    kernel_size: Ints,
    stride: Ints = (),
    padding: Ints = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
) -> tuple[Tensor, Tensor]:
    """`nn.functional.max_pool1d_with_indices`."""
    made: tuple[Tensor, Tensor] = pooling.max_pool1d_with_indices(
        input, kernel_size, stride, padding, dilation, ceil_mode
    )
    return made


@entered(lambda: _samples(5, 6))
def max_pool2d(
    input: Tensor,
    kernel_size: Ints,
    stride: Ints = (),
    padding: Ints = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """`nn.functional.max_pool2d`, without indices.

    >>> import rushlight as torch
    >>> torch.max_pool2d(torch.tensor([[[1.0, 2.0], [4.0, 3.0]]]), 2)
    tensor([[[4.]]])
    """
    made: Tensor = pooling.max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode)
    return made


@entered(lambda: _samples(4, 5, 3))
def max_pool3d(
    input: Tensor,
    kernel_size: Ints,
    stride: Ints = (),
    padding: Ints = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """`nn.functional.max_pool3d`, without indices."""
    made: Tensor = pooling.max_pool3d(input, kernel_size, stride, padding, dilation, ceil_mode)
    return made


@entered(lambda: [Sample([T((7, 2, 5), distinct=True), 3]), Sample([T((7, 2, 5)), -1], raises=True)])
def adaptive_max_pool1d(input: Tensor, output_size: Sizes) -> tuple[Tensor, Tensor]:
    """`nn.functional.adaptive_max_pool1d_with_indices`."""
    made: tuple[Tensor, Tensor] = adaptive_pooling.adaptive_max_pool1d_with_indices(input, output_size)
    return made
