"""What scripts ask of CUDA before they choose a device, answered for a machine where only the CPU computes.

The answers are those of a CPU build of PyTorch: there are no devices, seeding them or emptying their caches
does nothing, and what needs a device raises. The invariant: nothing here pretends that CUDA was used.
"""

from __future__ import annotations

from typing import Any, NoReturn

from rushlight.device import device, refusal


def is_available() -> bool:
    """False: there is no CUDA here.

    >>> import rushlight as torch
    >>> torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device(type='cpu')
    """
    return False


def is_initialized() -> bool:
    """False: there is nothing to initialize."""
    return False


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """False: no device supports the type, in hardware or emulated."""
    return False


def device_count() -> int:
    """How many CUDA devices there are: none.

    >>> import rushlight as torch
    >>> torch.cuda.device_count()
    0
    """
    return 0


def memory_allocated(device: Any = None) -> int:
    """How many bytes of CUDA memory are in use: none."""
    return 0


max_memory_allocated = memory_reserved = max_memory_reserved = memory_allocated


def manual_seed(seed: int) -> None:
    """Seed the generators of all CUDA devices, of which there are none; see `rushlight.manual_seed`."""


manual_seed_all = manual_seed


def empty_cache() -> None:
    """Give back the memory kept for CUDA devices, of which there is none."""


def current_device() -> NoReturn:
    """AssertionError, because there is no CUDA device.

    >>> import rushlight as torch
    >>> torch.cuda.current_device()
    Traceback (most recent call last):
    AssertionError: Torch not compiled with CUDA enabled. Rushlight computes on the CPU only: ...
    """
    raise refusal(device("cuda"))


def synchronize(device: Any = None) -> NoReturn:
    """AssertionError, because there is no CUDA device to wait for."""
    current_device()


def set_device(device: Any) -> NoReturn:
    """AssertionError, because there is no CUDA device to choose."""
    current_device()


def get_device_name(device: Any = None) -> NoReturn:
    """AssertionError, because there is no CUDA device to name."""
    current_device()


get_device_properties = get_device_capability = get_device_name


def __getattr__(name: str) -> Any:
    if name == "amp":  # the old names of what is now in `rushlight.amp`
        import rushlight.cuda_amp

        return rushlight.cuda_amp
    raise AttributeError(f"module 'rushlight.cuda' has no attribute '{name}'")
