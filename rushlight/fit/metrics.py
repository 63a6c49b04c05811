"""How good predictions are, over a whole epoch.

A metric sees the batches of an epoch one after another and gives one number at the end. Invariant: that
number is what the formula gives for all samples at once, never a mean of batch means.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rushlight.ops.join import cat
from rushlight.tensor import Tensor


class Metric:
    """Base class: a subclass defines ``reset``, ``update`` and ``compute``.

    Attributes:
        higher_is_better: which way is up, for choosing the best epoch.
    """

    higher_is_better = False

    def reset(self) -> None:
        """Forget what was seen."""
        raise NotImplementedError(f"{type(self).__name__} does not define reset()")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Take in a batch."""
        raise NotImplementedError(f"{type(self).__name__} does not define update()")

    def compute(self) -> float:
        """The metric of everything since `reset`."""
        raise NotImplementedError(f"{type(self).__name__} does not define compute()")

    def text(self, value: float) -> str:
        """A value for people."""
        return f"{value:.4g}"


class Accuracy(Metric):
    """The share of right answers.

    Of scores ``(N, classes, ...)`` the largest counts, with targets ``(N, ...)`` of class numbers. Where
    prediction and target have as many elements (two classes), a prediction above `threshold` means class 1;
    the default 0 is right for logits, 0.5 for probabilities.

    >>> import rushlight as torch
    >>> accuracy = Accuracy()
    >>> accuracy.reset()
    >>> accuracy.update(torch.tensor([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]]), torch.tensor([1, 0, 0]))
    >>> accuracy.text(accuracy.compute())
    '66.67%'
    """

    higher_is_better = True

    def __init__(self, threshold: float = 0.0) -> None:
        self.threshold = threshold
        self.reset()

    def reset(self) -> None:
        """Forget what was seen."""
        self.right = self.seen = 0

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Take in a batch."""
        scores, truth = prediction.detach().numpy(), target.detach().numpy()
        if scores.size == truth.size:
            right = (scores.reshape(truth.shape) > self.threshold) == (truth > 0.5)
        else:
            right = scores.argmax(1) == truth
        self.right += int(right.sum())
        self.seen += right.size

    def compute(self) -> float:
        """Right answers over all answers."""
        return self.right / self.seen if self.seen else float("nan")

    def text(self, value: float) -> str:
        """As a percentage."""
        return f"{value:.2%}"


class _Errors(Metric):
    """Base of means over the differences of prediction and target, both of one shape up to 1s."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget what was seen."""
        self.total, self.seen = 0.0, 0

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Take in a batch."""
        truth = target.detach().numpy().astype(np.float64)
        differences = prediction.detach().numpy().astype(np.float64).reshape(truth.shape) - truth
        self.total += float(self.size(differences).sum())
        self.seen += truth.size

    def size(self, differences: np.ndarray) -> np.ndarray:
        """How much each difference counts."""
        raise NotImplementedError

    def compute(self) -> float:
        """The mean."""
        return self.total / self.seen if self.seen else float("nan")


class MeanAbsoluteError(_Errors):
    """The mean of the absolute differences, in the target's unit.

    >>> import rushlight as torch
    >>> error = MeanAbsoluteError()
    >>> error.update(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 4.0]))
    >>> error.compute()
    1.5
    """

    def size(self, differences: np.ndarray) -> np.ndarray:
        """Absolute values."""
        return np.abs(differences)


class MeanSquaredError(_Errors):
    """The mean of the squared differences."""

    def size(self, differences: np.ndarray) -> np.ndarray:
        """Squares."""
        return differences**2


class RootMeanSquaredError(MeanSquaredError):
    """The root of the mean of the squared differences, in the target's unit.

    >>> import rushlight as torch
    >>> error = RootMeanSquaredError()
    >>> error.update(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
    >>> round(error.compute(), 4)
    1.4142
    """

    def compute(self) -> float:
        """The root of the mean."""
        return super().compute() ** 0.5


class Collected(Metric):
    """Any function of prediction and target, called once with the whole epoch's, in their order.

    Args:
        function: takes the predictions and targets of all samples, gives a number or a 0-d tensor.
        higher_is_better: which way is up; None: not known, so it cannot choose the best epoch.

    >>> import rushlight as torch
    >>> largest = Collected(lambda prediction, target: (prediction - target).abs().max())
    >>> largest.update(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 4.0]))
    >>> largest.update(torch.tensor([5.0]), torch.tensor([4.0]))
    >>> largest.compute()
    2.0
    """

    higher_is_better: Any = None

    def __init__(
        self, function: Callable[[Tensor, Tensor], Any], higher_is_better: bool | None = None
    ) -> None:
        self.function, self.higher_is_better = function, higher_is_better
        self.reset()

    def reset(self) -> None:
        """Forget what was seen."""
        self.predictions: list[Tensor] = []
        self.targets: list[Tensor] = []

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Take in a batch."""
        self.predictions.append(prediction.detach())
        self.targets.append(target.detach())

    def compute(self) -> float:
        """The function's value for all samples together."""
        value = self.function(cat(self.predictions), cat(self.targets))
        return float(value.item() if isinstance(value, Tensor) else value)


def as_metric(given: Metric | Callable[[Tensor, Tensor], Any]) -> Metric:
    """A metric as it is, and a plain function made one."""
    return given if isinstance(given, Metric) else Collected(given)
