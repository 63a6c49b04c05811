"""Averages of models are PyTorch's: values, state dicts, printed text, rates and errors."""

import numpy as np
import pytest

import rushlight

torch = pytest.importorskip("torch", reason="needs the conformance extra")

from tests.conformance.side_by_side import assert_same

MODELS = """
    import copy
    utils = torch.optim.swa_utils
    def model(seed, kind="float32"):
        torch.manual_seed(seed)
        made = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 1))
        made = made.to(getattr(torch, kind))
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.copy_(torch.arange(parameter.numel()).reshape(parameter.shape) * 0.37 + seed)
        return made
    def batch(seed, kind="float32"):
        waves = (torch.arange(8, dtype=torch.float64) * (seed + 1)).sin()
        return waves.reshape(4, 2).to(getattr(torch, kind))
    def followed(kind="float32", updates=4, **options):
        source = model(0, kind)
        averaged = utils.AveragedModel(source, **options)
        for seed in range(updates):
            source.load_state_dict({**source.state_dict(), **dict(model(seed, kind).named_parameters())})
            source(batch(seed, kind))
            averaged.update_parameters(source)
        return averaged
"""


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize(
    "options",
    [
        "",
        "use_buffers=True",
        "avg_fn=utils.get_ema_avg_fn(0.9)",
        "avg_fn=utils.get_swa_avg_fn(), use_buffers=True",
        "multi_avg_fn=utils.get_ema_multi_avg_fn(0.7)",
        "multi_avg_fn=utils.get_ema_multi_avg_fn(), use_buffers=True",
        "multi_avg_fn=utils.get_swa_multi_avg_fn()",
        "multi_avg_fn=utils.get_swa_multi_avg_fn(), use_buffers=True",
        "avg_fn=lambda average, new, count: average + new * count",
        "device='cpu'",
        "updates=1",
    ],
)
def test_averages(options, kind):
    source = (
        MODELS
        + f"""
    averaged = followed({kind!r}, {options})
    averaged.state_dict()
    averaged
    averaged.n_averaged
    averaged(batch(9, {kind!r}))
    [parameter.requires_grad for parameter in averaged.parameters()]
    list(vars(averaged))[-3:]
    """
    )
    assert_same(source, tolerance=1e-7 if kind == "float32" else 1e-12)


def test_parameters_of_two_types():
    assert_same(
        MODELS
        + """
    source = model(1)
    source[2].double()
    calls = []
    def update(averages, new, count):
        calls.append((len(averages), len(new), count))
        averages[0].copy_(new[0] * 2)
    averaged = utils.AveragedModel(source, multi_avg_fn=update)
    averaged.update_parameters(source)
    averaged.update_parameters(source)
    sorted(calls)
    averaged.state_dict()
    """
    )


def test_functions():
    assert_same(
        """
    utils = torch.optim.swa_utils
    for number in (3, torch.tensor(3)):
        for kind in (torch.float32, torch.float64, torch.int64):
            x, y = torch.tensor([1, 20, -3]).to(kind), torch.tensor([4, 9, 1]).to(kind)
            note(utils.get_ema_avg_fn(0.5)(x, y, number), utils.get_swa_avg_fn()(x, y, number))
            averages = [x.clone(), y.clone()]
            utils.get_ema_multi_avg_fn(0.8)(averages, [y, x], number)
            note(averages)
            averages = [x.clone(), y.clone()]
            if kind is not torch.int64:
                utils.get_swa_multi_avg_fn()(averages, [y, x], number)
                note(averages)
    utils.get_swa_multi_avg_fn()([torch.tensor([1])], [torch.tensor([1])], 2)
    utils.get_swa_multi_avg_fn()([torch.tensor([1])], [torch.tensor([1])], torch.tensor(2))
    utils.get_swa_multi_avg_fn()([], [], 1)
    x = torch.ones(2, requires_grad=True)
    utils.get_ema_avg_fn()(x, x, 1).requires_grad
    """,
        text=200,
    )


def test_errors():
    assert_same(
        MODELS
        + """
    utils.get_ema_avg_fn(1.5)
    utils.get_ema_multi_avg_fn(-0.1)
    utils.AveragedModel(model(0), avg_fn=utils.get_swa_avg_fn(), multi_avg_fn=utils.get_swa_multi_avg_fn())
    averaged = utils.AveragedModel(model(0))
    averaged.update_parameters(torch.nn.Linear(3, 4))
    averaged.n_averaged
    utils.SWALR(torch.optim.SGD([torch.ones(1)], 0.1), 0.1, anneal_strategy="sin")
    utils.SWALR(torch.optim.SGD([torch.ones(1)], 0.1), 0.1, anneal_epochs=-1)
    utils.SWALR(torch.optim.SGD([torch.ones(1)], 0.1), 0.1, anneal_epochs=2.5)
    utils.SWALR(torch.optim.SGD([torch.ones(1)], 0.1), [0.1, 0.2])
    utils.SWALR(torch.optim.SGD([torch.ones(1)], 0.1), 0.2, last_epoch=4)
    utils.SWALR(torch.optim.SGD([torch.ones(1)], 0.1), 0.2).get_lr()
    """,
        text=200,
    )


def test_statistics_of_batch_norms():
    assert_same(
        MODELS
        + """
    def shown(made):
        return made.state_dict(), made.training, made[1].momentum
    made = model(2)
    utils.update_bn([batch(0), batch(1), batch(5)], made)
    shown(made)
    made.eval()[1].momentum = 0.3
    utils.update_bn([(batch(0), 1), [batch(1), 2]], made, device="cpu")
    shown(made)
    utils.update_bn(iter([]), made)
    shown(made)
    plain = torch.nn.Linear(2, 2)
    utils.update_bn("never looked at", plain)
    plain.training
    """
    )


@pytest.mark.parametrize("tensor_rate", [False, True])
@pytest.mark.parametrize(
    "options", ["0.5", "[0.5, 0.2], 5", "0.05, 7, 'linear'", "0.05, 0", "0.05, 1", "0.3, anneal_epochs=3"]
)
def test_rates(options, tensor_rate):
    """To the last bit where rates are numbers."""
    paths = []
    for lib in (rushlight, torch):
        rates = [lib.tensor(0.1), lib.tensor(0.037)] if tensor_rate else [0.1, 0.037]
        groups = [{"params": [lib.zeros(1, requires_grad=True)], "lr": rate} for rate in rates]
        optimizer = lib.optim.SGD(groups, momentum=0.9)
        names = {"SWALR": lib.optim.swa_utils.SWALR, "optimizer": optimizer}
        scheduler = eval(f"SWALR(optimizer, {options})", names)
        path = [[float(rate) for rate in scheduler.get_last_lr()]]
        for _ in range(15):
            optimizer.step()
            scheduler.step()
            path.append([float(rate) for rate in scheduler.get_last_lr()])
        state = scheduler.state_dict()
        twin = eval(f"SWALR(optimizer, {options})", names)
        twin.load_state_dict(state)
        assert twin.state_dict() == state
        paths.append((path, list(state), list(optimizer.param_groups[0])))
    if tensor_rate:
        np.testing.assert_allclose(paths[0][0], paths[1][0], rtol=2e-6)
        paths = [each[1:] for each in paths]
    assert paths[0] == paths[1]


def test_with_another_schedule():
    """The usual program: a cosine, then the constant rate of averaging."""
    paths = []
    for lib in (rushlight, torch):
        optimizer = lib.optim.SGD([lib.zeros(1, requires_grad=True)], lr=0.1)
        cosine = lib.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20)
        averaging = lib.optim.swa_utils.SWALR(optimizer, swa_lr=0.05, anneal_epochs=4)
        path = []
        for epoch in range(20):
            optimizer.step()
            (averaging if epoch > 12 else cosine).step()
            path.append(optimizer.param_groups[0]["lr"])
        paths.append(path)
    assert paths[0] == paths[1]


def test_state_dicts_pass_between_the_libraries():
    models = [lib.optim.swa_utils.AveragedModel(lib.nn.Linear(2, 1)) for lib in (rushlight, torch)]
    models[1].update_parameters(torch.nn.Linear(2, 1))
    state = {name: rushlight.tensor(value.numpy()) for name, value in models[1].state_dict().items()}
    models[0].load_state_dict(state)
    assert models[0].n_averaged.item() == 1
    assert models[0].module.weight.tolist() == models[1].module.weight.tolist()
