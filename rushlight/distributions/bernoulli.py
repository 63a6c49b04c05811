"""The Bernoulli distribution: one trial, which succeeds (1) or fails (0)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar, Self

from rushlight.autograd.mode import no_grad
from rushlight.distributions.constraints import Constraint, boolean, real, unit_interval
from rushlight.distributions.distribution import broadcast_parameters
from rushlight.distributions.trials import Trials, given_one
from rushlight.nn.functional.probability import binary_cross_entropy_with_logits
from rushlight.ops.distributions import bernoulli
from rushlight.ops.ranges import arange
from rushlight.size import Size
from rushlight.tensor import Tensor


class Bernoulli(Trials):
    """Ones with a probability of `probs`, otherwise zeros.

    >>> import rushlight as torch
    >>> coin = Bernoulli(torch.tensor([0.5, 0.9]))
    >>> coin.log_prob(torch.tensor([1.0, 0.0])).exp()
    tensor([0.5000, 0.1000])

    Args:
        probs: the probability of a one, a number or a tensor; or
        logits: its log-odds.
        validate_args: whether parameters and values are checked.
    """

    arg_constraints: ClassVar = {"probs": unit_interval, "logits": real}
    has_enumerate_support = True

    def __init__(
        self,
        probs: Tensor | float | None = None,
        logits: Tensor | float | None = None,
        validate_args: bool | None = None,
    ) -> None:
        name, value = given_one(probs, logits)
        (given,) = broadcast_parameters(value)
        vars(self)[name] = given
        super().__init__(given.shape, validate_args=validate_args)

    @property
    def param_shape(self) -> Size:
        """The shape of the parameters."""
        return self._batch_shape

    @property
    def support(self) -> Constraint:
        """0 and 1."""
        return boolean

    @property
    def mean(self) -> Tensor:
        """The probability of a one."""
        return self.probs

    @property
    def mode(self) -> Tensor:
        """What is more probable; nan where both are equally so."""
        return (self.probs >= 0.5).to(self.probs.dtype).masked_fill(self.probs == 0.5, math.nan)

    @property
    def variance(self) -> Tensor:
        """The product of both probabilities."""
        return self.probs * (1 - self.probs)

    def expand(self, batch_shape: Iterable[int], _instance: Any = None) -> Self:
        """The same distribution with its parameters expanded to a larger batch shape."""
        return self._with_each_expanded(_instance, batch_shape)

    def sample(self, sample_shape: Iterable[int] = ()) -> Tensor:
        """Zeros and ones ``(*sample_shape, *batch_shape)``, as floating-point numbers."""
        with no_grad():
            return bernoulli(self.probs.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the probability of `value`."""
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_parameters(self.logits, value)
        return -binary_cross_entropy_with_logits(logits, value, reduction="none")

    def entropy(self) -> Tensor:
        """The entropy in nats."""
        return binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none")

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """0 and 1, along dimension 0."""
        kind = next(iter(self._given().values())).dtype
        return self._along_batch(arange(2, dtype=kind), expand)
