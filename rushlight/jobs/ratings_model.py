"""The model behind ratings: users and items as vectors whose dot product, with biases, is the rating.

The names are those of fastai's collaborative filtering, so that a notebook's own class runs as it stands:
`Module` needs no ``super().__init__()``, and `create_params` and `sigmoid_range` are the two helpers it uses.
What the model is trained on is the business of `rushlight.jobs.ratings`. Invariant: a prediction is strictly
within ``y_range``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import rushlight as rl
from rushlight import nn
from rushlight.tensor import Tensor


class Module(nn.Module):
    """A module whose subclasses may leave out ``super().__init__()``.

    >>> class Scale(Module):
    ...     def __init__(self):
    ...         self.factor = nn.Parameter(rl.ones(1))
    >>> [name for name, _ in Scale().named_parameters()]
    ['factor']
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        module = super().__new__(cls)
        nn.Module.__init__(module)
        return module


def create_params(size: Sequence[int]) -> nn.Parameter:
    """A parameter of this shape, drawn from a normal distribution with standard deviation 0.01.

    >>> create_params([5, 3]).shape
    torch.Size([5, 3])
    """
    return nn.Parameter(rl.zeros(*size).normal_(0, 0.01))


def sigmoid_range(x: Tensor, low: float, high: float) -> Tensor:
    """The sigmoid of `x`, stretched from 0..1 to `low`..`high`.

    >>> sigmoid_range(rl.zeros(1), 0, 5.5)
    tensor([2.7500])
    """
    return rl.sigmoid(x) * (high - low) + low


class DotProductBias(Module):
    """Ratings as the product of a user's and a movie's factors, plus a bias for each.

    Called with int64 pairs ``(N, 2)`` of user and movie number; gives predicted ratings ``(N,)``.

    Args:
        n_users: number of users, including any row kept for unknown ones.
        n_movies: number of movies, likewise.
        n_factors: length of the vectors.
        y_range: lowest and highest prediction. A little more than the lowest and highest rating is best,
            since a sigmoid reaches its ends only at infinity.

    >>> model = DotProductBias(3, 4, 2)
    >>> model(rl.tensor([[0, 1], [2, 3]])).shape
    torch.Size([2])
    """

    def __init__(
        self, n_users: int, n_movies: int, n_factors: int, y_range: tuple[float, float] = (0, 5.5)
    ) -> None:
        self.user_factors = create_params([n_users, n_factors])
        self.user_bias = create_params([n_users])
        self.movie_factors = create_params([n_movies, n_factors])
        self.movie_bias = create_params([n_movies])
        self.y_range = y_range

    def forward(self, x: Tensor) -> Tensor:
        """Predicted ratings ``(N,)`` of pairs ``(N, 2)``."""
        users = self.user_factors[x[:, 0]]
        movies = self.movie_factors[x[:, 1]]
        res = (users * movies).sum(dim=1)
        res += self.user_bias[x[:, 0]] + self.movie_bias[x[:, 1]]
        return sigmoid_range(res, *self.y_range)
