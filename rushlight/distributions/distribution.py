"""What distributions have in common: shapes, the checks of parameters and values, and what is derived.

A distribution is as many independent ones as its `batch_shape` has elements. A subclass sets its parameters,
calls ``super().__init__`` and defines what it can. Invariant: what is not defined raises NotImplementedError,
and a parameter or value outside of what is allowed is refused by name where `validate_args` is on.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterable, Mapping, Sequence
from numbers import Number
from typing import Any, ClassVar, Self

from rushlight.autograd.mode import no_grad
from rushlight.distributions.constraints import Constraint
from rushlight.dtype import get_default_dtype
from rushlight.ops.broadcast import broadcast_tensors
from rushlight.ops.convert import tensor
from rushlight.ops.require import require
from rushlight.size import Size
from rushlight.tensor import Tensor


class Distribution:
    """The base class of all distributions.

    Args:
        batch_shape: how many distributions this is.
        event_shape: the shape of one sample of one of them.
        validate_args: whether parameters and values are checked; `set_default_validate_args` says if None.
    """

    has_rsample = False
    has_enumerate_support = False
    arg_constraints: ClassVar[Mapping[str, Constraint]] = {}
    _validate_args = __debug__

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Switch the checks of parameters and values on or off for distributions made from now on."""
        if value not in (True, False):
            raise ValueError
        Distribution._validate_args = value

    def __init__(
        self,
        batch_shape: Iterable[int] = (),
        event_shape: Iterable[int] = (),
        validate_args: bool | None = None,
    ) -> None:
        self._batch_shape = Size(batch_shape)
        self._event_shape = Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args:
            self._check_parameters()

    def _given(self) -> dict[str, Tensor]:
        """The parameters that were given; the others are computed later, from these."""
        found = {name: vars(self).get(name) for name in self.arg_constraints}
        return {name: value for name, value in found.items() if value is not None}

    def _check_parameters(self) -> None:
        given = self._given()
        for name, value in given.items():
            error = functools.partial(_wrong_parameter, type(self), tuple(given), name)
            require(self.arg_constraints[name].check(value), error, *given.values())

    @property
    def batch_shape(self) -> Size:
        """The shape of the distributions that this is."""
        return self._batch_shape

    @property
    def event_shape(self) -> Size:
        """The shape of one sample of one of them."""
        return self._event_shape

    @property
    def support(self) -> Constraint:
        """Which values have a probability."""
        raise NotImplementedError

    @property
    def mean(self) -> Tensor:
        """The mean, of the batch shape."""
        raise NotImplementedError

    @property
    def mode(self) -> Tensor:
        """The most probable value, of the batch shape."""
        raise NotImplementedError(f"{type(self)} does not implement mode")

    @property
    def variance(self) -> Tensor:
        """The variance, of the batch shape."""
        raise NotImplementedError

    @property
    def stddev(self) -> Tensor:
        """The standard deviation, of the batch shape."""
        return self.variance.sqrt()

    def expand(self, batch_shape: Iterable[int], _instance: Any = None) -> Self:
        """The same distribution with its parameters expanded to a larger batch shape."""
        raise NotImplementedError

    def sample(self, sample_shape: Iterable[int] = ()) -> Tensor:
        """Samples, as many as `sample_shape` says of each: ``(*sample_shape, *batch_shape)``."""
        with no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Iterable[int] = ()) -> Tensor:
        """Samples through which gradients flow to the parameters."""
        raise NotImplementedError

    def sample_n(self, n: int) -> Tensor:
        """An older way of writing ``sample((n,))``."""
        warnings.warn(
            "`sample_n(n)` will be deprecated. Use `sample((n,))` instead.", FutureWarning, stacklevel=2
        )
        return self.sample((n,))

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the probability (or density) at `value`."""
        raise NotImplementedError

    def cdf(self, value: Tensor) -> Tensor:
        """The probability of `value` or less."""
        raise NotImplementedError

    def icdf(self, value: Tensor) -> Tensor:
        """The inverse of `cdf`."""
        raise NotImplementedError

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All values that have a probability, along dimension 0."""
        raise NotImplementedError

    def entropy(self) -> Tensor:
        """The entropy in nats, of the batch shape."""
        raise NotImplementedError

    def perplexity(self) -> Tensor:
        """The exponential of the entropy."""
        return self.entropy().exp()

    def _extended_shape(self, sample_shape: Iterable[int]) -> Size:
        return Size([*Size(sample_shape), *self._batch_shape, *self._event_shape])

    def _expanded(self, instance: Any, batch_shape: Iterable[int], **parameters: Tensor) -> Self:
        """A distribution with these parameters, of which nothing is checked again.

        `instance` is what a subclass with an ``__init__`` of its own made for the purpose.
        """
        classes = type(self).__mro__
        base = next(each for each in classes if "expand" in vars(each))
        own = any("__init__" in vars(each) for each in classes[: classes.index(base)])
        if instance is None and own:
            raise NotImplementedError(
                f"Subclass {type(self).__name__} of {base.__name__} that defines a custom "
                "__init__ method must also define a custom .expand() method."
            )
        made: Any = type(self).__new__(type(self)) if instance is None else instance
        vars(made).update(parameters)
        Distribution.__init__(made, batch_shape, validate_args=False)
        made._validate_args = self._validate_args
        return made

    def _with_each_expanded(self, instance: Any, batch_shape: Iterable[int]) -> Self:
        """The same, where every parameter that was given has the batch shape."""
        shape = tuple(batch_shape)
        given = {name: value.expand(shape) for name, value in self._given().items()}
        return self._expanded(instance, shape, **given)

    def _along_batch(self, values: Tensor, expand: bool) -> Tensor:
        """The values in a vector as those of each distribution of the batch."""
        values = values.view((-1,) + (1,) * len(self._batch_shape))
        return values.expand((-1, *self._batch_shape)) if expand else values

    def _validate_sample(self, value: Any) -> None:
        """Refuse what cannot be a value: no tensor, of a shape that does not fit, outside of the support."""
        if not isinstance(value, Tensor):
            raise ValueError("The value argument to log_prob must be a Tensor")
        expected = self._batch_shape + self._event_shape
        for here, there in zip(reversed(value.shape), reversed(expected), strict=False):
            if here != 1 and there != 1 and here != there:
                raise ValueError(
                    f"Value is not broadcastable with batch_shape+event_shape: {value.shape} vs {expected}."
                )
        given = self._given()
        error = functools.partial(_wrong_value, type(self), tuple(given))
        require(self.support.check(value), error, value, *given.values())

    def __repr__(self) -> str:
        given = self._given().items()
        shown = [f"{name}: {each if each.numel() == 1 else each.size()}" for name, each in given]
        return f"{type(self).__name__}({', '.join(shown)})"


def _standing_in(kind: type[Distribution], names: Iterable[str], values: Iterable[Tensor]) -> Distribution:
    """A distribution with these parameters for messages to tell of, which was not checked."""
    made = kind.__new__(kind)
    vars(made).update(zip(names, values, strict=True))
    return made


def _wrong_parameter(
    kind: type[Distribution], names: Sequence[str], name: str, *values: Tensor
) -> ValueError:
    refused = _standing_in(kind, names, values)
    value, constraint = vars(refused)[name], refused.arg_constraints[name]
    return ValueError(
        f"Expected parameter {name} ({type(value).__name__} of shape {tuple(value.shape)}) of "
        f"distribution {refused!r} to satisfy the constraint {constraint!r}, but found invalid "
        f"values:\n{value}"
    )


def _wrong_value(
    kind: type[Distribution], names: Sequence[str], value: Tensor, *values: Tensor
) -> ValueError:
    asked = _standing_in(kind, names, values)
    return ValueError(
        f"Expected value argument ({type(value).__name__} of shape {tuple(value.shape)}) to be "
        f"within the support ({asked.support!r}) of the distribution {asked!r}, but found invalid "
        f"values:\n{value}"
    )


def broadcast_parameters(*values: Any) -> tuple[Tensor, ...]:
    """Numbers and tensors as tensors of one shape; numbers take the dtype of the first tensor.

    >>> broadcast_parameters(2, tensor([0.5, 1.0]))
    (tensor([2., 2.]), tensor([0.5000, 1.0000]))
    """
    if not all(isinstance(each, (Tensor, Number)) for each in values):
        raise ValueError(
            "Input arguments must all be instances of Number, torch.Tensor or objects implementing "
            "__torch_function__."
        )
    types = [each.dtype for each in values if isinstance(each, Tensor)] or [get_default_dtype()]
    tensors = [each if isinstance(each, Tensor) else tensor(each, dtype=types[0]) for each in values]
    return tuple(broadcast_tensors(*tensors))
