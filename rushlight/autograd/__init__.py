"""Automatic differentiation: `backward`, `grad`, and the switches that say what is recorded.

The tape is made by `rushlight.ops.define.apply`; the pass over it is in `engine`. This file checks and completes what users
hand in. Invariant: every root gets a gradient of its own shape, one where it has a single element.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rushlight.autograd import function as function
from rushlight.autograd.anomaly import detect_anomaly, set_detect_anomaly
from rushlight.autograd.engine import run_backward
from rushlight.autograd.function import Function
from rushlight.autograd.mode import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__ = [
    "Function",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "grad",
    "inference_mode",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "no_grad",
    "set_detect_anomaly",
    "set_grad_enabled",
]


def _as_tuple(given: Any) -> tuple[Any, ...]:
    from rushlight.tensor import Tensor

    return (given,) if isinstance(given, Tensor) else tuple(given)


def _complete(tensors: Sequence[Tensor], grads: Any) -> list[Tensor]:
    """A gradient for every root: the given one, checked, or one for a single element."""
    from rushlight.ops.create import ones_like

    if grads is None:
        given: tuple[Any, ...] = (None,) * len(tensors)
    else:
        given = _as_tuple(grads)
        if len(given) != len(tensors):
            raise RuntimeError(f"got {len(tensors)} tensors and {len(given)} gradients")
    complete = []
    for index, (tensor, grad) in enumerate(zip(tensors, given, strict=True)):
        if not tensor.requires_grad:
            raise RuntimeError(
                f"element {index} of tensors does not require grad and does not have a grad_fn"
            )
        if grad is None:
            if tensor._array.size != 1:
                raise RuntimeError("grad can be implicitly created only for scalar outputs")
            grad = ones_like(tensor)
        elif grad._array.shape != tensor._array.shape:
            raise RuntimeError(
                f"Mismatch in shape: grad_output[{index}] has a shape of {grad.shape} and output[{index}] has a shape of "
                f"{tensor.shape}."
            )
        complete.append(grad)
    return complete


def tensor_backward(
    self: Tensor,
    gradient: Tensor | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Sequence[Tensor] | Tensor | None = None,
) -> None:
    """Add the gradient of this tensor to ``.grad`` of the leaves (or of `inputs` alone).

    Args:
        gradient: the gradient with respect to this tensor; may be left out for one element.
        retain_graph: keep what nodes saved for another pass; by default as `create_graph`.
        create_graph: record the pass so that it can be differentiated.
        inputs: the tensors to give gradients to, instead of all leaves.
    """
    if create_graph or inputs is not None:
        backward(self, gradient, retain_graph, create_graph, inputs=inputs)
    else:
        run_backward(
            (self,), _complete((self,), None if gradient is None else (gradient,)), bool(retain_graph), False
        )


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Any = None,
    inputs: Any = None,
) -> None:
    """Add the gradients of `tensors` to ``.grad`` of the leaves they were computed from.

    Args:
        tensors: one tensor or several.
        grad_tensors: the gradient for each; may be None for tensors of one element.
        retain_graph: keep what was saved, for another pass; by default as `create_graph`.
        create_graph: record the pass itself, for higher derivatives.
        grad_variables: PyTorch's old name for `grad_tensors`.
        inputs: give gradients to these alone, instead of all leaves.

    >>> import rushlight as torch
    >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> torch.autograd.backward([(x * x).sum(), x.sum()])
    >>> x.grad
    tensor([3., 5.])
    """
    if grad_variables is not None:
        warnings.warn(
            "`grad_variables` is deprecated. Use `grad_tensors` instead.", FutureWarning, stacklevel=2
        )
        if grad_tensors is not None:
            raise RuntimeError(
                "`grad_tensors` and `grad_variables` (deprecated) arguments both passed to `backward()`."
            )
        grad_tensors = grad_variables
    if inputs is not None:
        inputs = _as_tuple(inputs)
        if not inputs:
            raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
    tensors = _as_tuple(tensors)
    grads = _complete(tensors, grad_tensors)
    keep = create_graph if retain_graph is None else retain_graph
    if create_graph:
        warnings.warn(
            "Using backward() with create_graph=True will create a reference cycle between the parameter and its gradient "
            "which can cause a memory leak. We recommend using autograd.grad when creating the graph to avoid this. If you "
            "have to use this function, make sure to reset the .grad fields of your parameters to None after use to break "
            "the cycle and avoid the leak.",
            stacklevel=2,
        )
    if inputs is None:
        run_backward(tensors, grads, keep, create_graph)
        return
    for tensor in inputs:
        if not tensor.requires_grad:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    found = run_backward(tensors, grads, keep, create_graph, inputs)
    for tensor, grad in zip(inputs, found or (), strict=True):
        if grad is not None:
            tensor._grad = grad.clone() if tensor._grad is None else tensor._grad + grad


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Any, ...]:
    """The gradients of the sum of `outputs` with respect to `inputs`; no ``.grad`` is touched.

    Args:
        outputs, inputs: one tensor or several.
        grad_outputs: the gradient for each output; may be None for outputs of one element.
        retain_graph, create_graph: as in `backward`.
        allow_unused: give None for an input that the outputs do not depend on, instead of an error.
        is_grads_batched: not supported.
        materialize_grads: give zeros in place of None.

    >>> import rushlight as torch
    >>> x = torch.tensor(3.0, requires_grad=True)
    >>> (slope,) = torch.autograd.grad(x * x, x, create_graph=True)
    >>> torch.autograd.grad(slope, x)
    (tensor(2.),)
    """
    from rushlight.ops.create import zeros_like

    if is_grads_batched:
        raise NotImplementedError("grad(): is_grads_batched=True is not supported; call grad() for each row")
    if materialize_grads and allow_unused is False:
        raise ValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow_unused=False."
        )
    allow_unused = materialize_grads if allow_unused is None else allow_unused
    outputs, inputs = _as_tuple(outputs), _as_tuple(inputs)
    grads = _complete(outputs, grad_outputs)
    for tensor in inputs:
        if not tensor.requires_grad:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    keep = create_graph if retain_graph is None else retain_graph
    found = run_backward(outputs, grads, keep, create_graph, inputs)
    assert found is not None
    if any(each is None for each in found):
        if not allow_unused:
            raise RuntimeError(
                "One of the differentiated Tensors appears to not have been used in the graph. Set allow_unused=True if this is "
                "the desired behavior."
            )
        if materialize_grads:
            found = [zeros_like(x) if each is None else each for x, each in zip(inputs, found, strict=True)]
    return tuple(found)
