"""MultiheadAttention: several heads that attend side by side, with the parameters they need.

What is computed is in ``functional/multihead.py``; here are the parameters, and which dimension is the batch.
Invariant: initial weights are drawn in PyTorch's order, that of the last projection first, and the names
in a state dict are PyTorch's.
"""

from __future__ import annotations

from typing import Any

from rushlight.nn import functional as F
from rushlight.nn import init
from rushlight.nn.functional.multihead import additive_mask
from rushlight.nn.linear import NonDynamicallyQuantizableLinear
from rushlight.nn.module import Module
from rushlight.nn.parameter import Parameter
from rushlight.ops.create import empty
from rushlight.tensor import Tensor


class MultiheadAttention(Module):
    """Attention of ``num_heads`` heads at once, each to a part of the width ``embed_dim``.

    Vaswani et al., "Attention Is All You Need", 2017. ValueError for sizes that are not positive, and
    AssertionError unless the heads divide the width.

    Args:
        embed_dim: the width E of queries and of what is returned.
        num_heads: the number of heads.
        dropout: the share of attention weights that is set to zero in training.
        bias: whether the projections add a bias.
        add_bias_kv: learn one more key and value, which every sequence gets.
        add_zero_attn: add a key and a value of zeros.
        kdim: the width of keys, if it is not ``embed_dim``.
        vdim: the width of values, if it is not ``embed_dim``.
        batch_first: take and return ``(N, L, E)`` in place of ``(L, N, E)``.
        device: only the CPU.
        dtype: the type of the parameters.

    >>> import rushlight as torch
    >>> layer = torch.nn.MultiheadAttention(16, 4, batch_first=True)
    >>> words = torch.zeros(2, 5, 16)
    >>> found, weights = layer(words, words, words)
    >>> found.shape, weights.shape
    (torch.Size([2, 5, 16]), torch.Size([2, 5, 5]))
    """

    bias_k: Parameter | None
    bias_v: Parameter | None
    in_proj_weight: Parameter | None
    in_proj_bias: Parameter | None
    q_proj_weight: Parameter | None
    k_proj_weight: Parameter | None
    v_proj_weight: Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(
                f"embed_dim and num_heads must be greater than 0, got embed_dim={embed_dim} and "
                f"num_heads={num_heads} instead"
            )
        super().__init__()
        self.embed_dim = embed_dim
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim
        self.num_heads = num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.head_dim = embed_dim // num_heads
        if self.head_dim * num_heads != embed_dim:
            raise AssertionError("embed_dim must be divisible by num_heads")

        def parameter(*shape: int) -> Parameter:
            return Parameter(empty(shape, device=device, dtype=dtype))

        if self._qkv_same_embed_dim:
            self.in_proj_weight = parameter(3 * embed_dim, embed_dim)
            for name in ("q_proj_weight", "k_proj_weight", "v_proj_weight"):
                self.register_parameter(name, None)
        else:
            self.q_proj_weight = parameter(embed_dim, embed_dim)
            self.k_proj_weight = parameter(embed_dim, self.kdim)
            self.v_proj_weight = parameter(embed_dim, self.vdim)
            self.register_parameter("in_proj_weight", None)
        self.register_parameter("in_proj_bias", parameter(3 * embed_dim) if bias else None)
        self.out_proj = NonDynamicallyQuantizableLinear(
            embed_dim, embed_dim, bias=bias, device=device, dtype=dtype
        )
        if add_bias_kv:
            self.bias_k = parameter(1, 1, embed_dim)
            self.bias_v = parameter(1, 1, embed_dim)
        else:
            self.bias_k = self.bias_v = None
        self.add_zero_attn = add_zero_attn
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight)
        if self.in_proj_bias is not None and self.out_proj.bias is not None:
            init.constant_(self.in_proj_bias, 0.0)
            init.constant_(self.out_proj.bias, 0.0)
        for each in (self.bias_k, self.bias_v):
            if each is not None:
                init.xavier_normal_(each)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """What each query finds, and the weights with which it looked: None unless ``need_weights``.

        The masks are those of `nn.functional.multi_head_attention_forward`: true, or minus infinity, is where
        not to attend. Without a batch, tensors have two dimensions.
        """
        key_padding_mask = additive_mask(
            key_padding_mask, "key_padding_mask", query, beside=attn_mask, beside_name="attn_mask"
        )
        attn_mask = additive_mask(attn_mask, "attn_mask", query)
        turned = self.batch_first and query.dim() == 3
        if turned:
            query, key, value = _turned(query, key, value)
        found, weights = F.multi_head_attention_forward(
            query,
            key,
            value,
            self.embed_dim,
            self.num_heads,
            self.in_proj_weight,
            self.in_proj_bias,
            self.bias_k,
            self.bias_v,
            self.add_zero_attn,
            self.dropout,
            self.out_proj.weight,
            self.out_proj.bias,
            training=self.training,
            key_padding_mask=key_padding_mask,
            need_weights=need_weights,
            attn_mask=attn_mask,
            use_separate_proj_weight=not self._qkv_same_embed_dim,
            q_proj_weight=self.q_proj_weight,
            k_proj_weight=self.k_proj_weight,
            v_proj_weight=self.v_proj_weight,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
        )
        return (found.transpose(1, 0) if turned else found), weights

    def merge_masks(
        self, attn_mask: Tensor | None, key_padding_mask: Tensor | None, query: Tensor
    ) -> tuple[Tensor | None, int | None]:
        """Both masks as one for each head, and its kind: 1 for padding alone, 2 with ``attn_mask``.

        Args:
            attn_mask: numbers to add, ``(L, L)`` or ``(N * heads, L, L)``.
            key_padding_mask: numbers to add, ``(N, L)``.
            query: ``(N, L, E)``.
        """
        if attn_mask is None:
            return key_padding_mask, (None if key_padding_mask is None else 1)
        batch, length, _ = query.shape
        if attn_mask.dim() == 3:
            merged = attn_mask.view(batch, -1, length, length)
        else:
            merged = attn_mask.view(1, 1, length, length).expand(batch, self.num_heads, -1, -1)
        if key_padding_mask is not None:
            padding = key_padding_mask.view(batch, 1, 1, length)
            merged = merged + padding.expand(-1, self.num_heads, -1, -1)
        return merged, 2

    def _expected_input(self) -> str:
        order = "(N, L, {})" if self.batch_first else "(L, N, {})"
        sizes = dict.fromkeys((self.embed_dim, self.kdim, self.vdim))
        return "queries, keys and values " + " or ".join(order.format(size) for size in sizes)


def _turned(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The first two dimensions swapped; what was one tensor stays one, so that it is projected only once."""
    first = query.transpose(1, 0)
    second = first if key is query else key.transpose(1, 0)
    return first, second, second if value is key else value.transpose(1, 0)
