"""Lookups in tables of vectors: `embedding`, and `embedding_bag`, which sums, averages or takes the maximum
of bags.

The invariant: of the row ``padding_idx`` no gradient ever reaches the table, and only ``max_norm`` changes
the table.
"""

from __future__ import annotations

import warnings

from rushlight.autograd import no_grad
from rushlight.dtype import int32, int64
from rushlight.ops.compare import ne
from rushlight.ops.copies import tensor_type
from rushlight.ops.define import labelled
from rushlight.ops.lookup import bucketize
from rushlight.ops.lookup import embedding as look_up
from rushlight.ops.ranges import arange
from rushlight.tensor import Tensor

_NODE = "EmbeddingBagBackward0"


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """The rows of ``weight`` with the numbers ``input``: for ``(*)`` numbers, ``(*, embedding_dim)``.

    Arguments as those of ``nn.Embedding``. Raises IndexError for a number that no row has.

    >>> import rushlight as torch
    >>> import rushlight.nn.functional as F
    >>> F.embedding(torch.tensor([2, 0]), torch.eye(3))
    tensor([[0., 0., 1.],
            [1., 0., 0.]])
    """
    if padding_idx is not None and not -weight.shape[0] <= padding_idx < weight.shape[0]:
        raise AssertionError("Padding_idx must be within num_embeddings")
    if max_norm is not None:
        _shorten_rows(weight, input, max_norm, norm_type)
    row = -1 if padding_idx is None else padding_idx % weight.shape[0]
    return look_up(weight, input, row, scale_grad_by_freq, sparse)


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """The sum, mean or maximum of bags of rows of ``weight``: one row of output for each bag.

    Arguments as those of ``nn.EmbeddingBag``; ``per_sample_weights`` scales the rows before they are summed.

    >>> import rushlight as torch
    >>> import rushlight.nn.functional as F
    >>> F.embedding_bag(torch.tensor([2, 0, 1]), torch.eye(3), torch.tensor([0, 2]), mode="sum")
    tensor([[1., 0., 1.],
            [0., 1., 0.]])
    """
    if weight.dtype is int64 and input.is_floating_point():
        warnings.warn(
            "Argument order of nn.functional.embedding_bag was changed. Usage `embedding_bag(weight, input, "
            "...)` is deprecated, and should now be `embedding_bag(input, weight, ...)`.",
            stacklevel=2,
        )
        weight, input = input, weight
    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    if mode == "max" and scale_grad_by_freq:
        raise ValueError("max mode does not support scaling the gradient by the frequency")
    _check_weights(input, weight, per_sample_weights, mode)
    if input.dim() == 2:
        if offsets is not None:
            raise ValueError(
                "if input is 2D, then offsets has to be None, as input is treated is a mini-batch of fixed "
                f"length sequences. However, found offsets of type {type(offsets)}"
            )
        starts = arange(input.shape[0]) * input.shape[1]
        input = input.reshape(-1)
    else:
        starts = _checked_starts(input, offsets, include_last_offset)

    rows = embedding(input, weight, None, max_norm, norm_type, scale_grad_by_freq, sparse)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.reshape(-1, 1)
    bag = bucketize(arange(input.numel()), starts, right=True) - 1
    padding = -1 if padding_idx is None else padding_idx % weight.shape[0]
    counted = ne(input, padding)
    count = rows.new_zeros(len(starts)).index_add(0, bag, counted.to(rows.dtype)).unsqueeze(1)
    if mode == "max":
        return labelled(_largest(rows, bag, starts, counted).masked_fill(count == 0, 0), _NODE)
    rows = rows.masked_fill(~counted.unsqueeze(1), 0)
    total = rows.new_zeros(len(starts), weight.shape[1]).index_add(0, bag, rows)
    return labelled(total / count.clamp(min=1) if mode == "mean" else total, _NODE)


def _largest(rows: Tensor, bag: Tensor, starts: Tensor, counted: Tensor) -> Tensor:
    """The largest of the counted rows of each bag, element by element; minus infinity for an empty bag."""
    place = arange(len(bag)) - starts[bag]
    longest = int(place.max()) + 1 if len(bag) else 1
    lowest = rows.new_full((len(starts), longest, rows.shape[1]), float("-inf"))
    spread = lowest.index_put((bag[counted], place[counted]), rows[counted])
    return spread.max(1).values


def _checked_starts(input: Tensor, offsets: Tensor | None, include_last_offset: bool) -> Tensor:
    """Where the bags of a 1-D input begin."""
    if input.dim() != 1:
        raise ValueError(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.dim()}")
    if offsets is None:
        raise ValueError("offsets has to be a 1D Tensor but got None")
    if offsets.dim() != 1:
        raise ValueError("offsets has to be a 1D Tensor")
    if len(offsets) and offsets[0] != 0:
        raise RuntimeError(
            "offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from position "
            f"0. However, got {offsets[0].item()}"
        )
    if len(offsets) and offsets[-1] > len(input):
        raise RuntimeError(
            f"offsets[-1] can not be greater than input's length {len(input)} but got offsets[-1] of "
            f"{offsets[-1].item()}"
        )
    return offsets[:-1] if include_last_offset else offsets


def _check_weights(input: Tensor, weight: Tensor, per_sample_weights: Tensor | None, mode: str) -> None:
    if weight.dim() != 2:
        raise ValueError(f"weight has to be a 2D Tensor, but got Tensor of dimension {weight.dim()}")
    if per_sample_weights is None:
        return
    if input.shape != per_sample_weights.shape:
        raise ValueError(
            f"embedding_bag: If per_sample_weights ({per_sample_weights.shape}) is not None, "
            f"then it must have the same shape as the input ({input.shape})"
        )
    if mode != "sum":
        raise NotImplementedError(
            "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported for "
            f"mode='sum' (got mode='{mode}'). Please open a feature request on GitHub."
        )


def _shorten_rows(weight: Tensor, input: Tensor, max_norm: float, norm_type: float) -> None:
    """Shorten in place the rows that are looked up and longer than `max_norm`."""
    if input.dtype not in (int32, int64):
        raise RuntimeError(
            "Expected tensor for argument #2 'indices' to have one of the following scalar types: Long, Int; "
            f"but got {tensor_type(input)} instead (while checking arguments for embedding_renorm_)"
        )
    with no_grad():
        rows = input.unique()
        found = weight[rows]
        norms = found.norm(norm_type, dim=1, keepdim=True)
        # The small number, PyTorch's, keeps a shortened row from being shortened again by rounding.
        weight[rows] = found * (max_norm / (norms + 1e-7)).masked_fill(norms <= max_norm, 1.0)
