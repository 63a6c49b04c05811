"""Every public name that PyTorch has too takes PyTorch's own parameter names, in PyTorch's order.

What PyTorch wrote in Python is compared by its signature, the rest by the schemas of its operators. Layers
and their functions are compared in test_nn_signatures. The exceptions are listed with their reasons, and each
of them must be needed, so the list can only shrink.
"""

import inspect
import types
from inspect import Parameter

import pytest

import rushlight

torch = pytest.importorskip("torch", reason="needs the conformance extra")

ACCELERATOR = "a type for the result, which PyTorch has on accelerators only"
DEPRECATED = "a deprecated order of arguments"
OVERLOADED = "accepted by name; by position our own name of both overloads stands there"
# (place, name, overload) -> why; an empty overload means all of them
EXCEPTIONS = {
    **{
        (place, name, "dtype"): ACCELERATOR
        for place in ("", "Tensor")
        for name in ("addmm", "baddbmm", "bmm", "mm")
    },
    ("", "rsub", "Scalar"): DEPRECATED,
    **{
        (place, name, ""): OVERLOADED
        for place in ("", "Tensor")
        for name in ("dsplit", "hsplit", "vsplit", "tensor_split", "max", "min", "scatter")
    },
    ("Tensor", "split", ""): OVERLOADED,
    ("", "repeat_interleave", "Tensor"): OVERLOADED,
    ("", "einsum", ""): "takes operands in two ways, and so any number of arguments",
    ("", "result_type", ""): "numbers are accepted by position",
    ("", "range", ""): "the schema's pin_memory is refused by PyTorch's own binding",
    **{
        ("", name, ""): "one of several tensors, or a list of them"
        for name in ("atleast_1d", "atleast_2d", "atleast_3d")
    },
    ("", "rrelu", ""): "nn.functional's, whose inplace stands where the generator does",
    ("", "rrelu_", ""): "nn.functional's, whose inplace stands where the generator does",
    ("", "compile", ""): "options of PyTorch's compiler",
    **{
        (place, name, "default"): "unbiased may come first, as a bool"
        for place in ("", "Tensor")
        for name in ("std", "var", "std_mean", "var_mean")
        if hasattr(torch.Tensor, name) or not place
    },
    ("", "isin", ""): OVERLOADED,
    ("", "sparse_coo_tensor", ""): "one layout; a size alone is accepted by name",
    ("Tensor", "copy_", ""): "PyTorch's own binding says other",
    ("Tensor", "uniform_", ""): "from, a word of Python's, is accepted by name",
    ("Tensor", "resize", ""): "deprecated",
}


def schemas(name, method):
    """Name and kind of each argument, for each overload of an operator that Python can call."""
    packet = getattr(torch.ops.aten, name, None)
    overloads = {
        each: getattr(packet, each)._schema.arguments for each in (packet.overloads() if packet else ())
    }
    overloads = {
        key: arguments for key, arguments in overloads.items() if not any(a.is_out for a in arguments)
    }
    tensors = {key for key, arguments in overloads.items() if any("Tensor" in str(a.type) for a in arguments)}
    found = {}
    for overload, arguments in overloads.items():
        names = [("input" if each.name == "self" else each.name, each.kwarg_only) for each in arguments]
        first, kind = (names[0][0], str(arguments[0].type)) if names else ("", "")
        # TorchScript's own, for numbers and lists
        script = first in ("a", "t", "l") or (first == "input" and kind.startswith("List"))
        script = script or (bool(tensors) and overload not in tensors)
        of_names = any("Dimname" in str(each.type) for each in arguments)
        if script or of_names or (method and first != "input"):
            continue
        found[overload] = names[method:]
    return found


def expected(place, name):
    """What PyTorch calls the arguments, by overload; nothing where it does not say."""
    theirs = getattr(find(torch, place), name)
    method = place == "Tensor"
    try:
        parameters = list(inspect.signature(theirs).parameters.values())[method:]
    except (ValueError, TypeError):
        return schemas(f"{place}_{name}" if place in ("linalg", "special") else name, method)
    if any(each.kind is Parameter.VAR_POSITIONAL for each in parameters):
        return schemas(name, method) if place in ("", "Tensor") else {}
    kept = [p for p in parameters if p.kind is not Parameter.VAR_KEYWORD and not p.name.startswith("_")]
    return {"signature": [(each.name, each.kind is Parameter.KEYWORD_ONLY) for each in kept]}


def find(library, place):
    for part in place.split(".") if place else ():
        library = getattr(library, part)
    return library


def complaint(parameters, names):
    """What a function with these parameters does not accept; nothing where it accepts all."""
    known = {each.name for each in parameters}
    if any(each.kind is Parameter.VAR_KEYWORD for each in parameters):
        known |= {name for name, _ in names}
    by_position = [each.name for each in parameters if each.kind is Parameter.POSITIONAL_OR_KEYWORD]
    by_position += [each.name for each in parameters if each.kind is Parameter.POSITIONAL_ONLY]
    several = any(each.kind is Parameter.VAR_POSITIONAL for each in parameters)
    for place, (name, keyword_only) in enumerate(names):
        if name not in known:
            return f"does not know {name}"
        if (
            not keyword_only
            and not several
            and by_position[place : place + 1] != [name]
            and name in {p.name for p in parameters}
        ):
            return f"{name} is not number {place}"
    return ""


def offered():
    """All names to compare, as (place, name)."""
    for place in (
        "",
        "Tensor",
        "linalg",
        "special",
        "autograd",
        "autograd.functional",
        "random",
        "testing",
        "utils.data",
        "optim",
        "optim.lr_scheduler",
        "optim.swa_utils",
    ):
        ours, theirs = find(rushlight, place), find(torch, place)
        for name in dir(ours):
            found = getattr(ours, name, None)
            skip = name.startswith("_") or not callable(found) or isinstance(found, types.ModuleType)
            if (
                skip
                or not hasattr(theirs, name)
                or (inspect.isclass(found) and not place.startswith(("utils", "optim")))
            ):
                continue
            yield place, name


COMPARED = {each: expected(*each) for each in offered()}


def problems(place, name):
    """Complaints by overload."""
    ours = getattr(find(rushlight, place), name)
    parameters = list(inspect.signature(ours).parameters.values())[place == "Tensor" :]
    found = {key: complaint(parameters, names) for key, names in COMPARED[place, name].items()}
    return {key: text for key, text in found.items() if text}


def test_names_and_order():
    wrong = []
    for place, name in COMPARED:
        for overload, text in problems(place, name).items():
            if not {(place, name, overload), (place, name, "")} & EXCEPTIONS.keys():
                wrong.append(f"{place or 'torch'}.{name} ({overload}): {text}")
    assert wrong == []


def test_the_comparison_finds_what_is_wrong():
    def function(input, dim, *, out=None): ...

    parameters = list(inspect.signature(function).parameters.values())
    assert complaint(parameters, [("input", False), ("dim", False), ("out", True)]) == ""
    assert complaint(parameters, [("self", False)]) == "does not know self"
    assert complaint(parameters, [("dim", False)]) == "dim is not number 0"
    assert complaint(parameters, [("input", False), ("dim", False), ("out", False)]) == "out is not number 2"
    assert sum(bool(each) for each in COMPARED.values()) > 1000


def test_every_exception_is_needed():
    needed = set()
    for place, name in COMPARED:
        found = problems(place, name)
        needed |= {(place, name, overload) for overload in found} | ({(place, name, "")} if found else set())
    assert [each for each in EXCEPTIONS if each not in needed] == []
    assert all(EXCEPTIONS.values())
