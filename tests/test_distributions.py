"""Distributions: densities sum to one, samples follow them, and a policy learns from what it is paid."""

import math

import pytest

import rushlight as torch
from rushlight import distributions as D


@pytest.mark.parametrize("made", [D.Normal(0.5, 2.0), D.Uniform(-1.0, 3.0, validate_args=False)], ids=repr)
def test_densities(made):
    torch.manual_seed(0)
    places = torch.linspace(-20, 20, 40001, dtype=torch.float64)
    assert made.log_prob(places).exp().mean().item() * 40 == pytest.approx(1, abs=1e-3)
    samples = made.sample((20000,))
    assert samples.mean().item() == pytest.approx(made.mean.item(), abs=0.06)
    assert samples.std().item() == pytest.approx(made.stddev.item(), rel=0.03)
    chances = torch.tensor([0.1, 0.5, 0.8])
    assert torch.allclose(made.cdf(made.icdf(chances)), chances, atol=1e-6)


@pytest.mark.parametrize("made", [D.Bernoulli(0.3), D.Categorical(torch.tensor([1.0, 2.0, 5.0]))], ids=repr)
def test_chances(made):
    torch.manual_seed(0)
    values = made.enumerate_support()
    chances = made.log_prob(values).exp()
    assert chances.sum().item() == pytest.approx(1, abs=1e-6)
    assert made.entropy().item() == pytest.approx(-(chances * chances.log()).sum().item(), abs=1e-6)
    samples = made.sample((20000,))
    for value, chance in zip(values, chances, strict=True):
        assert (samples == value).float().mean().item() == pytest.approx(chance.item(), abs=0.015)


def test_divergence_is_the_mean_of_the_ratio():
    p, q = D.Categorical(torch.tensor([0.2, 0.3, 0.5])), D.Categorical(torch.tensor([0.6, 0.3, 0.1]))
    expected = sum(a * math.log(a / b) for a, b in zip((0.2, 0.3, 0.5), (0.6, 0.3, 0.1), strict=True))
    assert D.kl_divergence(p, q).item() == pytest.approx(expected, abs=1e-6)
    assert D.kl_divergence(p, p).item() == pytest.approx(0, abs=1e-6)


def test_a_policy_learns_which_arm_pays():
    torch.manual_seed(0)
    scores = torch.zeros(4, requires_grad=True)
    optimizer = torch.optim.Adam([scores], lr=0.1)
    for _ in range(60):
        policy = D.Categorical(logits=scores)
        actions = policy.sample((32,))
        paid = (actions == 2).float()
        loss = -(policy.log_prob(actions) * (paid - paid.mean())).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert scores.argmax().item() == 2
    assert D.Categorical(logits=scores).probs[2] > 0.9
