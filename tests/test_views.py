"""In-place changes and what gradients make of them, without PyTorch at hand: results follow from arithmetic.

Random programs beside PyTorch are in conformance/test_fuzz_views.py; here are the cases that they found.
"""

import gc
import warnings
import weakref

import pytest

import rushlight as torch

CHANGED = "one of the variables needed for gradient computation has been modified by an inplace operation"
TWICE = "Trying to backward through the graph a second time"


@pytest.mark.parametrize("write", ["y.add_(1)", "y[0].add_(1)", "y.detach().add_(1)", "y[:1] = 5.0"])
def test_a_saved_output_that_was_written_to_is_noticed_when_its_tensor_is_gone(write):
    x = torch.tensor([0.5, 1.0], requires_grad=True)
    y = x.tanh()
    z = y + y
    exec(write)
    del y
    with pytest.raises(RuntimeError, match=CHANGED):
        z.sum().backward()


@pytest.mark.parametrize("function", [torch.tanh, lambda x: Exponential.apply(x)[0]])
def test_any_number_of_writes_is_noted_as_the_last_version(function):
    x = torch.tensor([0.5, 1.0], requires_grad=True)
    y = function(x)
    z = y + 1
    with torch.no_grad():
        for _ in range(2000):
            y.add_(1)
    del y
    with pytest.raises(RuntimeError, match=f"{CHANGED}.* is at version 2000; expected version 0"):
        z.sum().backward()


def test_a_saved_output_of_a_write_through_a_view_too():
    x = torch.tensor([0.5, 1.0], requires_grad=True)
    y = x * 1
    y[0].tanh_()
    z = y * 2
    y[0].add_(1)
    del y
    with pytest.raises(RuntimeError, match=CHANGED):
        z.sum().backward()


class Exponential(torch.autograd.Function):
    """The exponential beside the double; its gradient needs the first output."""

    @staticmethod
    def forward(ctx, x):
        result = x.exp()
        ctx.save_for_backward(result)
        return result, x * 2

    @staticmethod
    def backward(ctx, g, g_double):
        (result,) = ctx.saved_tensors
        return g * result + g_double * 2


@pytest.mark.parametrize("write", ["y.mul_(3)", "y[:1].mul_(3)", "y.detach().mul_(3)"])
def test_a_saved_output_of_a_custom_function_too(write):
    x = torch.ones(2, requires_grad=True)
    y = Exponential.apply(x)[0]
    z = y.sum()
    exec(write)
    del y
    with pytest.raises(RuntimeError, match=CHANGED):
        z.backward()


def test_writing_to_another_output_than_the_saved_one_changes_nothing():
    x = torch.tensor([[1.0, 4.0], [5.0, 2.0]], requires_grad=True)
    Exponential.apply(x)[1].mul_(3).sum().backward()
    assert x.grad.tolist() == [[6.0, 6.0], [6.0, 6.0]]
    x.grad = None
    x.max(1)[0].mul_(2).sum().backward()  # the gradient needs the indices only, and they are gone
    assert x.grad.tolist() == [[0.0, 2.0], [2.0, 0.0]]


def test_noting_a_write_makes_no_cycle():
    gc.disable()
    try:
        x = torch.tensor([0.5, 1.0], requires_grad=True)
        y = x.tanh()
        y.add_(1)
        reference = weakref.ref(y)
        del y
        assert reference() is None
    finally:
        gc.enable()


def test_copied_slices_serve_one_backward():
    x = torch.ones(3, requires_grad=True)
    y = x * 1
    y[:2] = 0.0
    y.sum().backward()
    assert x.grad.tolist() == [0.0, 0.0, 1.0]
    with pytest.raises(RuntimeError, match=TWICE):
        y.sum().backward()


def test_second_derivative_through_a_write_to_a_view():
    x = torch.tensor([1.0, 2.0], requires_grad=True, dtype=torch.float64)
    y = x * 1
    y[:1].sigmoid_()
    (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    slope.sum().backward()
    s = 1 / (1 + 2.718281828459045**-1)
    assert x.grad.tolist() == pytest.approx([s * (1 - s) * (1 - 2 * s), 0.0])


def test_the_gradient_of_relu_is_connected_with_its_input():
    x = torch.tensor([1.0, -1.0], requires_grad=True)
    (slope,) = torch.autograd.grad(torch.relu(x).sum(), x, create_graph=True)
    (slope * slope).sum().backward()
    assert x.grad.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("fold", ["sum", "mean", "prod", "amax", "var", "all", "cumsum"])
def test_reductions_of_turned_tensors_are_row_major(fold):
    turned = torch.rand(2, 3, 4).transpose(1, 2)
    assert getattr(turned, fold)(0).is_contiguous()


def test_an_expanded_tensor_may_be_filled_by_index_with_a_warning():
    base = torch.arange(3.0)
    with pytest.warns(UserWarning, match="Use of index_fill_ on expanded tensors is deprecated"):
        base.expand(2, 3).index_fill_(1, torch.tensor([1]), 5.0)
    with pytest.warns(UserWarning, match="Use of masked_fill_ on expanded tensors is deprecated"):
        base.expand(2, 3).masked_fill_(torch.tensor([[True, False, False], [False] * 3]), 7.0)
    assert base.tolist() == [7.0, 5.0, 2.0]
    with warnings.catch_warnings(), pytest.raises(RuntimeError, match="more than one element of the written"):
        base.expand(2, 3)[:, 0] = 1.0


def test_what_is_made_like_a_turned_tensor_lies_as_it_does():
    turned = torch.rand(2, 3).t()
    for like in (torch.zeros_like, torch.ones_like, torch.empty_like, lambda x: torch.full_like(x, 2.0)):
        assert like(turned).stride() == (1, 3)
    assert torch.zeros_like(turned, memory_format=torch.contiguous_format).stride() == (2, 1)


def test_a_generator_under_no_grad_leaves_its_caller_alone():
    @torch.no_grad()
    def count():
        got = yield torch.is_grad_enabled()
        assert got == "sent"
        try:
            yield torch.is_grad_enabled()
        except KeyError:
            yield "caught"
        return "done"

    steps = count()
    assert next(steps) is False and torch.is_grad_enabled()
    assert steps.send("sent") is False and torch.is_grad_enabled()
    assert steps.throw(KeyError()) == "caught" and torch.is_grad_enabled()
    with pytest.raises(StopIteration) as end:
        next(steps)
    assert end.value.value == "done"


def test_a_class_under_no_grad_is_deprecated():
    class Recorder:
        def __init__(self):
            self.grad = torch.is_grad_enabled()

    with pytest.warns(FutureWarning, match="Decorating classes is deprecated"):
        made = torch.no_grad()(Recorder)
    assert made().grad is False
