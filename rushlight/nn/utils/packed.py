"""Packed sequences: the rows of sequences of several lengths in one matrix, step by step, without padding.

At each step come the rows of all sequences that still run, the longest sequence first; ``batch_sizes`` says
how many those are. `rushlight.nn.utils.rnn` gathers these functions with those for padded sequences.
Invariant: ``batch_sizes`` falls, adds up to the number of rows, and ``unsorted_indices`` undoes
``sorted_indices``.
"""

from __future__ import annotations

import builtins
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from rushlight.dtype import float16, float32, float64, int8, int16, int32, int64, uint8
from rushlight.ops.arguments import require_tensor
from rushlight.ops.convert import as_tensor
from rushlight.ops.create import empty_like, full
from rushlight.ops.define import labelled
from rushlight.ops.index_dim import index_select
from rushlight.ops.ranges import arange
from rushlight.ops.sort import sort
from rushlight.tensor import Tensor

_Long = np.int64


class _Fields(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(_Fields):
    """Sequences of several lengths in one matrix, as `pack_sequence` makes it and recurrent layers read it.

    >>> import rushlight as torch
    >>> from rushlight.nn.utils.rnn import pack_sequence
    >>> packed = pack_sequence([torch.tensor([1, 2, 3]), torch.tensor([4])])
    >>> packed.data, packed.batch_sizes
    (tensor([1, 4, 2, 3]), tensor([2, 1, 1]))
    """

    def __new__(
        cls,
        data: Any,
        batch_sizes: Tensor | None = None,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> Self:
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        if batch_sizes is None:
            if not (isinstance(data, (list, tuple)) and len(data) == 2):
                raise AssertionError("Expected data to be a list or tuple of length 2")
            data, batch_sizes = data
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """The same rows as another type, as `Tensor.to`; this sequence if nothing changes."""
        data = self.data.to(*args, **kwargs)
        return self if data is self.data else self._with(data)

    def _with(self, data: Tensor) -> Self:
        return type(self)(data, self.batch_sizes, self.sorted_indices, self.unsorted_indices)

    def pin_memory(self) -> Self:
        """As `Tensor.pin_memory`."""
        return self._with(self.data.pin_memory())

    def cuda(self, *args: Any, **kwargs: Any) -> Self:
        """PyTorch's error for a build without CUDA."""
        return self._with(self.data.cuda(*args, **kwargs))

    def cpu(self, *args: Any, **kwargs: Any) -> Self:
        """This sequence: it is there already."""
        return self.to("cpu", *args, **kwargs)

    def double(self) -> Self:
        """As `Tensor.double`."""
        return self.to(dtype=float64)

    def float(self) -> Self:
        """As `Tensor.float`."""
        return self.to(dtype=float32)

    def half(self) -> Self:
        """As `Tensor.half`."""
        return self.to(dtype=float16)

    def long(self) -> Self:
        """As `Tensor.long`."""
        return self.to(dtype=int64)

    def int(self) -> Self:
        """As `Tensor.int`."""
        return self.to(dtype=int32)

    def short(self) -> Self:
        """As `Tensor.short`."""
        return self.to(dtype=int16)

    def char(self) -> Self:
        """As `Tensor.char`."""
        return self.to(dtype=int8)

    def byte(self) -> Self:
        """As `Tensor.byte`."""
        return self.to(dtype=uint8)

    @property
    def is_cuda(self) -> bool:
        """False."""
        return self.data.is_cuda

    def is_pinned(self) -> bool:
        """As `Tensor.is_pinned`."""
        return self.data.is_pinned()


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation that undoes another one; None for None.

    >>> import rushlight as torch
    >>> from rushlight.nn.utils.rnn import invert_permutation
    >>> invert_permutation(torch.tensor([2, 0, 1]))
    tensor([1, 2, 0])
    """
    if permutation is None:
        return None
    return empty_like(permutation).scatter_(0, permutation, arange(permutation.numel()))


def _places(lengths: list[builtins.int]) -> tuple[list[tuple[builtins.int, builtins.int]], list[Any]]:
    """The step and sequence of each packed row, and how many sequences run at each step."""
    counts = [sum(length > step for length in lengths) for step in range(lengths[0])]
    return [(step, each) for step, count in enumerate(counts) for each in range(count)], counts


def pack_padded_sequence(
    input: Tensor,
    lengths: Tensor | Sequence[builtins.int],
    batch_first: bool = False,
    enforce_sorted: bool = True,
) -> PackedSequence:
    """Pack sequences that were padded: ``(time, batch, ...)``, or ``(batch, time, ...)`` if `batch_first`.

    Args:
        input: the padded sequences.
        lengths: how long each of them is.
        batch_first: see `input`.
        enforce_sorted: whether the lengths must fall already; else the sequences are sorted here, and put
            back in their order by `pad_packed_sequence` and recurrent layers.

    >>> import rushlight as torch
    >>> from rushlight.nn.utils.rnn import pack_padded_sequence
    >>> padded = torch.tensor([[4, 0, 0], [1, 2, 3]])
    >>> packed = pack_padded_sequence(padded, [1, 3], batch_first=True, enforce_sorted=False)
    >>> packed.data, packed.sorted_indices
    (tensor([1, 4, 2, 3]), tensor([1, 0]))
    """
    require_tensor("_pack_padded_sequence", "input", 1, input)
    given = lengths.to(int64) if isinstance(lengths, Tensor) else as_tensor(lengths, dtype=int64)
    order = None
    if not enforce_sorted:
        given, order = sort(given, descending=True)
        input = index_select(input, 0 if batch_first else 1, order)
    if input.numel() == 0:
        raise RuntimeError("Cannot pack empty tensors.")
    if given.dim() != 1:
        raise RuntimeError(
            f"'lengths' argument should be a 1D CPU int64 tensor, but got {given.dim()}D cpu Long tensor"
        )
    batch = input.size(0 if batch_first else 1)
    if given.size(0) != batch:
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {given.size(0)} (batch_size={batch})"
        )
    wanted = given.tolist()
    if wanted[-1] <= 0:
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0"
        )
    if any(before < after for before, after in itertools.pairwise(wanted)):
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass "
            "`enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to sidestep this requirement"
            " if you do not need ONNX exportability."
        )
    time = input.size(1 if batch_first else 0)
    if wanted[0] > time:
        raise RuntimeError(
            f"Expected all lengths to be at most {time}, the padded length, but found {wanted[0]} in "
            "'lengths'"
        )
    places, counts = _places(wanted)
    steps = input.transpose(0, 1) if batch_first else input
    rows = steps.reshape(time * batch, *steps.shape[2:])
    chosen = as_tensor([step * batch + each for step, each in places])
    data = labelled(index_select(rows, 0, chosen), "PackPaddedSequenceBackward0")
    return PackedSequence(data, as_tensor(counts), order, None)


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: builtins.float = 0.0,
    total_length: builtins.int | None = None,
) -> tuple[Tensor, Tensor]:
    """The padded sequences ``(time, batch, ...)``, or ``(batch, time, ...)`` if `batch_first`; their lengths.

    Args:
        sequence: what `pack_padded_sequence` made.
        batch_first: see above.
        padding_value: what the shorter ones are filled up with.
        total_length: how long to make them; ValueError if that is less than the longest.

    >>> import rushlight as torch
    >>> from rushlight.nn.utils.rnn import pack_sequence, pad_packed_sequence
    >>> packed = pack_sequence([torch.tensor([1, 2, 3]), torch.tensor([4])])
    >>> pad_packed_sequence(packed, batch_first=True)
    (tensor([[1, 2, 3],
            [4, 0, 0]]), tensor([3, 1]))
    """
    longest = sequence.batch_sizes.size(0)
    if total_length is not None:
        if total_length < longest:
            raise ValueError(
                "Expected total_length to be at least the length of the longest sequence in input, but got "
                f"total_length={total_length} and max sequence length being {longest}"
            )
        longest = total_length
    counts = sequence.batch_sizes.tolist()
    if not counts:
        raise RuntimeError("batch_sizes can not be empty")
    batch, data = counts[0], sequence.data
    lengths = as_tensor([sum(count > each for count in counts) for each in range(batch)])
    shape = (longest, batch, *data.shape[1:])
    padded = full(shape, padding_value, dtype=data.dtype)
    start = 0
    for step, count in enumerate(counts):
        padded[step, :count] = data[start : start + count]
        start += count
    if batch_first:
        padded = padded.transpose(0, 1)
    back = sequence.unsorted_indices
    if back is None:
        return padded, lengths
    return index_select(padded, 0 if batch_first else 1, back), lengths[back]
