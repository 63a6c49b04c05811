"""The printed text of tensors, character for character PyTorch's, and the options that shape it.

``array_text`` writes the numbers; ``tensor_text`` adds the name before them and facts such as grad_fn after.
Nothing is computed with tensors here: values are read from the array. The invariant: of an array above the
threshold only the edges that are shown are read, so that printing costs the same whatever the tensor's size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from rushlight.dtype import bool_, from_numpy, get_default_dtype, int64

if TYPE_CHECKING:
    from rushlight.tensor import Tensor


class PrintOptions:
    """How tensors are printed; ``set_printoptions`` explains each option."""

    def __init__(
        self,
        precision: int = 4,
        threshold: float = 1000,
        edgeitems: int = 3,
        linewidth: int = 80,
        sci_mode: bool | None = None,
    ) -> None:
        self.precision = precision
        self.threshold = threshold
        self.edgeitems = edgeitems
        self.linewidth = linewidth
        self.sci_mode = sci_mode


_PROFILES = {
    "default": PrintOptions(),
    "short": PrintOptions(precision=2, edgeitems=2),
    "full": PrintOptions(threshold=math.inf),
}

_options = PrintOptions()


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Choose how tensors are printed from now on; what is not given stays, except ``sci_mode``.

    ``precision`` is the number of digits after the point, ``threshold`` the number of elements above which
    only ``edgeitems`` of them at each end of a dimension are shown, ``linewidth`` the length at which lines
    break. ``profile`` is 'default', 'short' or 'full' (ValueError for others) and sets these four first.
    ``sci_mode`` forces scientific notation on or off; None, also when it is left out, decides by the values.

    >>> import rushlight as torch
    >>> torch.set_printoptions(precision=2, threshold=5)
    >>> torch.tensor([1.12345])
    tensor([1.12])
    >>> torch.arange(10)
    tensor([0, 1, 2,  ..., 7, 8, 9])
    >>> torch.set_printoptions(profile="default")
    """
    global _options
    chosen = _options
    if profile is not None:
        if profile not in _PROFILES:
            raise ValueError(f"profile must be one of {', '.join(map(repr, _PROFILES))}, got {profile!r}")
        chosen = _PROFILES[profile]
    _options = PrintOptions(
        chosen.precision if precision is None else precision,
        chosen.threshold if threshold is None else threshold,
        chosen.edgeitems if edgeitems is None else edgeitems,
        chosen.linewidth if linewidth is None else linewidth,
        sci_mode,
    )


def get_printoptions() -> dict[str, Any]:
    """The options in force, as a dictionary that ``set_printoptions`` accepts as keywords.

    >>> from rushlight.printing import get_printoptions
    >>> get_printoptions()["edgeitems"]
    3
    """
    return dict(vars(_options))


@contextmanager
def printoptions(**options: Any) -> Iterator[None]:
    """Print with these options (those of ``set_printoptions``) inside a ``with`` block.

    >>> import rushlight as torch
    >>> from rushlight.printing import printoptions
    >>> with printoptions(precision=1):
    ...     torch.tensor([0.25])
    tensor([0.2])
    """
    before = get_printoptions()
    set_printoptions(**options)
    try:
        yield
    finally:
        set_printoptions(**before)


def array_text(array: np.ndarray, indent: int = 0, options: PrintOptions | None = None) -> str:
    """The numbers of ``array`` in nested brackets, for a place ``indent`` characters into a line.

    >>> import numpy as np
    >>> print(array_text(np.array([[0.5, 2.0], [-1.0, 0.0]])))
    [[ 0.5000,  2.0000],
     [-1.0000,  0.0000]]
    """
    options = options or _options
    if array.size == 0:
        return "[]"
    summarize = array.size > options.threshold
    shown = _edges(array, options.edgeitems) if summarize else array
    style = _NumberStyle(shown.reshape(-1), options)
    return _nested_text(array, indent, summarize, style, options)


def tensor_text(tensor: Tensor, contents: str | None = None) -> str:
    """The text ``repr`` gives for a tensor: its numbers, then whatever is not as usual for a tensor.

    ``contents`` is written in place of the numbers where it is given.

    >>> import rushlight as torch
    >>> print(tensor_text(torch.ones(2, dtype=torch.float64, requires_grad=True)))
    tensor([1., 1.], dtype=torch.float64, requires_grad=True)
    """
    from rushlight.nn.parameter import Buffer, Parameter
    from rushlight.tensor import Tensor

    kind = type(tensor)
    is_plain = kind in (Tensor, Parameter, Buffer)
    name = "tensor" if is_plain else kind.__name__
    indent = len(name) + 1
    if contents is None:
        contents = array_text(tensor._array, indent)
    facts = [*_type_facts(tensor._array), *facts_of_history(tensor)]
    text = with_facts(f"{name}({contents}", facts, indent)
    return f"Parameter({text})" if isinstance(tensor, Parameter) and not is_plain else text


def _type_facts(array: np.ndarray) -> list[str]:
    """The size where the numbers do not show it, and the dtype unless such numbers have it by default."""
    dtype = from_numpy(array.dtype)
    facts = []
    if array.ndim != 1 if array.size == 0 else _options.edgeitems == 0:
        facts.append(f"size={array.shape}")
    usual = [get_default_dtype()] if array.size == 0 else [get_default_dtype(), int64, bool_]
    if dtype not in usual:
        facts.append(f"dtype={dtype}")
    return facts


def facts_of_history(tensor: Tensor) -> list[str]:
    """Which node made a tensor, or that it requires a gradient."""
    try:
        node = tensor.grad_fn
    except RuntimeError:
        # A view that an in-place operation has cut off from the graph: printing it must still work.
        return ["grad_fn=<Invalid>"]
    if node is not None:
        return [f"grad_fn=<{node.name()}>"]
    return ["requires_grad=True"] if tensor.requires_grad else []


def with_facts(text: str, facts: list[str], indent: int, new_line: bool = False) -> str:
    """``text`` with the facts after it, each on a new line where the line would become too long.

    With `new_line` the first one is on a new line in any case.
    """
    # PyTorch counts two characters more than the first line has; the breaks depend on it.
    line_length = len(text) - text.rfind("\n") + 1
    for fact in facts:
        if new_line or line_length + len(fact) + 2 > _options.linewidth:
            new_line = False
            text += ",\n" + " " * indent + fact
            line_length = indent + len(fact)
        else:
            text += ", " + fact
            line_length += len(fact) + 2
    return text + ")"


class _NumberStyle:
    """How all numbers of one tensor are written: their notation and the width they are padded to."""

    def __init__(self, values: np.ndarray, options: PrintOptions) -> None:
        self._spec = ""
        self._is_whole = False
        if values.dtype.kind == "f":
            values = values[np.isfinite(values) & (values != 0)]
            self._choose_float_notation(values, options)
        self.width = max((len(self._text(value)) for value in values.tolist()), default=1)

    def _choose_float_notation(self, values: np.ndarray, options: PrintOptions) -> None:
        scientific = False
        if values.size:
            magnitudes = np.abs(values)
            low, high = float(magnitudes.min()), float(magnitudes.max())
            scientific = high / low > 1000.0 or high > 1.0e8 or low < 1.0e-4
            if options.sci_mode is not None:
                scientific = options.sci_mode
        self._is_whole = not scientific and bool((values == np.ceil(values)).all())
        if scientific:
            self._spec = f".{options.precision}e"
        elif self._is_whole:
            self._spec = ".0f"
        else:
            self._spec = f".{options.precision}f"

    def _text(self, value: float) -> str:
        text = format(value, self._spec)
        # A point tells whole floats from integers.
        return text + "." if self._is_whole and math.isfinite(value) else text

    def write(self, value: float) -> str:
        """The text of one number, padded on the left."""
        return self._text(value).rjust(self.width)


def _edges(array: np.ndarray, count: int) -> np.ndarray:
    """The elements within ``count`` of either end of every dimension."""
    positions = [
        np.r_[:count, length - count : length] if length > 2 * count else np.arange(length)
        for length in array.shape
    ]
    return array[np.ix_(*positions)]


def _nested_text(
    array: np.ndarray, indent: int, summarize: bool, style: _NumberStyle, options: PrintOptions
) -> str:
    if array.ndim == 0:
        return style.write(array.item())
    edge = options.edgeitems
    is_cut = summarize and len(array) > 2 * edge
    if array.ndim == 1:
        return _row_text(array, indent, is_cut, style, options)
    rows = [*array[:edge], *array[len(array) - edge :]] if is_cut else array
    texts = [_nested_text(row, indent + 1, summarize, style, options) for row in rows]
    if is_cut:
        texts.insert(edge, "...")
    separator = "," + "\n" * (array.ndim - 1) + " " * (indent + 1)
    return "[" + separator.join(texts) + "]"


def _row_text(row: np.ndarray, indent: int, is_cut: bool, style: _NumberStyle, options: PrintOptions) -> str:
    edge = options.edgeitems
    if is_cut:
        texts = [style.write(value) for value in [*row[:edge].tolist(), *row[len(row) - edge :].tolist()]]
        texts.insert(edge, " ..." if edge else "...")
    else:
        texts = [style.write(value) for value in row.tolist()]
    per_line = max(1, math.floor((options.linewidth - indent) / (style.width + 2)))
    lines = [", ".join(texts[start : start + per_line]) for start in range(0, len(texts), per_line)]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"
