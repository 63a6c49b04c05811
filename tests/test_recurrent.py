"""Recurrent layers in compiled steps, and what they do whatever the weights."""

from __future__ import annotations

import pytest

import rushlight as torch
from rushlight import nn
from rushlight.nn import functional as F
from rushlight.nn.utils.rnn import pack_sequence, pad_packed_sequence


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_a_compiled_step_trains_alike(name):
    pytest.importorskip("llvmlite", reason="native code needs llvmlite")

    def trained(wrap):
        torch.manual_seed(1)
        layer, head = getattr(nn, name)(2, 5, batch_first=True), nn.Linear(5, 3)
        optimizer = torch.optim.Adam([*layer.parameters(), *head.parameters()], lr=0.05)
        inputs, labels = torch.randn(6, 4, 2), torch.arange(6) % 3

        def step(inputs, labels):
            loss = F.cross_entropy(head(layer(inputs)[0][:, -1]), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss.detach()

        step = wrap(step)
        return [step(inputs, labels).item() for _ in range(8)], step

    (eager, _), (compiled, step) = trained(lambda step: step), trained(torch.compile)
    assert compiled == pytest.approx(eager, rel=1e-4)
    assert compiled[-1] < compiled[0]
    assert "all native" in str(step.explain())


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_packed_sequences_give_what_each_gives_alone(name):
    layer = getattr(nn, name)(2, 3, bidirectional=True)
    rows = [torch.randn(length, 2) for length in (2, 4, 1)]
    packed, state = layer(pack_sequence(rows, enforce_sorted=False))
    padded, lengths = pad_packed_sequence(packed)
    hidden = state[0] if name == "LSTM" else state
    for number, each in enumerate(rows):
        alone, last = layer(each)
        torch.testing.assert_close(padded[: int(lengths[number]), number], alone)
        torch.testing.assert_close(hidden[:, number], last[0] if name == "LSTM" else last)


def test_a_state_carried_on_is_one_long_sequence():
    layer, x = nn.LSTM(2, 3), torch.randn(6, 1, 2)
    first, state = layer(x[:4])
    second, _ = layer(x[4:], state)
    torch.testing.assert_close(torch.cat([first, second]), layer(x)[0])
