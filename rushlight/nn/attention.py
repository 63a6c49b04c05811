"""In which of PyTorch's ways attention may be computed: the names of ``torch.nn.attention``.

On a CPU there are two, the formula (MATH) and one kernel (FLASH_ATTENTION). Here both compute the same; which
it is shows in the name of `grad_fn`, in what is refused, and in that a call fails where no allowed way can
take it. Invariant: the switches themselves are those of ``backends.cuda``.
"""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterator

from rushlight.backends import cuda

__all__ = ["SDPBackend", "sdpa_kernel"]


class SDPBackend(enum.Enum):
    """The ways to compute attention that PyTorch has names for.

    >>> SDPBackend.MATH
    <SDPBackend.MATH: 0>
    """

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4

    def __int__(self) -> int:
        return self.value


_SWITCHES = {
    SDPBackend.CUDNN_ATTENTION: "cudnn",
    SDPBackend.FLASH_ATTENTION: "flash",
    SDPBackend.EFFICIENT_ATTENTION: "mem_efficient",
    SDPBackend.MATH: "math",
    SDPBackend.OVERRIDEABLE: "overrideable",
}


@contextlib.contextmanager
def sdpa_kernel(
    backends: list[SDPBackend] | SDPBackend, set_priority: bool = False
) -> Iterator[dict[str, object]]:
    """Allow these ways only, for the calls of `scaled_dot_product_attention` inside.

    Args:
        backends: one way or a list of them; AssertionError for anything else.
        set_priority: prefer them in this order. On a CPU the order is always FLASH_ATTENTION, MATH.

    >>> import rushlight as torch
    >>> from rushlight.nn.attention import SDPBackend, sdpa_kernel
    >>> x = torch.ones(1, 1, 2, 3)
    >>> with sdpa_kernel(SDPBackend.MATH):
    ...     torch.nn.functional.scaled_dot_product_attention(x, x, x).shape
    torch.Size([1, 1, 2, 3])
    """
    if not isinstance(backends, (list, SDPBackend)):
        raise AssertionError(
            "Backend must be an instance of SDPBackend or a list of SDPBackend instances, got "
            f"{type(backends).__name__}"
        )
    allowed = backends if isinstance(backends, list) else [backends]
    if set_priority:
        for each in allowed:
            int(each)  # what has no number has no place in the order
    before = set(cuda.attention)
    cuda.attention.clear()
    cuda.attention.update(name for way, name in _SWITCHES.items() if way in allowed)
    try:
        yield {}
    finally:
        cuda.attention.clear()
        cuda.attention.update(before)
