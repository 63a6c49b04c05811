"""Normal, Uniform, Bernoulli, Categorical and their divergences are PyTorch's: samples, gradients, texts."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the conformance extra")

from tests.conformance.side_by_side import assert_same

SOME = """
    from importlib import import_module
    D = import_module(torch.__name__ + ".distributions")
    _ = torch.manual_seed(3)
    x = torch.tensor([0.2, 0.5, 0.9])
    many = [
        D.Normal(0.0, 1.0), D.Normal(x, 2.0), D.Normal(x[:, None], x), D.Normal(0, 1),
        D.Normal(x.double(), 1.0),
        D.Uniform(0.0, 1.0), D.Uniform(-1, x), D.Uniform(x.double(), 3.0),
        D.Bernoulli(0.5), D.Bernoulli(x), D.Bernoulli(logits=x * 4 - 2), D.Bernoulli(x.double()),
        D.Categorical(x), D.Categorical(logits=x * 3), D.Categorical(torch.stack([x, 1 - x])),
        D.Categorical(logits=torch.stack([x, 1 - x, x * 2, x * 5]).reshape(2, 2, 3)),
        D.Categorical(torch.tensor([1, 2, 0])), D.Categorical(x.double()),
    ]
"""


def test_samples_come_from_the_same_stream():
    assert_same(
        SOME
        + """
    for each in many:
        note(each.sample(), each.sample((5, 2)), each.sample(torch.Size([3])), each.sample([2]))
        if each.has_rsample:
            note(each.rsample(), each.rsample((4,)))
    torch.rand(3)
    """
    )


def test_probabilities_and_moments():
    assert_same(
        SOME
        + """
    for each in many:
        values = each.sample((6,))
        note(each.log_prob(values), each.mean, each.variance, each.stddev, each.mode, each.entropy())
        note(each.batch_shape, each.event_shape, each.support, each.arg_constraints, each)
        note(each.perplexity(), each.has_rsample, each.has_enumerate_support)
        if each.has_enumerate_support:
            note(each.enumerate_support(), each.enumerate_support(expand=False))
            note(each.probs, each.logits, each.param_shape)
            note(each)
        else:
            note(each.cdf(values), each.icdf(each.cdf(values)))
        wide = each.expand((2, *each.batch_shape))
        note(wide, wide.mean, wide.sample())
    D.Normal(0.0, 1.0).cdf(torch.tensor([-9.0, 0.5])), D.Uniform(0.0, 2.0).icdf(torch.tensor(0.5))
    D.Uniform(0.0, 1.0, validate_args=False).log_prob(torch.tensor([-1.0, 0.0, 0.5, 1.0, 2.0]))
    D.Categorical(x).log_prob(torch.tensor([[0], [2]])), D.Categorical(x).log_prob(torch.tensor(1.0))
    D.Bernoulli(torch.tensor([0.0, 1.0])).logits, D.Bernoulli(torch.tensor([0.0, 1.0])).entropy()
    """,
        tolerance=3e-6,
    )


def test_gradients_reach_the_parameters():
    assert_same(
        """
    from importlib import import_module
    D = import_module(torch.__name__ + ".distributions")
    _ = torch.manual_seed(3)
    x = torch.tensor([0.2, 0.5, 0.9], requires_grad=True)
    def gradient(value):
        return value, torch.autograd.grad(value.sum(), x)
    gradient(D.Normal(x, x.exp()).rsample((3,)))
    gradient(D.Normal(x, x.exp()).log_prob(torch.tensor(0.3)))
    gradient(D.Normal(x, x.exp()).entropy())
    gradient(D.Normal(x, x.exp()).cdf(torch.tensor(0.3)))
    gradient(D.Uniform(x - 1, x + 2).rsample((3,)))
    gradient(D.Uniform(x - 1, x + 2).log_prob(torch.tensor(0.3)))
    gradient(D.Bernoulli(x).log_prob(torch.tensor([1.0, 0.0, 1.0])))
    gradient(D.Bernoulli(logits=x).log_prob(torch.tensor([1.0, 0.0, 1.0])))
    gradient(D.Bernoulli(logits=x).entropy())
    gradient(D.Categorical(x).log_prob(torch.tensor([1, 0])))
    gradient(D.Categorical(logits=x).log_prob(torch.tensor([1, 0])))
    gradient(D.Categorical(x).entropy())
    gradient(D.Categorical(logits=x).entropy())
    D.Normal(x, 1.0).sample().requires_grad
    """,
        tolerance=3e-6,
    )


def test_divergences():
    assert_same(
        SOME
        + """
    k = D.kl_divergence
    k(D.Normal(x, 1.0), D.Normal(0.0, x))
    k(D.Uniform(0.0, x), D.Uniform(torch.tensor([0.0, -1.0, 0.5]), 0.7))
    p, q = torch.tensor([0.0, 0.3, 0.7]), torch.tensor([0.5, 0.5, 0.0])
    k(D.Categorical(p), D.Categorical(q)), k(D.Categorical(q), D.Categorical(x))
    k(D.Categorical(x), D.Categorical(x))
    k(D.Bernoulli(torch.tensor([0.0, 0.3, 1.0, 0.4])), D.Bernoulli(torch.tensor([0.2, 0.0, 0.5, 1.0])))
    k(D.Poisson(x), D.Poisson(1.0))
    k(D.Normal(0.0, 1.0), D.Categorical(x))
    x.requires_grad_()
    torch.autograd.grad(k(D.Normal(x, x.exp()), D.Normal(0.0, 1.0)).sum(), x)
    torch.autograd.grad(k(D.Categorical(logits=x), D.Categorical(p + 0.1)).sum(), x)
    torch.autograd.grad(k(D.Bernoulli(x), D.Bernoulli(0.3)).sum(), x)
    """,
        tolerance=1e-5,
        text=200,
    )


def test_refusals():
    assert_same(
        SOME
        + """
    D.Normal(0.0, -1.0)
    D.Normal(torch.tensor([1.0, torch.nan]), 1.0)
    D.Normal("a", 1.0)
    D.Normal(torch.zeros(2), torch.ones(3))
    D.Normal(0.0, 1.0).log_prob(3)
    D.Normal(0.0, 1.0).log_prob(torch.tensor(torch.nan))
    D.Normal(x, 1.0).log_prob(torch.zeros(2))
    D.Uniform(1.0, 0.0)
    D.Uniform(x, 0.5)
    D.Uniform(0.0, 1.0).log_prob(torch.tensor(2.0))
    D.Bernoulli()
    D.Bernoulli(0.5, 0.5)
    D.Bernoulli(2.0)
    D.Bernoulli(x).log_prob(torch.tensor(0.5))
    D.Categorical()
    D.Categorical(x, x)
    D.Categorical(torch.tensor(1.0))
    D.Categorical(logits=torch.tensor(1.0))
    D.Categorical([0.5, 0.5])
    D.Categorical(torch.tensor([-1.0, 1.0]))
    D.Categorical(torch.tensor([0.0, 0.0]))
    D.Categorical(logits=torch.tensor([torch.nan, 0.0]))
    D.Categorical(x).log_prob(torch.tensor(3))
    D.Categorical(torch.stack([x, x])).log_prob(torch.tensor([0, 1, 2]))
    D.Categorical(x).rsample()
    D.Categorical(x).cdf(torch.tensor(1))
    """,
        text=160,
    )
