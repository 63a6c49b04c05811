"""Attention: each query's weighted mean of values, by how well its key fits.

Invariant: weights are computed in float32 at least, and a query that may attend to nothing gives zeros.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rushlight.backends import cuda
from rushlight.dtype import bool_, float16, float32
from rushlight.nn.functional.reduction import entered
from rushlight.ops.arguments import require_tensor
from rushlight.ops.create import ones
from rushlight.ops.define import C_NAMES, labelled
from rushlight.ops.dropout import dropout
from rushlight.ops.samples import Sample, T
from rushlight.ops.softmax import softmax
from rushlight.tensor import Tensor

__all__ = ["scaled_dot_product_attention"]


def _samples() -> list[Sample]:
    why = "PyTorch's kernel has no second derivative"
    query, key, value = T((2, 3, 4, 5)), T((2, 3, 6, 5)), T((2, 3, 6, 5))
    flat = [T((3, 4, 5)), T((3, 6, 5)), T((3, 6, 5))]
    marks = T(values=[[True, False, True, False, True, True], [False] * 6, [True] * 6, [False] * 5 + [True]])
    marks.dtype = "bool"
    added = T((4, 6), grad=False)
    ways: list[dict[str, Any]] = [
        {},
        {"is_causal": True},
        {"scale": 0.3},
        {"attn_mask": marks},
        {"attn_mask": added},
    ]
    found = [Sample([query, key, value], way, second=False, why=why) for way in ways]
    found += [Sample(flat, way) for way in ways]
    found += [
        Sample([T((4, 5)), T((6, 5)), T((6, 3))]),
        Sample([query, key, value], {"attn_mask": marks, "is_causal": True}, second=False, why=why),
        Sample([T((2, 4, 3, 5), "float64")] * 3, second=False, why=why),
        Sample([T((2, 4, 3, 5), "float16", grad=False)] * 3, tolerance=2e-3, why="rounded at other places"),
    ]
    grouped = [T((2, 4, 3, 5)), T((2, 2, 6, 5)), T((2, 2, 6, 5))]
    found.append(Sample(grouped, {"enable_gqa": True}, second=False, why=why))
    wrong = [
        [T((5,)), T((5,)), T((5,))],
        [query, T((2, 3, 6, 5), "float64"), value],
        [query, T((2, 3, 6, 4)), value],
    ]
    found += [Sample(each, raises=True) for each in wrong]
    found += [Sample(flat, {"attn_mask": T((4, 6), kind)}, raises=True) for kind in ("int64", "float64")]
    found += [Sample(flat, {"attn_mask": marks, "is_causal": True}, raises=True)]
    found += [Sample(flat, {"attn_mask": T((3, 6))}, raises=True)]
    found += [Sample([query, key, value], {"dropout_p": 1.5}, raises=True)]
    heads = [T((2, 4, 3, 5)), T((2, 3, 3, 5)), T((2, 3, 3, 5))]
    return [*found, Sample(heads, {"enable_gqa": True}, raises=True)]


@entered(_samples)
def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """``softmax(query @ key.mT * scale + mask) @ value``.

    Args:
        query: ``(..., queries, width)``.
        key: ``(..., places, width)``.
        value: ``(..., places, value width)``.
        attn_mask: broadcast to ``(..., queries, places)``: bools that say where a query may attend, or
            numbers that are added.
        dropout_p: the share of weights that is set to zero, in evaluation too: pass 0 there.
        is_causal: let query i attend to the places up to i only.
        scale: one over the root of the width, if not given.
        enable_gqa: let several heads of the query, dimension -3, share one of key and value.

    >>> import rushlight as torch
    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> torch.nn.functional.scaled_dot_product_attention(x, x, x, is_causal=True)
    tensor([[1.0000, 0.0000],
            [0.3302, 0.6698]])
    """
    for place, (name, each) in enumerate((("query", query), ("key", key), ("value", value)), start=1):
        require_tensor("scaled_dot_product_attention", name, place, each)
    if attn_mask is not None and not isinstance(attn_mask, Tensor):
        raise _wrong("attn_mask", "Tensor", attn_mask)
    dropout_p = _float("dropout_p", dropout_p)
    scale = None if scale is None else _float("scale", scale)
    for name, switch in (("is_causal", is_causal), ("enable_gqa", enable_gqa)):
        if not isinstance(switch, bool | np.bool_):
            raise _wrong(name, "bool", switch)
    dims = [each.dim() for each in (query, key, value)]
    if min(dims) < 2:
        raise RuntimeError(
            "Expected query, key, and value to all be  at least 2 dimensional, but got query.dim: "
            f"{dims[0]} key.dim: {dims[1]} and value.dim: {dims[2]} instead."
        )
    kinds = [C_NAMES[each.dtype.name] for each in (query, key, value)]
    if len({*kinds}) > 1:
        raise RuntimeError(
            f"Expected query, key, and value to have the same dtype, but got query.dtype: {kinds[0]} "
            f"key.dtype: {kinds[1]} and value.dtype: {kinds[2]} instead."
        )
    if attn_mask is not None and attn_mask.dtype not in (bool_, float32, query.dtype):
        raise RuntimeError(
            "Expected attn_mask dtype to be bool or float or to match query dtype, but got attn_mask.dtype: "
            f"{C_NAMES[attn_mask.dtype.name]} and  query.dtype: {kinds[0]} instead."
        )
    usual = _fits_kernel(query, key, value, attn_mask, dropout_p)
    if query.numel() and value.numel():
        usual = _takes_kernel(usual)
    if is_causal and attn_mask is not None and not usual:
        raise RuntimeError(
            "_scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True"
        )
    found = _attention(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa)
    if not usual:
        return found
    return labelled(
        found, "ScaledDotProductFlashAttentionForCpuBackward0" if found.numel() else "AddBackward0"
    )


def _float(name: str, value: Any) -> float:
    """A number, which a tensor without dimensions may hold."""
    if isinstance(value, Tensor) and value.dim() == 0:
        value = value.item()
    if not isinstance(value, int | float | np.integer | np.floating):
        raise _wrong(name, "float", value)
    return float(value)


def _wrong(name: str, kind: str, given: Any) -> TypeError:
    return TypeError(
        f"scaled_dot_product_attention(): argument '{name}' must be {kind}, not {type(given).__name__}"
    )


def _fits_kernel(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout_p: float) -> bool:
    """Whether PyTorch would take its kernel, which allows both masks and names the result after itself."""
    given = (query, key, value)
    if any(each.dim() != 4 for each in given) or dropout_p > 0.0:
        return False
    if mask is not None and (mask.requires_grad or mask.dim() not in (2, 4)):
        return False
    same_width = key.shape[-1] == query.shape[-1] == value.shape[-1]
    return same_width and all(each.stride(-1) == 1 or not each.numel() for each in given)


def _takes_kernel(fits: bool) -> bool:
    """Whether it does where the switches count; RuntimeError where they leave no way."""
    if fits and cuda.flash_sdp_enabled():
        return True
    if cuda.math_sdp_enabled():
        return False
    if cuda.flash_sdp_enabled():
        raise RuntimeError("No available kernel.  Aborting execution.")
    raise RuntimeError(
        "No viable backend for scaled_dot_product_attention was found. This is likely due to turning off "
        "both the math kernel and the fused kernels."
    )


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    dropout_p: float,
    is_causal: bool,
    scale: float | None,
    share_heads: bool,
) -> Tensor:
    kind = query.dtype
    if kind is float16:
        query, key, value = query.float(), key.float(), value.float()
    if share_heads:
        key, value = _spread_heads(query, key), _spread_heads(query, value)
    width = query.shape[-1]
    factor = (1 / math.sqrt(width) if width else 0.0) if scale is None else scale
    scores = (query * factor) @ key.transpose(-2, -1)
    if is_causal:
        later = ones(scores.shape[-2:], dtype=bool_).tril().logical_not()
        scores = scores.masked_fill(later, -math.inf)
    if mask is not None:
        scores = scores.masked_fill(mask.logical_not(), -math.inf) if mask.dtype is bool_ else scores + mask
        # A row of minus infinities has no softmax: it becomes zeros, without a trace in the gradient.
        nowhere = (scores == -math.inf).all(-1, keepdim=True)
        weights = softmax(scores.masked_fill(nowhere, 0.0), -1).masked_fill(nowhere, 0.0)
    else:
        weights = softmax(scores, -1)
    if dropout_p > 0.0:
        weights = dropout(weights, dropout_p, True)
    found = weights @ value
    return found if found.dtype is kind else found.to(kind)


def _spread_heads(query: Tensor, shared: Tensor) -> Tensor:
    """Each head as often as there are heads of the query that share it."""
    heads, own = query.size(-3), shared.size(-3)
    if heads % own:
        raise RuntimeError(
            "Number of heads in key and value must divide the number of heads in query, but there are "
            f"{own} and {heads}"
        )
    return shared.repeat_interleave(heads // own, -3)
