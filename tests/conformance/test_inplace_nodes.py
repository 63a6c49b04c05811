"""`grad_fn` of in-place methods that are not in the op table, or not with every kind of operand: its name and
what it leads to are PyTorch's. The op matrix compares the others.
"""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the conformance extra")

import rushlight

CALLS = """
    bernoulli_(); bernoulli_(0.3); bernoulli_(L.full((2, 3), 0.5)); cauchy_(); exponential_(); geometric_(0.5)
    log_normal_();
    normal_(); uniform_(); random_(); random_(5); random_(to=5); random_(2, 5); random_(2, None)
    polygamma_(0); polygamma_(1); polygamma_(2); mvlgamma_(1); nan_to_num_(); fill_diagonal_(1)
    eq_(1); eq_(True); eq_(L.tensor(1.0)); eq_(L.ones(3)); ne_(1); ne_(L.ones(3)); lt_(0.5); lt_(L.ones(3))
    le_(1); le_(L.ones(3)); gt_(1); gt_(L.ones(3)); ge_(1); ge_(L.ones(3))
    logit_(); logit_(0.3); logit_(1); round_(decimals=2)
    squeeze_(); squeeze_(0); squeeze_((0, 1)); squeeze_(0, 1); unsqueeze_(0); t_(); transpose_(0, 1)
    fill_(1); fill_(L.tensor(1.0)); masked_fill_(L.tensor([True, False, True]), 1)
    masked_fill_(L.tensor([True, False, True]), L.tensor(1.0)); zero_(); copy_(L.ones(3))
    index_fill_(0, L.tensor([0]), 1); index_fill_(0, L.tensor([0]), L.tensor(1.0))
    index_put_((L.tensor([0]),), L.tensor(1.0)); put_(L.tensor([0]), L.ones(1))
    clamp_(0); clamp_(0, 1); clamp_(None, 1); clamp_min_(1); clamp_max_(1); pow_(2); pow_(L.ones(3))
    remainder_(2); remainder_(L.ones(3)); fmod_(2); fmod_(L.ones(3)); xlogy_(2); xlogy_(L.ones(3))
    div_(2); div_(2, rounding_mode="floor"); copysign_(1.0); copysign_(L.ones(3)); lerp_(L.ones(3), 0.5)
    __iadd__(2); __imul__(2); __itruediv__(2); __ipow__(2); __imod__(2); __setitem__(0, 1)
    __setitem__((0, 1), L.tensor(2.0)); __setitem__(L.tensor([0]), 2)
"""


def outcome(library, call):
    """The node after an in-place call and where it leads, the value, and the gradient."""
    library.manual_seed(0)
    leaf = (library.arange(6.0).reshape(2, 3) / 7 + 1.2).requires_grad_()
    x = leaf.clone()
    eval("x." + call, {"x": x, "L": library})
    name = x.grad_fn.name()
    after = [None if node is None else node.name() for node, _ in x.grad_fn.next_functions]
    x.sum().backward()
    return name, after, tuple(x.shape), x.tolist(), leaf.grad.tolist()


@pytest.mark.parametrize(
    "call", [call.strip() for call in CALLS.replace("\n", ";").split(";") if call.strip()]
)
def test_node_of_an_inplace_call(call):
    (name, after, shape, value, grad), expected = outcome(rushlight, call), outcome(torch, call)
    assert (name, after, shape) == (expected[0].rsplit(":", 1)[-1], expected[1], expected[2])
    assert np.allclose(value, expected[3], rtol=1e-5, equal_nan=True)
    assert np.allclose(grad, expected[4], rtol=1e-4, atol=1e-6, equal_nan=True)
