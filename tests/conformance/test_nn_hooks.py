"""Module hooks run when PyTorch's run, with what they are given there, and may replace the same things."""

import pytest

import rushlight
from tests.conformance.test_nn_module import compare, plain

torch = pytest.importorskip("torch", reason="needs the conformance extra")


def double(lib):
    class Double(lib.nn.Module):
        def forward(self, x, scale=2):
            return x * scale

    return Double()


def with_hooks(lib, *register, call=lambda m, x: m(x)):
    """The output of a module with these hooks, and what they noted."""
    seen = []
    net = double(lib)
    for each in register:
        each(net, seen)
    output = call(net, lib.ones(2))
    return output, seen


def noting(name, result=None):
    """A hook that notes its arguments but for the module, and returns `result` of them."""

    def make(seen):
        def hook(module, *args):
            seen.append((name, type(module).__name__, plain(args)))
            return result(*args) if result else None

        return hook

    return make


def forward_hook(name, result=None, **options):
    return lambda net, seen: net.register_forward_hook(noting(name, result)(seen), **options)


def pre_hook(name, result=None, **options):
    return lambda net, seen: net.register_forward_pre_hook(noting(name, result)(seen), **options)


def failing(lib, **options):
    """What runs where a module raises."""
    seen = []

    class Fails(lib.nn.Module):
        def forward(self, x):
            raise ValueError("no luck")

    net = Fails()
    net.register_forward_hook(noting("always")(seen), always_call=True, **options)
    net.register_forward_hook(noting("normally")(seen))
    try:
        net(lib.ones(1))
    except ValueError as error:
        return str(error).split("\n")[0], seen


def failing_hook(lib):
    """An always_call hook that fails as well only warns."""

    class Fails(lib.nn.Module):
        def forward(self, x):
            raise KeyError("no luck")

    net = Fails()
    net.register_forward_hook(lambda *args: 1 / 0, always_call=True)
    net(lib.ones(1))


def hook_after_failing_hook(lib):
    seen = []
    net = double(lib)
    net.register_forward_hook(lambda *args: 1 / 0)
    net.register_forward_hook(noting("always")(seen), always_call=True)
    try:
        net(lib.ones(1))
    except ZeroDivisionError:
        return seen


def removal(lib):
    seen = []
    net = double(lib)
    first = net.register_forward_hook(noting("first")(seen))
    with net.register_forward_hook(noting("second")(seen)):
        net(lib.ones(1))
    first.remove()
    first.remove()
    net(lib.ones(1))
    return seen


def globally(lib):
    """Global hooks run for every module, before its own."""
    module = lib.nn.modules.module
    seen = []
    net = lib.nn.Sequential(double(lib), double(lib))
    net[0].register_forward_hook(noting("own")(seen))
    net[0].register_forward_pre_hook(noting("own pre")(seen))
    handles = [
        module.register_module_forward_hook(noting("global")(seen)),
        module.register_module_forward_pre_hook(noting("global pre")(seen)),
        module.register_module_forward_hook(noting("with kwargs")(seen), with_kwargs=True),
        module.register_module_full_backward_hook(noting("backward")(seen)),
        module.register_module_full_backward_pre_hook(noting("backward pre")(seen)),
    ]
    x = lib.ones(2, requires_grad=True)
    try:
        net(x).sum().backward()
    finally:
        for handle in handles:
            handle.remove()
    net[1](x)
    return seen, x.grad


FORWARD = {
    "note": lambda t: with_hooks(t, forward_hook("a"), pre_hook("b"), forward_hook("c")),
    "replace the output": lambda t: with_hooks(
        t, forward_hook("a", lambda args, out: out + 1), forward_hook("b")
    ),
    "replace the input": lambda t: with_hooks(t, pre_hook("a", lambda args: args[0] + 1), forward_hook("b")),
    "replace the input by a tuple": lambda t: with_hooks(t, pre_hook("a", lambda args: (args[0] + 1, 3))),
    "prepend": lambda t: with_hooks(
        t, forward_hook("a"), forward_hook("b", prepend=True), pre_hook("c"), pre_hook("d", prepend=True)
    ),
    "with kwargs": lambda t: with_hooks(
        t,
        pre_hook("a", with_kwargs=True),
        forward_hook("b", with_kwargs=True),
        pre_hook("c"),
        call=lambda m, x: m(x, scale=5),
    ),
    "replace kwargs": lambda t: with_hooks(
        t, pre_hook("a", lambda args, kw: (args, {"scale": 7}), with_kwargs=True)
    ),
    "replace kwargs by a tensor": lambda t: with_hooks(
        t, pre_hook("a", lambda args, kw: args[0], with_kwargs=True)
    ),
    "replace kwargs by a number": lambda t: with_hooks(
        t, pre_hook("a", lambda args, kw: 3, with_kwargs=True)
    ),
    "replace the output with kwargs": lambda t: with_hooks(
        t,
        forward_hook("a", lambda args, kw, out: (out, kw), with_kwargs=True),
        call=lambda m, x: m(x, scale=5),
    ),
    "always, without an error": lambda t: with_hooks(t, forward_hook("a", always_call=True)),
    "always, with an error": failing,
    "always, with an error and kwargs": lambda t: failing(t, with_kwargs=True),
    "always, with an error of its own": failing_hook,
    "always, after a hook that failed": hook_after_failing_hook,
    "removal": removal,
    "globally": globally,
}


@pytest.mark.parametrize("name", FORWARD)
def test_forward(name):
    compare(FORWARD[name])


def backward(lib, module, inputs, register, loss=lambda out: out.sum(), **kwargs):
    """What backward hooks noted, and the gradients of the inputs."""
    seen = []
    register(module, seen)
    tensors = [
        lib.tensor(each, requires_grad=True)
        if isinstance(each, list)
        else lib.tensor(each[0])
        if isinstance(each, tuple)
        else each
        for each in inputs
    ]
    output = module(*tensors, **kwargs)
    loss(output).backward()
    return seen, [each.grad for each in tensors if isinstance(each, lib.Tensor)]


def full(name="full", result=None, **options):
    return lambda module, seen: module.register_full_backward_hook(noting(name, result)(seen), **options)


def before(name="pre", result=None, **options):
    return lambda module, seen: module.register_full_backward_pre_hook(noting(name, result)(seen), **options)


def both(*registers):
    def register(module, seen):
        for each in registers:
            each(module, seen)

    return register


def two_by_two(lib):
    class Two(lib.nn.Module):
        def forward(self, a, b, c=None):
            return a * b, a + b

    return Two()


def returning(lib, wrap):
    class Returning(lib.nn.Module):
        def forward(self, a):
            return wrap(a * 2)

    return Returning()


def linear(lib):
    layer = lib.nn.Linear(2, 1, bias=False)
    lib.nn.init.constant_(layer.weight, 0.5)
    return layer


def twice(lib):
    """A module that is called twice before backward keeps its gradients apart."""
    seen = []
    module = double(lib)
    module.register_full_backward_hook(noting("full")(seen))
    x = lib.ones(1, requires_grad=True)
    (module(x) + 3 * module(x * 5)).sum().backward()
    return seen, x.grad


def second_order(lib):
    seen = []
    module = double(lib)
    module.register_full_backward_hook(noting("full")(seen))
    x = lib.ones(1, requires_grad=True)
    (gradient,) = lib.autograd.grad((module(x) ** 3).sum(), x, create_graph=True)
    gradient.sum().backward()
    return seen, x.grad


def without_gradient(lib):
    seen = []
    module = double(lib)
    module.register_full_backward_hook(noting("full")(seen))
    with lib.no_grad():
        output = module(lib.ones(1, requires_grad=True))
    return seen, output.requires_grad


def mixing_kinds(lib, first, second):
    module = double(lib)
    getattr(module, first)(lambda *args: None)
    getattr(module, second)(lambda *args: None)


def old_style(lib):
    seen = []
    module = double(lib)
    handle = module.register_backward_hook(noting("old")(seen))
    x = lib.ones(2, requires_grad=True)
    module(x).sum().backward()
    handle.remove()
    module(x).sum().backward()
    # PyTorch's multiplication has an entry for the number as well, and warns about such differences.
    return [(name, kind, grad_input[:1], grad_output) for name, kind, (grad_input, grad_output) in seen]


BACKWARD = {
    "note": lambda t: backward(t, double(t), [[1.0, 2.0]], both(full(), before())),
    "keyword": lambda t: backward(t, double(t), [[1.0, 2.0]], full(), scale=4),
    "a layer": lambda t: backward(t, linear(t), [[[1.0, 2.0]]], both(full(), before())),
    "an input without gradient": lambda t: backward(t, linear(t), [([[1.0, 2.0]],)], both(full(), before())),
    "an input without gradient, replaced": lambda t: backward(
        t, linear(t), [([[1.0, 2.0]],)], full(result=lambda i, o: (o[0],))
    ),
    "an input without gradient, none returned": lambda t: backward(
        t, linear(t), [([[1.0, 2.0]],)], full(result=lambda i, o: (None,))
    ),
    "two inputs and outputs": lambda t: backward(
        t, two_by_two(t), [[1.0], [2.0]], full(), lambda out: out[0].sum() + out[1].sum()
    ),
    "one output used": lambda t: backward(
        t, two_by_two(t), [[1.0], [2.0]], both(full(), before()), lambda out: out[1].sum()
    ),
    "one input without gradient": lambda t: backward(
        t, two_by_two(t), [[1.0], ([2.0],)], full(), lambda out: out[0].sum()
    ),
    "an input that is a number": lambda t: backward(
        t, two_by_two(t), [[1.0], 2.0], full(), lambda out: out[0].sum()
    ),
    "replace grad_input": lambda t: backward(
        t, double(t), [[1.0, 2.0]], full(result=lambda i, o: (i[0] * 10,))
    ),
    "replace grad_output": lambda t: backward(
        t, double(t), [[1.0, 2.0]], both(before(result=lambda o: (o[0] * 3,)), full())
    ),
    "replace twice": lambda t: backward(
        t, double(t), [[1.0]], both(full("a", lambda i, o: (i[0] * 10,)), full("b", lambda i, o: (i[0] + 1,)))
    ),
    "prepend": lambda t: backward(
        t,
        double(t),
        [[1.0]],
        both(full("a"), full("b", prepend=True), before("c"), before("d", prepend=True)),
    ),
    "too many grad_inputs": lambda t: backward(t, double(t), [[1.0]], full(result=lambda i, o: (i[0], i[0]))),
    "too many grad_outputs": lambda t: backward(t, double(t), [[1.0]], before(result=lambda o: (o[0], o[0]))),
    "output in a dict": lambda t: backward(
        t, returning(t, lambda y: {"y": y}), [[1.0]], full(), lambda out: out["y"].sum()
    ),
    "output in a list": lambda t: backward(
        t, returning(t, lambda y: [y]), [[1.0]], full(), lambda out: out[0].sum()
    ),
    "output in a tuple with none": lambda t: backward(
        t, returning(t, lambda y: (None, y)), [[1.0]], full(), lambda out: out[1].sum()
    ),
    "called twice": twice,
    "second order": second_order,
    "without gradient": without_gradient,
    "full after old": lambda t: mixing_kinds(t, "register_backward_hook", "register_full_backward_hook"),
    "old after full": lambda t: mixing_kinds(t, "register_full_backward_hook", "register_backward_hook"),
    "node's name": lambda t: repr(
        both(full())(net := double(t), []) or net(t.ones(1, requires_grad=True)).grad_fn.name()
    ),
}


@pytest.mark.parametrize("name", BACKWARD)
def test_backward(name):
    compare(BACKWARD[name])


@pytest.mark.filterwarnings("ignore:Using a non-full backward hook:FutureWarning")
def test_old_style():
    assert old_style(rushlight) == old_style(torch)
