"""Functions with a backward of the user's own: `Function`, its context, and the node it leaves on the tape.

`forward` runs without recording; the tape gets one node, whose backward is the user's. Invariant: what is
saved with ``save_for_backward`` is checked for in-place changes like everything else, and a saved output
makes no reference cycle.
"""

from __future__ import annotations

import functools
import warnings
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from rushlight.autograd.graph import pack
from rushlight.autograd.mode import ANOMALY, GRAD, state
from rushlight.autograd.node import (
    FREED_TWICE,
    Node,
    _changed_in_place,
    edges_to,
    overwritten,
    refuse_inference,
)


class FunctionCtx:
    """What `forward` and `backward` share: saved tensors, notes on inputs and outputs, and any attributes."""

    def __init__(self) -> None:
        self.needs_input_grad: tuple[bool, ...] = ()
        self.materialize_grads = True
        self.to_save: tuple[Any, ...] = ()
        self.dirty_tensors: tuple[Any, ...] = ()
        self.non_differentiable: tuple[Any, ...] = ()
        self._saved: list[_Kept] | None = []
        self._node: weakref.ref[FunctionNode] | None = None
        self._frees_on_access: bool | None = False  # None once they are freed

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep input or output tensors (or None) for `backward`, where they are ``saved_tensors``."""
        self.to_save = tensors

    def save_for_forward(self, *tensors: Any) -> None:
        """Accepted for code that also has forward-mode rules; there is no forward mode here."""
        from rushlight.tensor import Tensor

        for each in tensors:
            if each is not None and not isinstance(each, Tensor):
                raise AssertionError(
                    "save_for_forward expects all arguments to be tensors; you should save non-tensors as "
                    "attributes on ctx."
                )
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
        if self._saved is None:
            raise RuntimeError(FREED_TWICE)
        if self._frees_on_access is None:
            raise RuntimeError(
                "saved_tensors can only be accessed once when clear_saved_tensors_on_access=True is set on "
                "the "
                "autograd.Function. Either access saved_tensors only once, or set "
                "clear_saved_tensors_on_access=False."
            )
        node = self._node() if self._node is not None else None
        found = tuple(each.tensor(node) for each in self._saved)
        if self._frees_on_access:
            self._saved, self._frees_on_access = [], None
        return found

    def _keep(self, node: FunctionNode) -> None:
        """Store what was saved."""
        from rushlight.tensor import Tensor

        for place, each in enumerate(self.to_save):
            if each is not None and not isinstance(each, Tensor):
                raise TypeError(
                    f"save_for_backward can only save variables, but argument {place} is of type "
                    f"{type(each).__name__}"
                )
        self._saved = [_Kept(each, node) for each in self.to_save]
        self.to_save = self.dirty_tensors = self.non_differentiable = ()


class _Kept:
    """A saved tensor: an input as it is, an output as an array, so that no cycle is made."""

    __slots__ = ("array", "kept", "number", "packed", "root", "version")

    def __init__(self, tensor: Any, node: FunctionNode) -> None:
        self.kept: Any = tensor
        self.array: Any = None
        self.version = self.number = 0
        self.root: Any = None
        self.packed = pack(tensor)
        if self.packed is not None:
            self.kept = None
        elif tensor is not None:
            refuse_inference(tensor)
            self.version = tensor._current_version()
            if tensor._node is node:
                root = tensor if tensor._root is None else tensor._root
                self.array, self.number, self.root = tensor._array, tensor._output_nr, weakref.ref(root)
                self.kept = None

    def tensor(self, node: FunctionNode | None) -> Any:
        """The tensor, if it was not changed since."""
        from rushlight.tensor import new_tensor

        if self.packed is not None:
            return self.packed.tensor()
        if self.array is None:
            if self.kept is not None:
                self._check(node, self.kept._array, self.kept._current_version(), self.kept._node, 0)
            return self.kept
        root = self.root()
        if root is not None:
            self._check(node, self.array, root._current_version(), node, self.number)
        tensor = new_tensor(self.array)
        if node is not None:
            tensor._node, tensor._requires_grad, tensor._output_nr = node, True, self.number
        return tensor

    def _check(self, node: Node | None, array: Any, now: int, producer: Node | None, number: int) -> None:
        if now != self.version:
            raise RuntimeError(_changed_in_place(node, array, now, self.version, producer, number))


class FunctionNode(Node):
    """The node of a `Function` call; it also answers for the attributes of the context."""

    __slots__ = ("ctx", "function", "tensor_places")

    def __init__(self, function: type[Function], ctx: FunctionCtx, args: Sequence[Any]) -> None:
        from rushlight.tensor import Tensor

        self.tensor_places = [place for place, each in enumerate(args) if isinstance(each, Tensor)]
        edges, numbers = edges_to([args[place] for place in self.tensor_places])
        super().__init__(None, None, None)
        self.edges, self.numbers = edges, numbers
        self.function = function
        self.ctx = ctx
        ctx._node = weakref.ref(self)

    def name(self) -> str:
        return f"{self.function.__name__}Backward"

    def __repr__(self) -> str:
        return f"<torch.autograd.function.{self.name()} object at {id(self):#x}>"

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "ctx"), name)

    def backward(self, grads: Sequence[Any], wanted: Sequence[bool] | None = None) -> list[Any]:
        from rushlight.ops.create import zeros_of
        from rushlight.tensor import Tensor

        given = list(grads)
        if self.ctx.materialize_grads:
            metadata = self.outputs if self.outputs is not None else [(self.shape, self.dtype)]
            for place, (shape, kind) in enumerate(metadata):
                if given[place] is None and kind is not None:
                    given[place] = zeros_of(shape, kind)
        rule = self.function._rule()
        result = rule(self.ctx, given) if self.function.boxed_grads_call else rule(self.ctx, *given)
        results = result if isinstance(result, tuple) else (result,)
        expected = len(self.ctx.needs_input_grad)
        if len(results) > expected and all(each is None for each in results[expected:]):
            results = results[:expected]
        if len(results) != expected:
            raise RuntimeError(
                f"function {self.name()} returned an incorrect number of gradients (expected {expected}, "
                f"got {len(results)})"
            )
        for place, each in enumerate(results):
            if each is None:
                continue
            if place not in self.tensor_places:
                raise RuntimeError(
                    f"function {self.name()} returned a gradient different than None at position "
                    f"{place + 1}, "
                    "but the corresponding forward input was not a Variable"
                )
            if not isinstance(each, Tensor):
                raise RuntimeError(f"expected Variable or None (got {type(each).__name__})")
        return [results[place] for place in self.tensor_places]

    def note_overwritten(self, version: int, number: int) -> None:
        for each in self.ctx._saved or ():
            if each.array is not None and each.number == number:
                each.root = overwritten(each.root, version)

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
    # The first look at ctx.saved_tensors frees them.
    clear_saved_tensors_on_access = False
    # `backward` gets its gradients as one list, which it may empty as it goes.
    boxed_grads_call = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        warnings.warn(
            f"{self.__class__} should not be instantiated. Methods on autograd functions are all static, so "
            "you should invoke them on the class itself. Instantiating an autograd function will raise an "
            "error in a future version of PyTorch.",
            DeprecationWarning,
            stacklevel=2,
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(
            "Legacy autograd function with non-static forward method is deprecated. Please use new-style "
            "autograd function with static forward method. "
            "(Example: https://pytorch.org/docs/stable/autograd.html#torch.autograd.Function)"
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
            "You must implement either the backward or vjp method for your custom autograd.Function to use "
            "it "
            "with backward mode AD."
        )

    vjp = backward

    @classmethod
    def _rule(cls) -> Callable[..., Any]:
        """The user's backward, under either of its names."""
        if cls.vjp is Function.vjp:
            return cls.backward
        if cls.backward is not Function.backward:
            raise RuntimeError(
                "Implementing both 'backward' and 'vjp' for a custom Function is not allowed. You should "
                "only "
                "implement one of them."
            )
        return cls.vjp

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run `forward` on the arguments and put its node on the tape."""
        from rushlight.tensor import Tensor

        takes_ctx = cls.setup_context is Function.setup_context
        if kwargs or not takes_ctx:
            args = _by_position(cls.forward, args, kwargs, takes_ctx)
        ctx = FunctionCtx()
        ctx._frees_on_access = cls.clear_saved_tensors_on_access
        ctx.needs_input_grad = tuple(isinstance(each, Tensor) and each.requires_grad for each in args)
        mode = state.mode
        recorded = mode & GRAD and any(ctx.needs_input_grad)
        node = FunctionNode(cls, ctx, args) if recorded else None
        state.mode = mode & ~GRAD
        try:
            if takes_ctx:
                result = cls.forward(ctx, *args)
            else:
                result = cls.forward(*args)
                cls.setup_context(ctx, args, result)
            outputs = list(result) if isinstance(result, tuple) else [result]
            _Outputs(ctx, node, args, outputs, bool(mode & GRAD)).attach()
        finally:
            state.mode = mode
        return tuple(outputs) if isinstance(result, tuple) else outputs[0]


def _by_position(
    forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], takes_ctx: bool
) -> tuple[Any, ...]:
    """All arguments by position; beside a `setup_context` the defaults too."""
    import inspect

    bound = inspect.signature(forward).bind(*([None] if takes_ctx else []), *args, **kwargs)
    if not takes_ctx:
        bound.apply_defaults()
    for name in bound.kwargs:
        raise TypeError(f"forward() got an unexpected keyword argument '{name}'")
    return bound.args[1:] if takes_ctx else bound.args


class _Outputs:
    """What `forward` returned, about to be tied to the node (if the call is recorded at all)."""

    def __init__(
        self,
        ctx: FunctionCtx,
        node: FunctionNode | None,
        args: Sequence[Any],
        outputs: list[Any],
        grad_enabled: bool,
    ) -> None:
        from rushlight.tensor import Tensor

        self.ctx = ctx
        self.grad_enabled = grad_enabled
        self.node = node
        self.args = args
        self.outputs = outputs
        for place, each in enumerate(ctx.dirty_tensors):
            if not isinstance(each, Tensor):
                raise RuntimeError(
                    f"mark_dirty can only accept variables, but argument {place} is of type "
                    f"{type(each).__name__}"
                )
        for each in ctx.non_differentiable:
            if not isinstance(each, Tensor):
                raise RuntimeError(
                    f"mark_non_differentiable only accepts variable arguments, but got {type(each).__name__}"
                )
        self.inputs = {id(each) for each in args if isinstance(each, Tensor)}
        self.dirty = {id(each) for each in ctx.dirty_tensors}
        self.untouched = {id(each) for each in ctx.non_differentiable}

    def attach(self) -> None:
        """Make the node the maker of the outputs and let it keep what was saved."""
        from rushlight.tensor import Tensor

        if not self.dirty <= {id(each) for each in self.outputs}:
            raise RuntimeError(
                "Some elements marked as dirty during the forward method were not returned as output. The "
                "inputs that are modified inplace must all be outputs of the Function."
            )
        tensors = [isinstance(each, Tensor) for each in self.outputs]
        if self.node is not None:
            metadata = [
                (each._array.shape, each._array.dtype) if known else ((), None)
                for each, known in zip(self.outputs, tensors, strict=True)
            ]
            self.node.shape, self.node.dtype = metadata[0]
            self.node.outputs = metadata if len(metadata) > 1 else None
        for number, known in enumerate(tensors):
            if known:
                self._attach_one(number)
        if self.node is None:
            self.ctx._saved = []
            return
        self.ctx._keep(self.node)
        if state.mode & ANOMALY:
            self.node.remember_where()

    def _attach_one(self, number: int) -> None:
        tensor, node = self.outputs[number], self.node
        is_input, is_dirty = id(tensor) in self.inputs, id(tensor) in self.dirty
        if tensor._array.dtype.kind != "f" or id(tensor) in self.untouched:
            if is_input and tensor.requires_grad:
                self.outputs[number] = tensor.detach()
            return
        if is_dirty:
            self._attach_dirty(number, tensor, is_input)
            return
        if is_input:  # handed through unchanged: an alias of it, so that the input keeps its own history
            alias = tensor.view_as(tensor) if self.grad_enabled else tensor.detach()
            tensor = self.outputs[number] = alias
        if node is None:
            return
        tensor._node, tensor._requires_grad, tensor._output_nr = node, True, number
        if tensor._base is not None:
            tensor._creation = "multiple" if len(self.outputs) > 1 else "custom"

    def _attach_dirty(self, number: int, tensor: Any, is_input: bool) -> None:
        from rushlight import views

        if not is_input:
            warnings.warn(
                "ctx.mark_dirty() received a tensor that was not an input. Only input Tensors that have been "
                "mutated should be passed to ctx.mark_dirty().",
                stacklevel=5,
            )
        if self.node is None:
            return
        if tensor.requires_grad and tensor._fresh_node() is None:
            raise RuntimeError("a leaf Variable that requires grad has been used in an in-place operation.")
        if tensor._base is not None and len(self.outputs) > 1:
            raise RuntimeError(
                "If your Function modifies inplace an input that is a view of another Tensor, your Function "
                "cannot return more than one Tensor. This is not supported by the current autograd engine. "
                "You should either make sure the input is not a view (using .clone() for example) or make "
                "your "
                "Function only return one Tensor (potentially splitting it into two Functions: one doing the "
                "inplace that returns a single Tensor and a second one that does the other operations)."
            )
        places = [place for place, at in enumerate(self.node.tensor_places) if self.args[at] is tensor]
        tensor._bump_version()
        views.set_history(tensor, self.node, places[0] if places and tensor.requires_grad else None)
        if tensor._base is None:
            tensor._output_nr = number


class _Refusal(Node):
    """A node that raises when backward reaches it."""

    __slots__ = ("sentence",)

    def __init__(self, sentence: str, tensor: Any) -> None:
        super().__init__(None, None, None)
        self.sentence = sentence
        self.shape, self.dtype = tensor._array.shape, tensor._array.dtype
        tensor._requires_grad = True
        self.edges = [tensor]

    def name(self) -> str:
        return "Error"

    def backward(self, grads: Sequence[Any], wanted: Sequence[bool] | None = None) -> list[Any]:
        raise RuntimeError(self.sentence)


def once_differentiable(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a `backward` whose result cannot be differentiated again: a second derivative raises."""

    @functools.wraps(fn)
    def wrapper(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        from rushlight.autograd.mode import no_grad
        from rushlight.tensor import Tensor

        with no_grad():
            result = fn(ctx, *args, **kwargs)
        if not state.grad_enabled or not any(
            isinstance(each, Tensor) and each.requires_grad for each in args
        ):
            return result
        sentence = "trying to differentiate twice a function that was marked with @once_differentiable"
        results = result if isinstance(result, tuple) else (result,)
        refused = []
        for each in results:
            if isinstance(each, Tensor):
                value = each.detach()
                each = value.detach()
                each._node, each._requires_grad = _Refusal(sentence, value), True
            refused.append(each)
        return tuple(refused)

    return wrapper
