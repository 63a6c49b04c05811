"""Convolutions as users call them: `conv1d` to `conv3d`, their transposes, `convolution` and `conv_tbc`.

The arguments are looked at (`convolution_checks.py`), made into one number for each dimension, and handed to
the products of `convolve.py`. Invariant: every function here ends in `_convolve_any`, so there is one
meaning of stride, padding, dilation and groups.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rushlight.once import warn_once
from rushlight.ops import convolution_checks as checks
from rushlight.ops.arguments import require_tensor
from rushlight.ops.columns import Ints, Steps, places_of
from rushlight.ops.convolve import CONVOLVE, CONVOLVE_INPUT, convolve, convolve_input
from rushlight.ops.define import labelled
from rushlight.ops.kinds import composite, public
from rushlight.ops.operands import ArgumentError, type_of
from rushlight.ops.pad import pad as pad_of
from rushlight.ops.samples import Sample, T
from rushlight.tensor import Tensor

Lengths = int | Sequence[int]


def _convolve_any(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    transposed: bool,
    output_padding: Ints,
    groups: int,
) -> Tensor:
    """PyTorch's `convolution`, of an input with a batch dimension."""
    dims = weight._array.ndim - 2
    if dims < 1:
        raise RuntimeError("weight should have at least three dimensions")
    if groups < 1:
        raise RuntimeError("non-positive groups is not supported")
    how = Steps(
        checks.for_each_dim("stride", stride, dims),
        checks.for_each_dim("padding", padding, dims),
        checks.for_each_dim("dilation", dilation, dims),
        groups,
    )
    output_padding = checks.for_each_dim("output_padding", output_padding, dims)
    checks.check_signs(how, output_padding)
    checks.check_shapes(input, weight, bias, how, transposed)
    checks.check_dtypes(input, weight, bias, transposed)
    if not transposed:
        places = places_of(input._array.shape[2:], weight._array.shape[2:], how)
        return convolve((input, weight, bias), {"places": places, "how": how})
    spatial = checks.transposed_spatial(input, weight, how, output_padding)
    return convolve_input((input, weight, bias), {"spatial": spatial, "how": how})


def _batched(name: str, input: Tensor, dims: int) -> tuple[Tensor, bool]:
    """The input with a batch dimension, and whether it had one."""
    ndim = input._array.ndim
    if ndim not in (dims + 1, dims + 2):
        raise RuntimeError(
            f"Expected {dims + 1}D (unbatched) or {dims + 2}D (batched) input to {name}, but got input of "
            f"size: {list(input._array.shape)}"
        )
    return (input, True) if ndim == dims + 2 else (input.unsqueeze(0), False)


def _padded_evenly(input: Tensor, weight: Tensor, stride: Ints, dilation: Ints) -> tuple[Tensor, Ints]:
    """Padding "same": how much on both sides, after one zero more behind where the total is odd."""
    kernel = weight._array.shape[2:]
    if any(step != 1 for step in stride):
        raise RuntimeError("padding='same' is not supported for strided convolutions")
    gaps = checks.for_each_dim("dilation", dilation, len(kernel))
    totals = [gap * (size - 1) for gap, size in zip(gaps, kernel, strict=True)]
    if any(total % 2 for total in totals):
        warn_once(
            "conv padding same",
            "Using padding='same' with even kernel lengths and odd dilation may require a zero-padded copy "
            "of the input be created",
            5,
        )
        input = pad_of(input, [each for total in reversed(totals) for each in (0, total % 2)])
    return input, tuple(total // 2 for total in totals)


def _convolution(dims: int, given: dict[str, Any]) -> Tensor:
    """What `conv1d`, `conv2d` and `conv3d` have in common; `given` are their arguments by name."""
    name = f"conv{dims}d"
    input, weight, bias, padding, groups = (
        given[each] for each in ("input", "weight", "bias", "padding", "groups")
    )
    stride, dilation = checks.as_ints(given["stride"], dims), checks.as_ints(given["dilation"], dims)
    pads = None if isinstance(padding, str) else checks.as_ints(padding, dims)
    if (
        not isinstance(input, Tensor)
        or not isinstance(weight, Tensor)
        or not (bias is None or isinstance(bias, Tensor))
        or stride is None
        or dilation is None
        or not (isinstance(padding, str) or pads is not None)
        or not checks.is_index(groups)
    ):
        raise checks.NoSignature
    input, batched = _batched(name, input, dims)
    checks.check_bias_dtype(input, bias)
    if padding == "same":
        input, pads = _padded_evenly(input, weight, stride, dilation)
    elif pads is None:
        if padding != "valid":
            raise RuntimeError(f"Invalid padding string: '{padding}'")
        pads = (0,) * dims
    made = _convolve_any(input, weight, bias, stride, pads, dilation, False, (0,), groups)
    return made if batched else made.squeeze(0)


def _transposed(dims: int, given: dict[str, Any]) -> Tensor:
    """What `conv_transpose1d` and its like have in common; `given` are their arguments by name."""
    name = f"conv_transpose{dims}d"
    require_tensor(name, "input", 1, given["input"])
    require_tensor(name, "weight", 2, given["weight"])
    if given["bias"] is not None:
        require_tensor(name, "bias", 3, given["bias"])
    numbers = {}
    for argument in ("stride", "padding", "output_padding", "dilation"):
        found = checks.as_ints(given[argument], dims)
        if found is None:
            kind = type_of(given[argument])
            raise ArgumentError(f"{name}(): argument '{argument}' must be tuple of ints, not {kind}")
        numbers[argument] = found
    groups = given["groups"]
    if not checks.is_index(groups):
        raise ArgumentError(f"{name}(): argument 'groups' (position 7) must be int, not {type_of(groups)}")
    input, batched = _batched(name, given["input"], dims)
    made = _convolve_any(input, given["weight"], given["bias"], transposed=True, groups=groups, **numbers)
    return made if batched else made.squeeze(0)


# -- samples -------------------------------------------------------------------------------------------------

# The batch is of another size than anything else, so that only it is 0 in the samples of no elements.
_SPATIAL = (6, 5, 4)
_KERNEL = (2, 3, 2)
_SUMS = "many products are added up in another order"


def _samples(dims: int) -> Callable[[], list[Sample]]:
    def made() -> list[Sample]:
        spatial, kernel = _SPATIAL[-dims:], _KERNEL[-dims:]
        input, weight, bias = T((7, 4, *spatial)), T((8, 4, *kernel)), T((8,))
        found = [
            Sample([input, weight], tolerance=1e-4, why=_SUMS),
            Sample([input, weight, bias, 2, 1], tolerance=1e-4, why=_SUMS),
            Sample([T((4, *spatial)), weight, bias], tolerance=1e-4, why=_SUMS),
        ]
        if dims == 2:
            wide = T((2, 3, 13, 12))
            found += [
                Sample([input, T((8, 2, 2, 2)), bias], {"stride": (1, 2), "dilation": 2, "groups": 2}),
                Sample([input, T((4, 1, 3, 3))], {"padding": "same", "groups": 4}),
                Sample([wide, T((4, 3, 1, 1))], {"padding": "valid"}),
                Sample([wide, T((4, 3, 3, 3)), T((4,))], {"padding": (1, 0)}),
                Sample([T((2, 3, 5, 5), "float64"), T((4, 3, 3, 3), "float64"), T((4,), "float64")]),
                Sample([T((2, 3, 5, 5), "int64"), T((4, 3, 3, 3), "int64")]),
                *_refused(),
            ]
        return found

    return made


def _refused() -> list[Sample]:
    input, weight = T((7, 4, 6, 5)), T((8, 4, 3, 3))
    settings: list[dict[str, Any]] = [
        {"stride": 0},
        {"padding": -1},
        {"dilation": 0},
        {"groups": 0},
        {"groups": 3},
        {"groups": 2},
        {"stride": (1, 2, 3)},
        {"dilation": 4},
        {"padding": "full"},
        {"padding": "same", "stride": 2},
        {"stride": "2"},
    ]
    found = [Sample([input, weight], each, raises=True) for each in settings]
    pairs = [(T((5, 5)), weight), (input, T((8, 4, 3))), (input, T((8, 3, 3, 3))), (input, T((8, 4)))]
    pairs += [(input, T((8, 4, 3, 3), "float64")), (T((7, 4, 6, 5), "float64"), weight)]
    found += [Sample(list(each), raises=True) for each in pairs]
    return [*found, Sample([input, weight, T((3,))], raises=True), Sample([[1], weight], raises=True)]


def _transposed_samples(dims: int) -> Callable[[], list[Sample]]:
    def made() -> list[Sample]:
        spatial, kernel = (4, 3, 3)[-dims:], _KERNEL[-dims:]
        input, weight, bias = T((7, 4, *spatial)), T((4, 8, *kernel)), T((8,))
        found = [
            Sample([input, weight], tolerance=1e-4, why=_SUMS),
            Sample([input, weight, bias, 2, 1, 1], tolerance=1e-4, why=_SUMS),
            Sample([T((4, *spatial)), weight, bias], tolerance=1e-4, why=_SUMS),
        ]
        if dims == 2:
            settings = {"stride": (1, 2), "dilation": 2, "groups": 2, "output_padding": (1, 0)}
            found += [
                Sample([input, T((4, 3, 2, 2)), T((6,))], settings),
                Sample([T((2, 4, 12, 11)), weight, bias], {"padding": (0, 1)}, tolerance=1e-4, why=_SUMS),
                Sample([input, weight], {"output_padding": 1}, raises=True),
                Sample([input, weight], {"groups": 3}, raises=True),
                Sample([input, weight], {"stride": "2"}, raises=True),
                Sample([input, T((8, 4, 2, 2))], raises=True),
                Sample([input, weight, T((4,))], raises=True),
                Sample([T((4, 4)), weight], raises=True),
            ]
        return found

    return made


# -- what users call -----------------------------------------------------------------------------------------


@public(CONVOLVE, samples=_samples(1), method=False)
@checks.naming_what_it_got
def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Lengths = 1,
    padding: Lengths | str = 0,
    dilation: Lengths = 1,
    groups: int = 1,
) -> Tensor:
    """`weight` ``(O, C / groups, K)`` moved over `input` ``(N, C, L)`` or ``(C, L)``; see `conv2d`.

    >>> import rushlight as torch
    >>> torch.conv1d(torch.tensor([[1.0, 2.0, 4.0, 8.0]]), torch.tensor([[[-1.0, 1.0]]]))
    tensor([[1., 2., 4.]])
    """
    return _convolution(1, locals())


@public(CONVOLVE, samples=_samples(2), method=False)
@checks.naming_what_it_got
def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Lengths = 1,
    padding: Lengths | str = 0,
    dilation: Lengths = 1,
    groups: int = 1,
) -> Tensor:
    """`weight` moved over `input`: at each place, the sum of products of the two.

    Args:
        input: ``(N, C, H, W)``, or ``(C, H, W)`` without a batch.
        weight: ``(O, C / groups, kH, kW)``.
        bias: ``(O,)``, added to each output channel.
        stride: how far the kernel moves from place to place.
        padding: how many zeros surround the input on each side; "valid" is none, and with "same" the output
            is as large as the input.
        dilation: how far the elements of the kernel are apart.
        groups: into how many parts channels are divided; each output channel sees one of them.

    Returns:
        ``(N, O, H', W')`` with ``H' = (H + 2 * padding - dilation * (kH - 1) - 1) // stride + 1``.

    >>> import rushlight as torch
    >>> image = torch.arange(9.0).reshape(1, 1, 3, 3)
    >>> torch.conv2d(image, torch.ones(1, 1, 2, 2))
    tensor([[[[ 8., 12.],
              [20., 24.]]]])
    """
    return _convolution(2, locals())


@public(CONVOLVE, samples=_samples(3), method=False)
@checks.naming_what_it_got
def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Lengths = 1,
    padding: Lengths | str = 0,
    dilation: Lengths = 1,
    groups: int = 1,
) -> Tensor:
    """`weight` ``(O, C / groups, kD, kH, kW)`` moved over `input` ``(N, C, D, H, W)``; see `conv2d`.

    >>> import rushlight as torch
    >>> torch.conv3d(torch.ones(1, 1, 2, 2, 2), torch.ones(1, 1, 2, 2, 2)).item()
    8.0
    """
    return _convolution(3, locals())


@public(CONVOLVE_INPUT, samples=_transposed_samples(1), method=False)
def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Lengths = 1,
    padding: Lengths = 0,
    output_padding: Lengths = 0,
    groups: int = 1,
    dilation: Lengths = 1,
) -> Tensor:
    """`input` ``(N, C, L)`` spread out by `weight` ``(C, O / groups, K)``; see `conv_transpose2d`.

    >>> import rushlight as torch
    >>> torch.conv_transpose1d(torch.tensor([[1.0, 2.0]]), torch.tensor([[[1.0, 10.0]]]), stride=2)
    tensor([[ 1., 10.,  2., 20.]])
    """
    return _transposed(1, locals())


@public(CONVOLVE_INPUT, samples=_transposed_samples(2), method=False)
def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Lengths = 1,
    padding: Lengths = 0,
    output_padding: Lengths = 0,
    groups: int = 1,
    dilation: Lengths = 1,
) -> Tensor:
    """The transpose of `conv2d`: each element of `input` adds its multiple of the kernel to the result.

    Args:
        input: ``(N, C, H, W)``, or ``(C, H, W)`` without a batch.
        weight: ``(C, O / groups, kH, kW)``.
        bias: ``(O,)``, added to each output channel.
        stride: how far the kernels of neighbouring elements are apart.
        padding: how much is cut off from each side of the result.
        output_padding: how much longer the result is at the end of each dimension.
        groups: into how many parts channels are divided.
        dilation: how far the elements of the kernel are apart.

    Returns:
        ``(N, O, H', W')`` with ``H' = (H - 1) * stride - 2 * padding + dilation * (kH - 1) + output_padding +
        1``.

    >>> import rushlight as torch
    >>> torch.conv_transpose2d(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2))
    tensor([[[[1., 2., 1.],
              [2., 4., 2.],
              [1., 2., 1.]]]])
    """
    return _transposed(2, locals())


@public(CONVOLVE_INPUT, samples=_transposed_samples(3), method=False)
def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Lengths = 1,
    padding: Lengths = 0,
    output_padding: Lengths = 0,
    groups: int = 1,
    dilation: Lengths = 1,
) -> Tensor:
    """`input` ``(N, C, D, H, W)`` spread out by `weight` ``(C, O / groups, kD, kH, kW)``; see
    `conv_transpose2d`.

    >>> import rushlight as torch
    >>> torch.conv_transpose3d(torch.ones(1, 1, 2, 2, 2), torch.ones(1, 1, 2, 2, 2)).max().item()
    8.0
    """
    return _transposed(3, locals())


def _core_samples() -> list[Sample]:
    input, weight = T((7, 4, 6, 5)), T((4, 4, 3, 2))
    plain = [[1, 1], [0, 0], [1, 1]]
    return [
        Sample([input, weight, T((4,)), *plain, False, [0, 0], 1]),
        Sample([input, weight, None, [2], [1], [1], True, [1], 1]),
        Sample([T((4, 6, 5)), weight, None, *plain, False, [0, 0], 1], raises=True),
        Sample([input, weight, None, 1, [0], [1], False, [0], 1], raises=True),
    ]


@public(CONVOLVE, samples=_core_samples, method=False)
def convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Tensor:
    """A convolution of any number of dimensions, or if `transposed` its transpose, of an input with a batch.

    >>> import rushlight as torch
    >>> ones = torch.ones(1, 1, 2)
    >>> torch.convolution(ones, ones, None, [1], [0], [1], True, [0], 1)
    tensor([[[1., 2., 1.]]])
    """
    require_tensor("convolution", "input", 1, input)
    require_tensor("convolution", "weight", 2, weight)
    lists = (("stride", 4, stride), ("padding", 5, padding), ("dilation", 6, dilation))
    numbers = []
    for name, position, given in (*lists, ("output_padding", 8, output_padding)):
        found = checks.as_ints(given, 1) if isinstance(given, (tuple, list)) else None
        if found is None:
            raise ArgumentError(
                f"convolution(): argument '{name}' (position {position}) must be tuple of ints, not "
                f"{type_of(given)}"
            )
        numbers.append(found)
    steps, pads, gaps, extra = numbers
    return _convolve_any(input, weight, bias, steps, pads, gaps, transposed, extra, groups)


def _tbc_samples() -> list[Sample]:
    return [
        Sample([T((5, 7, 3)), T((2, 3, 4)), T((4,)), 1]),
        Sample([T((5, 7, 3), "float64"), T((2, 3, 4), "float64"), T((4,), "float64")]),
        Sample([T((5, 7, 3)), T((2, 3, 4)), T((3,))], raises=True),
        Sample([T((5, 7, 2)), T((2, 3, 4)), T((4,))], raises=True),
        Sample([T((5, 7)), T((2, 3, 4)), T((4,))], raises=True),
    ]


@composite(samples=_tbc_samples, method=False)
def conv_tbc(input: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> Tensor:
    """A convolution over time of `input` ``(T, N, C)`` by `weight` ``(K, C, O)``, with `pad` zeros around.

    >>> import rushlight as torch
    >>> torch.conv_tbc(torch.ones(3, 1, 1), torch.ones(2, 1, 1), torch.zeros(1)).flatten()
    tensor([2., 2.])
    """
    for sentence, wrong in (
        ("Input must have 3 dims: time, batch, in_channel", input.ndim != 3),
        ("Weight tensor must have 3 dims: kernel_width, in_channels, out_channels.", weight.ndim != 3),
        ("Bias must be 1-D", bias.ndim != 1),
    ):
        if wrong:
            raise RuntimeError(sentence)
    if input.shape[2] != weight.shape[1]:
        raise RuntimeError("Input dim 2 (input channels) is not == dim 1 in the weight tensor")
    if bias.shape[0] != weight.shape[2]:
        raise RuntimeError("Bias size must equal dim 2 in the weight tensor (output channels).")
    made = conv1d(input.permute(1, 2, 0), weight.permute(2, 1, 0), bias, padding=pad)
    return labelled(made.permute(2, 0, 1).contiguous(), "ConvTbcBackward0")
