"""Initialisers: functions that fill a tensor in place with values a layer can start from.

Each takes a tensor, fills it without recording anything for backward, and returns it. They draw in
PyTorch's order from ``generator`` or the default one, so that a seed gives the weights it gives there.
The older names without the underscore warn and call the new ones.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any

from rushlight.autograd import no_grad
from rushlight.random import Generator
from rushlight.tensor import Tensor

LINEAR_FUNCTIONS = (
    "linear",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
)


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which initial weights are scaled so that values keep their size through ``nonlinearity``.

    ``param`` is the negative slope of ``'leaky_relu'``, 0.01 by default. Raises ValueError for unknown names.

    >>> import rushlight as torch
    >>> torch.nn.init.calculate_gain("relu")
    1.4142135623730951
    """
    if nonlinearity in LINEAR_FUNCTIONS or nonlinearity == "sigmoid":
        return 1
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, int | float):
            raise ValueError(f"negative_slope {param} not a valid number")
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity == "selu":
        return 3.0 / 4
    raise ValueError(f"Unsupported nonlinearity {nonlinearity}")


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with values drawn evenly from ``a`` to ``b``.

    >>> import rushlight as torch
    >>> weight = torch.nn.init.uniform_(torch.empty(3, 5), -0.1, 0.1)
    >>> bool((weight.abs() <= 0.1).all())
    True
    """
    with no_grad():
        return tensor.uniform_(a, b, generator=generator)


def normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill with values drawn from the normal distribution."""
    with no_grad():
        return tensor.normal_(mean, std, generator=generator)


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Fill with values drawn from the normal distribution cut off at ``a`` and ``b``.

    >>> import rushlight as torch
    >>> weight = torch.nn.init.trunc_normal_(torch.empty(100), std=2.0)
    >>> bool((weight.abs() <= 2).all())
    True
    """
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. "
            "The distribution of values may be incorrect.",
            stacklevel=2,
        )
    share_within = (math.erf((b - mean) / std / math.sqrt(2)) - math.erf((a - mean) / std / math.sqrt(2))) / 2
    log_peak = -0.5 * ((max(a, min(mean, b)) - mean) / std) ** 2

    def draw_normal() -> tuple[Tensor, Tensor]:
        low, high = tensor.new_tensor(a).item(), tensor.new_tensor(b).item()
        values = tensor.new_empty(tensor.shape).normal_(mean, std, generator=generator)
        return values, (values < low) | (values > high)

    def draw_uniform() -> tuple[Tensor, Tensor]:
        values = tensor.new_empty(tensor.shape).uniform_(a, b, generator=generator)
        log_density = ((values - mean) / std) ** 2 * -0.5 - log_peak
        return values, tensor.new_empty(tensor.shape).uniform_(generator=generator).log() > log_density

    # From the normal itself while much of it lies within: further out nearly all draws would be rejected.
    draw = draw_normal if share_within > 0.3 else draw_uniform
    with no_grad():
        values, rejected = draw()
        while rejected.any():
            fresh, rejected_again = draw()
            values = fresh.where(rejected, values)
            rejected = rejected & rejected_again
        return tensor.copy_(values)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with ``val``.

    >>> import rushlight as torch
    >>> torch.nn.init.constant_(torch.empty(2), 0.3)
    tensor([0.3000, 0.3000])
    """
    with no_grad():
        return tensor.fill_(val)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with ones."""
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with zeros."""
    with no_grad():
        return tensor.zero_()


def eye_(tensor: Tensor) -> Tensor:
    """Fill a matrix with ones on the diagonal and zeros elsewhere; ValueError unless it is a matrix.

    >>> import rushlight as torch
    >>> torch.nn.init.eye_(torch.empty(2, 3))
    tensor([[1., 0., 0.],
            [0., 1., 0.]])
    """
    if tensor.dim() != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    with no_grad():
        tensor.zero_().diagonal().fill_(1)
    return tensor


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Fill the weight of a convolution so that it passes its input channels through, for each of ``groups``.

    The weight has 3, 4 or 5 dimensions and a number of output channels that ``groups`` divides, else
    ValueError.

    >>> import rushlight as torch
    >>> torch.nn.init.dirac_(torch.empty(2, 1, 3))
    tensor([[[0., 1., 0.]],
    <BLANKLINE>
            [[0., 0., 0.]]])
    """
    if tensor.dim() not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    if tensor.shape[0] % groups != 0:
        raise ValueError("dim 0 must be divisible by groups")
    per_group = tensor.shape[0] // groups
    center = tuple(length // 2 for length in tensor.shape[2:])
    with no_grad():
        tensor.zero_()
        for group in range(groups):
            for channel in range(min(per_group, tensor.shape[1])):
                tensor[(group * per_group + channel, channel, *center)] = 1
    return tensor


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """How many inputs each output of a layer with this weight has, and how many outputs each input."""
    if tensor.dim() < 2:
        raise ValueError("Fan in and fan out can not be computed for tensor with fewer than 2 dimensions")
    places = math.prod(tensor.shape[2:])
    return tensor.shape[1] * places, tensor.shape[0] * places


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill evenly from ``-a`` to ``a``, where ``a = gain * sqrt(6 / (fan_in + fan_out))``.

    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.

    >>> import rushlight as torch
    >>> torch.nn.init.xavier_uniform_(torch.empty(3, 3)).abs().max() <= 1
    tensor(True)
    """
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    std = gain * math.sqrt(2.0 / float(fan_in + fan_out))
    bound = math.sqrt(3.0) * std
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with normal values of standard deviation ``gain * sqrt(2 / (fan_in + fan_out))``."""
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / float(fan_in + fan_out)), generator)


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    modes = ["fan_in", "fan_out"]
    if mode.lower() not in modes:
        raise ValueError(f"Mode {mode.lower()} not supported, please use one of {modes}")
    fan = _calculate_fan_in_and_fan_out(tensor)[modes.index(mode.lower())]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill evenly from ``-b`` to ``b``, where ``b = gain * sqrt(3 / fan)`` and ``fan`` is the ``mode`` of the
    weight.

    ``a`` is the negative slope for the gain of ``'leaky_relu'``. He et al., "Delving deep into rectifiers",
    2015.

    >>> import rushlight as torch
    >>> weight = torch.nn.init.kaiming_uniform_(torch.empty(3, 6), nonlinearity="relu")
    >>> bool((weight.abs() <= 1).all())
    True
    """
    if tensor.numel() == 0:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=2)
        return tensor
    bound = math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill with normal values of standard deviation ``gain / sqrt(fan)``, as ``kaiming_uniform_``."""
    if tensor.numel() == 0:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=2)
        return tensor
    return normal_(tensor, 0, _kaiming_std(tensor, a, mode, nonlinearity), generator)


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Generator | None = None) -> Tensor:
    """Fill with a matrix whose rows, or columns if there are fewer of them, are orthogonal and ``gain`` long.

    Dimensions after the first are taken as one. Saxe et al., "Exact solutions to the nonlinear dynamics of
    learning in deep linear neural networks", 2013. Raises ValueError for fewer than 2 dimensions.

    >>> import rushlight as torch
    >>> weight = torch.nn.init.orthogonal_(torch.empty(2, 5))
    >>> torch.allclose(weight @ weight.T, torch.eye(2), atol=1e-6)
    True
    """
    from rushlight.ops.decompose import qr

    if tensor.dim() < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if tensor.numel() == 0:
        return tensor
    rows = tensor.shape[0]
    columns = tensor.numel() // rows
    with no_grad():
        drawn = tensor.new_empty((rows, columns)).normal_(0, 1, generator=generator)
        q, r = qr(drawn.t() if rows < columns else drawn)
        # The signs that make the distribution uniform: Mezzadri, "How to generate random matrices", 2006.
        q = q * r.diagonal().sign()
        tensor.copy_((q.t() if rows < columns else q).reshape(tensor.shape))
        return tensor.mul_(gain)


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None) -> Tensor:
    """Fill a matrix with normal values, and the share ``sparsity`` of each column with zeros.

    Martens, "Deep learning via Hessian-free optimization", 2010. Raises ValueError unless it is a matrix.

    >>> import rushlight as torch
    >>> weight = torch.nn.init.sparse_(torch.empty(10, 4), sparsity=0.3)
    >>> (weight == 0).sum(dim=0)
    tensor([3, 3, 3, 3])
    """
    from rushlight.ops.random import randperm

    if tensor.dim() != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    rows, columns = tensor.shape
    zeros = math.ceil(sparsity * rows)
    with no_grad():
        tensor.normal_(0, std, generator=generator)
        for column in range(columns):
            # As in PyTorch, the places come from the default generator, whichever the values came from.
            tensor[randperm(rows)[:zeros], column] = 0
    return tensor


def _deprecated(initialiser: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`initialiser` under its old name, without the underscore."""
    name = initialiser.__name__
    old_name = name.removesuffix("_")

    @functools.wraps(initialiser)
    def warn_and_call(*args: Any, **kwargs: Any) -> Tensor:
        warnings.warn(
            f"`nn.init.{old_name}` is now deprecated in favor of `nn.init.{name}`.",
            FutureWarning,
            stacklevel=2,
        )
        return initialiser(*args, **kwargs)

    warn_and_call.__name__ = warn_and_call.__qualname__ = old_name
    warn_and_call.__doc__ = f"Deprecated: another name for ``{name}``."
    return warn_and_call


uniform = _deprecated(uniform_)
normal = _deprecated(normal_)
constant = _deprecated(constant_)
eye = _deprecated(eye_)
dirac = _deprecated(dirac_)
xavier_uniform = _deprecated(xavier_uniform_)
xavier_normal = _deprecated(xavier_normal_)
kaiming_uniform = _deprecated(kaiming_uniform_)
kaiming_normal = _deprecated(kaiming_normal_)
orthogonal = _deprecated(orthogonal_)
sparse = _deprecated(sparse_)
