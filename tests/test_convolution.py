"""Convolutions without PyTorch: against sums written out, each gradient against the others, and compiled."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import rushlight as torch
from rushlight import nn
from rushlight.nn import functional as F
from rushlight.ops import columns


def written_out(
    input: np.ndarray, weight: np.ndarray, stride: int, padding: int, dilation: int, groups: int
) -> np.ndarray:
    """conv2d, element by element."""
    input = np.pad(input, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    (samples, _, height, width), (outputs, channels, high, wide) = input.shape, weight.shape
    rows = (height - dilation * (high - 1) - 1) // stride + 1
    places = (width - dilation * (wide - 1) - 1) // stride + 1
    made = np.zeros((samples, outputs, rows, places))
    for n, o, row, place in itertools.product(*map(range, made.shape)):
        first = o // (outputs // groups) * channels
        for c, i, j in itertools.product(range(channels), range(high), range(wide)):
            read = input[n, first + c, row * stride + i * dilation, place * stride + j * dilation]
            made[n, o, row, place] += read * weight[o, c, i, j]
    return made


@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "groups"), [(1, 0, 1, 1), (2, 1, 1, 1), (1, 2, 2, 2), (3, 0, 1, 4)]
)
def test_it_is_the_sum_it_is_said_to_be(stride: int, padding: int, dilation: int, groups: int) -> None:
    input = torch.randn(2, 4, 7, 6, dtype=torch.float64)
    weight = torch.randn(4, 4 // groups, 3, 2, dtype=torch.float64)
    settings = (stride, padding, dilation, groups)
    expected = written_out(input.numpy(), weight.numpy(), *settings)
    assert np.allclose(F.conv2d(input, weight, None, *settings).numpy(), expected)


def test_chunks_of_samples_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = nn.Conv2d(3, 4, 3, padding=1)
    image = torch.randn(5, 3, 8, 8, requires_grad=True)

    def results() -> list[torch.Tensor]:
        made = layer(image)
        return [made, *torch.autograd.grad(made.square().sum(), [image, *layer.parameters()])]

    whole = results()
    monkeypatch.setattr(columns, "CHUNK_BYTES", 1)
    for one, other in zip(whole, results(), strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-4)


def test_a_transposed_convolution_is_the_gradient_of_one() -> None:
    input = torch.randn(2, 3, 9, 9, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 3, 3, 3, dtype=torch.float64)
    made = F.conv2d(input, weight, stride=2, padding=1)
    g = torch.randn_like(made)
    (gradient,) = torch.autograd.grad(made, input, g)
    assert torch.allclose(gradient, F.conv_transpose2d(g, weight, stride=2, padding=1))


def test_blocks_added_up_count_how_often_each_element_was_read() -> None:
    ones = torch.ones(1, 2, 5, 4)
    assert F.fold(F.unfold(ones, 2), (5, 4), 2)[0, 0].tolist()[0] == [1, 2, 2, 1]


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding="same", padding_mode="reflect"),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3, stride=2, groups=2, bias=False),
        nn.ConvTranspose2d(6, 3, 2, stride=2),
        nn.Unfold(2, stride=2),
        nn.Flatten(),
        nn.LazyLinear(3),
    )


def trained(compiled: bool) -> list[float]:
    torch.manual_seed(1)
    net, data = network(), torch.randn(4, 2, 8, 8)
    net(data)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)

    def step(batch: torch.Tensor) -> torch.Tensor:
        loss = net(batch).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    run = torch.compile(step) if compiled else step
    losses = [run(data).item() for _ in range(4)]
    return losses


def test_a_compiled_step_does_the_same() -> None:
    assert np.allclose(trained(True), trained(False), rtol=1e-5)


def test_a_compiled_step_has_no_call_of_numpy() -> None:
    first, second = nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.ConvTranspose2d(4, 2, 2, stride=2, groups=2)
    data = torch.randn(3, 2, 8, 8, requires_grad=True)

    @torch.compile
    def step(batch: torch.Tensor) -> torch.Tensor:
        loss = second(first(batch)).square().mean()
        loss.backward()
        return loss.detach()

    step(data)
    assert "by NumPy" not in str(step.explain())


def test_lazy_layers_draw_what_plain_ones_do() -> None:
    torch.manual_seed(3)
    lazy = nn.LazyConv2d(4, 3, groups=2)
    lazy(torch.zeros(1, 6, 5, 5))
    torch.manual_seed(3)
    plain = nn.Conv2d(6, 4, 3, groups=2)
    assert type(lazy) is nn.Conv2d
    assert torch.equal(lazy.weight, plain.weight)
    assert torch.equal(lazy.bias, plain.bias)
