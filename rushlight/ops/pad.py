"""Padding at the borders: with a constant, by reflection, by repeating the border, or in circles.

Every mode but the constant one reads each element of the result from some element of the input, so one pair
of ops serves them all: the places to read are worked out for each dimension. Invariant: pairs of numbers
count from the last dimension, as in PyTorch, and negative ones cut off.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rushlight.ops.accumulate import add_rows
from rushlight.ops.arguments import array_of, int_tuple
from rushlight.ops.define import TITLES, Op, apply
from rushlight.ops.kinds import primitive, public
from rushlight.ops.samples import Sample, T
from rushlight.ops.writes import fitting_number
from rushlight.storage import copy_order
from rushlight.tensor import Tensor


def _by_dim(padding: Sequence[int], ndim: int) -> list[tuple[int, int]]:
    """Before and after for each dimension, from the first to the last."""
    pairs = [(padding[i], padding[i + 1]) for i in range(0, len(padding), 2)]
    return [(0, 0)] * (ndim - len(pairs)) + pairs[::-1]


# -- a constant ----------------------------------------------------------------------------------------------


def _pad_constant(input: np.ndarray, *, padding: tuple[int, ...], value: Any) -> np.ndarray:
    if not any(padding):
        return input.copy(copy_order(input))
    pairs = _by_dim(padding, input.ndim)
    shape = [length + before + after for length, (before, after) in zip(input.shape, pairs, strict=True)]
    made = np.full(shape, value, input.dtype)
    to = tuple(
        slice(max(before, 0), length - max(after, 0))
        for length, (before, after) in zip(shape, pairs, strict=True)
    )
    kept = zip(input.shape, pairs, strict=True)
    made[to] = input[
        tuple(slice(max(-before, 0), length - max(-after, 0)) for length, (before, after) in kept)
    ]
    return made


CONSTANT_PAD: Op = primitive(
    "constant_pad_nd",
    "indexed",
    _pad_constant,
    dict(
        input=lambda g, padding: apply(
            CONSTANT_PAD, (g,), {"padding": tuple(-each for each in padding), "value": 0}
        )
    ),
)

# -- read from the input -------------------------------------------------------------------------------------


def _sources(mode: str, length: int, before: int, after: int) -> np.ndarray:
    """Which element of a dimension each element of the padded dimension is."""
    places = np.arange(-before, length + after)
    if mode == "replicate":
        return places.clip(0, length - 1)
    if mode == "circular":  # what is cut off does not come back from the other side
        first, left = max(-before, 0), length + min(before, 0) + min(after, 0)
        return first + (places - first) % left
    period = max(2 * (length - 1), 1)
    return (length - 1) - abs((length - 1) - places % period)


def _pad_reading(input: np.ndarray, *, mode: str, padding: tuple[int, ...]) -> np.ndarray:
    made = input
    for dim, (before, after) in enumerate(_by_dim(padding, input.ndim)):
        if before or after:
            made = made.take(_sources(mode, made.shape[dim], before, after), dim)
    return made if made is not input else input.copy()


def _unpad_reading(grad: np.ndarray, *, mode: str, padding: tuple[int, ...]) -> np.ndarray:
    made = grad
    for dim, (before, after) in enumerate(_by_dim(padding, grad.ndim)):
        if before or after:
            length = made.shape[dim] - before - after
            whole = np.zeros((*made.shape[:dim], length, *made.shape[dim + 1 :]), grad.dtype)
            add_rows(whole.swapaxes(0, dim), _sources(mode, length, before, after), made.swapaxes(0, dim))
            made = whole
    return made if made is not grad else grad.copy()


def _reading_op(node_name: str) -> Op:
    return primitive(
        "pad_reading",
        "indexed",
        _pad_reading,
        dict(input=lambda g, mode, padding: apply(UNPAD_READING, (g,), {"mode": mode, "padding": padding})),
        node_name=node_name,
    )


_NODE_NAMES = {
    "reflect": "ReflectionPad{}DBackward0",
    "replicate": "ReplicationPad{}DBackward0",
    "circular": "CopySlices",
}
PAD_READING = {
    (mode, count): _reading_op(name.format(count))
    for mode, name in _NODE_NAMES.items()
    for count in (1, 2, 3)
}
UNPAD_READING: Op = primitive(
    "pad_reading_backward",
    "indexed",
    _unpad_reading,
    dict(
        grad=lambda g, mode, padding: apply(
            PAD_READING[mode, len(padding) // 2], (g,), {"mode": mode, "padding": padding}
        )
    ),
)

_NAMES = {"reflect": "reflection_pad", "replicate": "replication_pad"}


def _check_reading(shape: tuple[int, ...], mode: str, padding: tuple[int, ...], kind: np.dtype) -> None:
    ndim, count = len(shape), len(padding) // 2
    if ndim not in (count + 1, count + 2) or count > 3:
        raise NotImplementedError(
            f"Padding size {len(padding)} is not supported for {ndim}D input tensor.\nSupported "
            "combinations for non-constant padding:\n  - 2D or 3D input: padding size = 2 (pads last "
            "dimension)\n  - 3D or 4D input: padding size = 4 (pads last 2 dimensions)\n  - 4D or 5D "
            "input: padding size = 6 (pads last 3 dimensions)"
        )
    if mode != "circular" and 0 in shape[-count - 1 :]:
        raise RuntimeError(
            f"Expected {count + 1}D or {count + 2}D (batch mode) tensor with possibly 0 batch size and "
            f"other non-zero dimensions for input, but got: {list(shape)}"
        )
    if mode in _NAMES and kind.kind == "b":
        raise NotImplementedError(f"\"{_NAMES[mode]}{count}d\" not implemented for '{TITLES[kind.name]}'")
    for dim, (before, after) in enumerate(_by_dim(padding, ndim)):
        length = shape[dim]
        if mode == "reflect" and max(before, after) >= length and (before or after):
            position = 4 + 2 * (ndim - 1 - dim)
            raise RuntimeError(
                f"Argument #{position}: Padding size should be less than the corresponding input "
                f"dimension, but got: padding ({before}, {after}) at dimension {dim} of input {list(shape)}"
            )
        if mode == "circular" and max(before, after) > length:
            raise RuntimeError("Padding value causes wrapping around more than once.")
        if length + before + after < (1 if mode == "replicate" else 0):
            raise RuntimeError(
                f"padding ({before}, {after}) at dimension {dim} of input {list(shape)} leaves nothing of "
                "that dimension"
            )


def _pad_samples() -> list[Sample]:
    cube = T((2, 3, 4))
    found = [Sample([T((2, 3)), pad]) for pad in ((1, 1), (0, 2, 1, 0), (-1, 1), (-1, -2), (0, 0), [1, 0])]
    found += [
        Sample([T((2, 3)), (1, 1), "constant", 1.5]),
        Sample([T((2, 3), "int64"), (1, 1)], {"value": 2.5}),
    ]
    found += [
        Sample([T((2,), "bool"), (1, 0)], {"value": True}),
        Sample([T((0, 3)), (1, 1)]),
        Sample([cube, (1, 1, 0, 2, 1, 1)]),
    ]
    for mode in ("reflect", "replicate", "circular"):
        found += [Sample([cube, pad, mode]) for pad in ((1, 2), (1, 1, 2, 0), (-1, 1), (0, 3))]
        found += [
            Sample([T((1, 2, 3, 4)), (1, 1, 1, 0, 0, 1), mode]),
            Sample([T((2, 3), "int64"), (2, 1), mode]),
        ]
        found += [Sample([T((3,)), (1, 1), mode], raises=True)]
    refused: list[Any] = [
        ((1,),),
        ((1, 1, 1, 1, 1, 1),),
        ((1, 1), "mirror"),
        ((3, 1), "reflect"),
        ((4, 1), "circular"),
        ((-2, -2),),
    ]
    found += [Sample([T((2, 3)), *each], raises=True) for each in refused]
    return [*found, Sample([T((2, 3)), (1, 1), "reflect", 1.0], raises=True)]


@public(CONSTANT_PAD, samples=_pad_samples, method=False, torch_name="nn.functional.pad")
def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """`input` with its last dimensions lengthened (or, by negative numbers, cut) before and after.

    Args:
        input: any tensor; for modes other than "constant" of one or two dimensions more than are padded.
        pad: (before, after) of the last dimension, then of the one before it, and so on.
        mode: "constant", "reflect" (mirrored at the border), "replicate" (the border repeated) or "circular".
        value: what "constant" pads with; zero by default.

    >>> import rushlight as torch
    >>> import rushlight.nn.functional as F
    >>> F.pad(torch.tensor([[1, 2, 3]]), (1, 2), mode="replicate")
    tensor([[1, 1, 2, 3, 3, 3]])
    """
    array = array_of("pad", input)
    padding = int_tuple("pad", "pad", (pad,))
    if len(padding) % 2:
        raise RuntimeError("Padding length must be divisible by 2")
    if len(padding) > 2 * array.ndim:
        raise RuntimeError(
            "Padding length should be less than or equal to two times the input dimension but got padding "
            f"length {len(padding)} and input of dimension {array.ndim}"
        )
    if mode == "constant":
        for length, (before, after) in zip(array.shape, _by_dim(padding, array.ndim), strict=True):
            if length + min(before, 0) + min(after, 0) < 0:
                raise RuntimeError("narrow(): length must be non-negative.")
        filler = fitting_number(0 if value is None else value, array.dtype)
        return apply(CONSTANT_PAD, (input,), {"padding": padding, "value": filler})
    if mode not in _NODE_NAMES:
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    if value is not None and value != 0:
        raise RuntimeError(f'Padding mode "{mode}" doesn\'t take in value argument')
    _check_reading(array.shape, mode, padding, array.dtype)
    return apply(PAD_READING[mode, len(padding) // 2], (input,), {"mode": mode, "padding": padding})
