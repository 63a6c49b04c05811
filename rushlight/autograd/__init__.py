"""Automatic differentiation: `backward`, `grad`, and the switches that say what is recorded.

The tape is made by `rushlight.ops.define.apply`; the pass over it is in `engine`. This file checks and
completes what users hand in. Invariant: every root gets a gradient of its own shape, one where it has a
single element.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight.autograd import mode as grad_mode
from rushlight.autograd.engine import run_backward
from rushlight.autograd.gradcheck import gradcheck, gradgradcheck
from rushlight.autograd.mode import (
    RECORDING,
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
    state,
)
from rushlight.once import warn_once
from rushlight.tensor import Tensor, new_tensor

if TYPE_CHECKING:  # at run time these are imported when first asked for
    from rushlight.autograd import anomaly as anomaly_mode
    from rushlight.autograd import function as function
    from rushlight.autograd import functional as functional
    from rushlight.autograd import graph as graph
    from rushlight.autograd import variable as variable
    from rushlight.autograd.anomaly import detect_anomaly, set_detect_anomaly
    from rushlight.autograd.function import Function
    from rushlight.autograd.variable import Variable

_ON_FIRST_USE = {
    "anomaly_mode": "anomaly",
    "detect_anomaly": "anomaly",
    "set_detect_anomaly": "anomaly",
    "function": "function",
    "Function": "function",
    "functional": "functional",
    "graph": "graph",
    "Variable": "variable",
    "variable": "variable",
}


def __getattr__(name: str) -> Any:
    if name not in _ON_FIRST_USE:
        raise AttributeError(f"module 'rushlight.autograd' has no attribute '{name}'")
    module = importlib.import_module(f"rushlight.autograd.{_ON_FIRST_USE[name]}")
    found = globals()[name] = getattr(module, name, module)
    return found


__all__ = [
    "Function",
    "Variable",
    "anomaly_mode",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "function",
    "functional",
    "grad",
    "grad_mode",
    "gradcheck",
    "gradgradcheck",
    "graph",
    "inference_mode",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "no_grad",
    "set_detect_anomaly",
    "set_grad_enabled",
    "variable",
]


def _as_tuple(given: Any) -> tuple[Any, ...]:
    return (given,) if isinstance(given, Tensor) else tuple(given)


def _inputs_of(function: str, inputs: Any) -> tuple[Any, ...]:
    """The tensors to differentiate by, from one, several, or a dictionary of them."""
    if type(inputs) is dict:
        inputs = inputs.values()
    elif isinstance(inputs, Mapping):
        raise TypeError(
            f"`inputs` argument to `{function}()` must be a dict, not {type(inputs).__name__}. "
            "Other Mapping types are not supported."
        )
    inputs = _as_tuple(inputs)
    if not inputs:
        raise RuntimeError(f"`inputs` argument to `{function}()` cannot be empty.")
    for each in inputs:
        if not isinstance(each, Tensor):
            raise RuntimeError(
                f"all inputs have to be Tensors or GradientEdges, but got {type(each).__name__}"
            )
    return inputs


def _complete(tensors: Sequence[Tensor], grads: Any) -> list[Tensor]:
    """A gradient for every root: the given one, checked, or one for a single element."""
    given: Sequence[Any] = (None,) * len(tensors) if grads is None else _as_tuple(grads)
    complete = []
    for index, (tensor, grad) in enumerate(zip(tensors, given, strict=False)):
        if isinstance(grad, Tensor):
            if grad._array.shape != tensor._array.shape:
                raise RuntimeError(
                    f"Mismatch in shape: grad_output[{index}] has a shape of {grad.shape} and "
                    f"output[{index}] has "
                    f"a shape of {tensor.shape}."
                )
            complete.append(grad if grad._array.dtype is tensor._array.dtype else grad.to(tensor.dtype))
        elif grad is not None:
            raise TypeError(f"gradients can be either Tensors or None, but got {type(grad).__name__}")
        elif not tensor.requires_grad:
            raise _no_history(index)
        elif tensor._array.size != 1:
            raise RuntimeError(
                "grad can be implicitly created only for scalar outputs. The output has the shape "
                f"{list(tensor._array.shape)}: reduce it, by sum() or mean() say, or pass its gradient."
            )
        else:
            complete.append(_one_like(tensor))
    if len(given) < len(tensors):  # PyTorch does not mind too many
        raise RuntimeError(f"got {len(tensors)} tensors and {len(given)} gradients")
    for index, tensor in enumerate(tensors):
        if not tensor._requires_grad and tensor._fresh_node() is None:
            raise _no_history(index)
    return complete


def _one_like(root: Tensor) -> Tensor:
    """The gradient of a root of one element with respect to itself."""
    if state.mode & RECORDING:
        from rushlight.ops.create import ones_like

        return ones_like(root)
    return new_tensor(np.ones(root._array.shape, root._array.dtype))


def _no_history(index: int) -> RuntimeError:
    return RuntimeError(
        f"element {index} of tensors does not require grad and does not have a grad_fn. None of the tensors "
        "it was "
        "computed from requires grad, or it was computed inside no_grad() or from detached tensors."
    )


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
        run_backward((self,), _complete((self,), gradient), bool(retain_graph), False)


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
        inputs: give gradients to these alone, instead of all leaves; those that are no leaves retain theirs.

    >>> import rushlight as torch
    >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> torch.autograd.backward([(x * x).sum(), x.sum()])
    >>> x.grad
    tensor([3., 5.])
    """
    if is_inference_mode_enabled():
        raise RuntimeError(
            "Calling .backward() or torch.autograd.grad() inside torch.inference_mode() is not allowed. "
            "Leave the "
            "block, or use torch.no_grad() in its place."
        )
    if grad_variables is not None:
        warnings.warn(
            "`grad_variables` is deprecated. Use `grad_tensors` instead.", FutureWarning, stacklevel=2
        )
        if grad_tensors is not None:
            raise RuntimeError(
                "`grad_tensors` and `grad_variables` (deprecated) arguments both passed to `backward()`. "
                "Please only use `grad_tensors`."
            )
        grad_tensors = grad_variables
    if inputs is not None:
        inputs = _inputs_of("backward", inputs)
    tensors = _as_tuple(tensors)
    grads = _complete(tensors, grad_tensors)
    keep = create_graph if retain_graph is None else retain_graph
    if create_graph:
        _warn_of_cycle()
    for tensor in inputs or ():
        if tensor._fresh_node() is not None:
            tensor.retain_grad()
    run_backward(tensors, grads, keep, create_graph, inputs, accumulate=True)


def _warn_of_cycle() -> None:
    """Say once in a process what ``backward(create_graph=True)`` leaves behind."""
    warn_once(
        "cycle",
        "Using backward() with create_graph=True will create a reference cycle between the parameter and "
        "its gradient "
        "which can cause a memory leak. We recommend using autograd.grad when creating the graph to avoid "
        "this. If "
        "you have to use this function, make sure to reset the .grad fields of your parameters to None "
        "after use to "
        "break the cycle and avoid the leak.",
        stacklevel=3,
    )


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> Any:
    """The gradients of the sum of `outputs` with respect to `inputs`; no ``.grad`` is touched.

    Args:
        outputs: one tensor or several.
        inputs: one tensor, several, or a dictionary of them, which then is what is returned too.
        grad_outputs: the gradient for each output; may be None for outputs of one element.
        retain_graph: keep what was saved, for another pass; by default as `create_graph`.
        create_graph: record the pass itself, for higher derivatives.
        only_inputs: ignored, as in PyTorch, with a warning where it is False.
        allow_unused: give None for an input that the outputs do not depend on, instead of an error.
        is_grads_batched: each gradient of an output is a batch of them, along its first dimension; so are
            the results.
        materialize_grads: give zeros in place of None.

    >>> import rushlight as torch
    >>> x = torch.tensor(3.0, requires_grad=True)
    >>> (slope,) = torch.autograd.grad(x * x, x, create_graph=True)
    >>> torch.autograd.grad(slope, x)
    (tensor(2.),)
    """
    from rushlight.ops.create import zeros_like

    if materialize_grads and allow_unused is False:
        raise ValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got: "
            "allow_unused=False."
        )
    allow_unused = materialize_grads if allow_unused is None else allow_unused
    outputs = _as_tuple(outputs)
    sources = _inputs_of("grad", inputs)
    if not only_inputs:
        warnings.warn(
            "only_inputs argument is deprecated and is ignored now (defaults to True). To accumulate "
            "gradient for "
            "other parts of the graph, please use torch.autograd.backward.",
            FutureWarning,
            stacklevel=2,
        )
    keep = create_graph if retain_graph is None else retain_graph
    if is_grads_batched:
        found = _batched(outputs, sources, grad_outputs, keep, create_graph)
    else:
        found = _gradients(outputs, sources, _complete(outputs, grad_outputs), keep, create_graph)
    unused = [place for place, each in enumerate(found) if each is None]
    if unused and not allow_unused:
        raise RuntimeError(
            f"The differentiated Tensor at index {unused[0]} appears to not have been used in the graph. Set "
            "allow_unused=True if this is the desired behavior."
        )
    if materialize_grads:
        found = [
            zeros_like(source, requires_grad=create_graph) if each is None else each
            for source, each in zip(sources, found, strict=True)
        ]
    return dict(zip(inputs, found, strict=True)) if type(inputs) is dict else tuple(found)


def _gradients(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    grads: Sequence[Tensor],
    keep: bool,
    create_graph: bool,
) -> list[Any]:
    """One pass from outputs to inputs."""
    for tensor in inputs:
        if not tensor.requires_grad:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    found = run_backward(outputs, grads, keep, create_graph, inputs)
    assert found is not None
    return found


def _batched(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], grads: Any, keep: bool, create_graph: bool
) -> list[Any]:
    """A pass for each row of the gradients of the outputs, the results stacked."""
    from rushlight.ops.join import stack

    batches = _as_tuple(grads)
    count = len(batches[0])
    rows = []
    for row in range(count):
        given = _complete(outputs, [None if each is None else each[row] for each in batches])
        rows.append(_gradients(outputs, inputs, given, keep or row + 1 < count, create_graph))
    return [None if column[0] is None else stack(column) for column in zip(*rows, strict=True)]
