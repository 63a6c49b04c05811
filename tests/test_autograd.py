"""The tape: very deep graphs, what frees them, threads, and the sentences of its errors."""

import gc
import threading
import warnings
import weakref

import pytest

import rushlight as torch
from rushlight.autograd.node import Node

DEPTH = 100_000


def live_nodes():
    """How many nodes there are anywhere."""
    gc.collect()
    return sum(issubclass(type(each), Node) for each in gc.get_objects())


def deep(x, depth=DEPTH):
    """`x` after so many operations, each with a gradient of 1."""
    y = x
    for _ in range(depth):
        y = y + 0.0
    return y


def test_a_deep_graph_neither_recurses_nor_leaks():
    before = live_nodes()
    x = torch.tensor(2.0, requires_grad=True)
    y = deep(x)
    assert live_nodes() - before >= DEPTH
    y.backward()
    assert x.grad.item() == 1.0
    del y  # frees the whole chain, one node after the other
    assert live_nodes() <= before


def test_a_deep_graph_that_is_never_used_is_freed_too():
    before = live_nodes()
    gc.disable()  # by counting references alone: there is no cycle in it
    try:
        y = deep(torch.tensor(2.0, requires_grad=True))
        last = weakref.ref(y.grad_fn)
        del y
        assert last() is None
    finally:
        gc.enable()
    assert live_nodes() <= before


def test_a_graph_is_freed_by_counting_references():
    gc.collect()
    gc.disable()
    try:
        x = torch.ones(3, requires_grad=True)
        y = (x.exp() * x).softmax(0) + x
        y[0] = 1.0
        nodes = [weakref.ref(y.grad_fn)]
        loss = y.sum()
        loss.backward(retain_graph=True)
        del y, loss
        assert [each() for each in nodes] == [None]
    finally:
        gc.enable()


def test_a_wide_graph_takes_linear_time():
    """A value that is used twice in each of 40 steps has 2**40 paths to the end, and 40 nodes."""
    x = torch.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(40):
        y = y + y
    y.backward()
    assert x.grad.item() == 2.0**40


def test_backward_in_threads():
    """Each thread has a graph of its own; the leaf they share gets all gradients."""
    weight = torch.ones(4, requires_grad=True)
    lock, results, failures = threading.Lock(), {}, []

    def work(number):
        try:
            for _ in range(20):
                x = torch.full((4,), float(number), requires_grad=True)
                loss = (x * weight.detach() * 2).sum()
                loss.backward()
                assert x.grad.tolist() == [2.0] * 4
            with lock:
                (weight * number).sum().backward()
            results[number] = torch.autograd.grad((weight * number).sum(), weight)[0].tolist()
        except BaseException as error:  # noqa: BLE001 - raised again in the main thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert failures == []
    assert results == {number: [float(number)] * 4 for number in range(4)}
    assert weight.grad.tolist() == [6.0] * 4


def test_the_switches_belong_to_a_thread():
    seen = []
    with torch.no_grad():
        thread = threading.Thread(target=lambda: seen.append(torch.is_grad_enabled()))
        thread.start()
        thread.join()
        assert not torch.is_grad_enabled()
    assert seen == [True]


def test_hooks_of_a_leaf_may_use_the_tape():
    x = torch.ones(2, requires_grad=True)
    inner = []

    def hook(grad):
        y = torch.tensor(3.0, requires_grad=True)
        with torch.enable_grad():  # a backward pass records nothing by itself
            (y * y).backward()
        inner.append(y.grad.item())

    x.register_hook(hook)
    (x * 2).sum().backward()
    assert inner == [6.0]
    assert x.grad.tolist() == [2.0, 2.0]


def test_an_error_in_backward_leaves_the_tape_usable():
    x = torch.ones(2, requires_grad=True)

    def fail(grad):
        raise ZeroDivisionError("in a hook")

    y = x * 2
    handle = y.register_hook(fail)
    with pytest.raises(ZeroDivisionError):
        y.sum().backward(retain_graph=True)
    handle.remove()
    x.grad = None
    (x * 3).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


SENTENCES = {
    "x.sum().backward(); y = (x * x).sum(); y.backward(); y.backward()": (
        "Trying to backward through the graph a second time (or directly access saved tensors after they "
        "have already been freed). Saved intermediate values of the graph are freed when you call "
        ".backward() or autograd.grad(). Specify retain_graph=True if you need to backward through the "
        "graph a second time "
        "or if you need to access saved tensors after calling backward."
    ),
    "y = x * 2; z = y * y; y.add_(1); z.sum().backward()": (
        "one of the variables needed for gradient computation has been modified by an inplace operation: "
        "[torch.FloatTensor [2]], which is output 0 of Add, is at version 1; expected version 0 instead."
    ),
    "x.add_(1)": "a leaf Variable that requires grad is being used in an in-place operation.",
    "x[:1].add_(1)": "a view of a leaf Variable that requires grad is being used in an in-place operation.",
    "(x * 2).backward()": "grad can be implicitly created only for scalar outputs",
    "torch.ones(1).backward()": "element 0 of tensors does not require grad and does not have a grad_fn",
}


@pytest.mark.parametrize("line", SENTENCES)
def test_sentences(line):
    x = torch.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError) as caught:
        exec(line, {"x": x, "torch": torch})
    assert str(caught.value).startswith(SENTENCES[line])


def test_anomaly_mode_names_the_line_of_the_forward_call():
    x = torch.tensor([0.0], requires_grad=True)
    with (
        pytest.warns(UserWarning, match="Error detected in DivBackward0") as warned,
        pytest.raises(RuntimeError, match="returned nan values"),
        torch.autograd.set_detect_anomaly(True),
    ):
        y = x / x  # this very line
        y.sum().backward()
    assert "y = x / x  # this very line" in str(warned[0].message)


def test_float_of_what_requires_grad_warns_once():
    from rushlight.once import forget

    x = torch.ones(1, requires_grad=True)
    forget("scalar")
    with pytest.warns(UserWarning, match="Converting a tensor with requires_grad=True to a scalar"):
        float(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (float(x), int(x), x.item()) == (1.0, 1, 1.0)
    forget("scalar")
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("error")
        float(x)
    with pytest.warns(UserWarning, match="Converting a tensor"):  # and no test after this one is warned
        float(x)
