"""Layers, functions, initialisers and methods take PyTorch's arguments: names, order, defaults.

Names and defaults are compared, not annotations. What PyTorch implements in C has no signature.
"""

import inspect

import pytest

import rushlight

torch = pytest.importorskip("torch", reason="needs the conformance extra")

CLASSES = [name for name in rushlight.nn.__all__ if inspect.isclass(getattr(rushlight.nn, name))]
FUNCTIONS = [f"nn.functional.{name}" for name in rushlight.nn.functional.__all__]
FUNCTIONS += [f"nn.utils.{name}" for name in rushlight.nn.utils.__all__]
FUNCTIONS += [f"nn.init.{name}" for name in dir(rushlight.nn.init) if name.endswith("_") and name[0] != "_"]
FUNCTIONS += ["nn.init.calculate_gain"]
FUNCTIONS += [f"nn.modules.module.{name}" for name in rushlight.nn.modules.module.__all__ if name != "Module"]
# Methods of Module for accelerators or for machinery that Rushlight does not have.
MISSING = {"compile", "dump_patches", "ipu", "mtia", "T_destination"}
METHODS = [name for name in dir(torch.nn.Module) if name[0] != "_" and name not in MISSING]


def find(lib, path):
    for name in path.split("."):
        lib = getattr(lib, name)
    return lib


def arguments(function):
    """Name, kind and default (of a function its name) of each argument; None where that cannot be known."""
    try:
        signature = inspect.signature(function)
    except ValueError:
        return None
    parameters = [each for each in signature.parameters.values() if each.name != "self"]
    if [each.kind for each in parameters] == [
        inspect.Parameter.VAR_POSITIONAL,
        inspect.Parameter.VAR_KEYWORD,
    ]:
        return None
    defaults = [
        each.default.__name__ if inspect.isroutine(each.default) else each.default for each in parameters
    ]
    return [(each.name, each.kind, default) for each, default in zip(parameters, defaults, strict=True)]


def compare(ours, theirs):
    expected = arguments(theirs)
    if expected is None:
        pytest.skip("PyTorch tells no signature")
    names = [name for name, _, _ in expected]
    assert [each for each in arguments(ours) if each[0] in names] == expected
    # What Rushlight takes besides must not be needed.
    extra = [each for each in arguments(ours) if each[0] not in names]
    assert [name for name, kind, default in extra if default is inspect.Parameter.empty] == []


@pytest.mark.parametrize("name", CLASSES)
def test_constructors(name):
    compare(getattr(rushlight.nn, name), getattr(torch.nn, name))


@pytest.mark.parametrize("name", CLASSES)
def test_forward(name):
    ours, theirs = getattr(rushlight.nn, name), getattr(torch.nn, name)
    if "forward" not in vars(theirs) or name == "Module":
        pytest.skip("has no forward of its own")
    compare(ours.forward, theirs.forward)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    compare(find(rushlight, name), find(torch, name))


@pytest.mark.parametrize("name", METHODS)
def test_methods_of_module(name):
    if name == "forward" or not callable(getattr(torch.nn.Module, name)):
        assert hasattr(rushlight.nn.Module, name)
    else:
        compare(getattr(rushlight.nn.Module, name), getattr(torch.nn.Module, name))
