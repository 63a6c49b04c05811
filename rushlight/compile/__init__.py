"""Compiling: a whole training step as one program.

`record` notes one real run, `program` is what was noted, `replay` runs it call by call, and `compiled` is
what users call. Nothing of it is imported before the first use of `compile`, so that ``import rushlight``
stays quick.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any


def compile(fn: Callable[..., Any] | None = None, *, name: str | None = None) -> Any:
    """Turn a step into a program: recorded at its first call, run as a whole afterwards. Also a decorator.

    >>> import rushlight as torch
    >>> @torch.compile
    ... def double(x):
    ...     return x * 2
    >>> double(torch.tensor([1.0, 2.0])), double(torch.tensor([3.0, 4.0]))
    (tensor([2., 4.]), tensor([6., 8.]))
    """
    if fn is None:
        return functools.partial(compile, name=name)
    from rushlight.compile.compiled import CompiledFunction

    return CompiledFunction(fn, name or str(getattr(fn, "__name__", type(fn).__name__)))
