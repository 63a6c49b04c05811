"""What a module's full backward hooks see: the gradients of its outputs and, later, of its inputs.

Two functions that compute nothing are put into the graph, one around the module's inputs and one around
its outputs. In the backward pass the outer one is reached first: it runs the pre-hooks and keeps the
gradients of the outputs. The inner one is reached when the gradients of the inputs are complete: it
runs the hooks with both. The invariant: each call of a module has a pair of its own, so that a module
may be called many times before a backward pass.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rushlight.autograd import Function, is_grad_enabled
from rushlight.tensor import Tensor

if TYPE_CHECKING:
    from rushlight.nn.module import Module

Gradients = tuple[Any, ...]

NO_INPUT_GRADIENT = (
    "Full backward hook is firing when gradients are computed with respect to module outputs since no inputs "
    "require gradients. See https://docs.pytorch.org/docs/main/generated/torch.nn.Module.html"
    "#torch.nn.Module.register_full_backward_hook for more details."
)


class BackwardHookFunction(Function):
    """Passes tensors through as views; in the backward pass `on_gradients` sees and may replace the
    gradients.
    """

    @staticmethod
    def forward(
        ctx: Any, on_gradients: Callable[[Gradients], Gradients], zeros: bool, *tensors: Tensor
    ) -> Gradients:
        ctx.on_gradients = on_gradients
        ctx.set_materialize_grads(zeros)
        passed = tuple(tensor.view_as(tensor) for tensor in tensors)
        without = [out for out, tensor in zip(passed, tensors, strict=True) if not tensor.requires_grad]
        ctx.mark_non_differentiable(*without)
        return passed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Gradients:
        return None, None, *ctx.on_gradients(gradients)


class BackwardHooks:
    """The full backward hooks that watch one call of `module`."""

    def __init__(
        self, module: Module, before: Sequence[Callable[..., Any]], after: Sequence[Callable[..., Any]]
    ) -> None:
        self.module = module
        self.before = before
        self.after = after
        self.grad_output: Gradients | None = None
        self.inputs_watched = False
        self.input_count = 0

    def watch_inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the arguments with each tensor replaced by one whose gradient calls the hooks."""
        self.input_count = len(args)
        watched = _watch(args, self._inputs_done, zeros=True)
        self.inputs_watched = watched is not args
        return watched

    def watch_outputs(self, output: Any) -> Any:
        """Return the output with each tensor replaced by one whose gradient calls the pre-hooks."""
        if isinstance(output, tuple):
            return _watch(output, self._outputs_done, zeros=False)
        if not isinstance(output, Tensor):
            warnings.warn(
                "For backward hooks to be called, module output should be a Tensor or a tuple of Tensors "
                f"but received {type(output)}",
                stacklevel=5,
            )
        return _watch((output,), self._outputs_done, zeros=False)[0]

    def _outputs_done(self, grad_output: Gradients) -> Gradients:
        for hook in self.before:
            replaced = hook(self.module, grad_output)
            if replaced is not None:
                _check_count("Backward pre hook", "grad_output", replaced, grad_output)
                grad_output = replaced
        if self.inputs_watched:
            self.grad_output = grad_output
        else:
            self._hooks_without_input_gradients(grad_output)
        return grad_output

    def _inputs_done(self, grad_input: Gradients) -> Gradients:
        grad_output, self.grad_output = self.grad_output, None
        if grad_output is None:
            # The gradient came to the inputs by another way than the outputs, as in a second backward pass.
            return grad_input
        for hook in self.after:
            replaced = hook(self.module, grad_input, grad_output)
            if replaced is not None:
                _check_count("Backward hook", "grad_input", replaced, grad_input)
                grad_input = replaced
        return grad_input

    def _hooks_without_input_gradients(self, grad_output: Gradients) -> None:
        warnings.warn(NO_INPUT_GRADIENT, stacklevel=5)
        for hook in self.after:
            replaced = hook(self.module, (None,) * self.input_count, grad_output)
            if replaced is not None and not (isinstance(replaced, tuple) and set(replaced) <= {None}):
                raise RuntimeError(
                    "Backward hook for Modules where no input requires gradient should always return None or "
                    "None for all gradients."
                )


def _watch(
    values: tuple[Any, ...], on_gradients: Callable[[Gradients], Gradients], zeros: bool
) -> tuple[Any, ...]:
    """`values` with their tensors led through a BackwardHookFunction; `values` itself if none has a gradient.

    `on_gradients` gets and returns one entry for each of `values`, None for those that are no tensors. For a
    tensor that no gradient reached, the entry is zeros or None, as `zeros` says.
    """
    places = [place for place, value in enumerate(values) if isinstance(value, Tensor)]
    if not (is_grad_enabled() and any(values[place].requires_grad for place in places)):
        return values

    def spread(gradients: Gradients) -> Gradients:
        entries: list[Any] = [None] * len(values)
        for place, gradient in zip(places, gradients, strict=True):
            entries[place] = gradient
        replaced = on_gradients(tuple(entries))
        return tuple(replaced[place] for place in places)

    passed = BackwardHookFunction.apply(spread, zeros, *(values[place] for place in places))
    watched = list(values)
    for place, tensor in zip(places, passed, strict=True):
        watched[place] = tensor
    return tuple(watched) if type(values) is tuple else type(values)(*watched)


def _check_count(hook: str, name: str, replaced: Gradients, expected: Gradients) -> None:
    if len(replaced) != len(expected):
        raise RuntimeError(
            f"{hook} returned an invalid number of {name}, got {len(replaced)}, but expected {len(expected)}"
        )
