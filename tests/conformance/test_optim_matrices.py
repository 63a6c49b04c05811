"""Muon and Adafactor: PyTorch's numbers, state dicts and errors, where test_optim cannot ask for them.

Muon is for matrices alone. PyTorch computes its direction in bfloat16: for small matrices the rounding here
is the same to the bit, for larger ones sums in another order end in neighbouring numbers of bfloat16.
"""

import inspect

import numpy as np
import pytest

import rushlight

torch = pytest.importorskip("torch", reason="needs the conformance extra")

LIBRARIES = (torch, rushlight)
SHAPES = [(5, 3), (3, 7), (4, 4), (1, 6)]
CASES = {
    "plain": {},
    "no nesterov": {"nesterov": False, "momentum": 0.5, "weight_decay": 0.0},
    "as AdamW": {"lr": 0.02, "adjust_lr_fn": "match_rms_adamw"},
    "original": {"lr": 0.02, "adjust_lr_fn": "original", "eps": 1e-3},
    "other polynomial": {"ns_coefficients": (2.0, -1.5, 0.5), "ns_steps": 3},
}


def trained(lib, options, shapes, steps, dtype="float32"):
    """Parameters after some steps along drawn gradients, and the optimizer."""
    rng = np.random.default_rng(0)
    params = [lib.tensor(rng.standard_normal(shape).astype(dtype), requires_grad=True) for shape in shapes]
    optimizer = lib.optim.Muon([{"params": params[:1]}, {"params": params[1:], "lr": 0.1}], **options)
    for _ in range(steps):
        for param in params:
            param.grad = lib.tensor(rng.standard_normal(tuple(param.shape)).astype(dtype)) + param.detach()
        optimizer.step()
    return params, optimizer


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_muon(name, dtype):
    (theirs, expected), (ours, made) = (trained(lib, CASES[name], SHAPES, 10, dtype) for lib in LIBRARIES)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine.detach().numpy(), other.detach().numpy(), rtol=1e-5, atol=1e-6)
    assert repr(made) == repr(expected)
    states = [optimizer.state_dict()["state"] for optimizer in (made, expected)]
    assert [list(each) for each in states] == [[0, 1, 2, 3]] * 2
    for number in range(4):
        assert list(states[0][number]) == list(states[1][number]) == ["momentum_buffer"]
        mine, other = (each[number]["momentum_buffer"].numpy() for each in states)
        assert mine.dtype == other.dtype
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6)


def test_muon_with_larger_matrices():
    (theirs, _), (ours, _) = (trained(lib, {"lr": 0.1}, [(96, 64), (32, 128)], 5) for lib in LIBRARIES)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine.detach().numpy(), other.detach().numpy(), atol=0.02)


def test_state_of_muon_goes_both_ways():
    for first, second in (LIBRARIES, LIBRARIES[::-1]):
        _, optimizer = trained(first, {}, SHAPES, 3)
        saved = optimizer.state_dict()
        for state in saved["state"].values():
            state["momentum_buffer"] = second.tensor(state["momentum_buffer"].numpy())
        _, other = trained(second, {"lr": 0.5}, SHAPES, 0)
        other.load_state_dict(saved)
        assert repr(other) == repr(optimizer)


def test_muon_takes_pytorchs_arguments():
    found = []
    for lib in LIBRARIES:
        parameters = inspect.signature(lib.optim.Muon.__init__).parameters.values()
        made = lib.optim.Muon([lib.zeros(2, 2, requires_grad=True)])
        found.append(
            ([(each.name, each.kind, each.default) for each in parameters], list(made.defaults.items()))
        )
    assert found[0] == found[1]


WRONG = [
    lambda t, p: t.optim.Muon([p[0]]),
    lambda t, p: t.optim.Muon([p], lr=-1),
    lambda t, p: t.optim.Muon([p], lr=t.ones(2)),
    lambda t, p: t.optim.Muon([p], momentum=-0.5),
    lambda t, p: t.optim.Muon([p], weight_decay=-0.5),
    lambda t, p: t.optim.Muon([p], adjust_lr_fn="best"),
    lambda t, p: t.optim.Muon([p], ns_steps=100).step(),
    lambda t, p: t.optim.Muon([p], ns_coefficients=(1.0, 2.0)).step(),
    lambda t, p: t.optim.Adafactor([p], lr=-1),
    lambda t, p: t.optim.Adafactor([p], lr=t.ones(2)),
    lambda t, p: t.optim.Adafactor([p], beta2_decay=0.5),
    lambda t, p: t.optim.Adafactor([p], eps=(-1.0, 0.1)),
    lambda t, p: t.optim.Adafactor([p], eps=(None, -0.1)),
    lambda t, p: t.optim.Adafactor([p], d=0.5),
    lambda t, p: t.optim.Adafactor([p], weight_decay=-0.5),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_errors(number):
    raised = []
    for lib in LIBRARIES:
        param = lib.ones(2, 2).requires_grad_()
        param.grad = lib.ones(2, 2)
        with pytest.raises(ValueError) as error:
            WRONG[number](lib, param.detach() if number == 0 else param)
        raised.append(str(error.value))
    assert raised[0] == raised[1]
