"""Stacks of transformer layers, and the Transformer of an encoder and a decoder.

The layers themselves are in ``transformer_layers.py``. There are no nested tensors: an encoder computes what
PyTorch returns by means of them, which is zeros for padding that ends a sequence, in evaluation without
gradients. Invariant: a mask that is known to be causal and the hint that it is give the same result, so
a compiled step, which cannot look at a mask, goes without the hint.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from typing import Any

from rushlight import backends
from rushlight.autograd.mode import RECORDING, is_grad_enabled, state
from rushlight.nn import functional as F
from rushlight.nn import init
from rushlight.nn.containers import ModuleList
from rushlight.nn.functional.multihead import additive_mask
from rushlight.nn.module import Module
from rushlight.nn.norm import LayerNorm
from rushlight.nn.transformer_layers import TransformerDecoderLayer, TransformerEncoderLayer
from rushlight.ops.create import full
from rushlight.tensor import Tensor


class TransformerEncoder(Module):
    """``num_layers`` copies of an encoder layer, one after the other, and a last normalisation.

    Args:
        encoder_layer: a `TransformerEncoderLayer`, or a module that is called like one.
        num_layers: how many copies to make; all begin with the same weights.
        norm: what comes last, or None.
        enable_nested_tensor: in evaluation without gradients, have zeros for padding at the end of sequences
            before the last normalisation.
        mask_check: look first whether padding is at the end in all of them, and compute as usual if not.

    >>> import rushlight as torch
    >>> layer = torch.nn.TransformerEncoderLayer(d_model=16, nhead=4, batch_first=True)
    >>> torch.nn.TransformerEncoder(layer, num_layers=2)(torch.zeros(2, 5, 16)).shape
    torch.Size([2, 5, 16])
    """

    def __init__(
        self,
        encoder_layer: TransformerEncoderLayer,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__()
        self.layers = _copies(encoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm
        self.enable_nested_tensor = enable_nested_tensor
        self.use_nested_tensor = enable_nested_tensor
        self.mask_check = mask_check
        reason = _why_not_nested(encoder_layer)
        if enable_nested_tensor and reason:
            warnings.warn(
                f"enable_nested_tensor is True, but self.use_nested_tensor is False because {reason}",
                stacklevel=2,
            )
            self.use_nested_tensor = False

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        """The sequences, ``(L, N, E)`` or ``(L, E)``, after all layers.

        Masks are those of `MultiheadAttention`. ``is_causal`` says that ``mask`` is causal; if None, the mask
        is looked at.
        """
        src_key_padding_mask = additive_mask(
            src_key_padding_mask, "src_key_padding_mask", src, beside=mask, beside_name="mask"
        )
        mask = additive_mask(mask, "mask", src)
        first = self.layers[0]
        dropped: Tensor | None = None
        if mask is None and src_key_padding_mask is not None and self._takes_padding_away(src, first):
            dropped = src_key_padding_mask != 0
            if self.mask_check:
                dropped = dropped & (dropped[:, 1:] >= dropped[:, :-1]).all()
            src_key_padding_mask = src_key_padding_mask.masked_fill(dropped, -math.inf)
        is_causal = _is_causal(mask, is_causal, src, first.self_attn.batch_first)
        output = src
        for layer in self.layers:
            output = layer(
                output, src_mask=mask, is_causal=is_causal, src_key_padding_mask=src_key_padding_mask
            )
        if dropped is not None:
            output = output.masked_fill(dropped.unsqueeze(-1), 0.0)
        return output if self.norm is None else self.norm(output)

    def _takes_padding_away(self, src: Tensor, first: Module) -> bool:
        """Whether PyTorch would go through the layers without the padding."""
        if not backends.mha.get_fastpath_enabled() or not self.use_nested_tensor:
            return False
        if first.training or src.dim() != 3:
            return False
        if not is_grad_enabled():
            return True
        parts = (first.self_attn, first.norm1, first.norm2, first.linear1, first.linear2)
        given = (src, *(parameter for part in parts for parameter in part.parameters()))
        return not any(each.requires_grad for each in given)


class TransformerDecoder(Module):
    """``num_layers`` copies of a decoder layer, one after the other, and a last normalisation.

    Args:
        decoder_layer: a `TransformerDecoderLayer`, or a module that is called like one.
        num_layers: how many copies to make; all begin with the same weights.
        norm: what comes last, or None.

    >>> import rushlight as torch
    >>> layer = torch.nn.TransformerDecoderLayer(d_model=16, nhead=4, batch_first=True)
    >>> decoder = torch.nn.TransformerDecoder(layer, num_layers=2)
    >>> decoder(torch.zeros(2, 5, 16), torch.zeros(2, 7, 16)).shape
    torch.Size([2, 5, 16])
    """

    def __init__(
        self, decoder_layer: TransformerDecoderLayer, num_layers: int, norm: Module | None = None
    ) -> None:
        super().__init__()
        self.layers = _copies(decoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """The sequences ``tgt`` after all layers, which also attend to ``memory``.

        ``tgt_is_causal`` says that ``tgt_mask`` is causal; if None, the mask is looked at.
        """
        tgt_is_causal = _is_causal(tgt_mask, tgt_is_causal, tgt, self.layers[0].self_attn.batch_first)
        output = tgt
        for layer in self.layers:
            output = layer(
                output,
                memory,
                tgt_mask=tgt_mask,
                memory_mask=memory_mask,
                tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask,
                tgt_is_causal=tgt_is_causal,
                memory_is_causal=memory_is_causal,
            )
        return output if self.norm is None else self.norm(output)


class Transformer(Module):
    """An encoder of a source sequence, and a decoder that attends to what became of it.

    Vaswani et al., "Attention Is All You Need", 2017. RuntimeError where source and target have another width
    than ``d_model``, or batches of different sizes.

    Args:
        d_model: the width E of sequences.
        nhead: the number of heads in each layer.
        num_encoder_layers: the layers of the encoder.
        num_decoder_layers: the layers of the decoder.
        dim_feedforward: the width between the linear layers of each layer.
        dropout: the share that is set to zero in training.
        activation: "relu", "gelu", or a function or module.
        custom_encoder: a module in place of the encoder.
        custom_decoder: a module in place of the decoder.
        layer_norm_eps: the `eps` of normalisations.
        batch_first: take and return ``(N, L, E)`` in place of ``(L, N, E)``.
        norm_first: normalise what goes into each part of a layer, not what comes out.
        bias: whether linear layers and normalisations have a bias.
        device: only the CPU.
        dtype: the type of the parameters.

    >>> import rushlight as torch
    >>> net = torch.nn.Transformer(16, 4, 1, 1, dim_feedforward=32, batch_first=True)
    >>> net(torch.zeros(2, 7, 16), torch.zeros(2, 5, 16)).shape
    torch.Size([2, 5, 16])
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Tensor], Tensor] = F.relu,
        custom_encoder: Any | None = None,
        custom_decoder: Any | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        shared: dict[str, Any] = {"bias": bias, "device": device, "dtype": dtype}
        how = (d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first)
        if custom_encoder is None:
            encoder_layer = TransformerEncoderLayer(*how, **shared)
            norm = LayerNorm(d_model, eps=layer_norm_eps, **shared)
            custom_encoder = TransformerEncoder(encoder_layer, num_encoder_layers, norm)
        self.encoder = custom_encoder
        if custom_decoder is None:
            decoder_layer = TransformerDecoderLayer(*how, **shared)
            norm = LayerNorm(d_model, eps=layer_norm_eps, **shared)
            custom_decoder = TransformerDecoder(decoder_layer, num_decoder_layers, norm)
        self.decoder = custom_decoder
        self._reset_parameters()
        self.d_model = d_model
        self.nhead = nhead
        self.batch_first = batch_first

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """What the decoder makes of ``tgt``, ``(L, N, E)`` or ``(L, E)``, which sees the encoded ``src``.

        Masks are those of `MultiheadAttention`: of the source, of the target, and of the attention of the
        target to the source.
        """
        batch = 0 if self.batch_first else 1
        if src.dim() == 3 and src.shape[batch] != tgt.shape[batch]:
            raise RuntimeError("the batch number of src and tgt must be equal")
        if src.shape[-1] != self.d_model or tgt.shape[-1] != self.d_model:
            raise RuntimeError("the feature number of src and tgt must be equal to d_model")
        memory = self.encoder(
            src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal
        )
        return self.decoder(
            tgt,
            memory,
            tgt_mask=tgt_mask,
            memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: Any = None, dtype: Any = None) -> Tensor:
        """A causal mask: minus infinity above the diagonal, zeros elsewhere.

        >>> import rushlight as torch
        >>> torch.nn.Transformer.generate_square_subsequent_mask(3)
        tensor([[0., -inf, -inf],
                [0., 0., -inf],
                [0., 0., 0.]])
        """
        return full((sz, sz), -math.inf, dtype=dtype, device=device).triu(1)

    def _reset_parameters(self) -> None:
        for parameter in self.parameters():
            if parameter.dim() > 1:
                init.xavier_uniform_(parameter)


def _copies(module: Module, count: int) -> ModuleList:
    return ModuleList([copy.deepcopy(module) for _ in range(count)])


def _why_not_nested(layer: Any) -> str:
    """Why an encoder of such layers does not take padding away, or nothing."""
    if not isinstance(layer, TransformerEncoderLayer):
        return "encoder_layer was not TransformerEncoderLayer"
    attention = layer.self_attn
    if layer.norm_first:
        return "encoder_layer.norm_first was True"
    if not attention.batch_first:
        return (
            "encoder_layer.self_attn.batch_first was not True"
            "(use batch_first for better inference performance)"
        )
    if not attention._qkv_same_embed_dim:
        return "encoder_layer.self_attn._qkv_same_embed_dim was not True"
    if attention.in_proj_bias is None:
        return "encoder_layer.self_attn was passed bias=False"
    if not layer.activation_relu_or_gelu:
        return "encoder_layer.activation_relu_or_gelu was not True"
    if layer.norm1.eps != layer.norm2.eps:
        return "encoder_layer.norm1.eps was not equal to encoder_layer.norm2.eps"
    return "encoder_layer.self_attn.num_heads is odd" if attention.num_heads % 2 else ""


def _is_causal(mask: Tensor | None, told: bool | None, sequence: Tensor, batch_first: bool) -> bool:
    """Whether the mask is causal: as told, or as it looks."""
    if told is not None or mask is None or state.mode & RECORDING:
        return told is True
    length = sequence.shape[1 if batch_first and sequence.dim() == 3 else 0]
    causal = Transformer.generate_square_subsequent_mask(length, dtype=mask.dtype)
    return mask.shape == causal.shape and bool((mask == causal).all())
