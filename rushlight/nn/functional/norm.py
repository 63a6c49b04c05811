"""Normalisation as functions: subtract a mean, divide by a standard deviation, scale and shift.

The functions differ in the elements over which the statistics are taken: the last dimensions of each
sample (`layer_norm`, `rms_norm`), groups of channels of each sample (`group_norm`), each channel of
each sample (`instance_norm`), or each channel of the whole batch (`batch_norm`). The invariant:
variances divide by the number of elements, only the running variances of `batch_norm` and
`instance_norm` by one less.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from rushlight.autograd import no_grad
from rushlight.dtype import finfo, float16, float32
from rushlight.ops.define import labelled
from rushlight.ops.kinds import composite, only
from rushlight.ops.samples import Sample, T
from rushlight.tensor import Tensor


def _layer_samples() -> list[Sample]:
    found = [Sample([T((4, 5)), (5,)]), Sample([T((2, 3, 4)), [3, 4], T((3, 4)), T((3, 4))])]
    found += [Sample([T((4, 5)), (5,), T((5,))], {"eps": 0.1}), Sample([T((0, 3)), (3,), T((3,))])]
    return [*found, Sample([T((4, 5), "float64"), (5,)]), Sample([T((4, 5), layout="transposed"), (5,)])]


def _rms_samples() -> list[Sample]:
    found = [Sample([T((4, 5)), (5,)]), Sample([T((2, 3, 4)), [3, 4], T((3, 4))]), Sample([T((0, 3)), (3,)])]
    return [*found, Sample([T((4, 5), "float64"), (5,), T((5,), "float64")], {"eps": 0.1})]


def _group_samples() -> list[Sample]:
    found = [Sample([T((3, 4, 5)), 2, T((4,)), T((4,))]), Sample([T((3, 4)), 2]), Sample([T((0, 4, 2)), 2])]
    return [*found, Sample([T((2, 4, 2, 3), "float64"), 4], {"eps": 0.1})]


def _batch_samples() -> list[Sample]:
    statistics = [T((3,), grad=False), T((3,), low=0.5, grad=False)]
    found = [Sample([T((5, 3)), *statistics]), Sample([T((5, 3, 2)), *statistics, T((3,)), T((3,))])]
    found += [Sample([T((5, 3)), None, None, T((3,)), T((3,))], {"training": True})]
    return [*found, Sample([T((2, 3, 2, 2), "float64"), None, None], {"training": True, "eps": 0.1})]


def _instance_samples() -> list[Sample]:
    return [Sample([T((2, 3, 5))]), Sample([T((2, 3, 2, 2), "float64")], {"eps": 0.1})]


@composite(samples=_layer_samples, method=False, torch_name="nn.functional.layer_norm")
def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise over the last dimensions, which have the shape ``normalized_shape``; RuntimeError if not.

    >>> import rushlight as torch
    >>> import rushlight.nn.functional as F
    >>> F.layer_norm(torch.tensor([[1.0, 3.0]]), (2,))
    tensor([[-1.0000,  1.0000]])
    """
    dims = _trailing_dims(input, normalized_shape, "*, ", weight=weight, bias=bias)
    _check_same_dtype(input, weight, bias)
    normal = _affine(_standardized(_at_least_float32(input), dims, eps), weight, bias)
    return labelled(normal.to(input.dtype), "NativeLayerNormBackward0")


@composite(samples=_rms_samples, method=False)
def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """Divide by the root of the mean of squares over the last dimensions; ``eps`` is the dtype's own by
    default.

    Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019.

    >>> import rushlight as torch
    >>> import rushlight.nn.functional as F
    >>> F.rms_norm(torch.tensor([[3.0, 3.0]]), (2,))
    tensor([[1., 1.]])
    """
    dims = _trailing_dims(input, normalized_shape, "*", weight=weight)
    wide = _at_least_float32(input)
    eps = finfo(wide.dtype).eps if eps is None else eps
    normal = wide * ((wide * wide).mean(dims, keepdim=True) + eps).rsqrt()
    return _affine(normal, weight, None).to(input.dtype)


@composite(samples=_group_samples, method=False, torch_name="nn.functional.group_norm")
def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each of ``num_groups`` groups of channels of each sample of ``(N, C, *)``.

    Wu and He, "Group Normalization", 2018. Raises RuntimeError unless ``num_groups`` divides the channels.

    >>> import rushlight as torch
    >>> import rushlight.nn.functional as F
    >>> F.group_norm(torch.tensor([[1.0, 3.0, 5.0, 9.0]]), 2)
    tensor([[-1.0000,  1.0000, -1.0000,  1.0000]])
    """
    if input.dim() < 2:
        raise RuntimeError(f"Expected at least 2 dimensions for input tensor but received {input.dim()}")
    samples, channels = input.shape[:2]
    _check_batch((samples * channels // num_groups, num_groups, *input.shape[2:]))
    if channels % num_groups != 0:
        raise RuntimeError(
            "Expected number of channels in input to be divisible by num_groups, but got input of shape "
            f"{list(input.shape)} and num_groups={num_groups}"
        )
    _check_same_dtype(input, weight, bias)
    for name, each in (("weight", weight), ("bias", bias)):
        if each is not None and each.shape != (channels,):
            raise RuntimeError(
                f"Expected {name} to be a vector of size equal to the number of channels in input, but got "
                f"{name} of shape {list(each.shape)} and input of shape {list(input.shape)}"
            )
    groups = _at_least_float32(input).reshape(
        samples, num_groups, input.numel() // max(samples * num_groups, 1)
    )
    normal = _affine_channels(_standardized(groups, (2,), eps).reshape(input.shape), weight, bias)
    return labelled(normal.to(input.dtype), "NativeGroupNormBackward0")


@composite(samples=_batch_samples, method=False, torch_name="nn.functional.batch_norm")
def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float | Tensor = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel of ``(N, C, *)`` by its statistics in the batch, or by the running ones.

    In ``training`` the batch's own are used, and the running ones, where given, are moved towards them by
    ``momentum``. Ioffe and Szegedy, "Batch Normalization", 2015. Raises ValueError for one value per channel
    in training and RuntimeError for statistics of another size.

    >>> import rushlight as torch
    >>> import rushlight.nn.functional as F
    >>> F.batch_norm(torch.tensor([[1.0], [3.0]]), None, None, training=True)
    tensor([[-1.0000],
            [ 1.0000]])
    """
    if training:
        _check_batch(input.shape)
    if training and eps <= 0.0:
        raise ValueError(f"batch_norm eps must be positive during training, but got {eps}")
    if eps < 0.0:
        raise ValueError(f"batch_norm eps must be non-negative, but got {eps}")
    channels = input.shape[1]
    if not training and (running_mean is None or running_var is None):
        missing = "running_mean" if running_mean is None else "running_var"
        raise RuntimeError(f"{missing} must be defined in evaluation mode")
    given = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    _check_channels(channels, 1, **given)
    only("f", "batch_norm")(input._array)
    _check_same_dtype(input, weight, bias)

    if input.numel() == 0:
        # There is nothing to normalise or to learn from: the running statistics stay as they are.
        return _affine_channels(input.clone(), weight, bias)
    wide = _at_least_float32(input)
    if running_mean is not None and running_var is not None and not training:
        scale = (_per_channel(running_var, input) + eps).rsqrt()
        normal = (wide - _per_channel(running_mean, input)) * scale
    else:
        dims = tuple(dim for dim in range(input.dim()) if dim != 1)
        normal = _standardized_by_channel(wide, dims, eps, running_mean, running_var, momentum)
    normal = _affine_channels(normal, weight, bias)
    return labelled(normal.to(input.dtype), "NativeBatchNormBackward0")


@composite(samples=_instance_samples, method=False, torch_name="nn.functional.instance_norm")
def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel of each sample of ``(N, C, *)`` by its own statistics, or by the running ones.

    Ulyanov et al., "Instance Normalization", 2016. Raises ValueError where a channel has one element only.

    >>> import rushlight as torch
    >>> import rushlight.nn.functional as F
    >>> F.instance_norm(torch.tensor([[[1.0, 3.0]]]))
    tensor([[[-1.0000,  1.0000]]])
    """
    if (running_mean is None) != (running_var is None):
        raise ValueError("running_mean and running_var must either both be None or neither be None")
    if not use_input_stats:
        if running_mean is None:
            raise RuntimeError(
                "Expected running_mean and running_var to be defined when use_input_stats is false"
            )
        return batch_norm(input, running_mean, running_var, weight, bias, eps=eps)
    if math.prod(input.shape[2:]) == 1:
        raise ValueError(f"Expected more than 1 spatial element when training, got input size {input.shape}")
    samples, channels = input.shape[:2]
    given = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    _check_channels(channels, samples, **given)
    _check_same_dtype(input, weight, bias)
    dims = tuple(range(2, input.dim()))
    wide = _at_least_float32(input)
    normal = _standardized_by_channel(wide, dims, eps, running_mean, running_var, momentum)
    normal = _affine_channels(normal, weight, bias)
    return labelled(normal.to(input.dtype), "ViewBackward0")


def _standardized_by_channel(
    input: Tensor,
    dims: tuple[int, ...],
    eps: float,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    momentum: float | Tensor,
) -> Tensor:
    """`input` standardized over `dims`; each channel's running statistics move towards those found there."""
    mean = input.mean(dims, keepdim=True)
    centered = input - mean
    variance = (centered * centered).mean(dims, keepdim=True)
    with no_grad():
        channels, count = input.shape[1], math.prod(input.shape[dim] for dim in dims)
        for running, found in ((running_mean, mean), (running_var, variance * (count / max(count - 1, 1)))):
            if running is not None:
                new = found.view(channels) if found.numel() == channels else found.view(-1, channels).mean(0)
                running.mul_(1 - momentum).add_(new * momentum)
    return centered * (variance + eps).rsqrt()


def _standardized(input: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    """`input` with its mean over `dims` subtracted, divided by the standard deviation there."""
    centered = input - input.mean(dims, keepdim=True)
    return centered * ((centered * centered).mean(dims, keepdim=True) + eps).rsqrt()


def _at_least_float32(input: Tensor) -> Tensor:
    """float16 is too coarse for sums of squares: PyTorch computes them in float32, too."""
    if not input.is_floating_point():
        raise NotImplementedError(
            f"normalization is not implemented for {input.dtype}, convert it with .float()"
        )
    return input.float() if input.dtype is float16 else input


def _affine(normal: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    if weight is not None:
        normal = normal * weight
    return normal if bias is None else normal + bias


def _affine_channels(normal: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    scale = None if weight is None else _per_channel(weight, normal)
    return _affine(normal, scale, None if bias is None else _per_channel(bias, normal))


def _per_channel(vector: Tensor, input: Tensor) -> Tensor:
    """`vector` in a shape that gives each channel of `input` its element."""
    return vector.view(1, -1, *[1] * (input.dim() - 2))


def _trailing_dims(
    input: Tensor, normalized_shape: Sequence[int], before: str, **parameters: Tensor | None
) -> tuple[int, ...]:
    """The last dimensions of `input`, after checking that they and the parameters have the shape they should
    have.
    """
    shape = list(normalized_shape)
    if not shape:
        raise RuntimeError(
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, "
            "but got normalized_shape = []"
        )
    if list(input.shape[-len(shape) :]) != shape:
        raise RuntimeError(
            f"Given normalized_shape={shape}, expected input with shape "
            f"[{before}{', '.join(map(str, shape))}], but got input of size{list(input.shape)}"
        )
    for name, parameter in parameters.items():
        if parameter is not None and list(parameter.shape) != shape:
            raise RuntimeError(
                f"Expected {name} to be of same shape as normalized_shape, but got {name} of shape "
                f"{list(parameter.shape)} and normalized_shape = {shape}"
            )
    return tuple(range(-len(shape), 0))


def _check_batch(shape: Sequence[int]) -> None:
    if shape[0] * math.prod(shape[2:]) == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {shape}")


def _check_channels(channels: int, samples: int, **given: Tensor | None) -> None:
    """Statistics and parameters have an element for each channel; PyTorch counts those of every sample."""
    for name, each in given.items():
        if each is not None and each.numel() != channels:
            raise RuntimeError(
                f"{name} should contain {samples * channels} elements not {samples * each.numel()}"
            )


def _check_same_dtype(input: Tensor, *parameters: Tensor | None) -> None:
    for parameter in parameters:
        if parameter is None or parameter.dtype is input.dtype:
            continue
        if not (input.dtype is float16 and parameter.dtype is float32):
            raise RuntimeError("mixed dtype (CPU): all inputs must share same datatype.")
