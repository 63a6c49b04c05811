"""Embedding and EmbeddingBag: tables of vectors, looked up by row numbers.

The invariant: the row ``padding_idx`` starts at zero and has no gradient, so it stays what it is.
"""

from __future__ import annotations

from typing import Any, Self

from rushlight.autograd import no_grad
from rushlight.nn import functional as F
from rushlight.nn import init
from rushlight.nn.module import Module
from rushlight.nn.parameter import Parameter
from rushlight.ops.create import empty
from rushlight.tensor import Tensor


class _Table(Module):
    """A weight of ``num_embeddings`` rows of length ``embedding_dim``, and what both lookups do with it."""

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None,
        max_norm: float | None,
        norm_type: float,
        scale_grad_by_freq: bool,
        sparse: bool,
        weight: Tensor | None,
        freeze: bool,
        device: Any,
        dtype: Any,
    ) -> None:
        super().__init__()
        if sparse:
            raise NotImplementedError(f"{type(self).__name__}: sparse=True, there are no sparse gradients")
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = self._row(padding_idx)
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.sparse = sparse
        if weight is None:
            made = empty((num_embeddings, embedding_dim), device=device, dtype=dtype)
            self.weight = Parameter(made, requires_grad=not freeze)
            self.reset_parameters()
        else:
            if weight.shape != (num_embeddings, embedding_dim):
                raise AssertionError("Shape of weight does not match num_embeddings and embedding_dim")
            self.weight = Parameter(weight, requires_grad=not freeze)

    def _row(self, padding_idx: int | None) -> int | None:
        """`padding_idx` counted from the first row."""
        if padding_idx is None:
            return None
        if not -self.num_embeddings <= padding_idx < self.num_embeddings:
            raise AssertionError("Padding_idx must be within num_embeddings")
        return padding_idx % self.num_embeddings

    def reset_parameters(self) -> None:
        """Draw all rows from the standard normal distribution and set the padding row to zero."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx].fill_(0)

    def _expected_input(self) -> str:
        return f"row numbers from 0 to {self.num_embeddings - 1}"


class Embedding(_Table):
    """Looks up rows of ``weight``: for row numbers ``(*)`` the output is ``(*, embedding_dim)``.

    Args:
        num_embeddings: the number of rows.
        embedding_dim: the length of a row.
        padding_idx: a row that starts at zero and gets no gradient.
        max_norm: rows that are looked up and are longer are shortened to this, in place.
        norm_type: the norm that measures it.
        scale_grad_by_freq: divide a row's gradient by how often it was looked up.
        sparse: not available, NotImplementedError.

    >>> import rushlight as torch
    >>> torch.nn.Embedding(10, 3)(torch.tensor([[1, 2, 4, 5], [4, 3, 2, 9]])).shape
    torch.Size([2, 4, 3])
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Tensor | None = None,
        _freeze: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            num_embeddings,
            embedding_dim,
            padding_idx,
            max_norm,
            norm_type,
            scale_grad_by_freq,
            sparse,
            _weight,
            _freeze,
            device,
            dtype,
        )

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Self:
        """An Embedding whose rows are those of the matrix ``embeddings``; not trained if ``freeze``.

        >>> import rushlight as torch
        >>> table = torch.nn.Embedding.from_pretrained(torch.tensor([[1.0, 2.3], [4.0, 5.1]]))
        >>> table(torch.tensor([1]))
        tensor([[4.0000, 5.1000]])
        """
        if embeddings.dim() != 2:
            raise AssertionError("Embeddings parameter is expected to be 2-dimensional")
        rows, columns = embeddings.shape
        return cls(
            num_embeddings=rows,
            embedding_dim=columns,
            padding_idx=padding_idx,
            max_norm=max_norm,
            norm_type=norm_type,
            scale_grad_by_freq=scale_grad_by_freq,
            sparse=sparse,
            _weight=embeddings,
            _freeze=freeze,
        )

    def forward(self, input: Tensor) -> Tensor:
        return F.embedding(
            input,
            self.weight,
            self.padding_idx,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.sparse,
        )

    def extra_repr(self) -> str:
        """The settings that are not the default."""
        texts = [f"{self.num_embeddings}, {self.embedding_dim}"]
        if self.padding_idx is not None:
            texts.append(f"padding_idx={self.padding_idx}")
        if self.max_norm is not None:
            texts.append(f"max_norm={self.max_norm}")
        if self.norm_type != 2:
            texts.append(f"norm_type={self.norm_type}")
        if self.scale_grad_by_freq:
            texts.append("scale_grad_by_freq=True")
        return ", ".join(texts)


class EmbeddingBag(_Table):
    """Looks up bags of rows and gives the sum, mean or maximum of each bag, without keeping the rows apart.

    The bags are the rows of a 2-D input, or the stretches of a 1-D input that begin at ``offsets``. Arguments
    as Embedding's, and:

    Args:
        mode: ``'sum'``, ``'mean'`` or ``'max'``; an empty bag gives zeros.
        include_last_offset: the last of ``offsets`` is where the last bag ends.
        padding_idx: a row that no bag counts.

    >>> import rushlight as torch
    >>> bag = torch.nn.EmbeddingBag(10, 3, mode="sum")
    >>> bag(torch.tensor([1, 2, 4, 5, 4, 3]), torch.tensor([0, 4])).shape
    torch.Size([2, 3])
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        _weight: Tensor | None = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            num_embeddings,
            embedding_dim,
            padding_idx,
            max_norm,
            norm_type,
            scale_grad_by_freq,
            sparse,
            _weight,
            False,
            device,
            dtype,
        )
        self.mode = mode
        self.include_last_offset = include_last_offset

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
    ) -> Self:
        """An EmbeddingBag whose rows are those of the matrix ``embeddings``; not trained if ``freeze``."""
        if embeddings.dim() != 2:
            raise AssertionError("Embeddings parameter is expected to be 2-dimensional")
        rows, columns = embeddings.shape
        bag = cls(
            num_embeddings=rows,
            embedding_dim=columns,
            max_norm=max_norm,
            norm_type=norm_type,
            scale_grad_by_freq=scale_grad_by_freq,
            mode=mode,
            sparse=sparse,
            _weight=embeddings,
            include_last_offset=include_last_offset,
            padding_idx=padding_idx,
        )
        bag.weight.requires_grad = not freeze
        return bag

    def forward(
        self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None
    ) -> Tensor:
        return F.embedding_bag(
            input,
            self.weight,
            offsets,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.mode,
            self.sparse,
            per_sample_weights,
            self.include_last_offset,
            self.padding_idx,
        )

    def extra_repr(self) -> str:
        """The settings that are not the default, and the mode."""
        texts = [f"{self.num_embeddings}, {self.embedding_dim}"]
        if self.max_norm is not None:
            texts.append(f"max_norm={self.max_norm}")
        if self.norm_type != 2:
            texts.append(f"norm_type={self.norm_type}")
        if self.scale_grad_by_freq:
            texts.append("scale_grad_by_freq=True")
        texts.append(f"mode={self.mode!r}")
        if self.padding_idx is not None:
            texts.append(f"padding_idx={self.padding_idx}")
        return ", ".join(texts)
