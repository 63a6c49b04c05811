"""The kinds of ops: one constructor each, which makes the table entry and the function users call.

`elementwise` makes maps (one formula, run by NumPy when eager and by the loop builder when compiled);
`primitive` makes every other op with a forward of its own; `@composite` enters a plain function of
other ops, which needs neither rule nor lowering; `@public` enters a hand-written signature around a
primitive. In-place variants are derived: every entry with ``inplace=True`` gets ``name_``, which runs
the same function with `INPLACE` as its ``out``. Invariant: whatever users can call is in `TABLE`, under
PyTorch's name, with the samples that the test matrix runs.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rushlight.ops.arguments import looks_at_tensors, naming_strangers, require_tensor, requiring_tensors
from rushlight.ops.define import (
    DEFAULT,
    INPLACE,
    TABLE,
    TITLES,
    Entry,
    Op,
    apply,
    argument_names,
)
from rushlight.ops.numeric import numpy_namespace
from rushlight.ops.operands import NONE
from rushlight.tensor import Tensor

# Where doctest looks for the examples of functions that no `def` of a module made.
__test__: dict[str, str] = {}


def elementwise_op(
    name: str,
    formula: Callable[..., Any],
    grad: dict[str, Callable[..., Any]] | None = None,
    *,
    promote: int = DEFAULT,
    node_name: str | None = None,
    inplace_name: str | None = None,
    check: Callable[..., None] | None = None,
    refused: Callable[..., Any] | None = None,
    into: Callable[..., Any] | None = None,
) -> Op:
    """A map op without a public function of its own.

    The formula's parameters after `k` name its inputs and, keyword-only, its params. `check` gets the
    promoted operands before each call and raises where the op has no meaning for them; where that depends on
    their values, the formula `refused` says so of each element, for compiled steps. `into` computes the
    formula into a given array (``out=``) with fewer temporaries: optimizers live on it.
    """
    code = formula.__code__
    names = code.co_varnames[1 : code.co_argcount]
    ufunc = _only_ufunc(formula, len(names)) if check is None and not code.co_kwonlyargcount else None
    forward: Callable[..., Any] = ufunc or functools.partial(formula, numpy_namespace)
    if check is not None:
        forward = _checked(forward, check)
    op = Op(
        name,
        "map",
        forward,
        names,
        grad,
        promote=promote,
        node_name=node_name,
        inplace_name=inplace_name,
        formula=formula,
        refused=refused,
    )
    op.into = into or ufunc
    return op


class _Operand:
    """A stand-in for an operand that says which ufunc the formula's operator is."""

    __add__ = lambda *operands: (np.add, operands)  # noqa: E731
    __sub__ = lambda *operands: (np.subtract, operands)  # noqa: E731
    __mul__ = lambda *operands: (np.multiply, operands)  # noqa: E731
    __truediv__ = lambda *operands: (np.true_divide, operands)  # noqa: E731
    __neg__ = lambda operand: (np.negative, (operand,))  # noqa: E731


class _Functions:
    """A stand-in for `k` that says which ufunc the formula calls."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function = getattr(numpy_namespace, name)
        return lambda *operands: (function, operands)


def _only_ufunc(formula: Callable[..., Any], count: int) -> np.ufunc | None:
    """The NumPy ufunc that a formula comes down to, if it is a single call on its operands in order."""
    operands = tuple(_Operand() for _ in range(count))
    try:
        function, given = formula(_Functions(), *operands)
    except (TypeError, ValueError, AttributeError, NameError):
        return None
    same = len(given) == count and all(a is b for a, b in zip(given, operands, strict=True))
    return function if same and isinstance(function, np.ufunc) else None


def _checked(forward: Callable[..., Any], check: Callable[..., None]) -> Callable[..., Any]:
    """The forward, after a look at its operands."""

    def checked(*operands: Any, **params: Any) -> Any:
        check(*operands)
        return forward(*operands, **params)

    return checked


def only(kinds: str, kernel: str) -> Callable[..., None]:
    """A `check` that refuses all but these NumPy kinds (of "fiub"), in the words of PyTorch's kernel."""

    def check(*operands: Any) -> None:
        for operand in operands:
            if isinstance(operand, np.ndarray):
                if operand.dtype.kind not in kinds:
                    raise NotImplementedError(
                        f"\"{kernel}\" not implemented for '{TITLES[operand.dtype.name]}'"
                    )
                return

    return check


def _zero_divisor(k: Any, input: Any, other: Any) -> Any:
    """Where a division of whole numbers has no result."""
    return other == 0 if k.is_whole(input) and k.is_whole(other) else False


def whole_division(kernel: str) -> dict[str, Any]:
    """For divisions whose integer form is undefined for a zero divisor."""
    refuse_bool = only("fiu", kernel)

    def check(input: Any, other: Any) -> None:
        refuse_bool(input, other)
        zero = _zero_divisor(numpy_namespace, input, other)
        if zero is not False and np.any(zero):
            raise RuntimeError("ZeroDivisionError")

    return {"check": check, "refused": _zero_divisor}


def renamed(op: Op, node_name: str, numbers: Sequence[str] = (), inplace_name: str | None = None) -> Op:
    """The same op under another `grad_fn` name, as PyTorch has for variants that take numbers.

    `numbers` says which inputs are numbers there: no edge of the tape stands for them.
    """
    variant = copy.copy(op)
    variant.node_name = node_name
    variant.inplace_name = inplace_name or node_name
    variant.rules = {name: rule for name, rule in op.rules.items() if name not in numbers}
    variant.plans = {}
    return variant


def elementwise(
    name: str,
    formula: Callable[..., Any],
    grad: dict[str, Callable[..., Any]] | None = None,
    *,
    promote: int = DEFAULT,
    node_name: str | None = None,
    inplace_name: str | None = None,
    number_name: str | None = None,
    check: Callable[..., None] | None = None,
    numbers: str = "",
    samples: Any = None,
    inplace: bool = True,
    method: bool = True,
    torch_name: str | None = None,
    doc: str = "",
    example: tuple[str, str] | None = None,
) -> Callable[..., Any]:
    """Enter a map of one or two inputs into the table and return its public function.

    Args:
        name: PyTorch's name.
        formula: the value from `k` and the operands.
        grad: a gradient rule for each differentiable input.
        promote: the kind of promotion.
        node_name: what `grad_fn` prints where it is not the name in capitals.
        inplace_name: what it prints after the in-place form, if that differs.
        number_name: what it prints where `other` is a number, if that differs.
        check: refuses operands; see `elementwise_op`.
        numbers: which operands may be Python numbers: "other" or "both".
        samples: what the test matrix runs.
        inplace: whether there is a ``name_``.
        method: whether Tensor has it as a method.
        torch_name: where PyTorch keeps it, if not as ``torch.<name>``.
        doc: the docstring's sentence.
        example: an expression and what it prints, for the docstring.

    >>> import rushlight as torch
    >>> torch.mul(torch.tensor([1.0, 2.0]), 3)
    tensor([3., 6.])
    """
    op = elementwise_op(
        name,
        formula,
        grad,
        promote=promote,
        node_name=node_name,
        inplace_name=inplace_name,
        check=check,
    )
    of_number = op if number_name is None else renamed(op, number_name, ("other",))
    short = name if torch_name is None else torch_name.rsplit(".", 1)[-1]
    if op.input_names == ("input",):

        def function(input: Any, *, out: Any = None) -> Any:
            if input.__class__ is not Tensor:
                require_tensor(short, "input", 1, input)
            return apply(op, (input,), out=out)

    elif op.input_names == ("input", "other"):

        def function(input: Any, other: Any, *, out: Any = None) -> Any:  # type: ignore[misc]
            if input.__class__ is not Tensor and numbers != "both":
                require_tensor(short, "input", 1, input)
            if other.__class__ is not Tensor:
                if not numbers:
                    require_tensor(short, "other", 2, other)
                if not isinstance(other, Tensor):
                    return apply(of_number, (input, other), out=out)
            return apply(op, (input, other), out=out)

    else:
        raise ValueError(f"op {name}: write its function by hand and enter it with @public")
    function.__name__ = function.__qualname__ = short
    function.__module__ = formula.__module__
    function.__doc__ = doc
    if example is not None:
        function.__doc__ += f"\n\n>>> import rushlight as torch\n>>> {example[0]}\n{example[1]}\n"
        __test__[name] = function.__doc__
    enter = public(op, samples=samples, inplace=inplace, method=method, name=name, torch_name=torch_name)
    return enter(function)


def primitive(
    name: str,
    kind: str,
    forward: Callable[..., Any],
    grad: dict[str, Callable[..., Any]] | None = None,
    *,
    inputs: Sequence[str] | None = None,
    promote: int = NONE,
    outputs: Sequence[str] = (),
    differentiable: Sequence[int] | None = None,
    node_name: str | None = None,
    inplace_name: str | None = None,
    update: Callable[..., None] | None = None,
    overlap: str = "partial",
) -> Op:
    """An op of any other kind: its inputs are the forward's positional parameters, its params the others."""
    if inputs is None:
        inputs = forward.__code__.co_varnames[: forward.__code__.co_argcount]
    return Op(
        name,
        kind,
        forward,
        inputs,
        grad,
        promote=promote,
        outputs=outputs,
        differentiable=differentiable,
        node_name=node_name,
        inplace_name=inplace_name,
        update=update,
        overlap=overlap,
    )


def _is_slow(function: Callable[..., Any]) -> bool:
    """Whether a function is linear algebra under one of its older names."""
    return function.__module__.endswith((".decompose", ".older_linalg"))


def public(
    op: Op | None = None,
    *,
    samples: Any = None,
    inplace: bool = False,
    method: bool = True,
    name: str | None = None,
    torch_name: str | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a function into the table: around the primitive `op`, or composite where there is none.

    `torch_name` says where PyTorch keeps it if that is not ``torch.<name>``: ``nn.functional.elu``.
    """

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        own_name = name or function.__name__
        if own_name in TABLE:
            raise ValueError(f"the op table already has {own_name}")
        view = op is not None and op.returns_view
        only_method = torch_name is not None and torch_name.startswith("Tensor.")
        if own_name != "linalg.vector_norm" and (own_name.startswith("linalg.") or _is_slow(function)):
            function = requiring_tensors(own_name.replace(".", "_"), function)
        elif not view and not only_method and looks_at_tensors(function):
            function = naming_strangers(function.__name__, function)
        entry = Entry(own_name, function, op=op, samples=samples, method=method, torch_name=torch_name)
        if inplace:
            entry.inplace = _derive_inplace(own_name, function)
        TABLE[own_name] = entry
        return function

    return enter


def composite(
    *,
    samples: Any = None,
    inplace: bool = False,
    method: bool = True,
    name: str | None = None,
    torch_name: str | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a plain function of other ops into the table."""
    return public(None, samples=samples, inplace=inplace, method=method, name=name, torch_name=torch_name)


def _derive_inplace(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """``name_``: the same function, storing into its first argument."""
    takes = argument_names(function)
    if "out" not in takes:
        raise ValueError(f"op {name}: an in-place variant needs a function with out=")

    def inplace(input: Any, *args: Any, **kwargs: Any) -> Any:
        return function(input, *args, out=INPLACE, **kwargs)

    inplace.__name__ = inplace.__qualname__ = name + "_"
    inplace.__doc__ = f"`{name}`, storing the result in the tensor itself."
    return inplace


def alias(name: str, function: Callable[..., Any], *, method: bool = True) -> Callable[..., Any]:
    """Enter a second name for a function, as PyTorch has ``multiply`` for ``mul``."""
    source = next(entry for entry in TABLE.values() if entry.function is function)
    entry = Entry(
        name, function, op=source.op, samples=None, method=method, inplace=source.inplace, torch_name=name
    )
    TABLE[name] = entry
    return function
