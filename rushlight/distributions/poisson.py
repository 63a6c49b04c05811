"""The Poisson distribution: how many events there are in a time, if they come at a rate, each on its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Self

from rushlight.autograd.mode import no_grad
from rushlight.distributions.constraints import Constraint, nonnegative, nonnegative_integer
from rushlight.distributions.distribution import Distribution, broadcast_parameters
from rushlight.ops.distributions import poisson
from rushlight.ops.pairs import xlogy
from rushlight.tensor import Tensor


class Poisson(Distribution):
    """Counts with a mean of `rate`.

    >>> import rushlight as torch
    >>> counts = Poisson(torch.tensor([4.0, 0.5]))
    >>> counts.log_prob(torch.tensor([4.0, 0.0])).exp()
    tensor([0.1954, 0.6065])
    >>> counts.sample((3,)).shape
    torch.Size([3, 2])

    Args:
        rate: a number or a tensor, not negative.
        validate_args: whether parameters and values are checked.
    """

    arg_constraints: ClassVar = {"rate": nonnegative}

    def __init__(self, rate: Tensor | float, validate_args: bool | None = None) -> None:
        (self.rate,) = broadcast_parameters(rate)
        super().__init__(self.rate.shape, validate_args=validate_args)

    @property
    def support(self) -> Constraint:
        """Whole numbers from 0 on."""
        return nonnegative_integer

    @property
    def mean(self) -> Tensor:
        """The rate."""
        return self.rate

    @property
    def mode(self) -> Tensor:
        """The largest whole number up to the rate."""
        return self.rate.floor()

    @property
    def variance(self) -> Tensor:
        """The rate, too."""
        return self.rate

    def expand(self, batch_shape: Iterable[int], _instance: Any = None) -> Self:
        """The same distribution with the rate expanded to a larger batch shape."""
        return self._with_each_expanded(_instance, batch_shape)

    def sample(self, sample_shape: Iterable[int] = ()) -> Tensor:
        """Counts ``(*sample_shape, *batch_shape)``, as floating-point numbers."""
        with no_grad():
            return poisson(self.rate.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the probability of `value` events."""
        if self._validate_args:
            self._validate_sample(value)
        rate, value = broadcast_parameters(self.rate, value)
        return xlogy(value, rate) - rate - (value + 1).lgamma()
