"""What scripts ask of accelerators of any kind, answered for a machine where only the CPU computes.

As in a CPU build of PyTorch there are none, and what needs one raises. `rushlight.cuda` is the same for CUDA.
"""

from __future__ import annotations

from typing import Any, NoReturn

from rushlight.device import no_accelerator


def is_available() -> bool:
    """False: there is no accelerator.

    >>> import rushlight as torch
    >>> torch.accelerator.current_accelerator().type if torch.accelerator.is_available() else "cpu"
    'cpu'
    """
    return False


def current_accelerator(check_available: bool = False) -> None:
    """The accelerator's device: None, checked or not."""
    return None


def device_count() -> int:
    """How many accelerators there are: none."""
    return 0


def current_device_index() -> NoReturn:
    """RuntimeError, because there is no accelerator."""
    raise no_accelerator()


def set_device_index(device: Any, /) -> NoReturn:
    """RuntimeError, because there is no accelerator to choose."""
    raise no_accelerator()


def synchronize(device: Any = None, /) -> NoReturn:
    """RuntimeError, because there is no accelerator to wait for."""
    raise no_accelerator()
