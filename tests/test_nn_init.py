"""Initialisers: numbers recorded from PyTorch for a seed, and the properties the initialisers promise."""

import pytest

import rushlight as torch
from rushlight import nn

# From PyTorch 2.13.0 after manual_seed(0).
WEIGHT = [[-0.004322518, 0.309715837, -0.475185335], [-0.424894601, -0.222368971, 0.154820725]]
BIAS = [-0.011439145, 0.457774937]


def test_a_linear_layer_starts_with_pytorchs_weights():
    torch.manual_seed(0)
    layer = nn.Linear(3, 2)
    assert torch.allclose(layer.weight, torch.tensor(WEIGHT), rtol=0, atol=1e-8)
    assert torch.allclose(layer.bias, torch.tensor(BIAS), rtol=0, atol=1e-8)


def test_reset_parameters_draws_what_a_new_layer_draws():
    torch.manual_seed(4)
    fresh = nn.Linear(3, 2)
    old = nn.Linear(3, 2)
    torch.manual_seed(4)
    old.reset_parameters()
    assert torch.equal(old.weight, fresh.weight)
    assert torch.equal(old.bias, fresh.bias)


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 4), (3, 2, 4)])
def test_orthogonal_rows_or_columns(shape):
    weight = nn.init.orthogonal_(torch.empty(shape, dtype=torch.float64), gain=2.0).reshape(shape[0], -1)
    rows, columns = weight.shape
    product = weight @ weight.T if rows <= columns else weight.T @ weight
    assert torch.allclose(product, 4.0 * torch.eye(min(rows, columns), dtype=torch.float64))


def test_dirac_passes_channels_through():
    weight = nn.init.dirac_(torch.empty(4, 2, 3), groups=2)
    assert weight.sum().item() == 4
    for channel in range(4):
        assert weight[channel, channel % 2, 1].item() == 1


def test_truncated_values_lie_within():
    for low, high in [(-2.0, 2.0), (2.0, 3.0), (-0.1, 0.0)]:
        weight = nn.init.trunc_normal_(torch.empty(1000), a=low, b=high)
        assert low <= weight.min().item()
        assert weight.max().item() <= high


def test_sparse_columns_have_their_zeros():
    weight = nn.init.sparse_(torch.empty(10, 6), sparsity=0.25)
    assert (weight == 0).sum(dim=0).tolist() == [3] * 6


@pytest.mark.parametrize(("mode", "fan"), [("fan_in", 400), ("fan_out", 100)])
def test_kaiming_keeps_the_variance(mode, fan):
    weight = nn.init.kaiming_normal_(torch.empty(100, 400), mode=mode, nonlinearity="relu")
    assert weight.std().item() == pytest.approx((2 / fan) ** 0.5, rel=0.02)
    weight = nn.init.kaiming_uniform_(torch.empty(100, 400), mode=mode, nonlinearity="relu")
    assert weight.std().item() == pytest.approx((2 / fan) ** 0.5, rel=0.02)


def test_initialisers_record_nothing_and_return_their_tensor():
    weight = nn.Parameter(torch.empty(3, 3))
    for fill in (
        nn.init.xavier_uniform_,
        nn.init.xavier_normal_,
        nn.init.eye_,
        nn.init.orthogonal_,
        nn.init.ones_,
    ):
        assert fill(weight) is weight
        assert weight.is_leaf
        assert weight.requires_grad
