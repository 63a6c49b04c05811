"""Optimizers give PyTorch's numbers, state dicts, printed text and errors.

Gradients are drawn once and given to both libraries; only the updates are compared. PyTorch's CPU kernels
fuse a multiplication with an addition where NumPy rounds twice, so values agree to a few units in the last
place; where every product is exact, because rates are powers of two, they agree to the bit.
"""

import copy
import inspect

import numpy as np
import pytest

import rushlight

torch = pytest.importorskip("torch", reason="needs the conformance extra")

SHAPES = [(5, 3), (7,), (), (2,), (1, 2, 2)]  # the fourth never gets a gradient
STEPS = 100

CASES = {
    "SGD": ("SGD", {}),
    "SGD momentum": ("SGD", {"lr": 0.1, "momentum": 0.9}),
    "SGD dampened": ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}),
    "SGD nesterov": ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    "SGD up": ("SGD", {"lr": 0.01, "momentum": 0.5, "maximize": True, "weight_decay": 0.1}),
    "Adam": ("Adam", {}),
    "Adam decay": ("Adam", {"lr": 0.05, "betas": (0.8, 0.99), "eps": 1e-5, "weight_decay": 0.1}),
    "Adam amsgrad": ("Adam", {"lr": 0.05, "amsgrad": True, "maximize": True}),
    "Adam decoupled": ("Adam", {"decoupled_weight_decay": True, "weight_decay": 0.1}),
    "AdamW": ("AdamW", {"lr": 0.01}),
    "AdamW amsgrad": ("AdamW", {"lr": 0.01, "amsgrad": True, "weight_decay": 0.5}),
    "Adamax": ("Adamax", {}),
    "Adamax up": ("Adamax", {"lr": 0.1, "betas": (0.7, 0.9), "weight_decay": 0.1, "maximize": True}),
    "ASGD": ("ASGD", {}),
    "ASGD average": ("ASGD", {"lr": 0.1, "t0": 10, "lambd": 0.01, "alpha": 0.6, "weight_decay": 0.1}),
    "Rprop": ("Rprop", {}),
    "Rprop bounds": ("Rprop", {"lr": 0.1, "etas": (0.3, 1.5), "step_sizes": (1e-3, 0.2), "maximize": True}),
    "RMSprop": ("RMSprop", {}),
    "RMSprop momentum": ("RMSprop", {"momentum": 0.9, "centered": True, "weight_decay": 0.1}),
    "RMSprop centered": ("RMSprop", {"alpha": 0.9, "eps": 1e-4, "centered": True, "maximize": True}),
    "Adagrad": ("Adagrad", {}),
    "Adagrad decay": ("Adagrad", {"lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.5}),
    "Adadelta": ("Adadelta", {}),
    "Adadelta decay": ("Adadelta", {"lr": 0.5, "rho": 0.8, "weight_decay": 0.1, "maximize": True}),
    "Adafactor": ("Adafactor", {}),
    "Adafactor clipped": ("Adafactor", {"lr": 0.1, "eps": (1e-4, 0.1), "d": 1.5, "weight_decay": 0.1}),
    "Adafactor up": ("Adafactor", {"beta2_decay": -0.3, "maximize": True}),
    "NAdam": ("NAdam", {}),
    "NAdam decoupled": ("NAdam", {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    "NAdam decay": ("NAdam", {"weight_decay": 0.1, "momentum_decay": 0.1, "maximize": True}),
    "RAdam": ("RAdam", {}),
    "RAdam decoupled": ("RAdam", {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    "RAdam short memory": ("RAdam", {"betas": (0.8, 0.9), "weight_decay": 0.1, "maximize": True}),
}
OPTIMIZERS = sorted({name for name, _ in CASES.values()} | {"LBFGS"})


def make(lib, name, options, dtype="float32", tensor_rate=False):
    """An optimizer on two groups of parameters of the same values in both libraries, and its parameters."""
    rng = np.random.default_rng(3)
    values = [rng.standard_normal(shape).astype(dtype) for shape in SHAPES]
    params = [lib.tensor(value, requires_grad=True) for value in values]
    if tensor_rate:
        options = {**options, "lr": lib.tensor([options.get("lr", 0.01)])}
    return getattr(lib.optim, name)([{"params": params[:2]}, {"params": params[2:]}], **options), params


def run(lib, optimizer, params, steps=STEPS, seed=4):
    """Take steps along drawn gradients that pull towards zero."""
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        optimizer.zero_grad()
        for index, param in enumerate(params):
            if index != 3:
                noise = rng.standard_normal(SHAPES[index]).astype(str(param.dtype).split(".")[1])
                param.grad = lib.tensor(noise) + 0.5 * param.detach()
        optimizer.step()


def flat_state(optimizer):
    """The state dict with arrays for tensors: what is compared, and what is carried between the libraries."""
    return as_arrays(optimizer.state_dict())


def as_arrays(value):
    if isinstance(value, dict):
        return {key: as_arrays(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(as_arrays(each) for each in value)
    return np.array(value.detach().numpy()) if hasattr(value, "numpy") else value


def as_tensors(lib, value):
    if isinstance(value, dict):
        return {key: as_tensors(lib, each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(as_tensors(lib, each) for each in value)
    return lib.tensor(value) if isinstance(value, np.ndarray) else value


def assert_close(ours, theirs, rel, at=""):
    """Equal structure, order of keys and types; arrays equal within ``rel`` of the size of their values."""
    assert type(ours) is type(theirs), at
    if isinstance(ours, dict):
        assert list(ours) == list(theirs), at
        for key in ours:
            assert_close(ours[key], theirs[key], rel, f"{at}[{key!r}]")
    elif isinstance(ours, (list, tuple)):
        assert len(ours) == len(theirs), at
        for index, (left, right) in enumerate(zip(ours, theirs, strict=True)):
            assert_close(left, right, rel, f"{at}[{index}]")
    elif isinstance(ours, np.ndarray):
        assert ours.dtype == theirs.dtype, at
        scale = float(np.abs(theirs).max(initial=0.1))
        np.testing.assert_allclose(ours, theirs, rtol=rel, atol=rel * scale, err_msg=at)
    elif isinstance(ours, float):
        assert ours == pytest.approx(theirs, rel=rel), at
    else:
        assert ours == theirs, at


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("dtype", "rel"), [("float32", 1e-6), ("float64", 1e-14)])
def test_a_hundred_steps(case, dtype, rel):
    results = []
    for lib in (rushlight, torch):
        optimizer, params = make(lib, *CASES[case], dtype)
        run(lib, optimizer, params)
        results.append((as_arrays(params), flat_state(optimizer), repr(optimizer)))
    assert_close(results[0][0], results[1][0], rel)
    assert_close(results[0][1], results[1][1], rel)
    assert results[0][2] == results[1][2]


EXACT = [
    {"lr": 0.0625},
    {"lr": 0.0625, "momentum": 0.5},
    {"lr": 0.125, "momentum": 0.5, "dampening": 0.5},
    {"lr": 0.0625, "momentum": 0.5, "nesterov": True, "maximize": True},
    {"lr": 0.0625, "weight_decay": 0.125, "momentum": 0.25},
]


@pytest.mark.parametrize("options", EXACT, ids=str)
def test_sgd_to_the_bit_where_products_are_exact(options):
    """Rates that are powers of two: nothing but the order of additions is left to differ."""
    results = []
    for lib in (rushlight, torch):
        optimizer, params = make(lib, "SGD", options)
        run(lib, optimizer, params)
        results.append(as_arrays(params))
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("case", CASES)
def test_rate_given_as_a_tensor(case):
    results = []
    for lib in (rushlight, torch):
        optimizer, params = make(lib, *CASES[case], tensor_rate=True)
        run(lib, optimizer, params, 50)
        results.append(as_arrays(params))
    assert_close(results[0], results[1], 1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_betas_given_as_tensors(dtype):
    results = []
    for lib in (rushlight, torch):
        betas = (lib.tensor(0.8), lib.tensor([0.99]))
        optimizer, params = make(lib, "Adam", {"betas": betas, "amsgrad": True}, dtype)
        run(lib, optimizer, params, 50)
        results.append(as_arrays(params))
    assert_close(results[0], results[1], 1e-6)


@pytest.mark.parametrize("case", CASES)
def test_pytorch_state_loads_and_goes_on(case):
    theirs, their_params = make(torch, *CASES[case])
    run(torch, theirs, their_params, 30)
    ours, our_params = make(rushlight, CASES[case][0], {})
    saved = as_tensors(rushlight, flat_state(theirs))
    before = copy.deepcopy(as_arrays(saved))
    ours.load_state_dict(saved)
    assert_close(flat_state(ours), flat_state(theirs), 0)
    with rushlight.no_grad():
        for ours_param, theirs_param in zip(our_params, their_params, strict=True):
            ours_param.copy_(rushlight.tensor(theirs_param.detach().numpy()))
    run(rushlight, ours, our_params, 30, seed=5)
    run(torch, theirs, their_params, 30, seed=5)
    assert_close(as_arrays(our_params), as_arrays(their_params), 1e-6)
    assert_close(flat_state(ours), flat_state(theirs), 1e-6)
    assert before["param_groups"] == saved["param_groups"]


@pytest.mark.parametrize("case", CASES)
def test_our_state_loads_in_pytorch(case):
    ours, our_params = make(rushlight, *CASES[case])
    run(rushlight, ours, our_params, 10)
    theirs, their_params = make(torch, CASES[case][0], {})
    theirs.load_state_dict(as_tensors(torch, flat_state(ours)))
    run(torch, theirs, their_params, 3)
    assert repr(theirs) == repr(ours)


SPEED_CHOICES = [
    ("SGD", {"lr": 0.1, "momentum": 0.9, "fused": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "foreach": True}),
    ("Adam", {"fused": True, "amsgrad": True}),
    ("Adam", {"foreach": True, "weight_decay": 0.1}),
    ("AdamW", {"fused": True}),
    ("Adagrad", {"fused": True, "lr_decay": 0.1}),
    ("Adadelta", {"foreach": True}),
    ("Adafactor", {"foreach": True, "weight_decay": 0.1}),
    ("Adamax", {"foreach": True}),
    ("ASGD", {"foreach": True}),
    ("NAdam", {"foreach": True}),
    ("RAdam", {"foreach": True}),
    ("RMSprop", {"foreach": True, "centered": True}),
    ("Rprop", {"foreach": True}),
]


@pytest.mark.parametrize(("name", "options"), SPEED_CHOICES, ids=str)
def test_speed_choices(name, options):
    results = []
    for lib in (rushlight, torch):
        optimizer, params = make(lib, name, options)
        run(lib, optimizer, params, 30)
        results.append((as_arrays(params), flat_state(optimizer)))
    assert_close(results[0], results[1], 2e-6)


def test_counters_follow_the_default_type():
    for options in ({}, {"fused": True}):
        found = []
        for lib in (rushlight, torch):
            lib.set_default_dtype(lib.float64)
            try:
                optimizer, params = make(lib, "Adam", options)
                run(lib, optimizer, params, 2)
            finally:
                lib.set_default_dtype(lib.float32)
            found.append(str(optimizer.state[params[0]]["step"].dtype))
        assert found[0] == found[1]


def fit(lib, **options):
    """Fit a small curved model with LBFGS; returns all losses, the parameters and the state."""
    rng = np.random.default_rng(5)
    draw = [rng.standard_normal(shape) for shape in ((4,), (3, 4), (2,), (20, 4), (20, 3))]
    w, v, unused, x, y = (lib.tensor(value) for value in draw)
    params = [each.requires_grad_() for each in (w, v, unused)]
    optimizer = lib.optim.LBFGS(params, **options)
    losses = []

    def closure():
        optimizer.zero_grad()
        error = (x * w).tanh() @ v.transpose(0, 1) - y
        loss = (error * error).mean() + (v * v * v * v).sum() * 0.01
        loss.backward()
        losses.append(loss.item())
        return loss

    for _ in range(5):
        optimizer.step(closure)
    return losses, as_arrays(params), flat_state(optimizer)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"lr": 0.5, "history_size": 3, "max_iter": 10},
        {"lr": 0.5, "max_eval": 7},
        {"line_search_fn": "strong_wolfe"},
        {"line_search_fn": "strong_wolfe", "history_size": 4, "max_iter": 30, "lr": 3.0},
        {"line_search_fn": "strong_wolfe", "tolerance_grad": 1e-2},
        {"line_search_fn": "strong_wolfe", "tolerance_change": 1e-2, "max_eval": 9},
    ],
    ids=str,
)
def test_lbfgs(options):
    ours, theirs = fit(rushlight, **options), fit(torch, **options)
    assert len(ours[0]) == len(theirs[0])
    assert ours[0] == pytest.approx(theirs[0], rel=1e-8)
    assert_close(ours[1], theirs[1], 1e-6)
    assert ours[2]["param_groups"] == theirs[2]["param_groups"]
    assert set(ours[2]["state"][0]) == set(theirs[2]["state"][0])
    assert ours[2]["state"][0]["n_iter"] == theirs[2]["state"][0]["n_iter"]
    assert ours[2]["state"][0]["func_evals"] == theirs[2]["state"][0]["func_evals"]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_signature_and_defaults(name):
    ours, theirs = getattr(rushlight.optim, name), getattr(torch.optim, name)

    def arguments(function):
        return [
            (each.name, each.default, each.kind) for each in inspect.signature(function).parameters.values()
        ]

    assert arguments(ours.__init__) == arguments(theirs.__init__)
    assert arguments(ours.step) == arguments(theirs.step)
    made = [getattr(lib.optim, name)([lib.zeros(1, requires_grad=True)]) for lib in (rushlight, torch)]
    assert list(made[0].defaults.items()) == list(made[1].defaults.items())
    assert repr(made[0]) == repr(made[1])


DIFFERENTIABLE = [
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1, "maximize": True}),
    ("Adam", {"weight_decay": 0.1}),
    ("Adam", {"amsgrad": True}),
    ("AdamW", {}),
    ("Adamax", {}),
    ("ASGD", {"t0": 1}),
    ("Rprop", {}),
    ("RMSprop", {"momentum": 0.9, "centered": True}),
    ("Adagrad", {}),
    ("Adadelta", {}),
    ("NAdam", {}),
    ("RAdam", {"betas": (0.5, 0.6)}),
]


def through_steps(lib, name, options, steps, learn_rate, shift=0.0):
    """A loss after some recorded steps; its gradients by the start, a factor of the gradient, and the rate.

    ``shift`` moves the rate, or if that is not learned the start.
    """
    rng = np.random.default_rng(6)
    start = lib.tensor(rng.standard_normal(4) + (0 if learn_rate else shift), requires_grad=True)
    scale = lib.tensor(rng.random(4) + 0.5, requires_grad=True)
    leaves = [start, scale]
    if learn_rate:
        rate = lib.tensor(0.05 + shift, dtype=lib.float64, requires_grad=True)
        options = {**options, "lr": rate}
        leaves.append(rate)
    param = start.clone()
    optimizer = getattr(lib.optim, name)([param], differentiable=True, **options)
    for index in range(steps):
        param.grad = scale * param.clone() + 0.1 * index
        optimizer.step()
    loss = (param * param).sum()
    loss.backward()
    return loss.item(), [None if leaf.grad is None else as_arrays(leaf.grad) for leaf in leaves]


@pytest.mark.parametrize(("name", "options"), DIFFERENTIABLE, ids=str)
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("learn_rate", [False, True])
def test_differentiable(name, options, steps, learn_rate):
    """Gradients are PyTorch's or, where it cannot compute them, those of finite differences."""
    if name == "Rprop" and learn_rate:
        pytest.skip("the rate is only where the step sizes start")
    case = (name, options, steps, learn_rate)
    _, ours = through_steps(rushlight, *case)
    try:
        _, theirs = through_steps(torch, *case)
    except (RuntimeError, TypeError):
        above, below = (through_steps(rushlight, *case, shift)[0] for shift in (1e-6, -1e-6))
        gradient = ours[2] if learn_rate else ours[0].sum()
        assert float(gradient) == pytest.approx((above - below) / 2e-6, rel=1e-6)
        return
    assert [each is None for each in ours] == [each is None for each in theirs]
    # PyTorch computes Adam's bias corrections in float32 here.
    rel = 2e-4 if "Adam" in name else 1e-10
    for left, right in zip(ours, theirs, strict=True):
        if left is not None:
            np.testing.assert_allclose(left, right, rtol=rel, atol=1e-9)


WRONG = [
    lambda o, p: o.SGD([p], lr=-0.1),
    lambda o, p: o.SGD([p], momentum=-0.1),
    lambda o, p: o.SGD([p], weight_decay=-0.1),
    lambda o, p: o.SGD([p], nesterov=True),
    lambda o, p: o.SGD([p], nesterov=True, momentum=0.9, dampening=0.1),
    lambda o, p: o.SGD([p], fused=True, foreach=True),
    lambda o, p: o.SGD([p], fused=True, differentiable=True),
    lambda o, p: o.Adam([p], lr=-1),
    lambda o, p: o.Adam([p], eps=-1),
    lambda o, p: o.Adam([p], betas=(1.0, 0.9)),
    lambda o, p: o.Adam([p], betas=(0.9, -0.1)),
    lambda o, p: o.Adam([p], betas=(0, 0.9)),
    lambda o, p: o.Adam([p], weight_decay=-1),
    lambda o, p: o.Adam([p], fused=True, foreach=True),
    lambda o, p: o.AdamW([p], fused=True, differentiable=True),
    lambda o, p: o.Adamax([p], betas=(0.9, 1.1)),
    lambda o, p: o.Adamax([p], eps=-1e-8),
    lambda o, p: o.ASGD([p], lr=-1),
    lambda o, p: o.ASGD([p], weight_decay=-1),
    lambda o, p: o.LBFGS([p], lr=-1),
    lambda o, p: o.LBFGS([{"params": [p]}, {"params": []}]),
    lambda o, p: o.LBFGS([p], line_search_fn="armijo").step(lambda: (p * p).sum().backward() or 1.0),
    lambda o, p: o.LBFGS([p]).step(),
    lambda o, p: o.Rprop([p], etas=(0.5, 0.9)),
    lambda o, p: o.RMSprop([p], alpha=-0.1),
    lambda o, p: o.RMSprop([p], momentum=-0.1),
    lambda o, p: o.Adagrad([p], lr_decay=-0.1),
    lambda o, p: o.Adagrad([p], initial_accumulator_value=-0.1),
    lambda o, p: o.Adagrad([p], fused=True, foreach=True),
    lambda o, p: o.Adadelta([p], rho=1.1),
    lambda o, p: o.Adadelta([p], eps=-1),
    lambda o, p: o.NAdam([p], momentum_decay=-1),
    lambda o, p: o.RAdam([p], weight_decay=-1),
    lambda o, p: o.SGD([]),
    lambda o, p: o.SGD([3]),
    lambda o, p: o.SGD(["w"]),
    lambda o, p: o.SGD([p * 2]),
    lambda o, p: o.SGD(3),
    lambda o, p: o.SGD([{"params": {p}}]),
    lambda o, p: o.SGD([{"lr": 0.1}]),
    lambda o, p: o.SGD([("w", p), p]),
    lambda o, p: o.SGD([{"params": [p]}, {"params": [p]}]),
    lambda o, p: o.SGD([p]).add_param_group([p]),
    lambda o, p: o.SGD([p]).add_param_group({"params": [p]}),
    lambda o, p: o.SGD([("w", p)]).add_param_group({"params": [p.detach().clone()]}),
    lambda o, p: o.SGD([p]).add_param_group({"params": [("w", p.detach().clone())]}),
    lambda o, p: o.SGD([p], lr=p),
    lambda o, p: o.Adam([p], lr=p.detach()[:1], foreach=True),
    lambda o, p: o.Adam([p], betas=(p.detach()[0].abs() * 0, 0.9)),
    lambda o, p: o.Optimizer([p], {}).step(),
]


@pytest.mark.parametrize("program", WRONG, ids=[inspect.getsource(each).strip()[14:60] for each in WRONG])
def test_errors(program):
    found = []
    for lib in (rushlight, torch):
        with pytest.raises(Exception) as error:  # which one is compared below
            program(lib.optim, lib.tensor([1.0, 2.0], requires_grad=True))
        found.append((error.type, str(error.value)))
    assert found[0][0] is found[1][0]
    assert found[0][1].startswith(found[1][1])
