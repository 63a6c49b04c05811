"""The Kullback-Leibler divergence of two distributions of one kind."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from rushlight.distributions.bernoulli import Bernoulli
from rushlight.distributions.categorical import Categorical
from rushlight.distributions.distribution import Distribution
from rushlight.distributions.normal import Normal
from rushlight.distributions.poisson import Poisson
from rushlight.distributions.uniform import Uniform
from rushlight.ops.smooth import softplus
from rushlight.tensor import Tensor


def _of_normals(p: Normal, q: Normal) -> Tensor:
    ratio = (p.scale / q.scale).pow(2)
    away = ((p.loc - q.loc) / q.scale).pow(2)
    return 0.5 * (ratio + away - 1 - ratio.log())


def _of_uniforms(p: Uniform, q: Uniform) -> Tensor:
    widths = ((q.high - q.low) / (p.high - p.low)).log()
    return widths.masked_fill((q.low > p.low) | (q.high < p.high), math.inf)


def _known(terms: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """Terms ``p * log(p / q)``, infinite where only q is 0, and 0 where p is."""
    return terms.masked_fill(q == 0, math.inf).masked_fill(p == 0, 0)


def _of_categoricals(p: Categorical, q: Categorical) -> Tensor:
    return _known(p.probs * (p.logits - q.logits), p.probs, q.probs).sum(-1)


def _of_bernoullis(p: Bernoulli, q: Bernoulli) -> Tensor:
    ones = p.probs * (softplus(-q.logits) - softplus(-p.logits))
    zeros = (1 - p.probs) * (softplus(q.logits) - softplus(p.logits))
    return _known(ones, p.probs, q.probs) + _known(zeros, 1 - p.probs, 1 - q.probs)


def _of_poissons(p: Poisson, q: Poisson) -> Tensor:
    return p.rate * (p.rate.log() - q.rate.log()) - (p.rate - q.rate)


_RULES: dict[type[Distribution], Callable[[Any, Any], Tensor]] = {
    Bernoulli: _of_bernoullis,
    Categorical: _of_categoricals,
    Normal: _of_normals,
    Poisson: _of_poissons,
    Uniform: _of_uniforms,
}


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """How many nats it costs to take `q` for `p`, of the batch shape of both.

    Raises:
        NotImplementedError: they are not of one kind, or of a kind without a formula here.

    >>> import rushlight as torch
    >>> kl_divergence(Normal(0.0, 1.0), Normal(torch.tensor([0.0, 1.0]), 1.0))
    tensor([0.0000, 0.5000])
    """
    for kind, rule in _RULES.items():
        if isinstance(p, kind) and isinstance(q, kind):
            return rule(p, q)
    raise NotImplementedError(
        f"No KL(p || q) is implemented for p type {type(p).__name__} and q type {type(q).__name__}"
    )
