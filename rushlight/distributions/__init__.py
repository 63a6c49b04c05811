"""PyTorch's ``torch.distributions``, of which there are those that policies and autoencoders draw from.

Each draws samples and knows how likely a value is (with gradients to its parameters), and its mean and
variance. They are ordinary tensor code on the ops that draw. Invariant: samples come from the default
generator, in PyTorch's order, so a seed gives PyTorch's samples.
"""

from rushlight.distributions import constraints
from rushlight.distributions.bernoulli import Bernoulli
from rushlight.distributions.binomial import Binomial
from rushlight.distributions.categorical import Categorical
from rushlight.distributions.distribution import Distribution
from rushlight.distributions.kl import kl_divergence
from rushlight.distributions.normal import Normal
from rushlight.distributions.poisson import Poisson
from rushlight.distributions.uniform import Uniform

__all__ = [
    "Bernoulli",
    "Binomial",
    "Categorical",
    "Distribution",
    "Normal",
    "Poisson",
    "Uniform",
    "constraints",
    "kl_divergence",
]
