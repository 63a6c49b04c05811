"""What distributions of trials have in common, each of which succeeds with the same probability.

It is given as such or as log-odds, and the other of the two is computed when it is asked for. The classes
themselves are in `bernoulli` and `binomial`. Invariant: what is computed lets gradients through to what was
given, also where they are switched off.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from rushlight.autograd.mode import enable_grad
from rushlight.distributions.distribution import Distribution
from rushlight.dtype import finfo
from rushlight.tensor import Tensor


class Trials(Distribution):
    """Sets one of its two properties in ``__init__``, under the name that `given_one` tells."""

    @cached_property
    def logits(self) -> Tensor:
        """The log-odds of a success."""
        with enable_grad():
            smallest = finfo(self.probs.dtype).eps
            probs = self.probs.clamp(min=smallest, max=1 - smallest)
            return probs.log() - (-probs).log1p()

    @cached_property
    def probs(self) -> Tensor:
        """The probability of a success."""
        with enable_grad():
            return self.logits.sigmoid()


def given_one(probs: Any, logits: Any) -> tuple[str, Any]:
    """The name and the value of the parameter that was given.

    >>> given_one(None, 0.0)
    ('logits', 0.0)
    """
    if (probs is None) == (logits is None):
        raise ValueError("Either `probs` or `logits` must be specified, but not both.")
    return ("probs", probs) if logits is None else ("logits", logits)
