"""The directory of names that are imported on first use: complete, and out of the way until then."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType
from typing import Any

from rushlight import directory
from rushlight.ops import full_table


def in_new_process(code: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def entered() -> dict[str, set[str]]:
    """What the op families of the directory enter, by module, written as the directory does."""
    found: dict[str, dict[str, list[bool]]] = {module: {} for module in directory.MODULES}
    for name, entry in full_table().items():
        names = found.get(entry.function.__module__.removeprefix("rushlight."))
        if names is not None:
            function = "." not in entry.torch_name
            names[name] = [function, entry.method]
            if entry.inplace is not None:
                names[name + "_"] = [function, True]
    for module, names in found.items():
        for name in vars(sys.modules[f"rushlight.{module}"]).get("METHODS", {}):
            names[name] = [names.get(name, [False])[0], True]
    forms = {(True, True): "{}", (True, False): "{}()", (False, True): ".{}"}
    written: dict[str, set[str]] = {}
    for module, names in found.items():
        offered = [(name, tuple(how)) for name, how in names.items() if any(how)]
        written[module] = {forms[how].format(name) for name, how in offered}
    return written


def test_it_lists_what_the_families_enter() -> None:
    for module, names in entered().items():
        listed = set(directory.MODULES[module].split())
        # a function beyond the table may have the name of a method: then both are meant
        missing = {each for each in names - listed if each.removeprefix(".") not in listed}
        assert not missing, f"directory.py must list {sorted(missing)} under {module}"


def test_no_name_is_listed_twice() -> None:
    for kind in ("functions", "methods"):
        plain = [
            name.strip(".()")
            for listed in directory.MODULES.values()
            for name in listed.split()
            if not (name.startswith(".") if kind == "functions" else name.endswith("()"))
        ]
        assert len(plain) == len(set(plain))


def test_importing_the_package_leaves_them_alone() -> None:
    code = """
import sys, rushlight
print([name for name in rushlight.directory.MODULES if "rushlight." + name in sys.modules])
"""
    assert in_new_process(code).strip() == "[]"


def test_what_is_listed_comes_when_asked_for() -> None:
    import rushlight
    from rushlight import Tensor

    for name in directory.FUNCTIONS:
        assert name in dir(rushlight)
        assert not isinstance(getattr(rushlight, name), ModuleType)
    for name in directory.METHODS:
        found: Any = getattr(Tensor, name)
        assert type(found).__name__ in ("function", "property", "NoneType")
        assert vars(Tensor)[name] is found


def test_a_property_that_has_not_come_yet_cannot_be_set() -> None:
    code = """
import rushlight
try:
    rushlight.zeros(2).imag = 1
except AttributeError as error:
    print(error)
"""
    assert "has no setter" in in_new_process(code)


def test_subclasses_and_classes_find_the_methods() -> None:
    code = """
import rushlight as torch
class Mine(torch.Tensor):
    pass
x = torch.eye(2).as_subclass(Mine)
print(x.det().item(), torch.Tensor.cumsum(torch.ones(2), 0).tolist(), hasattr(x, "no_such_method"))
"""
    assert in_new_process(code).split("\n")[0] == "1.0 [1.0, 2.0] False"
