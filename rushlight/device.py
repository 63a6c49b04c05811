"""Devices: names for the places a tensor can live, and the check that the place asked for is this CPU.

Every device PyTorch knows can be named here, so that scripts which choose one read the same, but only the CPU
can be used. The invariant: no tensor is made on, or moved to, a device that ``check_device`` refused. As in
PyTorch, a CPU tensor reports plain ``device(type='cpu')``, whatever index it was asked for.
"""

from __future__ import annotations

import builtins
import re
import threading
from typing import Any, final

DEVICE_TYPES = (
    "cpu", "cuda", "ipu", "xpu", "mkldnn", "opengl", "opencl", "ideep", "hip", "ve", "fpga", "maia", "xla",
    "lazy", "vulkan", "mps", "meta", "hpu", "mtia", "privateuseone",
)  # fmt: skip

_DEVICE_TEXT = r"([A-Za-z_]+)(?::(0|[1-9][0-9]*))?"


@final
class device:
    """The name of a device: a type such as ``'cpu'`` and, for machines with several, an index.

    Made from text (``'cpu'``, ``'cuda:1'``), from a type and an index, or from another device. Inside
    ``with device(...)``, tensors made without a device of their own are made on it; entering refuses what
    `check_device` refuses.

    Raises RuntimeError for text that names no device, and for a bare index, which means an accelerator.

    >>> import rushlight as torch
    >>> torch.device("cuda:1")
    device(type='cuda', index=1)
    >>> str(torch.device("cpu", 0))
    'cpu:0'
    """

    __slots__ = ("_index", "_type")
    _index: int | None
    _type: str

    def __new__(
        cls,
        type: str | int | device | None = None,
        index: int | None = None,
        *,
        device: str | int | device | None = None,
    ) -> device:
        source = type if device is None else device
        if isinstance(source, cls) and index is None:
            return source
        if index is not None:
            _check_index(index)
        if isinstance(source, str):
            made = super().__new__(cls)
            made._type, made._index = _parse(source, index)
            return made
        if isinstance(source, int) and not isinstance(source, bool) and index is None:
            _check_index(source)
            raise no_accelerator()
        given = builtins.type(source).__name__
        raise TypeError(
            f"device() received an invalid combination of arguments - got ({given}), but expected one of:\n"
            " * (torch.device device)\n * (str type, int index = -1)\n"
        )

    @property
    def type(self) -> str:
        """The kind of device; ``'cpu'`` for every tensor here."""
        return self._type

    @property
    def index(self) -> int | None:
        """Which device of its kind, or None where that was not said."""
        return self._index

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, device):
            return NotImplemented
        return (self._type, self._index) == (other._type, other._index)

    def __hash__(self) -> int:
        return hash((self._type, self._index))

    def __repr__(self) -> str:
        index = "" if self._index is None else f", index={self._index}"
        return f"device(type='{self._type}'{index})"

    def __str__(self) -> str:
        return self._type if self._index is None else f"{self._type}:{self._index}"

    def __reduce__(self) -> tuple[Any, ...]:
        return device, (str(self),)

    def __enter__(self) -> device:
        check_device(self)
        _chosen.devices.append(self)
        return self

    def __exit__(self, *exception: object) -> None:
        _chosen.devices.pop()


def _parse(text: str, index: int | None) -> tuple[str, int | None]:
    """The type and index that ``text`` names, where ``index`` was given beside it."""
    if not text:
        raise RuntimeError("Device string must not be empty")
    match = re.fullmatch(_DEVICE_TEXT, text)
    if match is None:
        raise RuntimeError(f"Invalid device string: '{text}'")
    kind, index_text = match.groups()
    if kind not in DEVICE_TYPES:
        known = ", ".join(DEVICE_TYPES)
        raise RuntimeError(f"Expected one of {known} device type at start of device string: {kind}")
    if index_text is None:
        return kind, index
    if index is not None:
        raise RuntimeError(
            f"type (string) must not include an index because index was passed explicitly: {text}"
        )
    return kind, int(index_text)


def no_accelerator() -> RuntimeError:
    """The error for using an accelerator, which a device index without a type stands for."""
    return RuntimeError(
        "Cannot access accelerator device when none is available. Rushlight computes on device('cpu')"
    )


def _check_index(index: int) -> None:
    if not isinstance(index, int) or isinstance(index, bool):
        raise TypeError(f"device(): argument 'index' (position 2) must be int, not {type(index).__name__}")
    if index < 0:
        raise RuntimeError("Device index must not be negative")


def refusal(wanted: device) -> Exception:
    """The error for using a device other than the CPU: a CPU build of PyTorch's, and what to do instead."""
    advice = f"Rushlight computes on the CPU only: leave out the device or write 'cpu' instead of '{wanted}'"
    if wanted.type in ("cuda", "xpu", "mtia"):
        return AssertionError(f"Torch not compiled with {wanted.type.upper()} enabled. {advice}")
    if wanted.type == "meta":
        return NotImplementedError(f"Rushlight has no tensors without data. {advice}")
    return RuntimeError(f"PyTorch is not linked with support for {wanted.type} devices. {advice}")


CPU = device("cpu")


class _ChosenDevices(threading.local):
    """This thread's default devices: first the one set, then one for each ``with device(...)`` entered."""

    def __init__(self) -> None:
        self.devices = [CPU]


_chosen = _ChosenDevices()


def check_device(wanted: device | str | int | None = None) -> device:
    """The CPU device, if ``wanted`` is a CPU; None stands for the default device, which always is one.

    Raises what a CPU build of PyTorch raises for other devices (AssertionError, RuntimeError or
    NotImplementedError), and TypeError for what is no device at all.

    >>> from rushlight.device import check_device
    >>> check_device("cpu:0")
    device(type='cpu')
    """
    if wanted is None:
        return CPU
    if isinstance(wanted, str) or (isinstance(wanted, int) and not isinstance(wanted, bool)):
        wanted = device(wanted)
    elif not isinstance(wanted, device):
        raise TypeError(f"argument 'device' must be torch.device, not {type(wanted).__name__}")
    if wanted.type == "cpu":
        return CPU
    raise refusal(wanted)


def get_default_device() -> device:
    """The device for tensors made without one: the innermost ``with device(...)``, else the one last set.

    >>> import rushlight as torch
    >>> torch.get_default_device()
    device(type='cpu')
    """
    return _chosen.devices[-1]


def set_default_device(device: device | str | int | None) -> None:
    """Choose the device for tensors made without one, in this thread; None goes back to the CPU.

    A device that cannot be used is refused here, as `check_device` does; PyTorch waits for the first tensor.

    >>> import rushlight as torch
    >>> torch.set_default_device("cpu:0")
    >>> torch.get_default_device()
    device(type='cpu', index=0)
    >>> torch.set_default_device(None)
    """
    # The parameter, named as in PyTorch, hides the class of the same name.
    make_device = type(CPU)
    chosen = CPU if device is None else make_device(device)
    check_device(chosen)
    _chosen.devices[0] = chosen
