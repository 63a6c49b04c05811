"""The binomial distribution: how many of a number of trials succeed, each with the same probability."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Self

from rushlight.autograd.mode import no_grad
from rushlight.distributions.constraints import (
    Constraint,
    integer_interval,
    nonnegative_integer,
    real,
    unit_interval,
)
from rushlight.distributions.distribution import broadcast_parameters
from rushlight.distributions.trials import Trials, given_one
from rushlight.ops.distributions import binomial
from rushlight.ops.ranges import arange
from rushlight.size import Size
from rushlight.tensor import Tensor


class Binomial(Trials):
    """Successes among `total_count` trials.

    >>> import rushlight as torch
    >>> heads = Binomial(3, torch.tensor([0.5, 0.9]))
    >>> heads.mean
    tensor([1.5000, 2.7000])
    >>> heads.log_prob(torch.tensor(3.0)).exp()
    tensor([0.1250, 0.7290])

    Args:
        total_count: how many trials, a whole number or a tensor of them.
        probs: the probability that one succeeds; or
        logits: its log-odds.
        validate_args: whether parameters and values are checked.
    """

    arg_constraints: ClassVar = {"total_count": nonnegative_integer, "probs": unit_interval, "logits": real}
    has_enumerate_support = True

    def __init__(
        self,
        total_count: Tensor | int = 1,
        probs: Tensor | float | None = None,
        logits: Tensor | float | None = None,
        validate_args: bool | None = None,
    ) -> None:
        name, value = given_one(probs, logits)
        count, given = broadcast_parameters(total_count, value)
        self.total_count = count.type_as(given)
        vars(self)[name] = given
        super().__init__(given.shape, validate_args=validate_args)

    @property
    def param_shape(self) -> Size:
        """The shape of the parameters."""
        return self.total_count.shape

    @property
    def support(self) -> Constraint:
        """Whole numbers from 0 to `total_count`."""
        return integer_interval(0, self.total_count)

    @property
    def mean(self) -> Tensor:
        """Trials times probability."""
        return self.total_count * self.probs

    @property
    def mode(self) -> Tensor:
        """The most probable number of successes."""
        return ((self.total_count + 1) * self.probs).floor().clamp(max=self.total_count)

    @property
    def variance(self) -> Tensor:
        """Trials times the probabilities of success and of failure."""
        return self.total_count * self.probs * (1 - self.probs)

    def expand(self, batch_shape: Iterable[int], _instance: Any = None) -> Self:
        """The same distribution with its parameters expanded to a larger batch shape."""
        return self._with_each_expanded(_instance, batch_shape)

    def sample(self, sample_shape: Iterable[int] = ()) -> Tensor:
        """Successes ``(*sample_shape, *batch_shape)``, as floating-point numbers."""
        shape = self._extended_shape(sample_shape)
        with no_grad():
            return binomial(self.total_count.expand(shape), self.probs.expand(shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the probability of `value` successes."""
        if self._validate_args:
            self._validate_sample(value)
        count, logits = self.total_count, self.logits
        # value * log(p) + (count - value) * log(1 - p), in a form in which nothing overflows; the positive
        # part of the logits is written so that its gradient at 0 is 1/2
        positive = (logits.clamp(min=0) + logits - logits.clamp(max=0)) / 2
        of_failures = count * positive + count * (-logits.abs()).exp().log1p() - (count + 1).lgamma()
        return value * logits - (value + 1).lgamma() - (count - value + 1).lgamma() - of_failures

    def entropy(self) -> Tensor:
        """The entropy in nats; all distributions of the batch must have the same `total_count`."""
        self._same_count("entropy")
        log_prob = self.log_prob(self.enumerate_support(expand=False))
        return -(log_prob.exp() * log_prob).sum(0)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """0 to `total_count`, along dimension 0."""
        count = self._same_count("enumerate_support")
        return self._along_batch(arange(1 + count, dtype=self.total_count.dtype), expand)

    def _same_count(self, asked_by: str) -> int:
        count = int(self.total_count.max())
        if self.total_count.min() != count:
            raise NotImplementedError(f"Inhomogeneous total count not supported by `{asked_by}`.")
        return count
