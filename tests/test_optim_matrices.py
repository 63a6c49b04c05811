"""Optimizers that know what a matrix is: what Muon and Adafactor do to one, and both in compiled steps."""

from __future__ import annotations

from typing import Any

import pytest

import rushlight as rl
from rushlight import Tensor, nn, optim
from rushlight.nn import functional as F


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4)])
def test_muon_steps_in_all_directions_alike(shape: tuple[int, int]) -> None:
    """However unlike the singular values of the gradient are, those of the step are near one."""
    rl.manual_seed(0)
    weight = rl.zeros(shape, requires_grad=True)
    weight.grad = rl.randn(shape) @ rl.diag(rl.logspace(-1, 1, shape[1]))
    optim.Muon([weight], lr=1.0, adjust_lr_fn="original").step()
    values = rl.linalg.svdvals(weight.detach()) / max(1, shape[0] / shape[1]) ** 0.5
    assert float(values.min()) > 0.5 and float(values.max()) < 1.3


def test_muon_wants_matrices() -> None:
    with pytest.raises(ValueError, match="Muon only supports 2D parameters"):
        optim.Muon(nn.Linear(2, 2).parameters())


def test_adafactor_keeps_a_row_and_a_column() -> None:
    net = nn.Linear(5, 3)
    optimizer = optim.Adafactor(net.parameters())
    net(rl.ones(2, 5)).sum().backward()
    optimizer.step()
    shapes = [
        {key: tuple(value.shape) for key, value in optimizer.state[each].items()} for each in net.parameters()
    ]
    assert shapes == [{"step": (), "row_var": (3, 1), "col_var": (1, 5)}, {"step": (), "variance": (3,)}]


def test_adafactor_never_moves_far() -> None:
    """The root mean square of a step is the rate times that of the parameter, whatever the gradient."""
    weight = rl.full((4, 4), 2.0, requires_grad=True)
    weight.grad = rl.arange(16.0).reshape(4, 4) * 1e6
    optim.Adafactor([weight], lr=0.01).step()
    assert float((weight.detach() - 2).square().mean().sqrt()) <= 0.0201


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("Adafactor", {"lr": 0.05, "weight_decay": 0.1}),
        ("Muon", {"lr": 0.05}),
        ("Muon", {"lr": 0.05, "nesterov": False, "adjust_lr_fn": "match_rms_adamw"}),
    ],
)
def test_in_a_compiled_step(kind: str, options: dict[str, Any]) -> None:
    """The numbers of the plain step, with rates that a schedule changes, and nothing left to NumPy."""

    def train(compiled: bool) -> tuple[list[float], str]:
        rl.manual_seed(0)
        net = nn.Sequential(nn.Linear(6, 8, bias=False), nn.Tanh(), nn.Linear(8, 3, bias=False))
        optimizer = getattr(optim, kind)(net.parameters(), **options)
        schedule = optim.lr_scheduler.ExponentialLR(optimizer, 0.8)

        def step(x: Tensor, y: Tensor) -> Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
            return loss

        run = rl.compile(step) if compiled else step
        losses = []
        for _ in range(6):
            losses.append(run(rl.randn(10, 6), rl.randint(0, 3, (10,))).item())
            schedule.step()
        return losses, str(run.explain()) if compiled else ""

    (plain, _), (fast, told) = train(False), train(True)
    assert fast == pytest.approx(plain, abs=2e-3 if kind == "Muon" else 1e-6)
    assert told.count("recorded because") <= 2  # the first step has no state yet
    assert "by NumPy:" not in told
