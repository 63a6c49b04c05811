"""Pooling in compiled steps, and what follows from its definition."""

from __future__ import annotations

import pytest

import rushlight as torch
from rushlight import nn
from rushlight.nn import functional as F

CALLS = [
    lambda x: F.max_pool2d(x, 2),
    lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True),
    lambda x: F.max_pool2d(x, 2, stride=1, dilation=2),
    lambda x: F.avg_pool2d(x, 2),
    lambda x: F.avg_pool2d(x, 3, 2, 1, True, False),
    lambda x: F.adaptive_avg_pool2d(x, (3, 2)),
    lambda x: F.adaptive_max_pool2d(x, (3, 2)),
    lambda x: F.lp_pool2d(x.abs() + 0.1, 2, 2),
]


@pytest.mark.parametrize("call", CALLS)
def test_compiled_is_eager(call):
    pytest.importorskip("llvmlite", reason="native code needs llvmlite")
    torch.manual_seed(0)

    def step(x):
        x = x.detach().requires_grad_()
        made = call(x)
        made.square().sum().backward()
        return made.detach(), x.grad

    compiled, x = torch.compile(step), torch.randn(2, 3, 8, 7)
    for _ in range(2):
        for mine, other in zip(compiled(x), step(x), strict=True):
            torch.testing.assert_close(mine, other)
    assert "by NumPy:" not in str(compiled.explain())


def test_a_digit_network_trains_in_native_code():
    """The network of PyTorch's tutorial on torch.nn: convolutions, and the mean of what is left."""
    pytest.importorskip("llvmlite", reason="native code needs llvmlite")

    def trained(wrap):
        torch.manual_seed(1)
        model = nn.Sequential(
            nn.Conv2d(1, 4, kernel_size=3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(4, 10, kernel_size=3, stride=2, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        images, labels = torch.rand(16, 1, 12, 12), torch.arange(16) % 10

        def step(images, labels):
            loss = F.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss.detach()

        step = wrap(step)
        losses = [step(images, labels).item() for _ in range(8)]
        return losses, step

    (eager, _), (compiled, step) = trained(lambda step: step), trained(torch.compile)
    assert compiled == pytest.approx(eager, rel=1e-5)
    assert compiled[-1] < compiled[0]
    assert "all native" in str(step.explain())


def test_the_gradient_goes_to_the_first_of_equals():
    x = torch.ones(1, 1, 2, 2, requires_grad=True)
    F.max_pool2d(x, 2).sum().backward()
    assert x.grad.tolist() == [[[[1.0, 0.0], [0.0, 0.0]]]]


def test_overlapping_windows_add_up():
    x = torch.tensor([[[1.0, 5.0, 2.0]]], requires_grad=True)
    F.max_pool1d(x, 2, 1).sum().backward()
    assert x.grad.tolist() == [[[0.0, 2.0, 0.0]]]
