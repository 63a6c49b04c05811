"""PyTorch's ``torch.amp``: mixed precision, which only graphics processors gain from.

For a CUDA device both `autocast` and `GradScaler` do what PyTorch does without CUDA: they warn and are off,
so that a script goes on in float32. Invariant: nothing is computed in a lower precision than tensors have.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

from rushlight.dtype import dtype as Dtype

__all__ = ["GradScaler", "autocast", "is_autocast_available"]


def is_autocast_available(device_type: str) -> bool:
    """False: no device computes in mixed precision."""
    return False


class autocast:
    """A block, or a decorated function, that computes in the precision its tensors have.

    Args:
        device_type: "cuda", where it warns that it is off, or "cpu", where it must be switched off.
        dtype: the lower precision that is wanted.
        enabled: whether to compute in it.
        cache_enabled: whether weights in the lower precision are kept; there are none.

    Raises:
        NotImplementedError: `enabled` on the CPU, where PyTorch would compute in bfloat16.

    >>> import rushlight as torch
    >>> with torch.autocast("cpu", enabled=False):
    ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
    torch.float32
    """

    def __init__(
        self,
        device_type: str,
        dtype: Dtype | None = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        if enabled and device_type == "cuda":
            warnings.warn("CUDA is not available. Disabling autocast.", stacklevel=2)
        elif enabled:
            raise NotImplementedError(
                f"autocast(device_type={device_type!r}): mixed precision is not supported; "
                "give enabled=False to compute in float32"
            )
        self.device = device_type

    def __enter__(self) -> autocast:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing was switched."""

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def within(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return within


class GradScaler:
    """Scales losses so that gradients of low precision do not vanish; here it is off, and a step is a step.

    Args:
        device: "cuda", where it warns that it is off, or "cpu", where it must be switched off.
        init_scale: the first factor.
        growth_factor: what the factor is multiplied by after `growth_interval` good steps.
        backoff_factor: what it is multiplied by after a step with infinite gradients.
        growth_interval: see `growth_factor`.
        enabled: whether to scale.

    >>> import rushlight as torch
    >>> scaler = torch.amp.GradScaler("cpu", enabled=False)
    >>> scaler.scale(torch.tensor(3.0)), scaler.is_enabled()
    (tensor(3.), False)
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 65536.0,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        if enabled and device == "cuda":
            warnings.warn("GradScaler is enabled, but CUDA is not available. Disabling.", stacklevel=2)
        elif enabled:
            raise NotImplementedError(f"GradScaler(device={device!r}) is not supported; give enabled=False")

    def is_enabled(self) -> bool:
        """False."""
        return False

    def scale(self, outputs: Any) -> Any:
        """The outputs as they are."""
        return outputs

    def unscale_(self, optimizer: Any) -> None:
        """Nothing is to be undone."""

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """The optimizer's step."""
        return optimizer.step(*args, **kwargs)

    def update(self, new_scale: Any = None) -> None:
        """There is no factor to change."""

    def get_scale(self) -> float:
        """The factor: 1."""
        return 1.0

    def state_dict(self) -> dict[str, Any]:
        """Nothing, as from a scaler that is off."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing is kept."""
