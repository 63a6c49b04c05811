"""Activations: the pointwise functions between layers, each one op where PyTorch has one kernel.

They are PyTorch's ``nn.functional`` functions, `inplace` argument included; those that exist as
``torch.relu`` too are the same functions. Those met in every network have a gradient that is one op as
well. Invariant: at a kink the gradient is the one PyTorch chose.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rushlight.dtype import BOOL_NUMPY
from rushlight.ops.arguments import require_tensor
from rushlight.ops.create import zeros_like
from rushlight.ops.define import INPLACE, TITLES, apply
from rushlight.ops.kinds import elementwise_op, only, public
from rushlight.ops.samples import Sample, T, unary
from rushlight.ops.select import where
from rushlight.tensor import Tensor

INF, NAN = float("inf"), float("nan")
SPECIAL = T(values=[0.0, -0.0, INF, -INF, NAN, 3.0, -3.0])


def activation_samples(
    *params: dict[str, Any], special: bool = True, tolerance: float | None = None, **limits: Any
) -> list[Sample]:
    """Shapes, layouts, types, special values, and the given params; `tolerance` is for PyTorch's float64."""
    found = [*unary(ints=False, **limits), Sample([T((40,), "float64", low=-6.0, high=6.0)])]
    for each in found:
        each.tolerance = tolerance if each.args[0].dtype == "float64" else None
    found += [Sample([T((3, 4))], each) for each in params]
    return [*found, Sample([SPECIAL], grads=False)] if special else found


INT = Sample([T((3,), "int64")], raises=True)


def in_functional(samples: Callable[[], list[Sample]], op: Any, name: str) -> Callable[..., Any]:
    """Enter a function that PyTorch keeps in ``nn.functional`` only."""
    return public(op, samples=samples, method=False, name=name, torch_name=f"nn.functional.{name}")


# -- ReLU and its kin ------------------------------------------------------------------------------------

RELU_BACKWARD = elementwise_op(
    "threshold_backward",
    lambda k, grad, output: k.where(output <= k.constant(0.0, output), 0.0, grad),
    # flat in `output`, but connected with it, as in PyTorch: a gradient of a gradient is zero, not missing
    dict(grad=lambda g, output: apply(RELU_BACKWARD, (g, output)), output=lambda g: zeros_like(g)),
)


RELU = elementwise_op(
    "relu",
    lambda k, input: k.maximum(k.constant(0, input), input),  # in this order -0.0 stays
    dict(input=lambda g, out: apply(RELU_BACKWARD, (g, out))),
)


@public(
    RELU,
    inplace=True,
    samples=lambda: [
        *activation_samples(),
        Sample([T(values=[-1.0, 0.0, 2.0])]),
        *[Sample([T((3,), kind)]) for kind in ("int64", "uint8")],
        Sample([T((3,), "bool")], raises=True),
    ],
)
def relu(input: Tensor, inplace: bool = False, *, out: Any = None) -> Any:
    """`input` where positive, 0 elsewhere.

    >>> import rushlight as torch
    >>> torch.relu(torch.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """
    if input.__class__ is not Tensor:
        require_tensor("relu", "input", 1, input)
    if input._array.dtype is BOOL_NUMPY:
        raise RuntimeError("Boolean inputs not supported for relu")
    return apply(RELU, (input,), out=INPLACE if inplace else out)


LEAKY_RELU_BACKWARD = elementwise_op(
    "leaky_relu_backward",
    lambda k, grad, input, *, negative_slope: k.where(input > 0, grad, grad * negative_slope),
    dict(
        grad=lambda g, input, negative_slope: apply(
            LEAKY_RELU_BACKWARD, (g, input), {"negative_slope": negative_slope}
        ),
        input=lambda g: zeros_like(g),
    ),
)
LEAKY_RELU = elementwise_op(
    "leaky_relu",
    lambda k, input, *, negative_slope: k.where(input > 0, input, input * negative_slope),
    dict(
        input=lambda g, input, negative_slope: apply(
            LEAKY_RELU_BACKWARD, (g, input), {"negative_slope": negative_slope}
        )
    ),
    inplace_name="LeakyReluBackward1",
    check=only("f", "leaky_relu_cpu"),
)


@in_functional(
    lambda: [*activation_samples({"negative_slope": 0.3}, {"negative_slope": 0.0}), INT],
    LEAKY_RELU,
    "leaky_relu",
)
def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Any:
    """`input` where positive, ``negative_slope * input`` elsewhere.

    >>> import rushlight as torch
    >>> torch.nn.functional.leaky_relu(torch.tensor([-1.0, 2.0]), 0.1)
    tensor([-0.1000,  2.0000])
    """
    require_tensor("leaky_relu", "input", 1, input)
    return apply(
        LEAKY_RELU, (input,), {"negative_slope": float(negative_slope)}, out=INPLACE if inplace else None
    )


PRELU = elementwise_op(
    "prelu",
    lambda k, input, weight: k.where(input > 0, input, input * weight),
    dict(
        input=lambda g, input, weight: where(input > 0, g, g * weight),
        weight=lambda g, input: where(input > 0, 0.0, g * input),
    ),
    node_name="PreluKernelBackward0",
    check=only("f", "prelu_cpu"),
)


@public(
    PRELU,
    samples=lambda: [
        Sample([T((2, 3)), T((3,))]),
        Sample([T((2, 3, 4)), T((3,))]),
        Sample([T((2, 3, 4)), T((1,))]),
        Sample([T((2, 3)), T(())]),
        Sample([T((5,)), T((1,))]),
        Sample([T(()), T((1,))]),
        Sample([T((0, 3)), T((3,))]),
        Sample([T((2, 3), "float64"), T((3,), "float64")]),
        Sample([T((2, 3)), T((2,))], raises=True),
        Sample([T((2, 3)), T((3, 1))], raises=True),
        Sample([T((2, 3), "float64"), T((3,))], raises=True),
        Sample([T(()), T((2,))], raises=True),
    ],
)
def prelu(input: Tensor, weight: Tensor) -> Any:
    """`input` where positive, ``weight * input`` elsewhere; one weight, or one for each channel.

    >>> import rushlight as torch
    >>> torch.prelu(torch.tensor([-1.0, 2.0]), torch.tensor([0.25]))
    tensor([-0.2500,  2.0000])
    """
    require_tensor("prelu", "input", 1, input)
    require_tensor("prelu", "weight", 2, weight)
    if input.dtype is not weight.dtype:
        raise RuntimeError(
            f"prelu: Type promoting not supported. Got {TITLES[input.dtype.name]} and "
            f"{TITLES[weight.dtype.name]}"
        )
    if weight.dim() > 1:
        raise RuntimeError(
            f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.dim()}"
        )
    if weight.numel() != 1:
        if input.dim() == 0:
            raise RuntimeError("Not allow zero-dim input tensor.")
        channels = input.size(1) if input.dim() > 1 else 1
        if channels != weight.numel():
            raise RuntimeError(
                "Mismatch of parameter numbers and input channel size. Found parameter numbers = "
                f"{weight.numel()} and channel size = {channels}."
            )
    if input.dim() == 0:
        weight = weight.reshape(())
    elif weight.dim() != input.dim() or input.dim() > 1:
        weight = weight.reshape((1, -1, *[1] * (input.dim() - 2)) if input.dim() > 1 else (-1,))
    return apply(PRELU, (input, weight))


# -- piecewise linear ------------------------------------------------------------------------------------


def _refuse_bool(input: Any) -> None:
    if input.dtype is BOOL_NUMPY:
        raise RuntimeError("Bool inputs not supported for hardtanh")


HARDTANH = elementwise_op(
    "hardtanh",
    lambda k, input, *, min_val, max_val: k.minimum(max_val, k.maximum(min_val, input)),
    dict(
        input=lambda g, input, min_val, max_val: apply(
            HARDTANH_BACKWARD, (g, input), {"min_val": min_val, "max_val": max_val}
        )
    ),
    check=_refuse_bool,
)
HARDTANH_BACKWARD = elementwise_op(
    "hardtanh_backward",
    lambda k, grad, input, *, min_val, max_val: k.where((input <= min_val) | (input >= max_val), 0.0, grad),
    dict(
        grad=lambda g, input, min_val, max_val: apply(
            HARDTANH_BACKWARD, (g, input), {"min_val": min_val, "max_val": max_val}
        ),
        input=lambda g: zeros_like(g),
    ),
)


@in_functional(
    lambda: [
        *activation_samples({"min_val": -0.5, "max_val": 1.5}, {"min_val": 1.0, "max_val": 1.0}),
        Sample([T(values=[-1.0, 1.0, 0.0])]),
        Sample([T((4,), "int64")]),
        Sample([T((4,), "int64"), -1.5, 1.5]),
        Sample([T((3,), "uint8")], raises=True),
        Sample([T((3,), "bool")], raises=True),
        Sample([T((3,)), 2.0, 1.0], raises=True),
    ],
    HARDTANH,
    "hardtanh",
)
def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Any:
    """`input` kept between `min_val` and `max_val`.

    >>> import rushlight as torch
    >>> torch.nn.functional.hardtanh(torch.tensor([-3.0, 0.5]))
    tensor([-1.0000,  0.5000])
    """
    require_tensor("hardtanh", "input", 1, input)
    if min_val > max_val:
        raise ValueError("min_val cannot be greater than max_val")
    return _hardtanh(input, min_val, max_val, inplace)


def _hardtanh(input: Tensor, low: float, high: float, inplace: bool) -> Any:
    kind = input._array.dtype.kind
    if kind == "u" and low < 0:
        raise RuntimeError("cannot do hardtanh on an unsigned type with negative limits")
    low, high = (int(low), int(high)) if kind in "iu" else (float(low), float(high))
    return apply(HARDTANH, (input,), {"min_val": low, "max_val": high}, out=INPLACE if inplace else None)


@in_functional(
    lambda: [
        *activation_samples(low=-3.0, high=9.0),
        Sample([T((4,), "int64", low=-3, high=9)]),
        Sample([T((3,), "bool")], raises=True),
    ],
    HARDTANH,
    "relu6",
)
def relu6(input: Tensor, inplace: bool = False) -> Any:
    """`input` kept between 0 and 6.

    >>> import rushlight as torch
    >>> torch.nn.functional.relu6(torch.tensor([-1.0, 2.0, 9.0]))
    tensor([0., 2., 6.])
    """
    require_tensor("relu6", "input", 1, input)
    return _hardtanh(input, 0.0, 6.0, inplace)


HARDSIGMOID = elementwise_op(
    "hardsigmoid",
    lambda k, input: k.minimum(k.maximum(input + 3, 0.0), 6.0) / 6,
    dict(input=lambda g, input: where((input > -3) & (input < 3), g * (1 / 6), 0.0)),
    check=only("f", "hardsigmoid_cpu"),
)


@in_functional(
    # PyTorch's gradient has one sixth in float32
    lambda: [*activation_samples(low=-4.0, high=4.0, tolerance=1e-7), INT],
    HARDSIGMOID,
    "hardsigmoid",
)
def hardsigmoid(input: Tensor, inplace: bool = False) -> Any:
    """``input / 6 + 1/2``, kept between 0 and 1.

    >>> import rushlight as torch
    >>> torch.nn.functional.hardsigmoid(torch.tensor([-4.0, 0.0, 1.5]))
    tensor([0.0000, 0.5000, 0.7500])
    """
    require_tensor("hardsigmoid", "input", 1, input)
    return apply(HARDSIGMOID, (input,), out=INPLACE if inplace else None)


HARDSWISH = elementwise_op(
    "hardswish",
    lambda k, input: input * k.minimum(k.maximum(input + 3, 0.0), 6.0) / 6,
    dict(input=lambda g, input: apply(HARDSWISH_BACKWARD, (g, input))),
    check=only("f", "hardswish_cpu"),
)
HARDSWISH_BACKWARD = elementwise_op(
    "hardswish_backward",
    lambda k, grad, input: k.where(input <= -3, 0.0, k.where(input < 3, grad * (input / 3 + 0.5), grad)),
    dict(
        grad=lambda g, input: apply(HARDSWISH_BACKWARD, (g, input)),
        input=lambda g, grad, input: where((input > -3) & (input < 3), g * grad * (1 / 3), 0.0),
    ),
)


@in_functional(lambda: [*activation_samples(low=-4.0, high=4.0), INT], HARDSWISH, "hardswish")
def hardswish(input: Tensor, inplace: bool = False) -> Any:
    """`input` times its `hardsigmoid`.

    >>> import rushlight as torch
    >>> torch.nn.functional.hardswish(torch.tensor([-4.0, 1.5, 4.0]))
    tensor([-0.0000, 1.1250, 4.0000])
    """
    require_tensor("hardswish", "input", 1, input)
    return apply(HARDSWISH, (input,), out=INPLACE if inplace else None)


HARDSHRINK = elementwise_op(
    "hardshrink",
    lambda k, input, *, lambd: k.where((input >= -lambd) & (input <= lambd), 0.0, input),
    dict(input=lambda g, input, lambd: where((input >= -lambd) & (input <= lambd), 0.0, g)),
    check=only("f", "hardshrink_cpu"),
)


@public(HARDSHRINK, samples=lambda: [*activation_samples({"lambd": 1.0}), INT])
def hardshrink(input: Tensor, lambd: float = 0.5, *, out: Any = None) -> Any:
    """`input`, but 0 where its magnitude is at most `lambd`.

    >>> import rushlight as torch
    >>> torch.nn.functional.hardshrink(torch.tensor([-1.0, 0.3]))
    tensor([-1.,  0.])
    """
    require_tensor("hardshrink", "input", 1, input)
    return apply(HARDSHRINK, (input,), {"lambd": float(lambd)}, out=out)


SOFTSHRINK = elementwise_op(
    "softshrink",
    lambda k, input, *, lambd: k.where(
        input > lambd, input - lambd, k.where(input < -lambd, input + lambd, input * 0)
    ),
    dict(input=lambda g, input, lambd: where((input >= -lambd) & (input <= lambd), 0.0, g)),
    check=only("f", "softshrink_check"),
)


@in_functional(
    lambda: [
        # the zeros of long rows have no sign in PyTorch, those of short ones have
        *[each for each in activation_samples({"lambd": 1.0}) if each.args[0].shape != (40,)],
        INT,
        Sample([T((2,)), -1.0], raises=True),
    ],
    SOFTSHRINK,
    "softshrink",
)
def softshrink(input: Tensor, lambd: float = 0.5, *, out: Any = None) -> Any:
    """`input` moved towards 0 by `lambd`, and 0 where it is nearer than that.

    >>> import rushlight as torch
    >>> torch.nn.functional.softshrink(torch.tensor([-1.0, 0.3, 2.0]))
    tensor([-0.5000,  0.0000,  1.5000])
    """
    require_tensor("softshrink", "input", 1, input)
    if lambd < 0:
        raise RuntimeError(
            f"lambda must be in range [0, {np.finfo(input._array.dtype).max:g}] for input dtype "
            f"{TITLES[input.dtype.name]}, but found {lambd:g}"
        )
    return apply(SOFTSHRINK, (input,), {"lambd": float(lambd)}, out=out)


THRESHOLD = elementwise_op(
    "threshold",
    lambda k, input, *, threshold, value: k.where(input <= threshold, value, input),
    dict(input=lambda g, input, threshold: where(input <= threshold, 0.0, g)),
    inplace_name="ThresholdBackward1",
)


@public(
    THRESHOLD,
    method=False,
    samples=lambda: [
        *[Sample([each.args[0], 0.1, 20.0], grads=each.grads) for each in activation_samples()],
        Sample([T((4,), "int64"), 1.5, 7]),
    ],
)
def threshold(
    input: Tensor, threshold: float, value: float, inplace: bool = False, *, out: Any = None
) -> Any:
    """`input` where it is above `threshold`, `value` elsewhere.

    >>> import rushlight as torch
    >>> torch.threshold(torch.tensor([0.5, 2.0]), 1.0, -1.0)
    tensor([-1.,  2.])
    """
    require_tensor("threshold", "input", 1, input)
    if input._array.dtype.kind != "f":
        threshold, value = int(threshold), int(value)
    params = {"threshold": threshold, "value": value}
    return apply(THRESHOLD, (input,), params, out=INPLACE if inplace else out)
