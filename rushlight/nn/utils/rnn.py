"""Sequences of several lengths in one tensor, and back: padded here, packed by `rushlight.nn.utils.packed`.

Invariant: a padded tensor is as long as the longest sequence, and has the type of the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rushlight.nn.errors import type_name
from rushlight.nn.utils.packed import (
    PackedSequence,
    invert_permutation,
    pack_padded_sequence,
    pad_packed_sequence,
)
from rushlight.ops.convert import as_tensor
from rushlight.ops.create import full
from rushlight.ops.ranges import arange
from rushlight.tensor import Tensor

__all__ = [
    "PackedSequence",
    "invert_permutation",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]


def pad_sequence(
    sequences: Iterable[Tensor],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Put sequences of shapes ``(length, ...)`` beside each other, the shorter ones filled up with
    `padding_value` at their "right" or "left" end: ``(longest, batch, ...)``, or ``(batch, longest, ...)`` if
    `batch_first`.

    >>> import rushlight as torch
    >>> from rushlight.nn.utils.rnn import pad_sequence
    >>> pad_sequence([torch.tensor([1, 2, 3]), torch.tensor([4])], batch_first=True)
    tensor([[1, 2, 3],
            [4, 0, 0]])
    """
    if not isinstance(sequences, Iterable):
        raise RuntimeError(
            f"pad_sequence: Expected iterable for input sequences, but got arg of type: {type(sequences)}"
        )
    rows = tuple(sequences)
    if not rows:
        raise RuntimeError("received an empty list of sequences")
    if padding_side not in ("left", "right"):
        raise RuntimeError(f"Expected padding_side to be one of left or right, but got {padding_side}.")
    for place, row in enumerate(rows):
        if not isinstance(row, Tensor):
            raise TypeError(f"expected Tensor as element {place} in argument 0, but got {type_name(row)}")
        if not row.dim():
            raise RuntimeError("pad_sequence: a sequence needs a dimension, but one is a 0-d tensor")
    longest = max(len(row) for row in rows)
    shape = (len(rows), longest) if batch_first else (longest, len(rows))
    made = full((*shape, *rows[0].shape[1:]), padding_value, dtype=rows[0].dtype)
    for place, row in enumerate(rows):
        start = longest - len(row) if padding_side == "left" else 0
        made.select(0 if batch_first else 1, place).narrow(0, start, len(row)).copy_(row)
    return made


def unpad_sequence(padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False) -> list[Tensor]:
    """The sequences that `pad_sequence` put together, from their lengths.

    As in PyTorch, `padded_sequences` itself is transposed unless `batch_first`.

    >>> import rushlight as torch
    >>> from rushlight.nn.utils.rnn import unpad_sequence
    >>> unpad_sequence(torch.tensor([[1, 2, 3], [4, 0, 0]]), torch.tensor([3, 1]), batch_first=True)
    [tensor([1, 2, 3]), tensor([4])]
    """
    if not batch_first:
        padded_sequences.transpose_(0, 1)
    places = arange(padded_sequences.shape[1])
    return [row[places < length] for row, length in zip(padded_sequences, lengths, strict=True)]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack sequences of shapes ``(length, ...)``; unless `enforce_sorted`, in any order of lengths.

    >>> import rushlight as torch
    >>> from rushlight.nn.utils.rnn import pack_sequence
    >>> pack_sequence([torch.tensor([1, 2, 3]), torch.tensor([4])]).data
    tensor([1, 4, 2, 3])
    """
    lengths = as_tensor([each.size(0) for each in sequences])
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences that `pack_sequence` put together.

    >>> import rushlight as torch
    >>> from rushlight.nn.utils.rnn import pack_sequence, unpack_sequence
    >>> unpack_sequence(pack_sequence([torch.tensor([1, 2, 3]), torch.tensor([4])]))
    [tensor([1, 2, 3]), tensor([4])]
    """
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
