"""Every classic mistake is planted in a loop and found, once, at its line; clean loops of each kind are not
blamed.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import pytest

import rushlight as rl
from rushlight import nn, optim
from rushlight.autograd.mode import WATCHING, state
from rushlight.fit import MistakeWarning, Trainer, watch
from rushlight.nn import functional as F

Loop = Callable[[watch | None], None]


def data(count: int = 320) -> tuple[rl.Tensor, rl.Tensor]:
    """Three classes."""
    rl.manual_seed(0)
    inputs = rl.randn(count, 6)
    return inputs, (inputs @ rl.randn(6, 3)).argmax(1)


def classifier(*last: nn.Module) -> nn.Sequential:
    """A usual small network with dropout."""
    rl.manual_seed(1)
    return nn.Sequential(
        nn.Linear(6, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 3), *last
    )


def loop(
    model: nn.Module,
    loss_function: Callable[..., rl.Tensor] = F.cross_entropy,
    rate: float = 0.1,
    optimizer: type = optim.SGD,
    zero: bool = True,
    evaluate: str = "properly",
    task: Callable[[], tuple[rl.Tensor, rl.Tensor]] = data,
    epochs: int = 4,
    clip: float | None = None,
) -> watch:
    """A training loop as people write it, with or without its parts."""
    inputs, targets = task()
    update = optimizer(model.parameters(), lr=rate)
    with watch(model, update, warn=False) as watcher:
        for _ in range(epochs):
            for start in range(0, len(inputs), 32):
                x, y = inputs[start : start + 32], targets[start : start + 32]
                loss = loss_function(model(x), y)  # the line of the loss
                if zero:
                    update.zero_grad()
                loss.backward()
                if clip is not None:
                    nn.utils.clip_grad_norm_(model.parameters(), clip)
                update.step()  # the line of the step
            evaluation(model, inputs, evaluate)
    assert state.watcher is None
    assert not state.mode & WATCHING
    return watcher


def evaluation(model: nn.Module, inputs: rl.Tensor, how: str) -> None:
    """Looking at the model's answers."""
    if how == "properly":
        model.eval()
        with rl.no_grad():
            model(inputs)
        model.train()
    elif how == "without eval":
        with rl.no_grad():
            model(inputs)
    elif how == "without eval and no_grad":
        for start in range(0, len(inputs), 80):
            model(inputs[start : start + 80])


def kinds(watcher: watch) -> set[str]:
    """What was found."""
    return {each.kind for each in watcher.mistakes}


def line_of(marker: str) -> int:
    """The line of this file with a comment."""
    lines, first = inspect.getsourcelines(loop)
    return next(first + place for place, line in enumerate(lines) if marker in line)


# -- planted -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("optimizer", "clip"), [(optim.SGD, None), (optim.Adam, None), (optim.SGD, 0.5)])
def test_gradients_never_zeroed(optimizer: type, clip: float | None) -> None:
    watcher = loop(classifier(), rate=0.01, optimizer=optimizer, zero=False, clip=clip)
    assert "gradients never zeroed" in kinds(watcher)
    (found,) = [each for each in watcher.mistakes if each.kind == "gradients never zeroed"]
    assert (found.file, found.line) == (__file__, line_of("the line of the step"))
    assert "zero_grad()" in found.text


def test_softmax_before_cross_entropy() -> None:
    """As a layer, as a function, and its like for the other losses."""
    watcher = loop(classifier(nn.Softmax(1)))
    assert kinds(watcher) == {"softmax before cross-entropy"}
    assert watcher.mistakes[0].line in (line_of("the line of the loss"),)
    assert kinds(loop(classifier(), lambda out, y: F.cross_entropy(F.softmax(out, 1), y))) == kinds(watcher)
    assert kinds(loop(classifier(), lambda out, y: F.nll_loss(out.softmax(1), y), 0.01)) == kinds(watcher)
    assert kinds(loop(classifier(), lambda out, y: F.cross_entropy(by_hand(out), y))) == kinds(watcher)

    def binary(out: rl.Tensor, y: rl.Tensor) -> rl.Tensor:
        return F.binary_cross_entropy_with_logits(out[:, 0].sigmoid(), (y == 0).float())

    assert kinds(loop(classifier(), binary)) == kinds(watcher)


def by_hand(out: rl.Tensor) -> rl.Tensor:
    """Softmax as it is written in lessons."""
    return out.exp() / out.exp().sum(1, keepdim=True)


@pytest.mark.parametrize("how", ["without eval", "without eval and no_grad"])
def test_evaluation_in_training_mode(how: str) -> None:
    watcher = loop(classifier(), evaluate=how)
    assert kinds(watcher) == {"evaluation in training mode"}
    assert "model.eval()" in watcher.mistakes[0].text
    assert watcher.mistakes[0].file == __file__


def plane() -> tuple[rl.Tensor, rl.Tensor]:
    """A number for each sample."""
    inputs, _ = data()
    return inputs, inputs.sum(1) / 2


@pytest.mark.parametrize(
    "loss",
    [
        lambda out, y: ((out - y) ** 2).mean(),
        lambda out, y: (out.squeeze(1) - y.unsqueeze(1)).abs().mean(),
        lambda out, y: (out[:, 0] - y[:, None]).abs().mean(),
        F.mse_loss,
        F.l1_loss,
    ],
)
def test_mixed_shapes(loss: Callable[..., rl.Tensor]) -> None:
    rl.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the losses of nn.functional warn of their own
        watcher = loop(nn.Linear(6, 1), loss, task=plane)
    assert kinds(watcher) == {"mixed shapes"}
    assert "32 x 32" in watcher.mistakes[0].text
    assert watcher.mistakes[0].file == __file__


def prices() -> tuple[rl.Tensor, rl.Tensor]:
    """Prices in the tens of thousands."""
    inputs, _ = data()
    return 26500 + 200 * inputs, inputs.sum(1, keepdim=True)


def test_inputs_not_scaled() -> None:
    watcher = loop(nn.Linear(6, 1), F.mse_loss, 1e-10, task=prices)
    assert "unscaled inputs" in kinds(watcher)
    assert watcher.mistakes[0].line == line_of("the line of the loss")
    normed = nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 1))
    assert "unscaled inputs" not in kinds(loop(normed, F.mse_loss, 0.01, task=prices))


def test_dead_units() -> None:
    model = classifier()
    with rl.no_grad():
        model[0].bias.fill_(-20.0)
    watcher = loop(model)
    assert "dead units" in kinds(watcher)
    assert "ReLU layer 1" in next(each.text for each in watcher.mistakes if each.kind == "dead units")


def deep(
    activation: Callable[[], nn.Module], count: int = 14, width: int = 16, gain: float = 1.0
) -> nn.Sequential:
    """Many layers."""
    rl.manual_seed(1)
    layers: list[nn.Module] = [nn.Linear(6, width)]
    for _ in range(count):
        layers += [activation(), nn.Linear(width, width)]
    model = nn.Sequential(*layers, nn.Linear(width, 3))
    with rl.no_grad():
        for each in model.parameters():
            each.mul_(gain)
    return model


def test_vanishing_and_exploding_gradients() -> None:
    assert "vanishing gradients" in kinds(loop(deep(nn.Sigmoid)))
    assert "exploding gradients" in kinds(loop(deep(nn.Identity, gain=6.0), rate=1e-30))


@pytest.mark.parametrize(
    ("rate", "optimizer", "word"),
    [
        (50.0, optim.SGD, "too large"),
        (3.0, optim.Adam, "too large"),
        (1e-8, optim.SGD, "too small"),
        (1e-9, optim.Adam, "too small"),
    ],
)
def test_learning_rate_outside_the_stable_range(rate: float, optimizer: type, word: str) -> None:
    watcher = loop(classifier(), rate=rate, optimizer=optimizer)
    (found,) = [each for each in watcher.mistakes if each.kind == "learning rate"]
    assert word in found.text
    assert found.line == line_of("the line of the step")


# -- clean ---------------------------------------------------------------------------------------------------


CLEAN: dict[str, Callable[[], watch]] = {
    "SGD": lambda: loop(classifier()),
    "Adam": lambda: loop(classifier(), rate=0.01, optimizer=optim.Adam),
    "many epochs, to convergence": lambda: loop(classifier(), rate=0.1, epochs=25),
    "log_softmax and nll_loss": lambda: loop(classifier(nn.LogSoftmax(1)), F.nll_loss),
    "sigmoid and binary_cross_entropy": lambda: loop(
        classifier(nn.Sigmoid()), lambda out, y: F.binary_cross_entropy(out[:, 0], (y == 0).float())
    ),
    "regression": lambda: loop(nn.Linear(6, 1), lambda out, y: F.mse_loss(out.squeeze(1), y), task=plane),
    "deep with ReLU": lambda: loop(deep(nn.ReLU, 4, 32), rate=0.01, optimizer=optim.Adam),
    "clipped": lambda: loop(classifier(), clip=0.1),
    "zeroed in place": lambda: loop_zeroed_in_place(),
    "evaluated without layers that mind": lambda: loop(nn.Linear(6, 3), evaluate="without eval"),
    "gradients of several batches on purpose": lambda: loop_accumulating(),
    "LBFGS": lambda: loop_lbfgs(),
    "probabilities beside the loss": lambda: loop(classifier(), loss_beside_probabilities),
    "targets with a dimension of one": lambda: loop(nn.Linear(6, 1), F.mse_loss, task=column),
    "all pairs on purpose": lambda: loop(nn.Linear(6, 2), distances, 0.01, task=plane),
    "a sum over all samples": lambda: loop(nn.Linear(6, 1), summed, 1e-5, task=thousands),
    "ranks of all pairs": lambda: loop(nn.Linear(6, 1), ranking, 0.01, task=plane),
    "prices, scaled": lambda: loop(nn.Linear(6, 1), F.mse_loss, task=scaled_prices),
    "a few units that rest": lambda: loop(resting(), rate=0.05),
    "deep with normalisation": lambda: loop(deep(normed_tanh), rate=0.05),
}


def loss_beside_probabilities(out: rl.Tensor, y: rl.Tensor) -> rl.Tensor:
    """Softmax for looking at, logits for the loss."""
    F.softmax(out.detach(), 1).argmax(1).eq(y).float().mean().item()
    return F.cross_entropy(out, y)


def column() -> tuple[rl.Tensor, rl.Tensor]:
    inputs, numbers = plane()
    return inputs, numbers.unsqueeze(1)


def distances(out: rl.Tensor, y: rl.Tensor) -> rl.Tensor:
    """Distances between all points of a batch like the differences of their targets: (N, 1, 2) and (N, 2)."""
    apart = (out.unsqueeze(1) - out).square().sum(-1)
    return (apart - (y.unsqueeze(1) - y).square()).abs().mean()


def summed(out: rl.Tensor, y: rl.Tensor) -> rl.Tensor:
    return F.mse_loss(out, y, reduction="sum")


def thousands() -> tuple[rl.Tensor, rl.Tensor]:
    """Gradients are long here because they are sums."""
    inputs, numbers = column()
    return inputs * 30, numbers * 30


def ranking(out: rl.Tensor, y: rl.Tensor) -> rl.Tensor:
    """Every output against every other, which is the same shapes as the mistake."""
    return F.softplus((out.T - out) * (y[:, None] - y).sign()).mean()


def scaled_prices() -> tuple[rl.Tensor, rl.Tensor]:
    inputs, numbers = prices()
    return (inputs - inputs.mean(0)) / inputs.std(0), numbers


def resting() -> nn.Sequential:
    """Four of 32 units never fire, which is not much."""
    model = classifier()
    with rl.no_grad():
        model[0].bias[:4] = -20.0
    return model


def normed_tanh() -> nn.Module:
    return nn.Sequential(nn.BatchNorm1d(16), nn.Tanh())


@pytest.mark.parametrize("name", CLEAN)
def test_clean_loops_are_not_blamed(name: str) -> None:
    assert CLEAN[name]().mistakes == []


def loop_zeroed_in_place() -> watch:
    inputs, labels = data()
    model = classifier()
    update = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    with watch(model, update, warn=False) as watcher:
        for _ in range(40):
            F.cross_entropy(model(inputs[:64]), labels[:64]).backward()
            update.step()
            for parameter in model.parameters():
                parameter.grad.zero_()
    return watcher


def loop_accumulating() -> watch:
    """Four backward passes for each step."""
    inputs, labels = data()
    model = classifier()
    update = optim.SGD(model.parameters(), lr=0.1)
    with watch(model, update, warn=False) as watcher:
        for _ in range(10):
            for start in range(0, 128, 32):
                loss = F.cross_entropy(model(inputs[start : start + 32]), labels[start : start + 32]) / 4
                loss.backward()
            update.step()
            update.zero_grad()
    return watcher


def loop_lbfgs() -> watch:
    inputs, labels = data()
    model = nn.Linear(6, 3)
    update = optim.LBFGS(model.parameters(), lr=0.5)

    def closure() -> rl.Tensor:
        update.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        return loss

    with watch(model, update, warn=False) as watcher:
        for _ in range(5):
            update.step(closure)
    return watcher


# -- how it is told ------------------------------------------------------------------------------------------


def test_a_warning_at_the_users_line_once() -> None:
    inputs, labels = data(64)
    model = nn.Sequential(nn.Linear(6, 3), nn.Softmax(1))
    update = optim.SGD(model.parameters(), lr=0.1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with watch(model, update):
            for _ in range(5):
                loss = F.cross_entropy(model(inputs), labels)
                update.zero_grad()
                loss.backward()
                update.step()
    (found,) = caught
    assert found.category is MistakeWarning
    assert found.filename == __file__
    source = inspect.getsourcelines(test_a_warning_at_the_users_line_once)
    assert "F.cross_entropy" in source[0][found.lineno - source[1]]


def test_watching_changes_no_number() -> None:
    """The weights after a watched loop are those of an unwatched one, compiled or not."""

    def weights(watched: bool) -> list[Any]:
        model = classifier()
        inputs, labels = data(64)
        update = optim.Adam(model.parameters(), lr=0.01)
        rl.manual_seed(5)

        def steps() -> None:
            for _ in range(60):
                loss = F.cross_entropy(model(inputs), labels)
                update.zero_grad()
                loss.backward()
                update.step()

        if watched:
            with watch(model, update, warn=False):
                steps()
        else:
            steps()
        return [each.tolist() for each in model.parameters()]

    assert weights(True) == weights(False)


def test_only_one_loop_at_a_time() -> None:
    model = nn.Linear(1, 1)
    update = optim.SGD(model.parameters(), lr=0.1)
    with (
        watch(model, update),
        pytest.raises(RuntimeError, match="already being watched"),
        watch(model, update),
    ):
        pass
    assert state.watcher is None


# -- in the trainer ------------------------------------------------------------------------------------------


def trained(model: nn.Module, **options: Any) -> Trainer:
    """A run of the trainer."""
    rate, loss = options.pop("rate", 0.1), options.pop("loss", F.cross_entropy)
    task = options.pop("task", data)
    update = optim.SGD(model.parameters(), lr=rate)
    trainer = Trainer(
        model, loss, update, task(), epochs=2, batch_size=32, progress=False, compiled=False, **options
    )
    trainer.fit()
    return trainer


def test_the_trainer_notices_what_can_go_wrong_in_it() -> None:
    """All but the loop's own mistakes, which it does not make."""
    assert trained(classifier()).mistakes == []
    dead = classifier()
    with rl.no_grad():
        dead[0].bias.fill_(-20.0)
    found = {
        "softmax before cross-entropy": trained(classifier(nn.Softmax(1))),
        "mixed shapes": trained(nn.Linear(6, 1), loss=lambda out, y: ((out - y) ** 2).mean(), task=plane),
        "unscaled inputs": trained(nn.Linear(6, 1), loss=F.mse_loss, task=prices, rate=1e-10),
        "dead units": trained(dead),
        "vanishing gradients": trained(deep(nn.Sigmoid)),
        "learning rate": trained(classifier(), rate=1e-8),
    }
    for kind, trainer in found.items():
        assert kind in {each.kind for each in trainer.mistakes}, kind
    assert found["mixed shapes"].mistakes[0].file == __file__
    assert trained(classifier(nn.Softmax(1)), watch=False).mistakes == []


def test_a_rehearsal_leaves_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """The same bits with and without it, and what it found is told once."""
    rl.manual_seed(3)
    plain = trained(classifier(nn.BatchNorm1d(3)), watch=False)
    rl.manual_seed(3)
    watched = trained(classifier(nn.BatchNorm1d(3)))
    assert watched.history == plain.history
    model = classifier(nn.Softmax(1))
    update = optim.SGD(model.parameters(), lr=0.1)
    Trainer(model, F.cross_entropy, update, data(), epochs=3, compiled=False).fit()
    assert capsys.readouterr().out.count("noticed: softmax before cross_entropy") == 1
