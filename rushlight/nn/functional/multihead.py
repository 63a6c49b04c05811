"""Attention of several heads as one function: projections, heads, masks, and a last projection.

Here is how the parts are put together and what is checked; each part is an op that is elsewhere, so there are
no gradient rules. Invariant: inside, a mask is numbers that are added to the scores, minus infinity where
nothing may be attended to, whichever way it was given.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

from rushlight.dtype import bool_
from rushlight.nn.functional.attention import scaled_dot_product_attention
from rushlight.nn.functional.dropout import dropout
from rushlight.nn.functional.reduction import entered
from rushlight.ops.create import zeros
from rushlight.ops.join import cat
from rushlight.ops.matmul import linear
from rushlight.ops.samples import Sample, T
from rushlight.ops.softmax import softmax
from rushlight.tensor import Tensor


def _samples() -> list[Sample]:
    """Attention to oneself and to others, and each of the arguments, with vectors of 4 numbers, 2 heads."""

    def one(*shape: int, grad: bool = True) -> T:
        return T(shape, "float64", low=-1.0, high=1.0, grad=grad)

    why = "PyTorch's kernel has no second derivative"
    query, key = one(3, 2, 4), one(5, 2, 4)
    weights: list[Any] = [one(12, 4), one(12)]
    last: list[Any] = [one(4, 4), one(4)]
    plain: list[Any] = [4, 2, *weights, None, None, False, 0.0, *last]
    others: list[Any] = [query, key, key, *plain]
    marks = T(values=[[False, True, False, True, False], [False, False, False, False, True]], dtype="bool")
    ways: list[dict[str, Any]] = [
        {"attn_mask": one(3, 5, grad=False)},
        {"attn_mask": one(4, 3, 5, grad=False), "average_attn_weights": False},
        {"key_padding_mask": marks},
    ]
    found = [Sample([query, one(3, 2, 4), one(3, 2, 4), *plain]), Sample(others)]
    for way in ways:
        found += [Sample(others, way), Sample(others, {**way, "need_weights": False}, second=False, why=why)]
    found.append(Sample([one(3, 4), one(5, 4), one(5, 4), *plain], {"attn_mask": one(3, 5)}))
    extra = [4, 2, *weights, one(1, 1, 4), one(1, 1, 4), True, 0.0, *last]
    found.append(Sample([query, key, key, *extra], {"attn_mask": one(3, 5)}))
    separate = {"use_separate_proj_weight": True, "q_proj_weight": one(4, 4)}
    separate |= {"k_proj_weight": one(4, 6), "v_proj_weight": one(4, 7)}
    narrow = [4, 2, None, weights[1], None, None, False, 0.0, *last]
    found.append(Sample([query, one(5, 2, 6), one(5, 2, 7), *narrow], separate))
    found.append(Sample(others, {"static_k": one(4, 6, 2), "static_v": one(4, 6, 2)}))
    single = [
        T((3, 4)),
        T((5, 4)),
        T((5, 4)),
        4,
        2,
        T((12, 4)),
        None,
        None,
        None,
        False,
        0.0,
        T((4, 4)),
        None,
    ]
    found.append(Sample(single, second=False, why="its rounding grows"))
    wrong: list[tuple[list[Any], dict[str, Any]]] = [
        ([one(2, 3, 2, 4), key, key, *plain], {}),
        ([query, one(5, 4), key, *plain], {}),
        ([query, key, one(4, 2, 4), *plain], {}),
        ([query, key, key, 6, *plain[1:]], {}),
        ([query, key, key, 4, 3, *plain[2:]], {}),
        (others, {"attn_mask": one(3, 4)}),
        (others, {"attn_mask": one(3, 3, 5)}),
        (others, {"attn_mask": one(5)}),
        (others, {"attn_mask": T((3, 5), "int64")}),
        (others, {"key_padding_mask": T((5,), "bool")}),
        (others, {"key_padding_mask": T((2, 4), "bool")}),
        (others, {"key_padding_mask": T((3, 5), "bool")}),
        (others, {"is_causal": True}),
        ([query, key, key, 4, 2, None, *plain[3:]], {}),
        ([query, key, key, 4, 2, *weights, one(1, 1, 4), None, False, 0.0, *last], {}),
        (others, {"static_k": one(3, 5, 2)}),
        (others, {"static_v": one(4, 5, 3)}),
    ]
    return [*found, *[Sample(args, way, raises=True) for args, way in wrong]]


@entered(_samples)
def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """What `nn.MultiheadAttention` computes, with its parameters given: the attended values, and the weights.

    L is the number of queries, S that of keys, N the size of the batch, E the width of all heads.

    Args:
        query: ``(L, N, E)``, or ``(L, E)`` for a single sequence.
        key: ``(S, N, E)`` or ``(S, E)``.
        value: ``(S, N, E)`` or ``(S, E)``.
        embed_dim_to_check: E.
        num_heads: how many heads share the width.
        in_proj_weight: ``(3E, E)``, what makes queries, keys and values of heads, one below the other.
        in_proj_bias: ``(3E,)``.
        bias_k: ``(1, 1, E)``, one more key for every sequence.
        bias_v: ``(1, 1, E)``, its value.
        add_zero_attn: let there be one more key and value, of zeros.
        dropout_p: the share of weights that is set to zero in training.
        out_proj_weight: ``(E, E)``, for what the heads found.
        out_proj_bias: ``(E,)``.
        training: whether to drop weights.
        key_padding_mask: ``(N, S)`` or ``(S,)``, bools that are true for keys to leave out, or numbers that
            are added to the scores.
        need_weights: return the weights, too; the plain formula is computed then.
        attn_mask: ``(L, S)`` or ``(N * heads, L, S)``, bools that are true where not to attend, or numbers
            that are added.
        use_separate_proj_weight: take the three weights below instead of ``in_proj_weight``.
        q_proj_weight: ``(E, E)``.
        k_proj_weight: ``(E, width of keys)``.
        v_proj_weight: ``(E, width of values)``.
        static_k: ``(N * heads, S, E / heads)``, keys of heads in place of those that are computed.
        static_v: ``(N * heads, S, E / heads)``, such values.
        average_attn_weights: return the mean weights of all heads, not those of each.
        is_causal: says that ``attn_mask`` lets each query see what is not after it, and nothing else.

    Returns ``(L, N, E)`` or ``(L, E)``, and ``(N, L, S)`` or ``(L, S)``, with the heads in front of L unless
    averaged; None for weights that are not needed.

    >>> import rushlight as torch
    >>> import rushlight.nn.functional as F
    >>> x, eye = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.eye(2)
    >>> found, weights = F.multi_head_attention_forward(
    ...     x, x, x, 2, 1, eye.repeat(3, 1), None, None, None, False, 0.0, eye, None
    ... )
    >>> found
    tensor([[0.6698, 0.3302],
            [0.3302, 0.6698]])
    """
    is_batched = _check_dims(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not is_batched:
        is_self, is_shared = query is key, key is value
        query = query.unsqueeze(1)
        key = query if is_self else key.unsqueeze(1)
        value = key if is_shared else value.unsqueeze(1)
        if key_padding_mask is not None:
            key_padding_mask = key_padding_mask.unsqueeze(0)
    queries, batch, width = query.shape
    key_padding_mask = additive_mask(
        key_padding_mask, "key_padding_mask", query, beside=attn_mask, beside_name="attn_mask"
    )
    if is_causal and attn_mask is None:
        raise RuntimeError(
            "Need attn_mask if specifying the is_causal hint. You may use the Transformer module method "
            "`generate_square_subsequent_mask` to create this mask."
        )
    if is_causal and key_padding_mask is None and not need_weights:
        attn_mask = None
    else:
        attn_mask = additive_mask(attn_mask, "attn_mask", query)
        is_causal = False  # the mask itself says so
    _check_widths(query, key, value, embed_dim_to_check, num_heads, use_separate_proj_weight)
    if use_separate_proj_weight:
        weights = (q_proj_weight, k_proj_weight, v_proj_weight)
        q, k, v = _project_separately((query, key, value), weights, in_proj_bias)
    else:
        q, k, v = _project(query, key, value, in_proj_weight, in_proj_bias)
    attn_mask = _with_heads(attn_mask, batch * num_heads, queries, key.shape[0])
    more_keys = int(_has_bias(bias_k, bias_v, static_k, static_v)) + int(add_zero_attn)
    if bias_k is not None and bias_v is not None:
        k, v = (cat([each, one.expand(1, batch, width)]) for each, one in ((k, bias_k), (v, bias_v)))
    attn_mask, key_padding_mask = (_wider(each, more_keys) for each in (attn_mask, key_padding_mask))
    q, k, v = (_split_heads(each, batch * num_heads, width // num_heads) for each in (q, k, v))
    k = _given_instead(k, static_k, "static_k", batch * num_heads, width // num_heads)
    v = _given_instead(v, static_v, "static_v", batch * num_heads, width // num_heads)
    if add_zero_attn:
        nothing = (batch * num_heads, 1, width // num_heads)
        k, v = (cat([each, zeros(nothing, dtype=each.dtype)], 1) for each in (k, v))
    if key_padding_mask is not None:
        attn_mask = _merged(attn_mask, key_padding_mask, batch, num_heads, k.shape[1])
    dropped = dropout_p if training else 0.0
    if need_weights:
        found, head_weights = _attend(q, k, v, attn_mask, dropped)
        found = found.transpose(0, 1)
    else:
        found = _attend_only((q, k, v), attn_mask, dropped, is_causal, (batch, num_heads))
    found = linear(found.reshape(queries * batch, width), out_proj_weight, out_proj_bias)
    found = found.view(queries, batch, found.shape[1])
    if not is_batched:
        found = found.squeeze(1)
    if not need_weights:
        return found, None
    told = head_weights.view(batch, num_heads, queries, k.shape[1])
    if average_attn_weights:
        told = told.mean(1)
    return found, told if is_batched else told.squeeze(0)


def additive_mask(
    mask: Tensor | None,
    name: str,
    query: Tensor,
    *,
    beside: Tensor | None = None,
    beside_name: str = "",
) -> Tensor | None:
    """A mask as numbers to add: of a mask of bools, minus infinity where it is true and zero elsewhere.

    Warns where it and the mask that is given `beside` it are of different types; AssertionError unless it is
    made of bools or floats.
    """
    if mask is None:
        return None
    if mask.dtype is not bool_ and not mask.is_floating_point():
        raise AssertionError(f"only bool and floating types of {name} are supported")
    if beside is not None and beside.dtype is not mask.dtype:
        warnings.warn(
            f"Support for mismatched {name} and {beside_name} is deprecated. Use same type for both instead.",
            stacklevel=3,
        )
    if mask.dtype is not bool_:
        return mask
    return zeros(mask.shape, dtype=query.dtype).masked_fill(mask, -math.inf)


# -- what is checked -----------------------------------------------------------------------------------------


def _check_dims(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_padding_mask: Tensor | None,
    attn_mask: Tensor | None,
    heads: int,
) -> bool:
    """Whether there is a batch; AssertionError unless the tensors agree on that."""
    dims = query.dim()
    if dims not in (2, 3):
        raise AssertionError(
            f"query should be unbatched 2D or batched 3D tensor but received {dims}-D query tensor"
        )
    given = f"For {'batched' if dims == 3 else 'unbatched'} ({dims}-D) `query`, expected"
    if key.dim() != dims or value.dim() != dims:
        raise AssertionError(
            f"{given} `key` and `value` to be {dims}-D but found {key.dim()}-D and {value.dim()}-D tensors "
            "respectively"
        )
    if key_padding_mask is not None and key_padding_mask.dim() != dims - 1:
        raise AssertionError(
            f"{given} `key_padding_mask` to be `None` or {dims - 1}-D but found {key_padding_mask.dim()}-D "
            "tensor instead"
        )
    if attn_mask is None:
        return dims == 3
    if attn_mask.dim() not in (2, 3):
        raise AssertionError(
            f"{given} `attn_mask` to be `None`, 2-D or 3-D but found {attn_mask.dim()}-D tensor instead"
        )
    if dims == 2 and attn_mask.dim() == 3:
        expected = (heads, query.shape[0], key.shape[0])
        if attn_mask.shape != expected:
            raise AssertionError(f"Expected `attn_mask` shape to be {expected} but got {attn_mask.shape}")
    return dims == 3


def _check_widths(
    query: Tensor, key: Tensor, value: Tensor, expected: int, heads: int, may_differ: bool
) -> None:
    width = query.shape[2]
    if width != expected:
        raise AssertionError(f"was expecting embedding dimension of {expected}, but got {width}")
    if width // heads * heads != width:
        raise AssertionError(f"embed_dim {width} not divisible by num_heads {heads}")
    if may_differ and key.shape[:2] != value.shape[:2]:
        raise AssertionError(
            f"key's sequence and batch dims {key.shape[:2]} do not match value's {value.shape[:2]}"
        )
    if not may_differ and key.shape != value.shape:
        raise AssertionError(f"key shape {key.shape} does not match value shape {value.shape}")


def _has_bias(
    bias_k: Tensor | None, bias_v: Tensor | None, static_k: Tensor | None, static_v: Tensor | None
) -> bool:
    """Whether there is one more key and value; they come together or not at all."""
    if bias_k is None and bias_v is None:
        return False
    if bias_v is None:
        raise AssertionError("bias_k is set but bias_v is None")
    if bias_k is None:
        raise AssertionError("bias_v is set but bias_k is None")
    if static_k is not None:
        raise AssertionError("bias cannot be added to static key.")
    if static_v is not None:
        raise AssertionError("bias cannot be added to static value.")
    return True


# -- projections ---------------------------------------------------------------------------------------------


def _project(
    query: Tensor, key: Tensor, value: Tensor, weight: Tensor | None, bias: Tensor | None
) -> tuple[Tensor, ...]:
    """Queries, keys and values, all by one product where they are made of the same tensor."""
    if weight is None:
        raise AssertionError("use_separate_proj_weight is False but in_proj_weight is None")
    width = query.shape[-1]
    if query is key and key is value:
        return linear(query, weight, bias).split(width, -1)
    if key is value:
        first, rest = weight.split([width, 2 * width])
        first_bias, rest_bias = (None, None) if bias is None else bias.split([width, 2 * width])
        return (linear(query, first, first_bias), *linear(key, rest, rest_bias).split(width, -1))
    biases = (None, None, None) if bias is None else bias.chunk(3)
    given = zip((query, key, value), weight.chunk(3), biases, strict=True)
    return tuple(linear(each, own, own_bias) for each, own, own_bias in given)


def _project_separately(
    given: tuple[Tensor, ...], weights: tuple[Tensor | None, ...], bias: Tensor | None
) -> tuple[Tensor, ...]:
    """Queries, keys and values where keys or values have a width of their own."""
    for short, weight in zip("qkv", weights, strict=True):
        if weight is None:
            raise AssertionError(f"use_separate_proj_weight is True but {short}_proj_weight is None")
    width = given[0].shape[-1]
    biases = (None, None, None) if bias is None else bias.chunk(3)
    names = ("query", "key", "value")
    for name, each, weight in zip(names, given, weights, strict=True):
        expected = (width, each.shape[-1])
        if weight is not None and weight.shape != expected:
            raise AssertionError(f"expecting {name} weights shape of {expected}, but got {weight.shape}")
    for name, own in zip(names, biases, strict=True):
        if own is not None and own.shape != (width,):
            raise AssertionError(f"expecting {name} bias shape of {(width,)}, but got {own.shape}")
    return tuple(
        linear(each, weight, own)
        for each, weight, own in zip(given, weights, biases, strict=True)
        if weight is not None
    )


def _split_heads(x: Tensor, count: int, width: int) -> Tensor:
    """``(length, N, E)`` as ``(N * heads, length, E / heads)``."""
    return x.reshape(x.shape[0], count, width).transpose(0, 1)


def _given_instead(computed: Tensor, given: Tensor | None, name: str, count: int, width: int) -> Tensor:
    if given is None:
        return computed
    for dim, expected in ((0, count), (2, width)):
        if given.shape[dim] != expected:
            raise AssertionError(f"expecting {name}.size({dim}) of {expected}, but got {given.shape[dim]}")
    return given


# -- masks ---------------------------------------------------------------------------------------------------


def _with_heads(mask: Tensor | None, count: int, queries: int, keys: int) -> Tensor | None:
    """The mask of queries and keys in three dimensions, checked."""
    if mask is None:
        return None
    expected = (queries, keys) if mask.dim() == 2 else (count, queries, keys)
    if mask.shape != expected:
        raise RuntimeError(
            f"The shape of the {mask.dim()}D attn_mask is {mask.shape}, but should be {expected}."
        )
    return mask.unsqueeze(0) if mask.dim() == 2 else mask


def _wider(mask: Tensor | None, keys: int) -> Tensor | None:
    """The mask with so many more keys at the end, which all may attend to."""
    if mask is None or not keys:
        return mask
    return cat([mask, zeros((*mask.shape[:-1], keys), dtype=mask.dtype)], -1)


def _merged(mask: Tensor | None, padding: Tensor, batch: int, heads: int, keys: int) -> Tensor:
    """The sum of both masks, for each head of each sequence."""
    for dim, expected in ((0, batch), (1, keys)):
        if padding.shape[dim] != expected:
            raise AssertionError(
                f"Expected key_padded_mask.shape[{dim}] to be {expected}, but got {padding.shape[dim]}"
            )
    padding = padding.view(batch, 1, 1, keys).expand(-1, heads, -1, -1).reshape(batch * heads, 1, keys)
    return padding if mask is None else mask + padding


# -- attention -----------------------------------------------------------------------------------------------


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropped: float) -> tuple[Tensor, Tensor]:
    """What the queries of each head find, and with which weights."""
    scores = (q * math.sqrt(1.0 / q.shape[-1])).bmm(k.transpose(-2, -1))
    weights = softmax(scores if mask is None else mask + scores, -1)
    if dropped > 0.0:
        weights = dropout(weights, dropped)
    return weights.bmm(v), weights


def _attend_only(
    given: tuple[Tensor, ...],
    mask: Tensor | None,
    dropped: float,
    is_causal: bool,
    lead: tuple[int, int],
) -> Tensor:
    """What the queries of each head find, as ``(L, N, heads, E / heads)``; `lead` are the last two turned."""
    q, k, v = (each.view(*lead, *each.shape[1:]) for each in given)
    if mask is not None:
        mask = mask.unsqueeze(0) if mask.shape[0] == 1 else mask.view(*lead, -1, k.shape[2])
    return scaled_dot_product_attention(q, k, v, mask, dropped, is_causal).permute(2, 0, 1, 3)
