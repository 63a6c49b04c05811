"""The comparisons of `gradcheck`: numeric and analytic Jacobians, and what must hold besides.

The numeric Jacobian comes from central differences of the function, the analytic one from `autograd.grad`,
a row at a time; fast mode compares one random combination of rows and columns instead. Nothing here is meant
to be called by users. Invariant: as for `gradcheck`, inputs are left as they were found.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rushlight.autograd.engine import run_backward
from rushlight.autograd.function import Function
from rushlight.autograd.gradcheck import GradcheckError

if TYPE_CHECKING:
    from rushlight.tensor import Tensor

# PyTorch's words.
NONDETERMINISTIC = (
    "\n\nNOTE: If your op relies on non-deterministic operations, this failure might be expected: call "
    "gradcheck/gradgradcheck with `nondet_tol=<tol>` as a keyword argument."
)
FAST_FAILED = """
The above quantities relating the numerical and analytical jacobians are computed
in fast mode. Below, we recompute numerical and analytical jacobians in slow mode:

Numerical:
 {numerical}
Analytical:
{analytical}

The max per-element difference (slow mode) is: {difference}.
"""
SLOW_OK = (
    "Fast gradcheck failed but element-wise differences are small. This means that the test might've passed "
    "in "
    "slow_mode! Call gradcheck/gradgradcheck with `fast_mode=False` as a keyword argument."
)


class _Undefined(Function):
    """Passes a value on and gives no gradient at all."""

    @staticmethod
    def forward(ctx: Any, input: Tensor) -> Tensor:
        return input.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> None:
        return None


class Tolerance:
    """How far a gradient may be from the numeric one."""

    def __init__(self, atol: float, rtol: float, eps: float) -> None:
        self.atol = atol
        self.rtol = rtol
        self.eps = eps

    def accepts(self, analytical: Tensor, numerical: Tensor, factor: float = 1.0) -> bool:
        """Whether all elements are equal within the tolerance; `factor` scales its absolute part."""
        difference = (analytical - numerical).abs()
        return bool((difference <= self.atol * factor + self.rtol * numerical.abs()).all())


# -- inputs --------------------------------------------------------------------------------------------------


def as_tuple(given: Any) -> tuple[Any, ...]:
    """One value or several, as a tuple."""
    return tuple(given) if isinstance(given, (tuple, list)) else (given,)


def needs_grad(value: Any) -> bool:
    """Whether a value is a tensor that requires grad."""
    from rushlight.tensor import Tensor

    return isinstance(value, Tensor) and value.requires_grad


def _checked_inputs(inputs: Sequence[Any]) -> list[Tensor]:
    return [each for each in inputs if needs_grad(each)]


def check_inputs(inputs: Sequence[Any]) -> None:
    """Refuse inputs that cannot be moved by small steps; warn of those that are not in double precision."""
    from rushlight.dtype import float64

    for place, each in enumerate(inputs):
        if not needs_grad(each):
            continue
        if each.dtype is not float64:
            warnings.warn(
                f"Input #{place} requires gradient and is not a double precision floating point or complex. "
                "This check will likely fail if all the inputs are not of double precision floating point or "
                "complex. ",
                stacklevel=3,
            )
        if any(stride == 0 and size > 1 for stride, size in zip(each.stride(), each.shape, strict=True)):
            raise RuntimeError(
                f"The {place}th input has a dimension with stride 0. gradcheck only supports inputs that are "
                "non-overlapping to be able to compute the numerical gradients correctly. You should call "
                ".contiguous on the input before passing it to gradcheck."
            )
    if not _checked_inputs(inputs):
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of them have "
            "requires_grad=True."
        )


def random_like(output: Tensor, with_gaps: bool) -> Tensor:
    """A gradient for an output, uniform between -1 and 1."""
    from rushlight.dtype import float64
    from rushlight.ops.join import stack
    from rushlight.ops.random import rand

    drawn = rand(tuple(output.shape), dtype=output.dtype if output.is_floating_point() else float64)
    if with_gaps and drawn.numel() > 1:
        drawn = stack([drawn, drawn], -1)[..., 0]
    return drawn.mul_(2).sub_(1).detach().requires_grad_()


# -- Jacobians -----------------------------------------------------------------------------------------------


def _difference(
    func: Callable[..., Any], inputs: Sequence[Any], input: Tensor, step: Tensor, eps: float
) -> list[Tensor]:
    """How each output changes per unit when `input` moves along `step`, by central differences; flattened."""
    values = []
    original = input.detach().clone()
    try:
        for sign in (-1, 1):
            input.data.copy_(original + step * sign * eps)
            values.append([each.detach().clone() for each in as_tuple(func(*inputs))])
    finally:
        input.data.copy_(original)
    for below, above in zip(*values, strict=True):
        _check_alike(below, above, eps)
    return [((above - below) / (2 * eps)).reshape(-1) for below, above in zip(*values, strict=True)]


def _check_alike(first: Tensor, second: Tensor, eps: float) -> None:
    for what in ("shape", "dtype"):
        if getattr(first, what) != getattr(second, what):
            raise AssertionError(
                f"Expected `func` to return outputs with the same {what} when inputs are perturbed by "
                f"{eps}, but "
                f"got: {what}s {getattr(first, what)} and {getattr(second, what)}."
            )


def _numerical_jacobian(
    func: Callable[..., Any], inputs: Sequence[Any], input: Tensor, eps: float
) -> list[Tensor]:
    """For each output, the matrix of derivatives: a row per element of the input, a column per one of the
    output.
    """
    from rushlight.ops.create import zeros_like
    from rushlight.ops.join import stack

    rows = []
    for place in range(input.numel()):
        step = zeros_like(input.detach()).contiguous()
        step.view(-1)[place] = 1
        rows.append(_difference(func, inputs, input, step, eps))
    if not rows:
        return [each.new_zeros(0, each.numel()) for each in as_tuple(func(*inputs))]
    return [stack(columns) for columns in zip(*rows, strict=True)]


def _vector_jacobian(output: Tensor, inputs: Sequence[Tensor], weight: Tensor) -> list[Any]:
    found = run_backward([output], [weight], True, False, inputs)
    assert found is not None
    return found


def _analytical_jacobian(output: Tensor, inputs: Sequence[Tensor], check_dtypes: bool) -> list[Tensor]:
    """For each input, the same matrix as from `_numerical_jacobian`, by a backward pass per element."""
    from rushlight.ops.create import zeros_like

    jacobians = [each.detach().new_zeros(each.numel(), output.numel()) for each in inputs]
    for place in range(output.numel()):
        weight = zeros_like(output.detach()).contiguous()
        weight.view(-1)[place] = 1
        grads = _vector_jacobian(output, inputs, weight)
        for input, jacobian, grad in zip(inputs, jacobians, grads, strict=True):
            if grad is None:
                continue
            if grad.shape != input.shape:
                raise GradcheckError("Analytical gradient has incorrect size")
            if check_dtypes and grad.dtype is not input.dtype:
                raise GradcheckError("Gradient has dtype mismatch")
            jacobian[:, place] = grad.reshape(-1)
    return jacobians


# -- comparisons ---------------------------------------------------------------------------------------------


def compare(
    func: Callable[..., Any],
    inputs: Sequence[Any],
    returned: Sequence[Tensor],
    tolerance: Tolerance,
    nondet_tol: float,
    check_dtypes: bool,
) -> None:
    """All entries of all Jacobians."""
    checked = _checked_inputs(inputs)
    numerical = [_numerical_jacobian(func, inputs, each, tolerance.eps) for each in checked]
    places = [place for place, each in enumerate(returned) if each.requires_grad]
    if not places:
        if any(bool((each != 0).any()) for jacobians in numerical for each in jacobians):
            raise GradcheckError("Numerical gradient for function expected to be zero")
        return
    for number, place in enumerate(places):
        analytical = _analytical_jacobian(returned[place], checked, check_dtypes)
        again = _analytical_jacobian(returned[place], checked, check_dtypes)
        for first, second in zip(analytical, again, strict=True):
            if first.numel() and float((first - second).abs().max()) > nondet_tol:
                raise GradcheckError(
                    "Backward is not reentrant, i.e., running backward with same input and grad_output "
                    "multiple "
                    "times gives different values, although analytical gradient matches numerical gradient."
                    f"The tolerance for nondeterminism was {nondet_tol}.{NONDETERMINISTIC}"
                )
        for which, found in enumerate(analytical):
            expected = numerical[which][place]
            if not tolerance.accepts(found, expected):
                raise GradcheckError(_mismatch(found, expected, number, which))


def _mismatch(analytical: Tensor, numerical: Tensor, output: int, input: int) -> str:
    return (
        f"Jacobian mismatch for output {output} with respect to input {input},\n"
        f"numerical:{numerical}\nanalytical:{analytical}\n"
    )


def compare_fast(
    func: Callable[..., Any], inputs: Sequence[Any], returned: Sequence[Tensor], tolerance: Tolerance
) -> None:
    """One random combination of the entries of each Jacobian."""
    from rushlight.random import Generator

    checked = _checked_inputs(inputs)
    generator = Generator()
    steps = [_unit_vector(each, generator) for each in checked]
    places = [place for place, each in enumerate(returned) if each.requires_grad]
    weights = {place: _unit_vector(returned[place], generator) for place in places}
    changes = [
        _difference(func, inputs, each, step, tolerance.eps)
        for each, step in zip(checked, steps, strict=True)
    ]
    if not places and any(bool((each != 0).any()) for change in changes for each in change):
        raise GradcheckError("Numerical gradient for function expected to be zero")
    for number, place in enumerate(places):
        weight = weights[place]
        grads = _vector_jacobian(returned[place], checked, weight)
        for which, (grad, step) in enumerate(zip(grads, steps, strict=True)):
            numerical = (changes[which][place] * weight.reshape(-1)).sum()
            analytical = numerical * 0 if grad is None else (grad * step).sum()
            if tolerance.accepts(analytical, numerical, float(step.sum() * weight.sum())):
                continue
            slow = _numerical_jacobian(func, inputs, checked[which], tolerance.eps)[place]
            exact = _analytical_jacobian(returned[place], checked, False)[which]
            text = FAST_FAILED.format(numerical=slow, analytical=exact, difference=(slow - exact).abs().max())
            if tolerance.accepts(exact, slow):
                text += SLOW_OK
            raise GradcheckError(_mismatch(analytical, numerical, number, which) + text)


def _unit_vector(like: Tensor, generator: Any) -> Tensor:
    """A random direction with positive entries, of a tensor's shape and type."""
    from rushlight.ops.random import rand

    drawn = rand((like.numel(),), generator=generator).to(like.dtype)
    return (drawn / drawn.square().sum().sqrt()).reshape(tuple(like.shape))


def check_batched(output: Tensor, inputs: Sequence[Any], place: int) -> None:
    """Gradients for two gradients of the output at once against those for one after the other."""
    from rushlight.autograd import grad
    from rushlight.ops.join import stack
    from rushlight.ops.random import randn

    checked = _checked_inputs(inputs)
    weights = [randn(tuple(output.shape), dtype=output.dtype) for _ in range(2)]
    single = [grad(output, checked, each, True, materialize_grads=True) for each in weights]
    batch = grad(output, checked, stack(weights), True, is_grads_batched=True, materialize_grads=True)
    for which, together in enumerate(batch):
        apart = stack([grads[which] for grads in single])
        if not Tolerance(1e-8, 1e-5, 0).accepts(together, apart):
            raise GradcheckError(
                f"For output {place} and input {which}:\n\ngradcheck or gradgradcheck failed while testing "
                "batched "
                f"gradient computation.\n\nGot:\n{together}\n\nExpected:\n{apart}"
            )


def check_scaled_by_grad_output(outputs: Sequence[Tensor], inputs: Sequence[Any], masked: bool) -> None:
    """Zero gradients of the outputs must give zero gradients."""
    from rushlight.ops.create import zeros_like

    if not outputs:
        return
    zeros = [zeros_like(each.detach()) for each in outputs]
    checked = _checked_inputs(inputs)
    found = run_backward(outputs, zeros, True, False, checked)
    assert found is not None
    for grad in found:
        if grad is None:
            continue
        if not bool((grad.abs() <= 1e-8 if masked else grad == 0).all()):
            raise GradcheckError("backward not multiplied by grad_output")


def check_undefined(func: Callable[..., Any], inputs: Sequence[Any]) -> None:
    """Missing gradients of all outputs, and then of each, must count as zeros."""
    from rushlight.ops.create import zeros_like

    checked = _checked_inputs(inputs)
    for outputs in _with_undefined(func, inputs):
        if not outputs:
            continue
        zeros = [zeros_like(each.detach()) for each in outputs]
        try:
            found = run_backward(outputs, zeros, False, False, checked)
        except RuntimeError as error:
            raise GradcheckError(
                'Expected backward function to handle undefined output grads. Please look at "Notes about '
                'undefined output gradients" in "tools/autograd/derivatives.yaml"'
            ) from error
        assert found is not None
        if any(grad is not None and bool((grad != 0).any()) for grad in found):
            raise GradcheckError(
                "Expected all input grads to be undefined or zero when all output grads are undefined or "
                "zero. "
                'Please look at "Notes about undefined output gradients" in "tools/autograd/derivatives.yaml"'
            )


def _with_undefined(func: Callable[..., Any], inputs: Sequence[Any]) -> Iterator[list[Tensor]]:
    """The outputs with all gradients cut off, and then with those of one output after the other."""

    def outputs() -> list[Any]:
        return [each for each in as_tuple(func(*inputs)) if each.requires_grad]

    first = [_Undefined.apply(each) for each in outputs()]
    yield first
    if len(first) > 1:
        for cut in range(len(first)):
            yield [_Undefined.apply(each) if place == cut else each for place, each in enumerate(outputs())]
