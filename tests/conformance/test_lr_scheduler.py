"""Learning rate schedulers give PyTorch's rates to the last bit, its state dicts, warnings and errors.

Each case is a function of a library's schedulers and an optimizer, which makes the scheduler; it is run with
both libraries, on two parameter groups of different rates.
"""

import copy
import math
import warnings

import pytest

import rushlight

torch = pytest.importorskip("torch", reason="needs the conformance extra")


class Decay:
    """A factor that is an object, so that state dicts keep its attributes."""

    def __init__(self, base):
        self.base = base

    def __call__(self, epoch):
        return self.base**epoch


def warmup_then_cosine(s, optimizer):
    parts = [s.LinearLR(optimizer, 0.1, total_iters=20), s.CosineAnnealingLR(optimizer, 60, eta_min=1e-4)]
    return s.SequentialLR(optimizer, parts, [20])


def chain(s, optimizer):
    return s.ChainedScheduler(
        [s.ConstantLR(optimizer, 0.1, 7), s.ExponentialLR(optimizer, 0.99), s.StepLR(optimizer, 40)]
    )


CASES = {
    "lambda": lambda s, o: s.LambdaLR(o, lambda epoch: 0.95**epoch),
    "lambda per group": lambda s, o: s.LambdaLR(o, [lambda epoch: 1 / (1 + epoch), Decay(0.99)]),
    "multiplicative": lambda s, o: s.MultiplicativeLR(o, lambda epoch: 0.95),
    "multiplicative per group": lambda s, o: s.MultiplicativeLR(o, (lambda epoch: 0.99, Decay(0.9999))),
    "step": lambda s, o: s.StepLR(o, 30, gamma=0.3),
    "multi-step": lambda s, o: s.MultiStepLR(o, [30, 80, 80, 200], gamma=0.3),
    "constant": lambda s, o: s.ConstantLR(o, factor=0.3, total_iters=17),
    "constant defaults": lambda s, o: s.ConstantLR(o),
    "linear": lambda s, o: s.LinearLR(o, start_factor=0.3, end_factor=0.7, total_iters=150),
    "linear defaults": lambda s, o: s.LinearLR(o),
    "exponential": lambda s, o: s.ExponentialLR(o, 0.993),
    "polynomial": lambda s, o: s.PolynomialLR(o, total_iters=200, power=1.7),
    "polynomial defaults": lambda s, o: s.PolynomialLR(o),
    "cosine": lambda s, o: s.CosineAnnealingLR(o, T_max=50),
    "cosine with floor": lambda s, o: s.CosineAnnealingLR(o, T_max=70, eta_min=0.003),
    "cosine to the end": lambda s, o: s.CosineAnnealingLR(o, T_max=300),
    "restarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, T_0=23),
    "longer restarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, T_0=7, T_mult=2, eta_min=1e-3),
    "one cycle": lambda s, o: s.OneCycleLR(o, max_lr=0.7, total_steps=300),
    "one cycle of epochs": lambda s, o: s.OneCycleLR(o, max_lr=[0.7, 0.1], epochs=100, steps_per_epoch=3),
    "one cycle linear": lambda s, o: s.OneCycleLR(o, 0.7, 300, pct_start=0.21, anneal_strategy="linear"),
    "one cycle in three": lambda s, o: s.OneCycleLR(
        o, 0.7, 300, three_phase=True, div_factor=7, final_div_factor=31
    ),
    "one cycle without momentum": lambda s, o: s.OneCycleLR(o, 0.7, 300, cycle_momentum=False),
    "one cycle momenta": lambda s, o: s.OneCycleLR(o, 0.7, 300, base_momentum=[0.7, 0.8], max_momentum=0.97),
    "triangular": lambda s, o: s.CyclicLR(o, 0.01, 0.3, step_size_up=17),
    "triangular2": lambda s, o: s.CyclicLR(o, [0.01, 0.02], [0.3, 0.2], 13, 29, mode="triangular2"),
    "exp_range": lambda s, o: s.CyclicLR(o, 0.01, 0.3, step_size_up=11, mode="exp_range", gamma=0.993),
    "cycle scaled": lambda s, o: s.CyclicLR(o, 0.01, 0.3, 9, scale_fn=lambda x: 1 / x, scale_mode="cycle"),
    "cycle scaled by iteration": lambda s, o: s.CyclicLR(
        o, 0.01, 0.3, 9, scale_fn=Decay(0.99), scale_mode="iterations"
    ),
    "cycle without momentum": lambda s, o: s.CyclicLR(o, 0.01, 0.3, 9, cycle_momentum=False),
    "cycle momenta": lambda s, o: s.CyclicLR(o, 0.01, 0.3, 9, base_momentum=0.5, max_momentum=0.99),
    "warm-up, cosine": warmup_then_cosine,
    "chain": chain,
}

OPTIMIZERS = {
    "SGD": lambda lib, groups: lib.optim.SGD(groups, lr=0.1, momentum=0.9),
    "Adam": lambda lib, groups: lib.optim.Adam(groups, lr=0.1, betas=(0.85, 0.99)),
}


def make_optimizer(lib, kind="SGD", tensor_rate=False):
    groups = [
        {"params": [lib.zeros(2, requires_grad=True)]},
        {"params": [lib.zeros(1, requires_grad=True)], "lr": 0.037},
    ]
    if tensor_rate:
        groups = [{**group, "lr": lib.tensor(group.get("lr", 0.1))} for group in groups]
    return OPTIMIZERS[kind](lib, groups)


def record(optimizer, scheduler):
    rates = [[float(rate) for rate in scheduler.get_last_lr()]]
    for group in optimizer.param_groups:
        settings = {key: value for key, value in group.items() if key not in ("params", "lr")}
        rates.append([float(group["lr"]), settings])
    return rates


def trace(lib, optimizer, scheduler, steps):
    path = [record(optimizer, scheduler)]
    for _ in range(steps):
        optimizer.step()
        scheduler.step()
        path.append(record(optimizer, scheduler))
    return path


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("case", CASES)
def test_rates_over_300_steps(case, kind):
    paths, states = [], []
    for lib in (rushlight, torch):
        optimizer = make_optimizer(lib, kind)
        scheduler = CASES[case](lib.optim.lr_scheduler, optimizer)
        paths.append(trace(lib, optimizer, scheduler, 300))
        states.append(scheduler.state_dict())
    assert paths[0] == paths[1]
    assert states[0] == states[1]
    assert list(states[0]) == list(states[1])


@pytest.mark.parametrize("case", CASES)
def test_rate_given_as_a_tensor(case):
    paths = []
    for lib in (rushlight, torch):
        optimizer = make_optimizer(lib, tensor_rate=True)
        rates = [group["lr"] for group in optimizer.param_groups]
        scheduler = CASES[case](lib.optim.lr_scheduler, optimizer)
        paths.append([])
        for _ in range(60):
            optimizer.step()
            scheduler.step()
            paths[-1].extend(float(rate) for rate in scheduler.get_last_lr())
        assert all(group["lr"] is rate for group, rate in zip(optimizer.param_groups, rates, strict=True))
    assert paths[0] == pytest.approx(paths[1], rel=2e-6, abs=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_a_saved_run_goes_on_in_the_other_library(case):
    theirs = make_optimizer(torch)
    their_scheduler = CASES[case](torch.optim.lr_scheduler, theirs)
    trace(torch, theirs, their_scheduler, 45)
    ours = make_optimizer(rushlight)
    our_scheduler = CASES[case](rushlight.optim.lr_scheduler, ours)
    state = their_scheduler.state_dict()
    before = copy.deepcopy(state)
    our_scheduler.load_state_dict(state)
    assert state == before
    ours.load_state_dict(theirs.state_dict())
    ours.step()
    theirs.step()
    assert trace(rushlight, ours, our_scheduler, 60) == trace(torch, theirs, their_scheduler, 60)


CLOSED = [name for name in CASES if name not in ("chain", "warm-up, cosine")]


@pytest.mark.parametrize("case", CLOSED)
def test_jumping_to_an_epoch(case):
    paths = []
    for lib in (rushlight, torch):
        optimizer = make_optimizer(lib)
        scheduler = CASES[case](lib.optim.lr_scheduler, optimizer)
        optimizer.step()
        path = []
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for epoch in (3, 50, 7, 120, 0):
                scheduler.step(epoch)
                path.append(record(optimizer, scheduler))
        path.append([str(each.message) for each in caught])
        paths.append(path)
    assert paths[0] == paths[1]


def test_restarts_at_fractions_of_epochs():
    for arguments in ((5, 1), (3, 2)):
        paths = []
        for lib in (rushlight, torch):
            optimizer = make_optimizer(lib)
            scheduler = lib.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, *arguments)
            paths.append([])
            for index in range(100):
                scheduler.step(index / 4)
                paths[-1].append((record(optimizer, scheduler), scheduler.T_cur, scheduler.T_i))
        assert paths[0] == paths[1]


@pytest.mark.parametrize("case", CLOSED)
def test_resuming_at_an_epoch(case):
    """A scheduler made with ``last_epoch`` continues from groups that know their initial rate."""

    def resume(lib):
        optimizer = make_optimizer(lib)
        scheduler = CASES[case](lib.optim.lr_scheduler, optimizer)
        trace(lib, optimizer, scheduler, 20)
        with_epoch = Resumed(lib.optim.lr_scheduler, 20)
        return trace(lib, optimizer, CASES[case](with_epoch, optimizer), 50)

    assert resume(rushlight) == resume(torch)


class Resumed:
    """The schedulers of a library, each made with a given ``last_epoch``."""

    def __init__(self, schedulers, last_epoch):
        self.schedulers, self.last_epoch = schedulers, last_epoch

    def __getattr__(self, name):
        return lambda *args, **kwargs: getattr(self.schedulers, name)(
            *args, **kwargs, last_epoch=self.last_epoch
        )


PLATEAUS = [
    {},
    {"patience": 2, "factor": 0.3},
    {"patience": 1, "cooldown": 3, "threshold": 0.01},
    {"mode": "max", "patience": 1},
    {"mode": "max", "threshold_mode": "abs", "threshold": 0.05, "patience": 2},
    {"threshold_mode": "abs", "threshold": 0.05, "patience": 0},
    {"patience": 0, "min_lr": 0.004},
    {"patience": 0, "min_lr": [0.001, 0.02], "eps": 1e-3},
]


@pytest.mark.parametrize("options", PLATEAUS, ids=str)
def test_plateau(options):
    generator = torch.Generator().manual_seed(7)
    noise = torch.rand(200, generator=generator).tolist()
    metrics = [math.exp(-index / 20) + 0.2 * each for index, each in enumerate(noise)] + [math.nan]
    paths = []
    for lib in (rushlight, torch):
        optimizer = make_optimizer(lib)
        scheduler = lib.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **options)
        paths.append([])
        for metric in metrics:
            scheduler.step(lib.tensor(metric, dtype=lib.float64))
            state = list(scheduler.state_dict().items())
            paths[-1].append((record(optimizer, scheduler), state, scheduler.in_cooldown))
        twin = lib.optim.lr_scheduler.ReduceLROnPlateau(make_optimizer(lib))
        twin.load_state_dict(scheduler.state_dict())
        assert twin.state_dict() == scheduler.state_dict()
    assert paths[0] == paths[1]


WRONG = {
    "no optimizer": lambda s, o: s.StepLR(3, 1),
    "no optimizer, cyclic": lambda s, o: s.CyclicLR(3, 0.1, 0.2),
    "no optimizer, one cycle": lambda s, o: s.OneCycleLR(3, 0.1, 10),
    "no optimizer, plateau": lambda s, o: s.ReduceLROnPlateau(3),
    "resume without initial rate": lambda s, o: s.StepLR(o, 3, last_epoch=4),
    "too many lambdas": lambda s, o: s.LambdaLR(o, [lambda epoch: 1] * 3),
    "too few factors": lambda s, o: s.MultiplicativeLR(o, [lambda epoch: 1]),
    "factor is no function": lambda s, o: s.MultiplicativeLR(o, 0.5),
    "constant": lambda s, o: s.ConstantLR(o, factor=1.5),
    "constant below": lambda s, o: s.ConstantLR(o, factor=-0.5),
    "linear start": lambda s, o: s.LinearLR(o, start_factor=0),
    "linear end": lambda s, o: s.LinearLR(o, end_factor=1.01),
    "restart period": lambda s, o: s.CosineAnnealingWarmRestarts(o, 0),
    "restart period type": lambda s, o: s.CosineAnnealingWarmRestarts(o, 2.5),
    "restart factor": lambda s, o: s.CosineAnnealingWarmRestarts(o, 2, 0),
    "restart floor": lambda s, o: s.CosineAnnealingWarmRestarts(o, 2, 1, "0"),
    "restart epoch": lambda s, o: s.CosineAnnealingWarmRestarts(o, 2).step(-1),
    "cycle mode": lambda s, o: s.CyclicLR(o, 0.1, 0.2, mode="square"),
    "cycle rates": lambda s, o: s.CyclicLR(o, [0.1], 0.2),
    "cycle momenta": lambda s, o: s.CyclicLR(o, 0.1, 0.2, base_momentum=[1, 2, 3]),
    "one cycle length": lambda s, o: s.OneCycleLR(o, 0.1),
    "one cycle total": lambda s, o: s.OneCycleLR(o, 0.1, total_steps=0),
    "one cycle total type": lambda s, o: s.OneCycleLR(o, 0.1, total_steps=10.0),
    "one cycle epochs": lambda s, o: s.OneCycleLR(o, 0.1, epochs=-1, steps_per_epoch=3),
    "one cycle batches": lambda s, o: s.OneCycleLR(o, 0.1, epochs=1, steps_per_epoch=0),
    "one cycle share": lambda s, o: s.OneCycleLR(o, 0.1, 10, pct_start=1.5),
    "one cycle share type": lambda s, o: s.OneCycleLR(o, 0.1, 10, pct_start=1),
    "one cycle shape": lambda s, o: s.OneCycleLR(o, 0.1, 10, anneal_strategy="sin"),
    "plateau factor": lambda s, o: s.ReduceLROnPlateau(o, factor=1.0),
    "plateau mode": lambda s, o: s.ReduceLROnPlateau(o, mode="least"),
    "plateau threshold": lambda s, o: s.ReduceLROnPlateau(o, threshold_mode="ratio"),
    "plateau floors": lambda s, o: s.ReduceLROnPlateau(o, min_lr=[0.1]),
    "empty sequence": lambda s, o: s.SequentialLR(o, [], []),
    "sequence milestones": lambda s, o: s.SequentialLR(o, [s.StepLR(o, 1)], [3]),
    "sequence of strangers": lambda s, o: s.SequentialLR(o, ["a"], []),
    "sequence with plateau": lambda s, o: s.SequentialLR(o, [s.ReduceLROnPlateau(o)], []),
    "empty chain": lambda s, o: s.ChainedScheduler([]),
    "chain with plateau": lambda s, o: s.ChainedScheduler([s.StepLR(o, 1), s.ReduceLROnPlateau(o)]),
    "chain of strangers": lambda s, o: s.ChainedScheduler([s.StepLR(o, 1), "a"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_errors(case):
    found = []
    for lib in (rushlight, torch):
        with pytest.raises((ValueError, TypeError, KeyError)) as error:
            WRONG[case](lib.optim.lr_scheduler, make_optimizer(lib))
        found.append((error.type, str(error.value)))
    assert found[0] == found[1]


def test_parts_of_two_optimizers():
    for combine in (
        lambda s, parts, optimizer: s.ChainedScheduler(parts),
        lambda s, parts, optimizer: s.SequentialLR(optimizer, parts, [3]),
    ):
        found = []
        for lib in (rushlight, torch):
            s, first, second = lib.optim.lr_scheduler, make_optimizer(lib), make_optimizer(lib)
            with pytest.raises(ValueError, match="belong to the same optimizer") as error:
                combine(s, [s.StepLR(first, 1), s.StepLR(second, 1)], first)
            found.append(str(error.value))
        assert found[0] == found[1]


def test_optimizers_without_momentum_cannot_cycle_it():
    for case in ("triangular", "one cycle"):
        found = []
        for lib in (rushlight, torch):
            optimizer = lib.optim.Adagrad([lib.zeros(1, requires_grad=True)])
            with pytest.raises(ValueError, match="cycle_momentum") as error:
                CASES[case](lib.optim.lr_scheduler, optimizer)
            found.append(str(error.value))
        assert found[0] == found[1]


def stepping_first(lib, optimizer, scheduler):
    scheduler.step()
    scheduler.step()


def asking_for_rates(lib, optimizer, scheduler):
    optimizer.step()
    scheduler.get_lr()


def overriding_step(lib, optimizer, scheduler):
    optimizer.step = lambda: None
    optimizer.step()
    scheduler.step()


def in_order(lib, optimizer, scheduler):
    for _ in range(3):
        optimizer.step()
        scheduler.step()


def optimizer_stepped_before_the_scheduler_existed(lib, optimizer, scheduler):
    fresh = make_optimizer(lib)
    fresh.step()
    lib.optim.lr_scheduler.StepLR(fresh, 3).step()


def a_second_scheduler(lib, optimizer, scheduler):
    optimizer.step()
    lib.optim.lr_scheduler.ExponentialLR(optimizer, 0.9).step()
    scheduler.step()


@pytest.mark.parametrize(
    "program",
    [
        stepping_first,
        asking_for_rates,
        overriding_step,
        in_order,
        optimizer_stepped_before_the_scheduler_existed,
        a_second_scheduler,
    ],
)
def test_warnings(program):
    found = []
    for lib in (rushlight, torch):
        optimizer = make_optimizer(lib)
        scheduler = lib.optim.lr_scheduler.StepLR(optimizer, 3)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            program(lib, optimizer, scheduler)
        found.append([(each.category, str(each.message)) for each in caught])
        if lib is rushlight:
            assert all(each.filename == __file__ for each in caught)
    assert found[0] == found[1]


def test_a_sequence_in_a_sequence():
    """The parts count their steps anew, so PyTorch warns of the order although it is right; so do we."""
    found = []
    for lib in (rushlight, torch):
        s, optimizer = lib.optim.lr_scheduler, make_optimizer(lib)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            inner = s.SequentialLR(optimizer, [s.ConstantLR(optimizer, 0.5, 3), s.StepLR(optimizer, 5)], [4])
            parts = [inner, s.ExponentialLR(optimizer, 0.97), s.PolynomialLR(optimizer, 9)]
            scheduler = s.SequentialLR(optimizer, parts, [30, 60])
            path = trace(lib, optimizer, scheduler, 100)
        found.append((path, scheduler.state_dict(), [str(each.message) for each in caught]))
    assert found[0] == found[1]
