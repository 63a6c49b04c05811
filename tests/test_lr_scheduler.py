"""Learning rate schedulers: closed forms, corners of schedules, saving, and what they warn of and refuse."""

import copy
import math
import warnings

import pytest

import rushlight as torch
from rushlight.optim import SGD, Adam, lr_scheduler

STEPS = 60


@pytest.fixture
def optimizer():
    weight, bias = torch.zeros(2, requires_grad=True), torch.zeros(1, requires_grad=True)
    return SGD([{"params": [weight]}, {"params": [bias], "lr": 0.2}], lr=0.5, momentum=0.9)


def rates_of(optimizer, scheduler, steps=STEPS):
    """The first group's rate before the first step and after each."""
    rates = [scheduler.get_last_lr()[0]]
    for _ in range(steps):
        optimizer.step()
        scheduler.step()
        rates.append(scheduler.get_last_lr()[0])
    return rates


CLOSED_FORMS = {
    "lambda": (lambda o: lr_scheduler.LambdaLR(o, lambda e: 0.9**e), lambda e: 0.9**e),
    "multiplicative": (lambda o: lr_scheduler.MultiplicativeLR(o, lambda e: 0.9), lambda e: 0.9**e),
    "step": (lambda o: lr_scheduler.StepLR(o, 7, 0.5), lambda e: 0.5 ** (e // 7)),
    "multi-step": (
        lambda o: lr_scheduler.MultiStepLR(o, [5, 9, 9], 0.5),
        lambda e: 0.5 ** ((e >= 5) + 2 * (e >= 9)),
    ),
    "constant": (lambda o: lr_scheduler.ConstantLR(o, 0.25, 8), lambda e: 0.25 if e < 8 else 1),
    "linear": (lambda o: lr_scheduler.LinearLR(o, 0.25, 1, 10), lambda e: 0.25 + 0.75 * min(e, 10) / 10),
    "exponential": (lambda o: lr_scheduler.ExponentialLR(o, 0.9), lambda e: 0.9**e),
    "polynomial": (lambda o: lr_scheduler.PolynomialLR(o, 50, 2.0), lambda e: (1 - min(e, 50) / 50) ** 2),
    "cosine": (
        lambda o: lr_scheduler.CosineAnnealingLR(o, 20),
        lambda e: (1 + math.cos(math.pi * e / 20)) / 2,
    ),
    "restarts": (
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 15),
        lambda e: (1 + math.cos(math.pi * (e % 15) / 15)) / 2,
    ),
    "triangle": (
        lambda o: lr_scheduler.CyclicLR(o, 0.0, 0.5, 5, 10),
        lambda e: e % 15 / 5 if e % 15 <= 5 else (15 - e % 15) / 10,
    ),
}


@pytest.mark.parametrize("case", CLOSED_FORMS)
def test_recurrences_follow_their_closed_forms(optimizer, case):
    make, factor = CLOSED_FORMS[case]
    expected = [0.5 * factor(epoch) for epoch in range(STEPS + 1)]
    assert rates_of(optimizer, make(optimizer)) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("case", CLOSED_FORMS)
def test_every_group_keeps_its_own_base(optimizer, case):
    if case == "triangle":
        pytest.skip("its bounds are arguments")
    scheduler = CLOSED_FORMS[case][0](optimizer)
    for _ in range(13):
        optimizer.step()
        scheduler.step()
    first, second = scheduler.get_last_lr()
    assert first == optimizer.param_groups[0]["lr"]
    assert second == pytest.approx(first * 0.4)


@pytest.mark.parametrize("anneal", ["cos", "linear"])
@pytest.mark.parametrize("three_phase", [False, True])
def test_one_cycle_reaches_its_corners(anneal, three_phase):
    optimizer = Adam([torch.zeros(1, requires_grad=True)])
    scheduler = lr_scheduler.OneCycleLR(
        optimizer, 1.0, 101, pct_start=0.3, anneal_strategy=anneal, three_phase=three_phase, div_factor=10
    )
    rates, betas = [], []
    for _ in range(101):
        rates.append(scheduler.get_last_lr()[0])
        betas.append(optimizer.param_groups[0]["betas"])
        optimizer.step()
        scheduler.step() if len(rates) < 101 else None
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0, rel=0.01)
    assert 28 <= rates.index(max(rates)) <= 30
    assert rates[-1] == pytest.approx(0.1 / 1e4)
    assert betas[0] == betas[-1] == (pytest.approx(0.95), 0.999)
    assert min(beta for beta, _ in betas) == pytest.approx(0.85, rel=0.01)


def test_one_cycle_ends(optimizer):
    scheduler = lr_scheduler.OneCycleLR(optimizer, 1.0, 3)
    for _ in range(3):
        optimizer.step()
        scheduler.step()
    optimizer.step()
    with pytest.raises(ValueError, match="Tried to step 4 times"):
        scheduler.step()


def test_plateau_waits_cools_down_and_stops_at_its_floor(optimizer):
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1, cooldown=2, min_lr=0.1)
    rates = []
    for metric in [1.0] * 12:
        scheduler.step(metric)
        rates.append(scheduler.get_last_lr()[0])
    assert rates == [0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.125, 0.125, 0.125, 0.125, 0.1, 0.1]


def test_plateau_takes_a_tensor_and_a_new_group(optimizer):
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
    optimizer.add_param_group({"params": [torch.zeros(1, requires_grad=True)], "lr": 8.0})
    for _ in range(2):
        scheduler.step(torch.tensor(1.0))
    assert scheduler.get_last_lr() == [0.25, 0.1, 4.0]


def test_plateau_with_floors_refuses_a_new_group(optimizer):
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, min_lr=[0.1, 0.1])
    optimizer.add_param_group({"params": [torch.zeros(1, requires_grad=True)]})
    scheduler.step(1.0)
    with pytest.raises(RuntimeError, match=r"\(3\) differs from when .* \(2\)"):
        scheduler.step(1.0)


def test_sequence_starts_each_part_anew(optimizer):
    parts = [lr_scheduler.ConstantLR(optimizer, 0.1, 100), lr_scheduler.ExponentialLR(optimizer, 0.5)]
    scheduler = lr_scheduler.SequentialLR(optimizer, parts, [3])
    assert rates_of(optimizer, scheduler, 5) == pytest.approx([0.05, 0.05, 0.05, 0.5, 0.25, 0.125])


def test_chain_multiplies(optimizer):
    parts = [lr_scheduler.StepLR(optimizer, 2, 0.1), lr_scheduler.ExponentialLR(optimizer, 0.5)]
    scheduler = lr_scheduler.ChainedScheduler(parts)
    assert rates_of(optimizer, scheduler, 3) == pytest.approx([0.5, 0.25, 0.0125, 0.00625])


class Decay:
    def __init__(self, base):
        self.base = base

    def __call__(self, epoch):
        return self.base**epoch


SAVED = {
    "lambda object": lambda o, base: lr_scheduler.LambdaLR(o, Decay(base)),
    "builtin function": lambda o, base: lr_scheduler.LambdaLR(o, math.sqrt),
    "cycle object": lambda o, base: lr_scheduler.CyclicLR(
        o, 0.1, 0.2, 5, scale_fn=Decay(base), scale_mode="iterations"
    ),
    "exp_range": lambda o, base: lr_scheduler.CyclicLR(o, 0.1, 0.2, 5, mode="exp_range", gamma=base),
    "sequence": lambda o, base: lr_scheduler.SequentialLR(
        o, [lr_scheduler.ExponentialLR(o, base), lr_scheduler.LambdaLR(o, Decay(base))], [4]
    ),
    "chain": lambda o, base: lr_scheduler.ChainedScheduler([lr_scheduler.ExponentialLR(o, base)]),
}


@pytest.mark.parametrize("case", SAVED)
def test_saving_and_going_on(optimizer, case):
    scheduler = SAVED[case](optimizer, 0.9)
    rates_of(optimizer, scheduler, 6)
    saved = scheduler.state_dict()
    assert "optimizer" not in saved
    kept = copy.deepcopy(saved)
    twin_optimizer = copy.deepcopy(optimizer)
    twin = SAVED[case](twin_optimizer, 0.123)
    twin_optimizer.load_state_dict(optimizer.state_dict())
    twin.load_state_dict(saved)
    assert saved == kept, "loading changes nothing in what it is given"
    assert rates_of(twin_optimizer, twin, 9) == rates_of(optimizer, scheduler, 9)


def test_a_tensor_rate_stays_the_same_tensor():
    rate = torch.tensor(0.5)
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=rate)
    scheduler = lr_scheduler.ExponentialLR(optimizer, 0.5)
    first = scheduler.get_last_lr()[0]
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] is rate
    assert rate.item() == 0.25
    assert first.item() == 0.5, "rates handed out do not change later"


class EveryOther(lr_scheduler.LRScheduler):
    """A user's own scheduler with a closed form."""

    def get_lr(self):
        return self._get_closed_form_lr()

    def _get_closed_form_lr(self):
        return [base if self.last_epoch % 2 == 0 else 0.0 for base in self.base_lrs]


def test_a_scheduler_of_ones_own(optimizer):
    assert rates_of(optimizer, EveryOther(optimizer), 3) == [0.5, 0.0, 0.5, 0.0]
    with pytest.raises(NotImplementedError, match="LRScheduler does not define get_lr"):
        lr_scheduler.LRScheduler(optimizer)


def test_resuming_needs_initial_rates(optimizer):
    with pytest.raises(KeyError, match="initial_lr"):
        lr_scheduler.StepLR(optimizer, 3, last_epoch=5)
    for group in optimizer.param_groups:
        group["initial_lr"] = 1.0
    scheduler = lr_scheduler.CosineAnnealingLR(optimizer, 10, last_epoch=4)
    assert scheduler.last_epoch == 5
    assert scheduler.base_lrs == [1.0, 1.0]


def test_warnings_about_the_order(optimizer):
    scheduler = lr_scheduler.StepLR(optimizer, 3)
    with pytest.warns(UserWarning, match=r"`lr_scheduler.step\(\)` before `optimizer.step\(\)`"):
        scheduler.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scheduler.step()


def test_warning_about_an_overridden_step(optimizer):
    scheduler = lr_scheduler.StepLR(optimizer, 3)
    optimizer.step = lambda: None
    with pytest.warns(UserWarning, match=r"`optimizer.step\(\)` has been overridden"):
        scheduler.step()


def test_other_warnings(optimizer):
    scheduler = lr_scheduler.StepLR(optimizer, 3)
    with pytest.warns(UserWarning, match=r"please use `get_last_lr\(\)`"):
        scheduler.get_lr()
    optimizer.step()
    with pytest.warns(UserWarning, match="epoch parameter in `scheduler.step"):
        scheduler.step(7)
    assert scheduler.get_last_lr() == pytest.approx([0.5 * 0.01, 0.2 * 0.01])


def test_cycles_need_a_momentum():
    optimizer = torch.optim.Adagrad([torch.zeros(1, requires_grad=True)])
    with pytest.raises(ValueError, match="must support momentum or beta1"):
        lr_scheduler.CyclicLR(optimizer, 0.1, 0.2)
    lr_scheduler.CyclicLR(optimizer, 0.1, 0.2, cycle_momentum=False)
