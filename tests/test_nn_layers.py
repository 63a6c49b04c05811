"""Layers by their definitions: small inputs whose results can be checked by hand, and what training does."""

import pytest

import rushlight as torch
import rushlight.nn.functional as F
from rushlight import nn


def test_linear_is_a_product_and_a_sum():
    layer = nn.Linear(2, 3)
    x = torch.tensor([[1.0, -2.0]])
    assert torch.allclose(layer(x), x @ layer.weight.T + layer.bias)


def test_bilinear_is_a_form_for_each_output():
    layer = nn.Bilinear(2, 3, 4)
    x, y = torch.randn(2), torch.randn(3)
    expected = torch.stack([x @ layer.weight[k] @ y for k in range(4)]) + layer.bias
    assert torch.allclose(layer(x, y), expected, atol=1e-6)


def test_identity_returns_its_input_itself():
    x = torch.ones(2)
    assert nn.Identity()(x) is x


def test_flatten_is_a_view():
    x = torch.zeros(2, 3, 4)
    nn.Flatten()(x)[0, 5] = 7
    assert x[0, 1, 1].item() == 7


def test_unflatten_undoes_flatten():
    x = torch.randn(2, 3, 4)
    assert torch.equal(nn.Unflatten(1, (3, 4))(nn.Flatten()(x)), x)


def test_dropout_drops_the_asked_share_and_keeps_the_mean():
    x = torch.ones(100, 100)
    y = nn.Dropout(0.3)(x)
    assert (y == 0).double().mean().item() == pytest.approx(0.3, abs=0.02)
    assert y.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    assert torch.equal(nn.Dropout(0.3).eval()(x), x)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(nn.Dropout1d, (4, 8, 5)), (nn.Dropout2d, (4, 8, 5, 2)), (nn.Dropout3d, (4, 8, 5, 2, 2))],
)
def test_channels_are_dropped_as_a_whole(layer, shape):
    y = layer(0.5)(torch.ones(shape)).reshape(32, -1)
    assert torch.equal(y.min(1).values, y.max(1).values)
    assert set(y.unique().tolist()) == {0.0, 2.0}


def test_alpha_dropout_keeps_mean_and_variance():
    y = nn.AlphaDropout(0.2)(torch.randn(200, 200))
    assert y.mean().item() == pytest.approx(0, abs=0.02)
    assert y.var().item() == pytest.approx(1, abs=0.03)


def test_alpha_dropout_in_place_changes_its_input():
    x = torch.randn(4, 4)
    assert nn.AlphaDropout(0.5, inplace=True)(x) is x


def test_layer_norm_gives_mean_0_and_variance_1():
    y = nn.LayerNorm((3, 4))(torch.randn(5, 3, 4) * 7 + 2).reshape(5, -1)
    assert torch.allclose(y.mean(1), torch.zeros(5), atol=1e-6)
    assert torch.allclose(y.var(1, unbiased=False), torch.ones(5), atol=1e-4)


def test_batch_norm_remembers_what_it_saw():
    norm = nn.BatchNorm1d(1, momentum=0.5)
    norm(torch.tensor([[1.0], [3.0]]))
    assert norm.running_mean.tolist() == [1.0]
    assert norm.running_var.tolist() == [1.5]
    assert norm.num_batches_tracked.item() == 1
    y = norm.eval()(torch.tensor([[1.0]]))
    assert y.item() == pytest.approx(0.0)
    norm.reset_running_stats()
    assert (norm.running_mean.item(), norm.running_var.item(), norm.num_batches_tracked.item()) == (0, 1, 0)


def test_batch_norm_without_momentum_averages_all_batches():
    norm = nn.BatchNorm1d(1, momentum=None)
    for mean in (1.0, 2.0, 6.0):
        norm(torch.tensor([[mean - 1], [mean + 1]]))
    assert norm.running_mean.item() == pytest.approx(3.0)


def test_batch_norm_learns_nothing_from_an_empty_batch():
    norm = nn.BatchNorm1d(3)
    y = norm(torch.ones(0, 3, requires_grad=True))
    y.sum().backward()
    assert norm.running_mean.tolist() == [0.0, 0.0, 0.0]
    assert norm.weight.grad.tolist() == [0.0, 0.0, 0.0]


def test_half_precision_is_normalised_in_single():
    x = torch.full((2, 64), 300.0)
    x[:, ::2] = -300.0
    y = nn.LayerNorm(64, dtype=torch.float16)(x.half())
    assert y.dtype is torch.float16
    assert torch.allclose(y.float().abs(), torch.ones(2, 64), atol=1e-3)


def test_whole_numbers_cannot_be_normalised():
    with pytest.raises(NotImplementedError, match="convert it with"):
        F.layer_norm(torch.ones(2, 3, dtype=torch.int64), (3,))


def test_the_padding_row_stays_zero():
    table = nn.Embedding(4, 2, padding_idx=1)
    table(torch.tensor([0, 1, 1])).sum().backward()
    assert table.weight[1].tolist() == [0.0, 0.0]
    assert table.weight.grad.tolist() == [[1.0, 1.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]


def test_long_rows_are_shortened_when_they_are_looked_up():
    table = nn.Embedding.from_pretrained(torch.tensor([[3.0, 4.0], [30.0, 40.0], [0.3, 0.4]]), max_norm=1.0)
    table(torch.tensor([0, 2, 0]))
    assert torch.allclose(table.weight, torch.tensor([[0.6, 0.8], [30.0, 40.0], [0.3, 0.4]]), atol=1e-6)


def test_bags_of_every_mode():
    weight = torch.tensor([[1.0, -1.0], [2.0, -2.0], [4.0, -4.0]])
    numbers, starts = torch.tensor([0, 1, 2]), torch.tensor([0, 2])
    for mode, expected in [("sum", [3.0, -3.0]), ("mean", [1.5, -1.5]), ("max", [2.0, -1.0])]:
        bags = F.embedding_bag(numbers, weight, starts, mode=mode)
        assert bags.tolist() == [expected, [4.0, -4.0]]


def test_softmax_sums_to_1_without_overflow():
    y = nn.Softmax(dim=0)(torch.tensor([1000.0, 1000.0, -1000.0]))
    assert y.tolist() == [0.5, 0.5, 0.0]


def test_softmax_without_dim_warns():
    with pytest.warns(UserWarning, match="Implicit dimension choice for softmax") as caught:
        nn.Softmax()(torch.zeros(2, 2))
    assert caught[0].filename == __file__


def test_a_hard_gumbel_sample_has_the_soft_gradient():
    logits = torch.randn(6, 4, requires_grad=True)
    torch.manual_seed(3)
    hard = F.gumbel_softmax(logits, tau=0.5, hard=True)
    (hard_gradient,) = torch.autograd.grad((hard * torch.arange(4.0)).sum(), logits)
    torch.manual_seed(3)
    soft = F.gumbel_softmax(logits, tau=0.5)
    (soft_gradient,) = torch.autograd.grad((soft * torch.arange(4.0)).sum(), logits)
    assert torch.equal(hard.argmax(1), soft.argmax(1))
    assert torch.allclose(hard.sum(1), torch.ones(6))
    assert torch.allclose(hard_gradient, soft_gradient)


def test_prelu_learns_one_slope_for_each_channel():
    layer = nn.PReLU(2)
    layer(torch.tensor([[-1.0, -2.0], [-3.0, 4.0]])).sum().backward()
    assert layer.weight.grad.tolist() == [-4.0, -2.0]


def test_in_place_activations_return_their_input():
    for activate in (F.relu_, F.leaky_relu_, F.elu_, F.celu_, F.selu_, F.hardtanh_, F.rrelu_):
        x = torch.tensor([-1.0, 2.0])
        assert activate(x) is x
    assert F.threshold_(torch.tensor([-1.0, 2.0]), 0.0, 7.0).tolist() == [7.0, 2.0]
    assert F.relu_.__name__ == "relu_"


def test_lazy_layers_become_ordinary_ones():
    net = nn.Sequential(nn.LazyLinear(4), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(2))
    assert all(nn.parameter.is_lazy(each) for each in net.parameters())
    assert net(torch.randn(3, 5)).shape == (3, 2)
    assert [type(each) for each in net] == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    assert sum(each.numel() for each in net.parameters()) == 5 * 4 + 4 + 4 + 4 + 4 * 2 + 2
    assert all(type(each) is nn.Parameter for each in net.parameters())


def test_lazy_parameters_take_the_dtype_they_are_converted_to():
    layer = nn.LazyLinear(2).double()
    assert layer(torch.ones(1, 3, dtype=torch.float64)).dtype is torch.float64


def test_a_small_network_learns_xor():
    torch.manual_seed(1)
    x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    y = torch.tensor([[0.0], [1.0], [1.0], [0.0]])
    net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    for _ in range(300):
        net.zero_grad()
        loss = F.mse_loss(net(x), y)
        loss.backward()
        with torch.no_grad():
            for parameter in net.parameters():
                parameter -= 0.3 * parameter.grad
    assert loss.item() < 0.01
