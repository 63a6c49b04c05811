"""Functions with a backward of the user's own: `Function`, its context, and the node it leaves on the tape.

`forward` runs without recording; the tape gets one node, whose backward is the user's. Invariant: what is saved with
``save_for_backward`` is checked for in-place changes like everything else, and a saved output makes no reference cycle.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from rushlight.autograd.mode import ANOMALY, GRAD, state
from rushlight.autograd.node import FREED_TWICE, Node, _changed_in_place


class FunctionCtx:
    """What `forward` and `backward` share: saved tensors, notes on inputs and outputs, and any attributes."""

    def __init__(self) -> None:
        self.needs_input_grad: tuple[bool, ...] = ()
        self.materialize_grads = True
        self.to_save: tuple[Any, ...] = ()
        self.dirty_tensors: tuple[Any, ...] = ()
        self.non_differentiable: tuple[Any, ...] = ()
        self._saved: list[tuple[Any, int, Any]] | None = []
        self._node: weakref.ref[Node] | None = None

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep input or output tensors (or None) for `backward`, where they are ``saved_tensors``."""
        from rushlight.tensor import Tensor

        for place, each in enumerate(tensors):
            if each is not None and not isinstance(each, Tensor):
                raise TypeError(
                    f"save_for_backward can only save variables, but argument {place} is of type {type(each).__name__}"
                )
        self.to_save = tensors

    def save_for_forward(self, *tensors: Any) -> None:
        """Accepted for forward-mode code; there is no forward mode here."""
        self.saved_for_forward = tensors

    def mark_dirty(self, *args: Any) -> None:
        """Name the inputs that `forward` changed in place."""
        self.dirty_tensors = args

    def mark_non_differentiable(self, *args: Any) -> None:
        """Name the outputs that carry no gradient."""
        self.non_differentiable = args

    def set_materialize_grads(self, value: bool) -> None:
        """Whether `backward` gets zeros (the default) or None for outputs without a gradient."""
        self.materialize_grads = value

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """The tensors given to `save_for_backward`."""
        from rushlight.tensor import new_tensor

        if self._saved is None:
            raise RuntimeError(FREED_TWICE)
        node = self._node() if self._node is not None else None
        found = []
        for kept, version, reference in self._saved:
            if reference is None:
                found.append(kept)
                if kept is not None and kept._current_version() != version:
                    raise RuntimeError(
                        _changed_in_place(node, kept._array, kept._current_version(), version, kept._node)
                    )
                continue
            array, number = kept
            root = reference()
            if root is not None and root._current_version() != version:
                raise RuntimeError(
                    _changed_in_place(node, array, root._current_version(), version, node, number)
                )
            tensor = new_tensor(array)
            if node is not None and array.dtype.kind == "f":
                tensor._node, tensor._requires_grad, tensor._output_nr = node, True, number
            found.append(tensor)
        return tuple(found)

    def _keep(self, outputs: Sequence[Any]) -> None:
        """Store what was saved; outputs as arrays, so that no cycle is made."""
        places = {id(each): number for number, each in enumerate(outputs)}
        kept: list[tuple[Any, int, Any]] = []
        for each in self.to_save:
            if each is None:
                kept.append((None, 0, None))
            elif id(each) in places and self._node is not None:
                root = each if each._root is None else each._root
                kept.append(((each._array, places[id(each)]), root._version_count, weakref.ref(root)))
            else:
                kept.append((each, each._current_version(), None))
        self._saved = kept
        self.to_save = ()


class FunctionNode(Node):
    """The node of a `Function` call."""

    __slots__ = ("ctx", "function", "tensor_places")

    def __init__(self, function: type[Function], ctx: FunctionCtx) -> None:
        super().__init__(None, None, None)
        self.function = function
        self.ctx = ctx
        self.tensor_places: list[int] = []

    def name(self) -> str:
        return f"{self.function.__name__}Backward"

    def backward(self, grads: Sequence[Any], wanted: Sequence[bool] | None = None) -> list[Any]:
        from rushlight.ops.create import zeros_of

        given = list(grads)
        if self.ctx.materialize_grads:
            metadata = self.outputs if self.outputs is not None else [(self.shape, self.dtype)]
            given = [zeros_of(*metadata[i]) if each is None else each for i, each in enumerate(given)]
        result = self.function.backward(self.ctx, *given)
        results = result if isinstance(result, tuple) else (result,)
        expected = len(self.ctx.needs_input_grad)
        if len(results) > expected and all(each is None for each in results[expected:]):
            results = results[:expected]
        if len(results) != expected:
            raise RuntimeError(
                f"function {self.name()} returned an incorrect number of gradients (expected {expected}, got {len(results)})"
            )
        for place, each in enumerate(results):
            if each is not None and place not in self.tensor_places:
                raise RuntimeError(
                    f"function {self.name()} returned a gradient different from None at position {place + 1}, but the "
                    "corresponding forward input was not a Variable"
                )
        return [results[place] for place in self.tensor_places]

    def release(self) -> None:
        self.ctx._saved = None


class Function:
    """A differentiable operation defined by its own `forward` and `backward`; called through ``apply``.

    >>> import rushlight as torch
    >>> class Cube(torch.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x**3
    ...     @staticmethod
    ...     def backward(ctx, grad):
    ...         (x,) = ctx.saved_tensors
    ...         return grad * 3 * x**2
    >>> x = torch.tensor(2.0, requires_grad=True)
    >>> Cube.apply(x).backward()
    >>> x.grad
    tensor(12.)
    """

    generate_vmap_rule = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError(
            f"{type(self)} should not be instantiated. Methods on autograd functions are all static, so you should invoke them on the "
            "class itself. Instantiating an autograd function will raise an error in a future version of PyTorch."
        )

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Compute the outputs: ``forward(ctx, *args)``, or ``forward(*args)`` beside a `setup_context`."""
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        """Save what `backward` needs, where `forward` takes no context."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """The gradients of the inputs, one for each argument of `forward` (None where there is none)."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function to use it with backward mode AD."
        )

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run `forward` on the arguments and put its node on the tape."""
        from rushlight.tensor import Tensor

        if kwargs:
            raise TypeError("apply() takes no keyword arguments")
        ctx = FunctionCtx()
        ctx.needs_input_grad = tuple(isinstance(each, Tensor) and each.requires_grad for each in args)
        recorded = bool(state.mode & GRAD) and any(ctx.needs_input_grad)
        if cls.backward is Function.backward and hasattr(cls, "vjp"):
            cls.backward = staticmethod(cls.vjp)  # type: ignore[method-assign]
        mode = state.mode
        state.mode = mode & ~GRAD
        try:
            if cls.setup_context is Function.setup_context:
                result = cls.forward(ctx, *args)
            else:
                result = cls.forward(*args)
                cls.setup_context(ctx, args, result)
        finally:
            state.mode = mode
        outputs = list(result) if isinstance(result, tuple) else [result]
        outputs = _attach(cls, ctx, args, outputs, recorded)
        return tuple(outputs) if isinstance(result, tuple) else outputs[0]


def _attach(
    cls: type[Function], ctx: FunctionCtx, args: Sequence[Any], outputs: list[Any], recorded: bool
) -> list[Any]:
    """Put the node on the tape and make it the maker of the outputs."""
    from rushlight.tensor import Tensor

    inputs = {id(each): each for each in args if isinstance(each, Tensor)}
    dirty = {id(each) for each in ctx.dirty_tensors}
    for place, each in enumerate(outputs):
        # an input handed through unchanged becomes a view of it, so that the input keeps its own history
        if isinstance(each, Tensor) and id(each) in inputs and id(each) not in dirty:
            outputs[place] = each.view_as(each) if not recorded else each.detach()
    if not recorded:
        ctx._keep(())
        return outputs
    node = FunctionNode(cls, ctx)
    ctx._node = weakref.ref(node)
    edges: list[Any] = []
    for place, each in enumerate(args):
        if not isinstance(each, Tensor):
            continue
        node.tensor_places.append(place)
        upstream = each._fresh_node()
        if each.requires_grad and each._output_nr:
            node.set_number(len(edges), each._output_nr)
        edges.append((each if upstream is None else upstream) if each.requires_grad else None)
    node.edges = edges
    untouched = {id(each) for each in ctx.non_differentiable}
    metadata = [
        (each._array.shape, each._array.dtype) if isinstance(each, Tensor) else ((), None) for each in outputs
    ]
    node.shape, node.dtype = metadata[0]
    node.outputs = metadata if len(outputs) > 1 else None
    for number, each in enumerate(outputs):
        if isinstance(each, Tensor) and each._array.dtype.kind == "f" and id(each) not in untouched:
            _own(each, node, number, id(each) in dirty, args)
    ctx._keep(outputs)
    ctx.dirty_tensors = ctx.non_differentiable = ()
    if state.mode & ANOMALY:
        node.remember_where()
    return outputs


def _own(tensor: Any, node: FunctionNode, number: int, dirty: bool, args: Sequence[Any]) -> None:
    """Make `node` the maker of one output."""
    if not dirty:
        tensor._node, tensor._requires_grad, tensor._output_nr = node, True, number
        return
    from rushlight import views

    if tensor._requires_grad and tensor._fresh_node() is None:
        raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
    place = next((i for i, at in enumerate(node.tensor_places) if args[at] is tensor), None)
    views.set_history(tensor, node, place if tensor.requires_grad else None)
    if tensor._base is None:
        tensor._output_nr = number


class _Refusal(Node):
    """A node that raises when backward reaches it."""

    __slots__ = ("sentence",)

    def __init__(self, sentence: str, shape: tuple[int, ...], kind: Any, edge: Any) -> None:
        super().__init__(None, None, None)
        self.sentence, self.shape, self.dtype = sentence, shape, kind
        self.edges = [edge]

    def name(self) -> str:
        return "Error"

    def backward(self, grads: Sequence[Any], wanted: Sequence[bool] | None = None) -> list[Any]:
        raise RuntimeError(self.sentence)


def once_differentiable(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a `backward` whose result cannot be differentiated again: a second derivative raises."""

    @functools.wraps(fn)
    def wrapper(ctx: Any, *args: Any) -> Any:
        from rushlight.tensor import Tensor

        mode = state.mode
        state.mode = mode & ~GRAD
        try:
            result = fn(ctx, *args)
        finally:
            state.mode = mode
        if not mode & GRAD or not any(isinstance(each, Tensor) and each.requires_grad for each in args):
            return result
        results = result if isinstance(result, tuple) else (result,)
        source = next(each for each in args if isinstance(each, Tensor) and each.requires_grad)
        for each in results:
            if isinstance(each, Tensor):
                sentence = (
                    "trying to differentiate twice a function that was marked with @once_differentiable"
                )
                edge = source._fresh_node() or source
                each._node = _Refusal(sentence, each._array.shape, each._array.dtype, edge)
                each._requires_grad = True
        return result

    return wrapper
