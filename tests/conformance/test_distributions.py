"""Poisson and Binomial: samples, probabilities, gradients, texts and refusals are PyTorch's."""

from __future__ import annotations

import pytest

import rushlight

torch = pytest.importorskip("torch", reason="needs the conformance extra")

from tests.conformance.side_by_side import assert_same

BOTH = """
    from importlib import import_module
    D = import_module(torch.__name__ + ".distributions")
    _ = torch.manual_seed(3)
    d = D.Poisson(torch.tensor([0.0, 0.5, 4.0, 40.0]))
    b = D.Binomial(12, torch.tensor([0.0, 0.1, 0.5, 1.0]))
    l = D.Binomial(torch.tensor([[3.0], [30.0]]), logits=torch.tensor([-2.0, 0.0, 9.0]))
"""


def test_samples_come_from_the_same_stream():
    assert_same(
        BOTH
        + """
    for each in (d, b, l, D.Poisson(3.0), D.Binomial(5, 0.5), d.expand((2, 4)), D.Poisson(2)):
        note(each.sample(), each.sample((5, 2)), each.sample(torch.Size([3])).requires_grad)
    d.sample_n(2)
    D.Poisson(torch.tensor([1.5], dtype=torch.float64, requires_grad=True)).sample((4,))
    D.Poisson(torch.tensor([1, 2])).sample()
    torch.rand(3)
    """,
        text=40,
    )


def test_probabilities_and_moments():
    assert_same(
        BOTH
        + """
    for each in (d, b, l, D.Poisson(3.0), D.Binomial(5, 0.5)):
        values = each.sample((6,))
        note(each.log_prob(values), each.mean, each.variance, each.stddev, each.mode)
        note(each.batch_shape, each.event_shape, each.support, each.arg_constraints)
        note(each.has_rsample, each.has_enumerate_support)
    d.log_prob(torch.tensor([[1], [2]]))
    b.entropy(), b.perplexity()
    b.enumerate_support(), b.enumerate_support(expand=False)
    b.logits, l.probs, l.param_shape
    """,
        tolerance=2e-5,  # differences of log-gammas, which are rounded
    )


def test_gradients_reach_the_parameters():
    assert_same(
        BOTH
        + """
    rate = torch.tensor([0.5, 4.0], requires_grad=True)
    D.Poisson(rate).log_prob(torch.tensor([[0.0], [3.0]])).sum().backward()
    rate.grad
    for name in ("probs", "logits"):
        given = torch.tensor([0.0, 0.3, 0.8], requires_grad=True)
        made = D.Binomial(7, **{name: given})
        (made.log_prob(torch.tensor([2.0, 0.0, 7.0])) + made.entropy() + made.mean).sum().backward()
        note(given.grad)
    """
    )


def test_texts_and_refusals():
    assert_same(
        BOTH
        + """
    str(d), str(b), str(l), str(D.Poisson(3.0)), str(d.expand((3, 4)))
    len(str(l.probs)) and str(l)
    D.Poisson(torch.tensor([-1.0, 2.0]))
    D.Poisson(float("nan"))
    D.Poisson("three")
    D.Poisson(-1.0, validate_args=False).rate
    D.Binomial(-1, 0.5)
    D.Binomial(2.5, 0.5)
    D.Binomial(3, 1.5)
    D.Binomial(3)
    D.Binomial(3, 0.5, 0.5)
    d.log_prob(3.0)
    d.log_prob(torch.tensor([1.5, 0.0, 0.0, 0.0]))
    d.log_prob(torch.ones(3))
    b.log_prob(torch.tensor(13.0))
    D.Poisson(1.0, validate_args=False).log_prob(torch.tensor(0.5))
    d.expand((2, 4)).log_prob(-torch.ones(2, 4))
    l.entropy()
    l.enumerate_support()
    for name in ("entropy", "perplexity", "rsample", "enumerate_support"):
        try:
            getattr(d, name)()
        except NotImplementedError:
            note(name)
    d.cdf(torch.ones(4))
    d.icdf(torch.ones(4))
    D.Distribution.set_default_validate_args(3)
    D.Distribution.set_default_validate_args(False)
    D.Poisson(-2.0).mean
    D.Distribution.set_default_validate_args(True)
    class Own(D.Poisson):
        def __init__(self):
            super().__init__(2.0)
    Own().mean
    Own().expand((2,))
    """,
        text=400,
    )


def test_a_whole_message_is_pytorchs():
    found = []
    for library in (torch, rushlight):
        with pytest.raises(ValueError) as caught:
            library.distributions.Binomial(library.tensor([3.0, 4.0]), library.tensor([0.5, 7.0]))
        found.append(str(caught.value))
    assert found[0] == found[1]
    assert "found invalid values:\ntensor([0.5000, 7.0000])" in found[1]
