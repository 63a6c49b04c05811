"""The categorical distribution: one of several classes, such as the action that a policy takes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cached_property
from typing import Any, ClassVar, Self

from rushlight.autograd.mode import enable_grad, no_grad
from rushlight.distributions.constraints import Constraint, integer_interval, real_vector, simplex
from rushlight.distributions.distribution import Distribution
from rushlight.distributions.trials import given_one
from rushlight.dtype import finfo, int64
from rushlight.ops.broadcast import broadcast_tensors
from rushlight.ops.create import full
from rushlight.ops.distributions import multinomial
from rushlight.ops.ranges import arange
from rushlight.ops.softmax import softmax
from rushlight.size import Size
from rushlight.tensor import Tensor


class Categorical(Distribution):
    """The numbers of classes, with the probabilities in the last dimension of `probs`.

    >>> import rushlight as torch
    >>> policy = Categorical(logits=torch.tensor([0.0, 0.0, 2.0], requires_grad=True))
    >>> policy.probs
    tensor([0.1065, 0.1065, 0.7870], grad_fn=<SoftmaxBackward0>)
    >>> (-policy.log_prob(torch.tensor(1)) * 0.5).backward()  # REINFORCE: an action and its return

    Args:
        probs: a tensor whose last dimension has a probability for each class, or a multiple of it; or
        logits: its logarithm, or that and any number.
        validate_args: whether parameters and values are checked.
    """

    arg_constraints: ClassVar = {"probs": simplex, "logits": real_vector}
    has_enumerate_support = True

    def __init__(
        self,
        probs: Tensor | None = None,
        logits: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        name, value = given_one(probs, logits)
        if value.dim() < 1:
            raise ValueError(f"`{name}` parameter must be at least one-dimensional.")
        if name == "probs":
            given = value / value.sum(-1, keepdim=True)
        else:
            given = value - value.logsumexp(-1, keepdim=True)
        # a cached property otherwise: each of the two is computed from the other when it is asked for
        vars(self)[name] = given
        super().__init__(given.shape[:-1], validate_args=validate_args)

    @cached_property
    def logits(self) -> Tensor:
        """The logarithm of the probabilities."""
        with enable_grad():
            smallest = finfo(self.probs.dtype).eps
            return self.probs.clamp(min=smallest, max=1 - smallest).log()

    @cached_property
    def probs(self) -> Tensor:
        """The probabilities, with a sum of 1."""
        with enable_grad():
            return softmax(self.logits, -1)

    @property
    def _param(self) -> Tensor:
        return next(iter(self._given().values()))

    @property
    def _num_events(self) -> int:
        return self._param.shape[-1]

    @property
    def param_shape(self) -> Size:
        """The shape of the parameters."""
        return self._param.shape

    @property
    def support(self) -> Constraint:
        """The numbers of the classes."""
        return integer_interval(0, self._num_events - 1)

    @property
    def mean(self) -> Tensor:
        """There is none: nan."""
        return full(self._extended_shape(()), math.nan, dtype=self.probs.dtype)

    @property
    def mode(self) -> Tensor:
        """The most probable class."""
        return self.probs.argmax(-1)

    @property
    def variance(self) -> Tensor:
        """There is none: nan."""
        return self.mean

    def expand(self, batch_shape: Iterable[int], _instance: Any = None) -> Self:
        """The same distribution with its parameters expanded to a larger batch shape."""
        shape = tuple(batch_shape)
        given = {name: value.expand((*shape, self._num_events)) for name, value in self._given().items()}
        return self._expanded(_instance, shape, **given)

    def sample(self, sample_shape: Iterable[int] = ()) -> Tensor:
        """Classes ``(*sample_shape, *batch_shape)``, as int64."""
        count = math.prod(Size(sample_shape))
        with no_grad():
            drawn = multinomial(self.probs.reshape(-1, self._num_events), count, True)
            return drawn.T.reshape(self._extended_shape(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the probability of the class `value`."""
        if self._validate_args:
            self._validate_sample(value)
        classes, logits = broadcast_tensors(value.to(int64).unsqueeze(-1), self.logits)
        return logits.gather(-1, classes[..., :1]).squeeze(-1)

    def entropy(self) -> Tensor:
        """The entropy in nats."""
        logits = self.logits.clamp(min=finfo(self.logits.dtype).min)
        return -(logits * self.probs).sum(-1)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """The classes, along dimension 0."""
        return self._along_batch(arange(self._num_events, dtype=int64), expand)
