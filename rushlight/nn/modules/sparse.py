"""Embeddings, where PyTorch keeps them: ``torch.nn.modules.sparse``."""

from rushlight.nn.embedding import (
    Embedding,
    EmbeddingBag,
)

__all__ = [
    "Embedding",
    "EmbeddingBag",
]
