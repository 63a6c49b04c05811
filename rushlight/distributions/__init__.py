"""PyTorch's ``torch.distributions``, of which there are the counts: `Poisson` and `Binomial`.

Each draws samples and knows how likely a value is (with gradients to its parameters), and its mean and
variance. They are ordinary tensor code on the ops that draw. Invariant: samples come from the default
generator, in PyTorch's order, so a seed gives PyTorch's samples.
"""

from rushlight.distributions import constraints
from rushlight.distributions.binomial import Binomial
from rushlight.distributions.distribution import Distribution
from rushlight.distributions.poisson import Poisson

__all__ = ["Binomial", "Distribution", "Poisson", "constraints"]
