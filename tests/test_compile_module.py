"""Compiled functions inside autograd, compiled modules, and the arguments of `compile`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rushlight as rl
from rushlight import nn, optim
from rushlight.compile.record import RecordingError
from rushlight.nn import functional as F
from tests.footguns import batches, small_model, spelled_out


def train(wrap: Callable[[nn.Module], Any]) -> tuple[list[float], dict[str, np.ndarray]]:
    """The losses of a few steps with the loss, backward and update outside, and what is left."""
    rl.manual_seed(0)
    model = small_model(nn.Dropout(0.2), nn.BatchNorm1d(4))
    run = wrap(model)
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    losses = []
    for x, y in batches(8, (6, 4)):
        loss = F.cross_entropy(run(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    run.eval()
    with rl.no_grad():
        losses += run(batches(1)[0][0]).reshape(-1).tolist()
    return losses, {name: value.numpy().copy() for name, value in model.state_dict().items()}


def test_a_module_trains_with_backward_outside() -> None:
    """Batches of two sizes, dropout, running statistics, then evaluation."""
    plain, compiled = train(lambda model: model), train(rl.compile)
    np.testing.assert_allclose(compiled[0], plain[0], 2e-5, 2e-6)
    for name, value in plain[1].items():
        np.testing.assert_allclose(compiled[1][name], value, 2e-5, 2e-6, err_msg=name)


def test_a_compiled_module_is_the_module() -> None:
    """Parameters, attributes, modes, state dicts and hooks are those of the module inside."""
    model = small_model(nn.Dropout(0.5))
    compiled = rl.compile(model)
    assert isinstance(compiled, nn.Module)
    assert list(map(id, compiled.parameters())) == list(map(id, model.parameters()))
    assert list(compiled.state_dict()) == ["_orig_mod." + name for name in model.state_dict()]
    assert repr(compiled).startswith("OptimizedModule(\n  (_orig_mod): Sequential(")
    compiled.load_state_dict(compiled.state_dict())
    compiled.eval()
    assert not model.training and not compiled.training
    assert compiled[0] is model[0] and len(compiled) == 4
    compiled.extra = 5
    assert model.extra == compiled.extra == 5
    del compiled.extra
    with pytest.raises(AttributeError):
        _ = compiled.extra
    x = rl.ones(2, 5)
    assert [rl.allclose(compiled(x), model(x)) for _ in range(2)] == [True, True]
    handle = model.register_forward_hook(lambda module, args, output: output + 1)
    assert rl.allclose(compiled(x), model(x))
    handle.remove()
    assert rl.allclose(compiled.forward(x), model(x))
    assert compiled.double()(x.double()).dtype is rl.float64


def gradients(function: Callable[..., Any], *leaves: rl.Tensor) -> list[Any]:
    """The gradients of what a function returns, for a given gradient of each result."""
    rl.manual_seed(1)
    results = function(*leaves)
    results = results if isinstance(results, tuple) else (results,)
    roots = [each for each in results if each.requires_grad]
    given = [rl.linspace(0.5, 2.0, each.numel()).reshape(each.shape).to(each.dtype) for each in roots]
    return [*results, *rl.autograd.grad(roots, leaves, given, allow_unused=True)]


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "several results": lambda a, b: (a * b, (a + b).sum(), a.detach() * 2),
    "saved output": lambda a, b: a.exp() * b.tanh(),
    "an unused input": lambda a, b: a.sin(),
    "a view": lambda a, b: (a * b).t()[1:].reshape(-1),
    "in place": lambda a, b: (a * 1).mul_(b).add_(a),
    "written view": lambda a, b: _write_row(a * 1, b),
    "random": lambda a, b: F.dropout(a, 0.5) * rl.rand(a.shape) * b,
    "softmax": lambda a, b: F.log_softmax(a, 1) * b.softmax(0),
    "matrix product": lambda a, b: a @ b.t() @ a,
    "gradients inside": lambda a, b: rl.autograd.grad((a * a * b).sum(), [a], create_graph=True)[0] * b,
}


def _write_row(a: rl.Tensor, b: rl.Tensor) -> rl.Tensor:
    a[0] = b[1] * 2
    a[:, 1] *= b[:, 0]
    return a


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_flow_through_compiled_functions(name: str) -> None:
    """Values and gradients, at the first call and at later ones."""
    function = FUNCTIONS[name]
    compiled = rl.compile(function)
    for number in range(3):
        rng = np.random.default_rng(number)
        leaves = [rl.tensor(rng.standard_normal((3, 4)), requires_grad=True) for _ in range(2)]
        for ours, theirs in zip(gradients(compiled, *leaves), gradients(function, *leaves), strict=True):
            assert (ours is None) == (theirs is None)
            if theirs is not None:
                assert ours.requires_grad == theirs.requires_grad
                np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), 1e-12)
    assert "1 recorded" in repr(compiled)


def test_backward_outside_sums_in_the_order_of_the_plain_pass_spelled_out() -> None:
    """Bit by bit, where that order hangs on how memory is laid out.

    The gradient of a sum is a view that takes on the layout of what it is multiplied with: here not row by
    row. In the ordinary pass a small one is a row-major copy, so that the sum to the shape of `b` may round
    otherwise: to be compared bit by bit, the pass outside must be spelled out like the function.
    """

    def function(a: rl.Tensor, b: rl.Tensor) -> rl.Tensor:
        turned = a.transpose(0, 2) + b
        return (turned * turned).sum()

    compiled = rl.compile(function, backend="replay")
    for number in range(3):
        rng = np.random.default_rng(number)
        leaves = [rl.tensor(rng.uniform(-1, 1, shape), requires_grad=True) for shape in [(5, 5, 3), (5, 1)]]
        ours = gradients(compiled, *leaves)
        for mine, other in zip(ours, spelled_out(gradients)(function, *leaves), strict=True):
            np.testing.assert_array_equal(mine.detach().numpy(), other.detach().numpy())
        for mine, other in zip(ours, gradients(function, *leaves), strict=True):
            np.testing.assert_allclose(mine.detach().numpy(), other.detach().numpy(), 1e-12)


def test_backward_goes_on_beyond_the_function() -> None:
    """Through arguments that were computed, captured tensors with a history, and after the function."""
    weight = nn.Parameter(rl.tensor([2.0, 3.0]))
    scale = weight * 2
    step = rl.compile(lambda x: x * scale + weight)
    for _ in range(3):
        leaf = rl.tensor([1.0, 4.0], requires_grad=True)
        results = [function(leaf.exp()) for function in (step, step.function)]
        grads = [rl.autograd.grad((each**2).sum(), [leaf, weight], retain_graph=True) for each in results]
        for ours, theirs in zip(*grads, strict=True):
            assert rl.allclose(ours, theirs)


def test_several_forwards_before_one_backward() -> None:
    """What the node keeps belongs to its call; a graph can be kept, and is used up otherwise."""
    weight = nn.Parameter(rl.ones(3))
    step = rl.compile(lambda x: (x * weight).exp())
    step(rl.ones(3))
    first, second = step(rl.full((3,), 2.0)), step(rl.full((3,), 3.0))
    (first.sum() + second.sum()).backward(retain_graph=True)
    expected = 2 * np.exp(2.0) + 3 * np.exp(3.0)
    np.testing.assert_allclose(weight.grad.numpy(), [expected] * 3, 1e-6)
    second.sum().backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        second.sum().backward()
    assert first.grad_fn.name() == "CompiledFunctionBackward"


def test_hooks_of_leaves_run_once_and_outside() -> None:
    """A hook on a parameter sees the gradient of each backward."""
    weight = nn.Parameter(rl.ones(2))
    seen: list[list[float]] = []
    weight.register_hook(lambda grad: seen.append(grad.tolist()))
    step = rl.compile(lambda x: x * weight)
    for number in range(3):
        step(rl.full((2,), float(number))).sum().backward()
    assert seen == [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]


def test_changes_between_forward_and_backward_are_noticed() -> None:
    """As in the plain function, by versions."""
    weight = nn.Parameter(rl.ones(2))
    step = rl.compile(lambda x: (x * weight) * weight)
    for _ in range(2):
        result = step(rl.ones(2, requires_grad=True))
        with rl.no_grad():
            weight.add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            result.sum().backward()


def test_second_derivatives_are_refused() -> None:
    """A compiled backward pass is a program, which has no history."""
    x = rl.ones(2, requires_grad=True)
    for _ in range(2):
        with pytest.raises(NotImplementedError, match="create_graph=True"):
            rl.autograd.grad(rl.compile(lambda x: x**3)(x).sum(), [x], create_graph=True)


def test_backward_inside_reaches_arguments() -> None:
    """.grad of a leaf that is handed in is set, and added to; beyond an argument it is refused."""

    @rl.compile
    def step(x: rl.Tensor) -> rl.Tensor:
        loss = (x * x).sum()
        loss.backward()
        return loss

    for start in (1.0, 2.0, 3.0):
        x = rl.full((2,), start, requires_grad=True)
        assert not step(x).requires_grad
        assert x.grad.tolist() == [2 * start] * 2
        step(x)
        step(x)
        assert x.grad.tolist() == [6 * start] * 2
    with pytest.raises(RecordingError, match="beyond an argument"):
        rl.compile(step.function)(rl.ones(2, requires_grad=True) * 2)


def test_arguments_of_compile() -> None:
    """Each is carried out, or refused by name."""

    def double(x: rl.Tensor) -> rl.Tensor:
        return x * 2

    assert rl.compile(double, disable=True) is double
    assert rl.compile(disable=True)(double) is double
    model = nn.Linear(2, 2)
    assert rl.compile(model, disable=True) is model
    assert "twice" in repr(rl.compile(double, name="twice"))
    options: dict[str, Any] = dict(
        fullgraph=True, dynamic=False, mode="default", options={}, backend="replay"
    )
    assert rl.compile(**options)(double)(rl.ones(1)).item() == 2.0
    for name, value in (
        ("dynamic", True),
        ("backend", "cudagraphs"),
        ("mode", "max-autotune"),
        ("options", {"trace": 1}),
    ):
        with pytest.raises(NotImplementedError, match=f"{name}="):
            rl.compile(double, **{name: value})
    with pytest.raises(ValueError, match="recompile_limit"):
        rl.compile(double, recompile_limit=0)
