"""Optimizers: groups, state, hooks, saving and loading, and what each rule must do whatever its numbers."""

import copy
import inspect
import math
import pickle

import pytest

import rushlight as torch
from rushlight import optim
from rushlight.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
    required,
)

FIRST_ORDER = [
    "ASGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "NAdam",
    "RAdam",
    "RMSprop",
    "Rprop",
    "SGD",
]


def leaf(*values):
    return torch.tensor(values, requires_grad=True)


def descend(optimizer, param, steps=1):
    """Steps down the square of the distance from 3."""
    for _ in range(steps):
        optimizer.zero_grad()
        ((param - 3) * (param - 3)).sum().backward()
        optimizer.step()


@pytest.mark.parametrize("name", FIRST_ORDER)
def test_every_rule_descends_and_ascends(name):
    for maximize in (False, True):
        param = leaf(1.0, 5.0)
        optimizer = getattr(optim, name)([param], lr=0.01, maximize=maximize)
        descend(optimizer, param, 20)
        distance = (param.detach() - 3).abs()
        assert bool((distance > 2 if maximize else distance < 2).all())


@pytest.mark.parametrize("name", FIRST_ORDER)
def test_a_step_leaves_parameters_leaves(name):
    param, idle = leaf(1.0), leaf(1.0)
    optimizer = getattr(optim, name)([param, idle])
    descend(optimizer, param)
    assert param.is_leaf and param.requires_grad and param.grad_fn is None
    assert idle.item() == 1.0, "a parameter without gradient stays as it is"
    assert all(not value.requires_grad for value in optimizer.state[param].values())


@pytest.mark.parametrize("name", FIRST_ORDER)
def test_zero_size_and_scalar_parameters(name):
    empty, scalar = torch.zeros(0, 3, requires_grad=True), torch.tensor(1.0, requires_grad=True)
    optimizer = getattr(optim, name)([empty, scalar])
    (empty.sum() + scalar * 2).backward()
    optimizer.step()
    assert empty.shape == (0, 3)
    assert scalar.item() != 1.0


def test_sgd_by_hand():
    param = leaf(1.0)
    optimizer = optim.SGD([param], lr=0.5, momentum=0.5, dampening=0.25, weight_decay=0.125)
    expected, velocity = 1.0, None
    for gradient in (1.0, -2.0, 4.0):
        param.grad = torch.tensor([gradient])
        optimizer.step()
        direction = gradient + 0.125 * expected
        velocity = direction if velocity is None else 0.5 * velocity + 0.75 * direction
        expected -= 0.5 * velocity
        assert param.item() == expected


def test_adam_by_hand():
    param = torch.tensor([1.0], dtype=torch.float64, requires_grad=True)
    optimizer = optim.AdamW([param], lr=0.1, betas=(0.5, 0.75), eps=0.01, weight_decay=0.2)
    expected, mean, square = 1.0, 0.0, 0.0
    for step, gradient in enumerate((1.0, -2.0, 4.0), start=1):
        param.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
        mean = 0.5 * mean + 0.5 * gradient
        square = 0.75 * square + 0.25 * gradient**2
        root = math.sqrt(square / (1 - 0.75**step))
        expected = expected * (1 - 0.1 * 0.2) - 0.1 * mean / (1 - 0.5**step) / (root + 0.01)
        assert param.item() == pytest.approx(expected, rel=1e-14)


def test_a_nan_gradient_is_not_hidden():
    for name in set(FIRST_ORDER) - {"Rprop"}:  # a NaN has no sign, and Rprop sees nothing else
        param = leaf(1.0)
        optimizer = getattr(optim, name)([param])
        for _ in range(2):
            param.grad = torch.tensor([math.nan])
            optimizer.step()
        assert math.isnan(param.item()), name


def test_amsgrad_never_forgets_a_large_gradient():
    param = leaf(1.0)
    optimizer = optim.Adam([param], amsgrad=True, betas=(0.0, 0.5))
    for gradient in (100.0, 1.0, 1.0, 1.0):
        param.grad = torch.tensor([gradient])
        optimizer.step()
    assert optimizer.state[param]["max_exp_avg_sq"].item() == 5000.0


def test_lbfgs_solves_a_quadratic_at_once():
    param = leaf(5.0, -3.0)
    optimizer = optim.LBFGS([param], line_search_fn="strong_wolfe")
    losses = []

    def closure():
        optimizer.zero_grad()
        loss = ((param - 3) * (param - 3)).sum()
        loss.backward()
        losses.append(loss.item())
        return loss

    first = optimizer.step(closure)
    assert first.item() == losses[0] == 40.0
    assert (param.detach() - 3).abs().max().item() < 1e-6
    assert len(losses) < 8


def test_rates_of_groups_may_change_between_steps():
    first, second = leaf(0.0), leaf(0.0)
    optimizer = optim.SGD([{"params": [first]}, {"params": second, "lr": 1.0}], lr=0.5)
    assert optimizer.defaults["lr"] == 0.5
    for _ in range(2):
        first.grad, second.grad = torch.tensor([1.0]), torch.tensor([1.0])
        optimizer.step()
        optimizer.param_groups[0]["lr"] = 4.0
    assert (first.item(), second.item()) == (-4.5, -2.0)


def test_adding_a_group():
    first, second = leaf(0.0), leaf(0.0)
    optimizer = optim.Adagrad([first], lr=1.0, initial_accumulator_value=3.0)
    optimizer.add_param_group({"params": [second], "lr": 0.5})
    first.grad, second.grad = torch.tensor([1.0]), torch.tensor([1.0])
    optimizer.step()
    assert (first.item(), second.item()) == (-0.5, -0.25)


def test_zero_grad():
    param = leaf(1.0)
    optimizer = optim.SGD([param])
    param.grad = gradient = torch.tensor([1.0])
    optimizer.zero_grad(set_to_none=False)
    assert param.grad is gradient and gradient.item() == 0.0
    optimizer.zero_grad()
    assert param.grad is None
    param.grad = param * 2
    assert param.grad.grad_fn is not None
    optimizer.zero_grad(set_to_none=False)
    assert param.grad.grad_fn is None and param.grad.item() == 0.0


def test_the_closure_is_called_once_with_gradients_on():
    param = leaf(1.0)
    calls = []

    def closure():
        calls.append(torch.is_grad_enabled())
        loss = (param * param).sum()
        loss.backward()
        return loss

    with torch.no_grad():
        loss = optim.Adam([param], lr=0.5).step(closure)
    assert calls == [True]
    assert loss.item() == 1.0
    assert param.item() == pytest.approx(0.5)


def test_momentum_state_exists_only_with_momentum():
    param = leaf(1.0)
    plain = optim.SGD([param])
    descend(plain, param)
    assert plain.state_dict()["state"] == {}
    heavy = optim.SGD([param], momentum=0.5)
    descend(heavy, param)
    assert list(heavy.state[param]) == ["momentum_buffer"]
    assert heavy.state[param]["momentum_buffer"] is not param.grad


def test_named_parameters():
    weight, bias = leaf(1.0), leaf(2.0)
    optimizer = optim.SGD([("weight", weight), ("bias", bias)])
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    plain = optim.SGD([weight, bias], lr=9.0)
    state = plain.state_dict()
    optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    assert optimizer.param_groups[0]["lr"] == 9.0
    assert optimizer.state_dict()["param_groups"][0]["params"] == [0, 1]


def test_duplicates_warn():
    param = leaf(1.0)
    with pytest.warns(UserWarning, match="duplicate parameters"):
        optimizer = optim.SGD([param, param])
    assert optimizer.state_dict()["param_groups"][0]["params"] == [0, 0]


@pytest.mark.parametrize("name", [*FIRST_ORDER, "LBFGS"])
def test_saving_and_going_on(name):
    def closure_for(optimizer, param):
        def closure():
            optimizer.zero_grad()
            loss = ((param - 3) * (param - 3) * (param - 3) * (param - 3)).sum()
            loss.backward()
            return loss

        return closure

    param = leaf(1.0, 7.0)
    options = {"max_iter": 2} if name == "LBFGS" else {}
    optimizer = getattr(optim, name)([param], lr=0.03, **options)
    for _ in range(3):
        optimizer.step(closure_for(optimizer, param))
    twin_param = param.detach().clone().requires_grad_()
    twin = getattr(optim, name)([twin_param], **options)
    twin.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for _ in range(3):
        optimizer.step(closure_for(optimizer, param))
        twin.step(closure_for(twin, twin_param))
    assert param.tolist() == twin_param.tolist()


def test_copies_have_their_own_parameters():
    param = leaf(1.0)
    optimizer = optim.Adam([param], lr=0.1)
    descend(optimizer, param)
    for twin in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        (twin_param,) = twin.param_groups[0]["params"]
        assert twin_param is not param
        assert list(twin.state) == [twin_param]
        before = param.item()
        descend(twin, twin_param)
        assert param.item() == before != twin_param.item()


def test_loading_takes_the_type_of_the_parameter():
    param = torch.tensor([1.0], dtype=torch.float64, requires_grad=True)
    optimizer = optim.Adam([param])
    state = {"step": torch.tensor(3.0), "exp_avg": torch.tensor([1.0]), "exp_avg_sq": torch.tensor([2.0])}
    saved = optimizer.state_dict()
    optimizer.load_state_dict({**saved, "state": {0: state, "note": "kept"}})
    kinds = [value.dtype for value in optimizer.state[param].values()]
    assert kinds == [torch.float32, torch.float64, torch.float64]
    assert optimizer.state["note"] == "kept"


def test_loading_what_older_versions_saved():
    """Options that did not exist yet are filled in, and counters that were numbers become tensors."""
    param = leaf(1.0)
    old = {
        "state": {0: {"step": 7, "mu_product": 0.5, "exp_avg": torch.ones(1), "exp_avg_sq": torch.ones(1)}},
        "param_groups": [
            {
                "lr": 0.1,
                "betas": (0.9, 0.999),
                "eps": 1e-8,
                "weight_decay": 0,
                "momentum_decay": 4e-3,
                "params": [0],
            }
        ],
    }
    optimizer = optim.NAdam([param], maximize=True)
    optimizer.load_state_dict(old)
    assert optimizer.param_groups[0]["maximize"] is False
    assert optimizer.state[param]["step"].item() == 7.0
    assert optimizer.state[param]["mu_product"].dtype is torch.float32
    descend(optimizer, param)
    assert optimizer.state[param]["step"].item() == 8.0


def test_adamw_stays_decoupled_when_it_loads_adam():
    adam, adamw = optim.Adam([leaf(1.0)]), optim.AdamW([leaf(1.0)])
    adamw.load_state_dict(adam.state_dict())
    assert adamw.param_groups[0]["decoupled_weight_decay"] is True


def test_loading_refuses_other_shapes_of_groups():
    optimizer = optim.SGD([leaf(1.0), leaf(2.0)])
    with pytest.raises(ValueError, match="different number of parameter groups: 2 instead of 1"):
        optimizer.load_state_dict(optim.SGD([{"params": [leaf(1.0)]}, {"params": [leaf(1.0)]}]).state_dict())
    with pytest.raises(
        ValueError, match=r"doesn't match the size of optimizer's group: .* \[1\] instead of \[2\]"
    ):
        optimizer.load_state_dict(optim.SGD([leaf(1.0)]).state_dict())


def test_step_hooks_and_their_order():
    param, trace = leaf(1.0), []
    optimizer = optim.SGD([param])

    def note(text, result=None):
        def hook(owner, args, kwargs):
            assert owner is optimizer and args[0] is optimizer
            trace.append(text)
            return result

        return hook

    handles = [
        register_optimizer_step_pre_hook(note("global before")),
        register_optimizer_step_post_hook(note("global after")),
        optimizer.register_step_pre_hook(note("before")),
        optimizer.register_step_post_hook(note("after")),
    ]
    try:
        optimizer.step()
    finally:
        for handle in handles:
            handle.remove()
    optimizer.step()
    assert trace == ["global before", "before", "after", "global after"]


def test_a_pre_hook_may_change_the_arguments():
    optimizer = optim.SGD([leaf(1.0)])
    optimizer.register_step_pre_hook(lambda owner, args, kwargs: ((owner, lambda: "loss"), {}))
    assert optimizer.step() == "loss"
    optimizer.register_step_pre_hook(lambda owner, args, kwargs: 3)
    with pytest.raises(
        RuntimeError, match=r"must return None or a tuple of \(new_args, new_kwargs\), but got 3"
    ):
        optimizer.step()


class Twice(optim.SGD):
    """A rule on top of another."""

    def step(self, closure=None):
        super().step()
        return super().step()


class SignDescent(optim.Optimizer):
    """A user's own rule, written as PyTorch's tutorials write them."""

    def __init__(self, params, lr=required):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    param.add_(param.grad.sign(), alpha=-group["lr"])
                    self.state[param]["step"] = self.state[param].get("step", 0) + 1


@pytest.mark.parametrize("kind", [Twice, SignDescent])
def test_rules_of_ones_own(kind):
    param, calls = leaf(1.0), []
    optimizer = kind([param], lr=0.25)
    optimizer.register_step_post_hook(lambda owner, args, kwargs: calls.append(owner))
    param.grad = torch.tensor([1.0])
    optimizer.step()
    assert calls == [optimizer], "hooks run once for a step, however many methods it goes through"
    assert param.item() == (0.5 if kind is Twice else 0.75)
    optimizer.load_state_dict(optimizer.state_dict())
    assert optimizer.state[param] == ({} if kind is Twice else {"step": 1})


def test_a_required_option_must_be_given():
    with pytest.raises(ValueError, match="didn't specify a value of required optimization parameter lr"):
        SignDescent([leaf(1.0)])
    optimizer = SignDescent([{"params": [leaf(1.0)], "lr": 0.5}])
    assert repr(optimizer) == "SignDescent (\nParameter Group 0\n    lr: 0.5\n)"


def test_hooks_around_saving_and_loading():
    optimizer, trace = optim.SGD([leaf(1.0)], lr=0.5), []
    optimizer.register_state_dict_pre_hook(lambda owner: trace.append("before saving"))
    optimizer.register_state_dict_post_hook(lambda owner, state: {**state, "note": 1})
    optimizer.register_state_dict_post_hook(
        lambda owner, state: state.update(first="note" not in state), prepend=True
    )
    optimizer.register_load_state_dict_pre_hook(lambda owner, state: state.pop("note"))
    optimizer.register_load_state_dict_pre_hook(lambda owner, state: trace.append("first"), prepend=True)
    optimizer.register_load_state_dict_post_hook(lambda owner: trace.append("loaded"))
    state = optimizer.state_dict()
    assert (state["note"], state["first"]) == (1, True)
    with pytest.raises(TypeError):
        optimizer.load_state_dict(state)  # the hook returned the note, which is no state dict
    assert state["note"] == 1, "hooks get a copy"
    assert trace == ["before saving", "first"]


def test_load_hooks_run_after_loading():
    optimizer, trace = optim.SGD([leaf(1.0)], lr=0.5), []
    optimizer.register_load_state_dict_post_hook(lambda owner: trace.append(owner.param_groups[0]["lr"]))
    optimizer.load_state_dict(optim.SGD([leaf(1.0)], lr=0.25).state_dict())
    assert trace == [0.25]


def test_capturable_is_accepted_everywhere():
    """PyTorch refuses it on the CPU; here it asks for what holds anyway."""
    for name in FIRST_ORDER:
        if name not in ("SGD", "Adagrad", "Adafactor"):
            param = leaf(1.0)
            descend(getattr(optim, name)([param], capturable=True, lr=0.1), param)
            assert param.item() > 1.0


def test_a_tensor_in_place_of_a_list():
    with pytest.raises(TypeError, match=r"got torch.FloatTensor; .* \[tensor\]"):
        optim.SGD(leaf(1.0))


def test_a_rule_must_be_defined():
    with pytest.raises(
        NotImplementedError, match=r"Optimizer defines neither step\(\) nor _update_group\(\)"
    ):
        optim.Optimizer([leaf(1.0)], {}).step()


RECORDABLE = ["Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RMSprop", "SGD"]


@pytest.mark.parametrize("name", RECORDABLE)
def test_changing_numbers_may_be_tensors(name, monkeypatch):
    """What a recorded step needs: rates, momenta and counts as tensors in double give the same parameters."""
    options = {"lr": 0.1, "weight_decay": 0.1}
    if name in ("SGD", "RMSprop"):
        options["momentum"] = 0.9
    plain, tensors = leaf(1.0, -2.0, 0.3), leaf(1.0, -2.0, 0.3)
    descend(getattr(optim, name)([plain], **options), plain, 5)

    def as_tensor(value):
        if isinstance(value, tuple):
            return tuple(as_tensor(each) for each in value)
        return torch.tensor(value, dtype=torch.float64)

    monkeypatch.setattr(optim.Optimizer, "_setting", lambda self, group, key: as_tensor(group[key]))
    module = inspect.getmodule(getattr(optim, name))
    if hasattr(module, "count_of"):
        monkeypatch.setattr(module, "count_of", lambda counter: counter.double())
    optimizer = getattr(optim, name)([tensors], **options)
    with monkeypatch.context() as context:
        context.setattr(torch.Tensor, "item", None)  # a recording cannot read a value
        descend(optimizer, tensors, 5)
    assert tensors.tolist() == pytest.approx(plain.tolist(), rel=1e-6)
