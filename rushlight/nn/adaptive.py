"""AdaptiveLogSoftmaxWithLoss: a softmax over very many classes, of which the rare ones come in clusters.

A head tells frequent classes and clusters apart; each cluster is a small network that is asked for its own
rows only. So shapes depend on targets, and a compiled step cannot hold it. Invariant: a cluster without
targets in a batch takes no part in it, and its parameters get no gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from rushlight.nn import functional as F
from rushlight.nn.containers import ModuleList, Sequential
from rushlight.nn.linear import Linear
from rushlight.nn.module import Module
from rushlight.ops.join import cat
from rushlight.tensor import Tensor


class _ASMoutput(NamedTuple):
    """What the layer returns."""

    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """Log-probabilities of targets among many classes, and their mean with the sign turned, as a loss.

    Classes are numbered from the most frequent to the rarest. Grave and others, "Efficient softmax
    approximation for GPUs", 2017. ValueError unless the cutoffs are whole numbers that grow, between 1 and
    ``n_classes - 1``.

    Args:
        in_features: the width of the input.
        n_classes: the number of classes.
        cutoffs: where clusters begin; classes below the first are told apart at once.
        div_value: each cluster's width is that of the one before, divided by this.
        head_bias: whether the head adds a bias.
        device: only the CPU.
        dtype: the type of the parameters.

    >>> import rushlight as torch
    >>> layer = torch.nn.AdaptiveLogSoftmaxWithLoss(16, 1000, cutoffs=[10, 100])
    >>> found = layer(torch.zeros(3, 16), torch.tensor([2, 50, 900]))
    >>> found.output
    tensor([-2.4849, -6.9847, -9.2873], grad_fn=<AddBackward0>)
    >>> layer.predict(torch.zeros(3, 16)).shape
    torch.Size([3])
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        cutoffs = list(cutoffs)
        if not cutoffs:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        grows = all(low < high for low, high in pairwise([0, *cutoffs, n_classes]))
        if not grows or any(int(each) != each for each in cutoffs):
            raise ValueError(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing order, "
                "where each value is between 1 and n_classes-1"
            )
        options = {"device": device, "dtype": dtype}
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*cutoffs, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(self.cutoffs) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(in_features, self.head_size, bias=head_bias, **options)
        self.tail = ModuleList()
        for number, (low, high) in enumerate(pairwise(self.cutoffs), start=1):
            width = int(in_features // div_value**number)
            narrow = Linear(in_features, width, bias=False, **options)
            self.tail.append(Sequential(narrow, Linear(width, high - low, bias=False, **options)))

    def reset_parameters(self) -> None:
        """Draw all weights anew."""
        for layer in self.modules():
            if isinstance(layer, Linear):
                layer.reset_parameters()

    def forward(self, input_: Tensor, target_: Tensor) -> _ASMoutput:
        """The log-probability of each target, ``(N,)`` for ``(N, in_features)``, and the loss.

        For one sample, ``(in_features,)``, the target has no dimension. RuntimeError for targets that are no
        class.
        """
        self._check_dims(input_, target_)
        is_single = target_.dim() == 0
        input, target = (input_.unsqueeze(0), target_.unsqueeze(0)) if is_single else (input_, target_)
        output = input.new_zeros(target.shape[0])
        in_head = target.new_empty(target.shape[0])
        seen = 0
        for number, (low, high) in enumerate(pairwise([0, *self.cutoffs])):
            rows = ((target >= low) & (target < high)).nonzero().squeeze(1)
            if not rows.numel():
                continue
            seen += rows.numel()
            own = target.index_select(0, rows)
            if not number:
                in_head.index_copy_(0, rows, own)
                continue
            in_head.index_fill_(0, rows, self.shortlist_size + number - 1)
            found = F.log_softmax(self.tail[number - 1](input.index_select(0, rows)), 1)
            output.index_copy_(0, rows, found.gather(1, (own - low).unsqueeze(1)).squeeze(1))
        if seen != target.shape[0]:
            raise RuntimeError(
                f"Target values should be in [0, {self.n_classes - 1}], but values in range "
                f"[{target.min().item()}, {target.max().item()}] were found. "
            )
        output += F.log_softmax(self.head(input), 1).gather(1, in_head.unsqueeze(1)).squeeze(1)
        loss = (-output).mean()
        return _ASMoutput(output.squeeze(0) if is_single else output, loss)

    def _check_dims(self, input: Tensor, target: Tensor) -> None:
        """RuntimeError unless there is a target for each sample."""
        if target.dim() > 1:
            raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
        if target.dim() == 1 and input.size(0) != target.size(0):
            raise RuntimeError("Input and target should have the same size in the batch dimension.")
        if input.dim() != target.dim() + 1:
            raise RuntimeError(
                f"{target.dim()}D target tensor expects {target.dim() + 1}D input tensors, but found inputs "
                f"with size {input.size()}"
            )

    def log_prob(self, input: Tensor) -> Tensor:
        """The log-probabilities of all classes, ``(N, n_classes)`` for ``(N, in_features)``."""
        head = F.log_softmax(self.head(input), 1)
        parts = [head[:, : self.shortlist_size]]
        for number, cluster in enumerate(self.tail, start=self.shortlist_size):
            parts.append(F.log_softmax(cluster(input), 1) + head[:, number].unsqueeze(1))
        return cat(parts, 1)

    def predict(self, input: Tensor) -> Tensor:
        """The class that is most likely, ``(N,)``; all are looked at where the head prefers a cluster."""
        found = self.head(input).argmax(1)
        unsure = (found >= self.shortlist_size).nonzero().squeeze(1)
        if unsure.numel():
            found[unsure] = self.log_prob(input[unsure]).argmax(1)
        return found

    def _expected_input(self) -> str:
        return f"(N, {self.in_features}) and targets (N,)"
