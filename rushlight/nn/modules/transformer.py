"""Transformers, where PyTorch keeps them: ``torch.nn.modules.transformer``."""

from rushlight.nn.transformer import Transformer, TransformerDecoder, TransformerEncoder
from rushlight.nn.transformer_layers import TransformerDecoderLayer, TransformerEncoderLayer

__all__ = [
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
]
