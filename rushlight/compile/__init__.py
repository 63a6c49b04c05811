"""Compiling: a whole training step as one program.

`record` notes one real run, `program` is what was noted, `replay` runs it call by call, and `compiled` is
what users call. Nothing of it is imported before the first use of `compile`, so that ``import rushlight``
stays quick.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

BACKENDS = ("inductor", "replay")

BACKENDS = ("inductor", "replay")


def compile(
    model: Callable[..., Any] | None = None,
    *,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: str = "inductor",
    mode: str | None = None,
    options: dict[str, Any] | None = None,
    name: str | None = None,
    disable: bool = False,
    recompile_limit: int | None = None,
    check: int = 0,
) -> Any:
    """Turn a step, a function or a module into a program: recorded at its first call, run as a whole later.

    Args:
        model: a function (also as a decorator), or an `nn.Module`.
        fullgraph: always in force here: a function is compiled as a whole, or an error names the line.
        dynamic: True, one program for all shapes, is not supported: a new shape is a new recording.
        backend: "inductor", PyTorch's default, means the best there is; "replay" runs the recorded ops one by
            one with NumPy.
        mode: only "default": there is one way to compile.
        options: must be empty.
        name: what the program is called; the function's name by default.
        disable: return `model` as it is.
        recompile_limit: how many recordings there may be before calls that fit none run uncompiled.
        check: run the plain function beside so many of the first compiled calls and compare results, state
            and gradients; `rushlight.compile.checking.CheckError` names what differs and the first op.

    Returns:
        The compiled function, or for a module an `OptimizedModule` around it.

    Raises:
        NotImplementedError: naming an argument that is not supported.
        AssertionError: `model` cannot be called.

    >>> import rushlight as torch
    >>> @torch.compile
    ... def double(x):
    ...     return x * 2
    >>> double(torch.tensor([1.0, 2.0])), double(torch.tensor([3.0, 4.0]))
    (tensor([2., 4.]), tensor([6., 8.]))
    """
    if disable:
        return (lambda function: function) if model is None else model
    if dynamic:
        raise NotImplementedError(
            "compile(): dynamic=True is not supported: every shape is recorded by itself"
        )
    if backend not in BACKENDS:
        raise NotImplementedError(f"compile(): backend={backend!r}: only {', '.join(BACKENDS)} are supported")
    if mode not in (None, "default"):
        raise NotImplementedError(f"compile(): mode={mode!r} is not supported: there is one way to compile")
    if options:
        raise NotImplementedError(f"compile(): options={options} are not supported")
    if recompile_limit is not None and recompile_limit < 1:
        raise ValueError(f"compile(): recompile_limit={recompile_limit} must be positive")
    if check < 0:
        raise ValueError(f"compile(): check={check} must not be negative")
    if model is None:
        return functools.partial(
            compile, backend=backend, name=name, recompile_limit=recompile_limit, check=check
        )
    from rushlight.compile.compiled import LIMIT, CompiledFunction
    from rushlight.nn.module import Module

    if isinstance(model, Module):
        from rushlight.compile.module import OptimizedModule

        return OptimizedModule(model, name or type(model).__name__, backend, recompile_limit or LIMIT, check)
    if not callable(model):
        raise AssertionError(f"A callable function is expected, but {type(model)} is provided.")
    title = name or str(getattr(model, "__name__", type(model).__name__))
    return CompiledFunction(model, title, backend, recompile_limit or LIMIT, check)
