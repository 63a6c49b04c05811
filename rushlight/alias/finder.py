"""The stand-in modules for ``torch`` and ``torchvision``, and the finder that hands them to ``import``.

A `Face` is a module with PyTorch's name that holds the public names of one of Rushlight's modules. Setting
one of them, as tests do to replace a function, sets it in Rushlight too. Invariant: after `undo` the process
is as before `install`, except for modules that programs hold on to.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from rushlight.alias.homes import Homes
from rushlight.alias.places import ABSENT, PLACES, TORCHVISION_VERSION, UNDERSCORED
from rushlight.alias.version import Version, __version__
from rushlight.nearest import nearest

ROOTS = ("torch", "torchvision")

# Where processes that are started anew find ``torch``: they get the search path, but not the finder.
CHILDREN = str(Path(__file__).parent / "children")


def target_of(name: str) -> Any:
    """The module or object that answers for one of PyTorch's modules."""
    module, _, inside = PLACES[name].partition(":")
    found: Any = importlib.import_module(module)
    return getattr(found, inside) if inside else found


class Face(ModuleType):
    """A module of PyTorch's name with the public names of one of Rushlight's.

    Args:
        name: PyTorch's name of the module.
        target: the module that answers.
    """

    def __init__(self, name: str, target: ModuleType) -> None:
        super().__init__(name, target.__doc__)
        extra: dict[str, Any] = {"_target": target, "__path__": [], "__file__": target.__file__}
        if name in ("torch", "torch.version"):
            extra["__version__"] = __version__
        elif name == "torchvision":
            extra["__version__"] = Version(TORCHVISION_VERSION)
        if hasattr(target, "__all__"):
            extra["__all__"] = list(target.__all__)
        for key, value in vars(target).items():
            if not key.startswith("_") and not isinstance(value, ModuleType):
                extra[key] = value
        self.__dict__.update(extra)

    def __getattr__(self, name: str) -> Any:
        inner = f"{self.__name__}.{name}"
        if inner in PLACES:
            return importlib.import_module(inner)
        if not name.startswith("_") or name in UNDERSCORED.get(self.__name__, ()):
            value = getattr(self._target, name, None)
            if value is not None and not isinstance(value, ModuleType):
                self.__dict__[name] = value  # the next look-up finds it without this function
                return value
        said = f"module '{self.__name__}' has no attribute '{name}'"
        if name.startswith("__"):
            raise AttributeError(said)
        raise AttributeError(f"{said}: {advice(self.__name__, name)}")

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if (
            not name.startswith("_")
            and not isinstance(value, ModuleType)
            and f"{self.__name__}.{name}" not in PLACES
        ):
            setattr(self._target, name, value)

    def __dir__(self) -> list[str]:
        return sorted({*offered(self.__name__), *(each for each in self.__dict__ if each.startswith("__"))})

    def __repr__(self) -> str:
        return f"<module {self.__name__!r} answered by {self._target.__name__!r}>"


def offered(place: str) -> set[str]:
    """The names that the module of this name of PyTorch's has here, its inner modules included."""
    target = target_of(place)
    names = {
        each
        for each in dir(target)
        if not each.startswith("_") and not isinstance(getattr(target, each, None), ModuleType)
    }
    prefix = place + "."
    inner = {each[len(prefix) :] for each in PLACES if each.startswith(prefix)}
    return names | {each for each in inner if "." not in each}


def advice(place: str, name: str) -> str:
    """What to say of a name that Rushlight does not have: where else it has it, or the nearest one."""
    for other in PLACES:
        if name in offered(other):
            return f"Rushlight has '{other}.{name}'"
    near = nearest(name, offered(place))
    return "Rushlight does not have it" + (f"; the nearest name it has is '{place}.{near}'" if near else "")


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Answers for every module called ``torch`` or ``torchvision`` or inside them."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec of a face; ImportError for a name of PyTorch's that Rushlight does not have."""
        if fullname.partition(".")[0] not in ROOTS:
            return None
        if fullname not in PLACES:
            raise _cannot_import(fullname)
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> Any:
        """A new face; where PyTorch has a module and Rushlight an object, that object."""
        found = target_of(spec.name)
        return Face(spec.name, found) if isinstance(found, ModuleType) else found

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is left to do: a face is complete when it is made."""


def _cannot_import(fullname: str) -> ImportError:
    """The error for ``from torch import name`` and ``import torch.name``, which ask for the same thing.

    It does not carry the name that was asked for: the import system would swallow it, and say less itself.
    """
    parent, _, name = fullname.rpartition(".")
    if fullname in ABSENT:
        return ModuleNotFoundError(f"No module named '{fullname}': Rushlight has no counterpart of it")
    if parent not in PLACES:
        return ModuleNotFoundError(f"No module named '{fullname}': Rushlight does not have '{parent}'")
    return ImportError(f"cannot import name '{name}' from '{parent}': {advice(parent, name)}")


_finder = Finder()
_homes = Homes()


def is_installed() -> bool:
    """Whether ``import torch`` is answered by Rushlight.

    >>> is_installed()
    False
    """
    return _finder in sys.meta_path


def install() -> None:
    """Have ``import torch`` and ``import torchvision`` answered by Rushlight from now on.

    Does nothing if that is so already. Classes say that they come from where PyTorch keeps them, so that
    ``type(x)`` prints as it does there.

    Raises:
        ImportError: PyTorch or torchvision itself was imported before.
    """
    if is_installed():
        return
    for root in ROOTS:
        if root in sys.modules:
            place = getattr(sys.modules[root], "__file__", None) or "another module"
            raise ImportError(
                f"{root} itself is imported already, from {place}: import rushlight.as_torch before anything "
                "that imports it (in a notebook, restart the kernel and make it the first line)",
                name=root,
            )
    sys.meta_path.insert(0, _finder)
    sys.path.insert(1, CHILDREN)  # behind the program's own folder, before installed packages
    _homes.move()


def undo() -> None:
    """Take back what `install` did: the next ``import torch`` finds PyTorch itself, if there is one."""
    if not is_installed():
        return
    sys.meta_path.remove(_finder)
    while CHILDREN in sys.path:
        sys.path.remove(CHILDREN)
    for name in [each for each in sys.modules if each.partition(".")[0] in ROOTS]:
        del sys.modules[name]
    _homes.restore()
