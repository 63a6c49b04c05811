"""Derivatives of functions as functions: `jacobian`, `hessian`, and their products with vectors.

All are plain uses of `autograd`: rows of a Jacobian are backward passes, and a Jacobian times a vector is a
backward pass through a backward pass. There is no forward mode. Invariant: the tensors handed in are never
changed and their ``.grad`` is not touched; results have history only with ``create_graph=True``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rushlight.autograd.engine import run_backward
from rushlight.autograd.mode import enable_grad

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

# What strict mode says of a gradient that does not exist, or that depends on nothing, by the pass it comes
# from.
_MISSING = {
    "back": "The output of the user-provided function is independent of input {place}. "
    "This is not allowed in strict mode.",
    "back_trick": "The gradient with respect to the input is independent of entry {place} in the "
    "grad_outputs when "
    "using the double backward trick to compute forward mode gradients. This is not allowed in strict mode.",
    "double_back": "The jacobian of the user-provided function is independent of input {place}. "
    "This is not allowed in strict mode.",
    "double_back_trick": "The hessian of the user-provided function is independent of entry {place} in the "
    "grad_jacobian. This is not allowed in strict mode as it prevents from using the double backward trick "
    "to "
    "replace forward mode AD.",
}
_CONSTANT = {
    "outputs": "Output {place} of the user-provided function does not require gradients. The outputs must be "
    "computed in a differentiable manner from the input when running in strict mode.",
    "grad_inputs": "The gradient with respect to input {place} is independent of the inputs of the "
    "user-provided "
    "function. This is not allowed in strict mode.",
    "jacobian": "While computing the hessian, found that the jacobian of the user-provided function with "
    "respect to "
    "input {place} is independent of the input. This is not allowed in strict mode. You should ensure that "
    "your "
    "function is twice differentiable and that the jacobian depends on the inputs (this would be violated "
    "by a "
    "linear function for example).",
}
_NEEDS_SCALAR = "The vector v can only be None if {what} with a single element."


class _Call:
    """One run of the user's function: its inputs, made anew so that only they are differentiated, and its
    outputs.
    """

    def __init__(
        self, name: str, func: Callable[..., Any], inputs: Any, create_graph: bool, strict: bool
    ) -> None:
        self.name = name
        self.func = func
        self.create_graph = create_graph
        self.strict = strict
        self.one_input = not isinstance(inputs, tuple)
        self.inputs = [self._fresh(each, True) for each in _tensors(inputs, "inputs", name)]
        self.one_output = False
        self.outputs: list[Tensor] = []

    def _fresh(self, tensor: Tensor, need_graph: bool) -> Tensor:
        if self.create_graph and tensor.requires_grad:
            return tensor.view_as(tensor)
        return tensor.detach().requires_grad_(need_graph)

    def run(self) -> None:
        """Call the function."""
        result = self.func(*self.inputs)
        self.one_output = not isinstance(result, tuple)
        self.outputs = list(_tensors(result, "outputs of the user-provided function", self.name))
        self.check_depends(self.outputs, "outputs")

    def run_scalar(self) -> None:
        """Call a function that must return a single element."""
        self.run()
        if not self.one_output:
            raise RuntimeError(f"The function given to {self.name} should return a single Tensor")
        if self.outputs[0].numel() != 1:
            raise RuntimeError(
                f"The Tensor returned by the function given to {self.name} should contain a single element"
            )

    def vector(self, v: Any, like: Sequence[Tensor], several: bool, needed: str) -> list[Any]:
        """The vector of a product, checked against what it multiplies; None for a single element."""
        if v is None:
            if len(like) != 1 or like[0].numel() != 1:
                raise RuntimeError(_NEEDS_SCALAR.format(what=needed))
            return [None]
        vectors = [self._fresh(each, False) for each in _tensors(v, "v", self.name)]
        if len(vectors) != len(like):
            if several:
                raise RuntimeError(
                    f"v is a tuple of invalid length: should be {len(like)} but got {len(vectors)}."
                )
            raise RuntimeError("The given v should contain a single Tensor.")
        for place, (vector, other) in enumerate(zip(vectors, like, strict=True)):
            if vector.shape != other.shape:
                entry = f"Entry {place} in " if several else ""
                raise RuntimeError(
                    f"{entry}v has invalid size: should be {other.shape} but got {vector.shape}."
                )
        return vectors

    def input_vector(self, v: Any) -> list[Any]:
        """A vector that multiplies the inputs."""
        needed = "the input to the user-provided function is a single Tensor"
        return self.vector(v, self.inputs, not self.one_input, needed)

    def check_depends(self, tensors: Sequence[Any], what: str) -> None:
        """In strict mode, refuse what does not depend on the inputs."""
        if not self.strict:
            return
        for place, each in enumerate(tensors):
            if each is None:
                raise RuntimeError(_MISSING["back"].format(place=place))
            if not each.requires_grad:
                raise RuntimeError(_CONSTANT[what].format(place=place))

    def filled(self, grads: Sequence[Any], like: Sequence[Tensor], stage: str) -> list[Tensor]:
        """Gradients with zeros where there are none, which strict mode refuses."""
        from rushlight.ops.create import zeros_like

        found = []
        for place, (grad, other) in enumerate(zip(grads, like, strict=True)):
            if grad is None:
                if self.strict:
                    raise RuntimeError(_MISSING[stage].format(place=place))
                grad = zeros_like(other)
            elif self.strict and self.create_graph and not grad.requires_grad:
                what = "hessian" if "double" in stage else "jacobian"
                raise RuntimeError(
                    f"The {what} of the user-provided function is independent of input {place}. This is not "
                    "allowed in strict mode when create_graph=True."
                )
            found.append(grad)
        return found

    def result(self, tensors: Sequence[Tensor], alone: bool) -> Any:
        """Tensors as the user gets them: without history unless asked for, and a single one without its
        tuple.
        """
        given = tuple(each if self.create_graph else each.detach() for each in tensors)
        return given[0] if alone else given


def _tensors(given: Any, what: str, name: str) -> tuple[Any, ...]:
    """One tensor or a tuple of them as a tuple; TypeError for anything else."""
    from rushlight.tensor import Tensor

    several = isinstance(given, tuple)
    for place, each in enumerate(given if several else (given,)):
        if not isinstance(each, Tensor):
            where = f"the value at index {place}" if several else f"the given {what}"
            raise TypeError(
                f"The {what} given to {name} must be either a Tensor or a tuple of Tensors but {where} has "
                "type "
                f"{type(each)}."
            )
    return given if several else (given,)


def _gradients(
    outputs: Sequence[Any], inputs: Sequence[Tensor], weights: Sequence[Any] | None, create_graph: bool
) -> list[Any]:
    """`autograd.grad` that takes None among the outputs and gives None for inputs they do not depend on."""
    from rushlight.ops.create import ones_like

    roots, given = [], []
    for output, weight in zip(outputs, weights or [None] * len(outputs), strict=True):
        if output is not None and output.requires_grad:
            roots.append(output)
            given.append(ones_like(output) if weight is None else weight)
    if not roots:
        return [None] * len(inputs)
    found = run_backward(roots, given, True, create_graph, inputs)
    assert found is not None
    return found


def vjp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> Any:
    """The outputs of a function, and a vector times its Jacobian.

    Args:
        func: takes the inputs, returns a tensor or a tuple of tensors.
        inputs: a tensor or a tuple of them.
        v: the vector, of the shape of the outputs; may be left out for a single element.
        create_graph: let the results be differentiable.
        strict: refuse inputs that the outputs do not depend on, instead of giving zeros.

    >>> import rushlight as torch
    >>> torch.autograd.functional.vjp(lambda x: x * x, torch.tensor([1.0, 2.0]), torch.tensor([1.0, 10.0]))
    (tensor([1., 4.]), tensor([ 2., 40.]))
    """
    with enable_grad():
        call = _Call("vjp", func, inputs, create_graph, strict)
        call.run()
        needed = "the user-provided function returns a single Tensor"
        vectors = call.vector(v, call.outputs, not call.one_output, needed)
        grads = _gradients(call.outputs, call.inputs, vectors, create_graph)
        product = call.filled(grads, call.inputs, "back")
    return call.result(call.outputs, call.one_output), call.result(product, call.one_input)


def jvp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> Any:
    """The outputs of a function, and its Jacobian times a vector; arguments as for `vjp`, `v` like the
    inputs.

    The gradient of ``w @ J`` with respect to `w`, in the direction `v`, is ``J @ v``: two backward passes.

    >>> import rushlight as torch
    >>> torch.autograd.functional.jvp(lambda x: x * x, torch.tensor([1.0, 2.0]), torch.tensor([1.0, 10.0]))
    (tensor([1., 4.]), tensor([ 2., 40.]))
    """
    from rushlight.ops.create import zeros_like

    with enable_grad():
        call = _Call("jvp", func, inputs, create_graph, strict)
        vectors = call.input_vector(v)
        call.run()
        weights = [zeros_like(each, requires_grad=True) for each in call.outputs]
        grads = _gradients(call.outputs, call.inputs, weights, True)
        call.check_depends(grads, "grad_inputs")
        product = _gradients(grads, weights, vectors, create_graph)
        product = call.filled(product, call.outputs, "back_trick")
    return call.result(call.outputs, call.one_output), call.result(product, call.one_output)


def vhp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> Any:
    """The value of a scalar function, and a vector times its Hessian; arguments as for `vjp`, `v` like the
    inputs.

    >>> import rushlight as torch
    >>> torch.autograd.functional.vhp(lambda x: (x**3).sum(), torch.tensor([1.0, 2.0]), torch.ones(2))
    (tensor(9.), tensor([ 6., 12.]))
    """
    with enable_grad():
        call = _Call("vhp", func, inputs, create_graph, strict)
        vectors = call.input_vector(v)
        call.run_scalar()
        slopes = _gradients(call.outputs, call.inputs, None, True)
        call.check_depends(slopes, "jacobian")
        product = _gradients(slopes, call.inputs, vectors, create_graph)
        product = call.filled(product, call.inputs, "double_back")
    return call.result(call.outputs, True), call.result(product, call.one_input)


def hvp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> Any:
    """The value of a scalar function, and its Hessian times a vector; arguments as for `vjp`, `v` like the
    inputs.

    For twice continuously differentiable functions `vhp` gives the same with one pass less.

    >>> import rushlight as torch
    >>> torch.autograd.functional.hvp(lambda x: (x**3).sum(), torch.tensor([1.0, 2.0]), torch.ones(2))
    (tensor(9.), tensor([ 6., 12.]))
    """
    from rushlight.ops.create import zeros_like

    with enable_grad():
        call = _Call("hvp", func, inputs, create_graph, strict)
        vectors = call.input_vector(v)
        call.run_scalar()
        slopes = _gradients(call.outputs, call.inputs, None, True)
        call.check_depends(slopes, "jacobian")
        weights = [zeros_like(each, requires_grad=True) for each in call.inputs]
        curves = _gradients(slopes, call.inputs, weights, True)
        product = _gradients(curves, weights, vectors, create_graph)
        product = call.filled(product, call.inputs, "double_back_trick")
    return call.result(call.outputs, True), call.result(product, call.one_input)


def jacobian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The Jacobian of a function: for each output and input a tensor of shape ``output.shape + input.shape``.

    Args:
        func: takes the inputs, returns a tensor or a tuple of tensors.
        inputs: a tensor or a tuple of them.
        create_graph: let the Jacobian be differentiable.
        strict: refuse inputs that the outputs do not depend on, instead of giving zeros.
        vectorize: gives the same result.
        strategy: "reverse-mode"; "forward-mode" (with `vectorize`) gives the same result.

    >>> import rushlight as torch
    >>> torch.autograd.functional.jacobian(lambda x: x * x, torch.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    from rushlight.ops.join import stack

    _check_strategy(strategy, create_graph, strict, vectorize)
    with enable_grad():
        call = _Call("jacobian", func, inputs, create_graph, strict)
        call.run()
        found = []
        for place, output in enumerate(call.outputs):
            rows = [_row(call, place, element) for element in output.reshape(-1).unbind(0)]
            shapes = [tuple(output.shape) + tuple(each.shape) for each in call.inputs]
            if rows:
                parts = [stack(column) for column in zip(*rows, strict=True)]
            else:
                parts = [output.new_zeros(shape) for shape in shapes]
            blocks = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
            found.append(call.result(blocks, call.one_input))
    return found[0] if call.one_output else tuple(found)


def _row(call: _Call, place: int, element: Tensor) -> list[Tensor]:
    """The gradients of one element of output `place`."""
    from rushlight.ops.create import zeros_like

    row = []
    for which, (grad, input) in enumerate(
        zip(_gradients([element], call.inputs, None, call.create_graph), call.inputs, strict=True)
    ):
        if grad is None:
            if call.strict:
                raise RuntimeError(
                    f"Output {place} of the user-provided function is independent of input {which}. This is "
                    "not "
                    "allowed in strict mode."
                )
            grad = zeros_like(input)
        elif call.strict and call.create_graph and not grad.requires_grad:
            raise RuntimeError(
                f"The jacobian of the user-provided function is independent of input {place}. This is not "
                "allowed "
                "in strict mode when create_graph=True."
            )
        row.append(grad)
    return row


def _check_strategy(strategy: str, create_graph: bool, strict: bool, vectorize: bool) -> None:
    """Refuse the combinations of arguments that PyTorch refuses."""
    if strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError(
            'Expected strategy to be either "forward-mode" or "reverse-mode". Hint: If your function has '
            "more "
            'outputs than inputs, "forward-mode" tends to be more performant. Otherwise, prefer to use '
            '"reverse-mode".'
        )
    if strategy == "forward-mode":
        if create_graph:
            raise NotImplementedError(
                'torch.autograd.functional.jacobian: `create_graph=True` and `strategy="forward-mode"` are '
                "not "
                "supported together (yet). Please either set `create_graph=False` or "
                '`strategy="reverse-mode"`.'
            )
        if strict:
            raise RuntimeError(
                'torch.autograd.functional.jacobian: `strict=True` and `strategy="forward-mode"` are not '
                'supported together (yet). Please either set `strict=False` or `strategy="reverse-mode"`.'
            )
        if not vectorize:
            raise NotImplementedError(
                "Computing Jacobian using forward-AD or forward-over-reverse Hessian is only implemented for "
                "`vectorize=True`."
            )
    elif vectorize and strict:
        raise RuntimeError(
            "torch.autograd.functional.jacobian: `strict=True` and `vectorized=True` are not supported "
            "together. "
            "Please either set `strict=False` or `vectorize=False`."
        )


def hessian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The Hessian of a scalar function: for each pair of inputs a tensor of their two shapes joined.

    Arguments are those of `jacobian`; `outer_jacobian_strategy` is its `strategy`.

    >>> import rushlight as torch
    >>> torch.autograd.functional.hessian(lambda x: (x**3).sum(), torch.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    given = _tensors(inputs, "inputs", "hessian")
    if outer_jacobian_strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError('Expected strategy to be either "forward-mode" or "reverse-mode".')

    def slopes(*point: Any) -> Any:
        call = _Call("hessian", func, point, True, strict)
        call.run_scalar()
        found = _gradients(call.outputs, call.inputs, None, True)
        call.check_depends(found, "jacobian")
        return tuple(call.filled(found, call.inputs, "back"))

    found = jacobian(slopes, given, create_graph, strict, vectorize, outer_jacobian_strategy)
    return found if isinstance(inputs, tuple) else found[0][0]
