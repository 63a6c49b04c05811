"""Two models of a table, side by side: a linear one and a network.

Both take scaled numbers ``(N, F)`` and category numbers ``(N, C)`` and give ``(N, outputs)``: scores of the
classes, or one number. How rows become that is in `rushlight.jobs.table_features`. Invariant: a category that
was not trained on (row 0 of its table) adds nothing to the linear model's result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import rushlight as rl
from rushlight import nn
from rushlight.tensor import Tensor

ONE_HOT_UP_TO = 12  # levels; a category with more gets a learnt vector, unless told otherwise


def embedding_width(levels: int) -> int:
    """How long a category's vector is, by its number of levels.

    >>> embedding_width(20), embedding_width(1000)
    (9, 50)
    """
    return min(50, round(1.6 * levels**0.56))


def state_of(kind: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One model's tensors, of a file that holds those of several with their kinds before their names.

    >>> state_of("network", {"network.bias": rl.zeros(1), "linear model.bias": rl.ones(1)})
    {'bias': tensor([0.])}
    """
    prefix = f"{kind}."
    return {name.removeprefix(prefix): each for name, each in state.items() if name.startswith(prefix)}


class LinearModel(nn.Module):
    """A weight for every number and every level of every category.

    Args:
        numbers: how many numbers a row has.
        levels: rows of each category's table.
        outputs: classes, or 1.
    """

    def __init__(self, numbers: int, levels: Sequence[int], outputs: int) -> None:
        super().__init__()
        self.numbers = nn.Linear(numbers, outputs, bias=False) if numbers else None
        self.bias = nn.Parameter(rl.zeros(outputs))
        # the categories' tables lie one below the other in a single one
        self.levels = nn.Embedding(sum(levels), outputs) if levels else None
        self.register_buffer("starts", rl.tensor([0, *levels[:-1]], dtype=rl.int64).cumsum(0))
        if self.levels is not None:
            nn.init.zeros_(self.levels.weight)

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        """Scores ``(N, outputs)``."""
        result = self.bias if self.numbers is None else self.numbers(numbers) + self.bias
        if self.levels is not None:
            result = result + self.levels(codes + self.starts).sum(dim=1)
        return result


class Network(nn.Module):
    """Layers with ReLU and dropout over the numbers and the categories, each one-hot or as a learnt vector.

    Args:
        numbers: how many numbers a row has.
        levels: rows of each category's table.
        outputs: classes, or 1.
        hidden: sizes of the layers.
        dropout: share of each layer's results that is left out in training.
        categories: ``"onehot"``, ``"embedding"``, or ``"auto"``: one-hot for few levels.

    >>> model = Network(2, [3, 40], 1, hidden=[8])
    >>> model(rl.zeros(5, 2), rl.zeros(5, 2, dtype=rl.int64)).shape
    torch.Size([5, 1])
    """

    def __init__(
        self,
        numbers: int,
        levels: Sequence[int],
        outputs: int,
        hidden: Sequence[int] = (64, 32),
        dropout: float = 0.1,
        categories: str = "auto",
    ) -> None:
        super().__init__()
        self.tables = nn.ModuleList()
        width = numbers
        for count in levels:
            learnt = categories == "embedding" or (categories == "auto" and count > ONE_HOT_UP_TO)
            table = nn.Embedding(count, embedding_width(count) if learnt else count)
            with rl.no_grad():
                if learnt:
                    table.weight.mul_(0.1)
                else:
                    nn.init.eye_(table.weight)
                table.weight[0] = 0.0  # unknown, until rare levels teach it something
            table.weight.requires_grad_(learnt)
            self.tables.append(table)
            width += table.embedding_dim
        layers: list[nn.Module] = []
        for size in hidden:
            layers += [nn.Linear(width, size), nn.ReLU(), nn.Dropout(dropout)]
            width = size
        self.layers = nn.Sequential(*layers, nn.Linear(width, outputs))

    def forward(self, numbers: Tensor, codes: Tensor) -> Tensor:
        """Scores ``(N, outputs)``."""
        vectors = [table(codes[:, place]) for place, table in enumerate(self.tables)]
        return self.layers(rl.cat([numbers, *vectors], dim=1))
