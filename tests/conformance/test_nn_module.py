"""Modules do what PyTorch's do: what they refuse and in which words, what they save and load, what they
report.

Each case is a program: a function of the library that returns plain values or raises, run once with each.
"""

import copy
import pickle
import warnings
from collections import OrderedDict

import pytest

import rushlight

torch = pytest.importorskip("torch", reason="needs the conformance extra")


def plain(value):
    """A value in a form in which both libraries' results can be compared."""
    if isinstance(value, rushlight.Tensor | torch.Tensor):
        detached = value.detach()
        return (str(value.dtype), list(value.shape), value.requires_grad, detached.tolist())
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return repr(value)


def outcome(program, lib):
    """What a program returned or raised, and the warnings it gave."""
    lib.manual_seed(0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = ("returned", plain(program(lib)))
        except Exception as error:  # noqa: BLE001 - whatever a library raises is what is compared
            result = ("raised", type(error), error.args[0])
    return result, [(each.category.__name__, str(each.message)) for each in caught]


def compare(program):
    ours, theirs = outcome(program, rushlight), outcome(program, torch)
    if ours[0][0] == theirs[0][0] == "raised":
        # Rushlight may say more after PyTorch's text.
        assert issubclass(ours[0][1], theirs[0][1])
        assert ours[0][2].startswith(theirs[0][2].rstrip())
        assert ours[1] == theirs[1]
    else:
        assert ours == theirs


def module(lib):
    made = lib.nn.Module()
    made.weight = lib.nn.Parameter(lib.ones(2))
    made.register_buffer("mean", lib.zeros(2))
    made.register_buffer("hidden", lib.zeros(3), persistent=False)
    made.child = lib.nn.Linear(2, 1, bias=False)
    made.plain = 3
    return made


def early(lib, name, value):
    class Early(lib.nn.Module):
        def __init__(self):
            setattr(self, name, value)

    return Early()


def assigned(lib, name, value):
    made = module(lib)
    setattr(made, name, value)
    tables = ["_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"]
    return (
        [sorted(getattr(made, table)) for table in tables],
        name in made.__dict__,
        sorted(made.state_dict()),
    )


MEMBERS = {
    "parameter before init": lambda t: early(t, "w", t.nn.Parameter(t.ones(1))),
    "module before init": lambda t: early(t, "m", t.nn.ReLU()),
    "buffer before init": lambda t: early(t, "b", t.nn.Buffer(t.ones(1))),
    "plain attribute before init": lambda t: early(t, "n", 3).n,
    "parameter": lambda t: assigned(t, "w", t.nn.Parameter(t.ones(1))),
    "module": lambda t: assigned(t, "m", t.nn.ReLU()),
    "tensor": lambda t: assigned(t, "x", t.ones(1)),
    "buffer": lambda t: assigned(t, "b", t.nn.Buffer(t.ones(1))),
    "buffer that is not saved": lambda t: assigned(t, "b", t.nn.Buffer(t.ones(1), persistent=False)),
    "parameter over a buffer": lambda t: assigned(t, "mean", t.nn.Parameter(t.ones(1))),
    "parameter over a hidden buffer": lambda t: assigned(t, "hidden", t.nn.Parameter(t.ones(1))),
    "parameter over a module": lambda t: assigned(t, "child", t.nn.Parameter(t.ones(1))),
    "parameter over a plain attribute": lambda t: assigned(t, "plain", t.nn.Parameter(t.ones(1))),
    "module over a plain attribute": lambda t: assigned(t, "plain", t.nn.ReLU()),
    "module over a buffer": lambda t: assigned(t, "mean", t.nn.ReLU()),
    "module over a parameter": lambda t: assigned(t, "weight", type("Own", (t.nn.Module,), {})()),
    "tensor over a parameter": lambda t: assigned(t, "weight", t.ones(1)),
    "double tensor over a parameter": lambda t: assigned(t, "weight", t.ones(1, dtype=t.float64)),
    "number over a parameter": lambda t: assigned(t, "weight", 3),
    "none over a parameter": lambda t: assigned(t, "weight", None),
    "tensor over a buffer": lambda t: assigned(t, "mean", t.ones(1)),
    "tensor over a hidden buffer": lambda t: assigned(t, "hidden", t.ones(1)),
    "number over a buffer": lambda t: assigned(t, "mean", 3),
    "none over a buffer": lambda t: assigned(t, "mean", None),
    "number over a module": lambda t: assigned(t, "child", 3),
    "list over a module": lambda t: assigned(t, "child", [1]),
    "none over a module": lambda t: assigned(t, "child", None),
    "a class over a module": lambda t: assigned(t, "child", dict),
    "parameter that is computed": lambda t: assigned(t, "w", t.nn.Parameter(t.ones(1)) * 2),
    "register a computed parameter": lambda t: module(t).register_parameter(
        "w", t.ones(1, requires_grad=True) * 2
    ),
    "register a tensor as a parameter": lambda t: module(t).register_parameter("w", t.ones(1)),
    "register a number as a parameter": lambda t: module(t).register_parameter("w", 1),
    "register none as a parameter": lambda t: module(t).register_parameter("w", None),
    "parameter with a dot": lambda t: module(t).register_parameter("a.b", None),
    "parameter without a name": lambda t: module(t).register_parameter("", None),
    "parameter with a number for a name": lambda t: module(t).register_parameter(3, None),
    "parameter with a taken name": lambda t: module(t).register_parameter("plain", None),
    "parameter with a method's name": lambda t: module(t).register_parameter("train", None),
    "register a number as a buffer": lambda t: module(t).register_buffer("b", 1),
    "buffer with a dot": lambda t: module(t).register_buffer("a.b", None),
    "buffer without a name": lambda t: module(t).register_buffer("", None),
    "buffer with a list for a name": lambda t: module(t).register_buffer([], None),
    "buffer with a taken name": lambda t: module(t).register_buffer("weight", None),
    "add a number": lambda t: module(t).add_module("m", 3),
    "add a class": lambda t: module(t).add_module("m", dict),
    "module with a dot": lambda t: module(t).add_module("a.b", t.nn.ReLU()),
    "module without a name": lambda t: module(t).add_module("", t.nn.ReLU()),
    "module with a number for a name": lambda t: module(t).add_module(1, t.nn.ReLU()),
    "module with a taken name": lambda t: module(t).register_module("mean", t.nn.ReLU()),
    "get what is not there": lambda t: module(t).stranger,
    "delete a parameter": lambda t: (lambda m: (delattr(m, "weight"), hasattr(m, "weight")))(module(t)),
    "delete a buffer": lambda t: (lambda m: (delattr(m, "hidden"), m._non_persistent_buffers_set == set()))(
        module(t)
    ),
    "delete a module": lambda t: (lambda m: (delattr(m, "child"), list(m.children())))(module(t)),
    "delete a plain attribute": lambda t: (lambda m: (delattr(m, "plain"), hasattr(m, "plain")))(module(t)),
    "delete what is not there": lambda t: delattr(module(t), "stranger"),
    "dir": lambda t: [
        name for name in dir(t.nn.Sequential(t.nn.ReLU())) if name in ("0", "training", "forward")
    ],
    "dir has members": lambda t: [
        name in dir(module(t)) for name in ("weight", "mean", "child", "plain", "stranger")
    ],
    "unexpected keyword": lambda t: t.nn.Module(bias=True),
    "unexpected argument": lambda t: t.nn.Module(3),
    "no forward": lambda t: t.nn.Module()(t.ones(1)),
    "no forward in a list": lambda t: t.nn.ModuleList([t.nn.ReLU()])(t.ones(1)),
    "submodule": lambda t: t.nn.Sequential(module(t)).get_submodule("0.child"),
    "submodule that is not there": lambda t: t.nn.Sequential(module(t)).get_submodule("0.stranger"),
    "submodule that is a parameter": lambda t: module(t).get_submodule("weight"),
    "submodule of nothing": lambda t: t.nn.ReLU().get_submodule(""),
    "parameter by path": lambda t: module(t).get_parameter("child.weight"),
    "parameter that is not there": lambda t: module(t).get_parameter("child.stranger"),
    "parameter that is a buffer": lambda t: module(t).get_parameter("mean"),
    "buffer by path": lambda t: t.nn.Sequential(module(t)).get_buffer("0.mean"),
    "buffer that is a parameter": lambda t: module(t).get_buffer("weight"),
    "set a submodule": lambda t: (lambda m: (m.set_submodule("child", t.nn.ReLU()), m))(module(t))[1],
    "set a new submodule": lambda t: (lambda m: (m.set_submodule("new", t.nn.ReLU()), m))(module(t))[1],
    "set a new submodule strictly": lambda t: module(t).set_submodule("new", t.nn.ReLU(), strict=True),
    "set a submodule over a parameter": lambda t: module(t).set_submodule("weight", t.nn.ReLU()),
    "set a submodule without a name": lambda t: module(t).set_submodule("", t.nn.ReLU()),
    "set a number": lambda t: module(t).set_submodule("child", 3),
    "train with a number": lambda t: t.nn.ReLU().train(1),
    "train": lambda t: [m.training for m in t.nn.Sequential(t.nn.ReLU(), t.nn.Tanh()).eval().modules()],
    "parameter of whole numbers": lambda t: t.nn.Parameter(t.zeros(2, dtype=t.int64)),
    "parameter of whole numbers without gradient": lambda t: t.nn.Parameter(t.zeros(2, dtype=t.int64), False),
    "parameter of nothing": lambda t: t.nn.Parameter(),
    "parameter's text": lambda t: repr(t.nn.Parameter(t.ones(2))) + repr(t.nn.Parameter(t.ones(1), False)),
    "buffer's text": lambda t: (repr(t.nn.Buffer(t.ones(2))), type(t.nn.Buffer()) is t.Tensor),
    "buffer is a Buffer": lambda t: [
        isinstance(x, t.nn.Buffer) for x in (t.nn.Buffer(t.ones(1)), t.ones(1), 3)
    ],
    "uninitialized text": lambda t: repr(t.nn.UninitializedParameter()) + repr(t.nn.UninitializedBuffer()),
    "uninitialized shape": lambda t: t.nn.UninitializedParameter().shape,
}


@pytest.mark.parametrize("name", MEMBERS)
def test_members(name):
    compare(MEMBERS[name])


def converted(lib, change):
    net = lib.nn.Sequential(module(lib), lib.nn.BatchNorm1d(2))
    net[0].child(lib.ones(1, 2)).sum().backward()
    weight = net[0].child.weight
    result = change(net)
    grad = weight.grad
    return (
        result is net,
        net[0].child.weight is weight,
        grad.dtype,
        {k: v.dtype for k, v in net.state_dict().items()},
    )


def gradients(lib, set_to_none):
    net = module(lib)
    net.child(net.weight.unsqueeze(0)).sum().backward()
    net.zero_grad(set_to_none=set_to_none)
    return [parameter.grad for parameter in net.parameters()]


CONVERSIONS = {
    "float": lambda t: converted(t, lambda net: net.float()),
    "double": lambda t: converted(t, lambda net: net.double()),
    "half": lambda t: converted(t, lambda net: net.half()),
    "cpu": lambda t: converted(t, lambda net: net.cpu()),
    "to a dtype": lambda t: converted(t, lambda net: net.to(t.float64)),
    "to a dtype by name": lambda t: converted(t, lambda net: net.to(dtype=t.float64)),
    "to a device": lambda t: converted(t, lambda net: net.to("cpu")),
    "to both": lambda t: converted(t, lambda net: net.to(t.device("cpu"), t.float64, True)),
    "to a tensor": lambda t: converted(t, lambda net: net.to(t.ones(1).double())),
    "to nothing": lambda t: converted(t, lambda net: net.to()),
    "to whole numbers": lambda t: module(t).to(t.int64),
    "to a strange device": lambda t: module(t).to("stranger"),
    "to cuda": lambda t: module(t).to("cuda"),
    "cuda": lambda t: module(t).cuda(),
    "cuda by number": lambda t: module(t).cuda(0),
    "type": lambda t: converted(t, lambda net: net.type(t.float64)),
    "type by name": lambda t: converted(t, lambda net: net.type("torch.DoubleTensor")),
    "share_memory": lambda t: converted(t, lambda net: net.share_memory()),
    "to_empty": lambda t: converted(t, lambda net: net.to_empty(device="cpu")),
    "requires_grad_": lambda t: [p.requires_grad for p in module(t).requires_grad_(False).parameters()],
    "zero_grad": lambda t: gradients(t, True),
    "zero_grad to zero": lambda t: gradients(t, False),
}


@pytest.mark.parametrize("name", CONVERSIONS)
def test_conversions(name):
    compare(CONVERSIONS[name])


def tied(lib):
    net = lib.nn.Sequential(lib.nn.Linear(2, 2), lib.nn.Linear(2, 2))
    net[1].weight = net[0].weight
    net.append(net[0])
    return net


WALKS = {
    "named_parameters": lambda t: [name for name, _ in tied(t).named_parameters()],
    "named_parameters with duplicates": lambda t: [
        n for n, _ in tied(t).named_parameters(remove_duplicate=False)
    ],
    "named_parameters with a prefix": lambda t: [name for name, _ in tied(t).named_parameters("net")],
    "named_parameters of its own": lambda t: [name for name, _ in module(t).named_parameters(recurse=False)],
    "parameters": lambda t: [list(parameter.shape) for parameter in tied(t).parameters()],
    "named_buffers": lambda t: [name for name, _ in t.nn.Sequential(module(t), module(t)).named_buffers()],
    "named_modules": lambda t: [name for name, _ in tied(t).named_modules()],
    "named_modules with duplicates": lambda t: [
        name for name, _ in tied(t).named_modules(remove_duplicate=False)
    ],
    "named_modules with a prefix": lambda t: [name for name, _ in tied(t).named_modules(prefix="net")],
    "named_modules with a memo": lambda t: (lambda net: [n for n, _ in net.named_modules({net[0]})])(tied(t)),
    "modules with duplicates": lambda t: [repr(each) for each in tied(t).modules(remove_duplicate=False)],
    "named_children": lambda t: [name for name, _ in tied(t).named_children()],
    "state_dict of tied weights": lambda t: list(tied(t).state_dict()),
    "apply": lambda t: (lambda seen: (tied(t).apply(lambda m: seen.append(type(m).__name__)), seen))([])[1],
    "deepcopy": lambda t: (lambda net: (net, net[0].weight is net[1].weight))(copy.deepcopy(tied(t))),
    "pickle": lambda t: pickle.loads(pickle.dumps(module(t).eval())).state_dict(),
    "parameter's deepcopy": lambda t: copy.deepcopy(t.nn.Parameter(t.ones(2), requires_grad=False)),
    "parameter's pickle": lambda t: repr(pickle.loads(pickle.dumps(t.nn.Parameter(t.ones(2))))),
    "buffer's deepcopy": lambda t: copy.deepcopy(module(t)).state_dict(),
    "ordered dict": lambda t: list(t.nn.Sequential(OrderedDict(b=t.nn.ReLU(), a=t.nn.Tanh())).state_dict()),
}


@pytest.mark.parametrize("name", WALKS)
def test_walks(name):
    compare(WALKS[name])
