"""What freezes must not lie: whose memory tensors have, and where gradients go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rushlight as rl
from rushlight import nn
from rushlight.compile.record import RecordingError
from rushlight.nn import functional as F
from rushlight.nn.utils import parameters_to_vector, vector_to_parameters
from tests.footguns import ONE, Made, assert_seen

Way = Callable[[Callable[..., Any]], Callable[..., Any]]
WAYS: list[Way] = [lambda step: step, rl.compile]


def both(run: Callable[[Way], list[Any]]) -> None:
    """The same with a plain step and with a compiled one."""
    plain, compiled = (run(way) for way in WAYS)
    rl.testing.assert_close(compiled, plain)


def networks() -> tuple[nn.Linear, nn.Linear, Any]:
    rl.manual_seed(0)
    online, target = nn.Linear(2, 2), nn.Linear(2, 2)
    return online, target, rl.optim.SGD(online.parameters(), lr=0.1)


# -- .data --------------------------------------------------------------------------------------------------


def copied(online: nn.Module, target: nn.Module) -> None:
    for mine, theirs in zip(target.parameters(), online.parameters(), strict=True):
        mine.data = theirs.data.clone()


def as_vector(online: nn.Module, target: nn.Module) -> None:
    vector_to_parameters(parameters_to_vector(online.parameters()).detach(), target.parameters())


@pytest.mark.parametrize("assign", [copied, as_vector])
@pytest.mark.parametrize("reads", [False, True])
def test_data_that_is_assigned_is_assigned_at_every_call(assign: Callable[..., None], reads: bool) -> None:
    def run(way: Way) -> list[Any]:
        online, target, optimizer = networks()

        def step(x):
            loss = online(x).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            before = target(x).sum() if reads else 0.0
            assign(online, target)
            return loss + before + (target(x).sum() if reads else 0.0)

        compiled = way(step)
        results = [compiled(rl.full((2, 2), float(i))).detach() for i in range(5)]
        return [*results, *(each.detach() for each in target.parameters())]

    both(run)


def test_data_of_others_is_refused() -> None:
    online, target, _ = networks()

    @rl.compile
    def step(x):
        target.bias.data = x[0]
        return online(x).sum()

    with pytest.raises(
        RecordingError, match=r"(?s)other memory \(\.data =\).*test_compile_footguns_tensors.py"
    ):
        step(rl.ones(2, 2))


# -- gradients ----------------------------------------------------------------------------------------------


def test_parameters_that_are_handed_over_and_reached() -> None:
    def run(way: Way) -> list[Any]:
        rl.manual_seed(0)
        model = nn.Linear(3, 3)

        def step(x, weights):
            loss = model(x).square().mean() + 0.1 * sum(each.square().sum() for each in weights)
            loss.backward()
            return loss

        compiled, found = way(step), []
        for weights in ([model.weight], [model.weight], [model.weight, model.bias], [model.weight]):
            model.zero_grad()
            compiled(rl.ones(2, 3), weights)
            assert model.weight.grad is not None
            found.append(model.weight.grad.clone())
        return found

    both(run)


def test_gradients_by_parameters_that_are_handed_over() -> None:
    model = nn.Linear(2, 1)
    step = rl.compile(lambda x, parameters: rl.autograd.grad(model(x).sum(), parameters))
    for _ in range(3):
        weight, bias = step(rl.ones(3, 2), list(model.parameters()))
        assert (weight.tolist(), bias.tolist()) == ([[3.0, 3.0]], [3.0])


def test_a_step_for_any_parameter_is_recorded_once_for_all() -> None:
    update = rl.compile(lambda parameter, amount: parameter.sub_(amount))
    parameters = [nn.Parameter(rl.full((3,), float(i))) for i in range(9)]
    with rl.no_grad():
        for _ in range(3):
            for each in parameters:
                update(each, rl.ones(3))
    assert [each[0].item() for each in parameters] == [i - 3.0 for i in range(9)]
    assert sum(1 for _ in update.all_recordings()) <= 4


def test_a_leaf_that_is_handed_over_and_reached_is_refused() -> None:
    leaf = rl.ones(2, requires_grad=True)
    step = rl.compile(lambda x: (x * leaf).sum().backward())
    with pytest.raises(RecordingError, match="reaches its argument 0, which requires grad, by itself, too"):
        step(leaf)
    step(rl.ones(2, requires_grad=True))


def test_gradients_that_are_returned_are_those_of_the_leaves() -> None:
    def run(way: Way) -> list[Any]:
        weight = nn.Parameter(rl.ones(2))
        optimizer = rl.optim.SGD([weight], lr=1.0)

        def step(x):
            optimizer.zero_grad()
            (weight * x).sum().backward()
            return [weight.grad]

        compiled, kept = way(step), []
        for i in range(5):
            (grad,) = compiled(rl.full((2,), float(i)))
            assert grad is weight.grad
            grad.mul_(0.1)
            optimizer.step()
            kept.append(grad)  # which the next call must not change
        return [*kept, weight.detach()]

    both(run)


def test_hooks_of_arguments_are_called() -> None:
    def run(way: Way) -> list[Any]:
        step, found = way(lambda x: (x * x).sum().backward()), []
        for turn in range(6):
            x = rl.ones(2, requires_grad=True)
            if turn in (2, 3):
                x.register_hook(lambda grad: grad * 10)
            if turn == 4:
                x.register_post_accumulate_grad_hook(lambda leaf: leaf.grad.mul_(7))
            step(x)
            found.append(x.grad)
        return found

    both(run)


def test_what_was_computed_outside_is_told_from_leaves() -> None:
    step = rl.compile(lambda x: (x * x).sum().backward())
    for _ in range(2):
        step(rl.ones(2, requires_grad=True))
    weight = rl.ones(2, requires_grad=True)
    with pytest.raises(RecordingError, match="goes on beyond an argument"):
        step(weight * 3)


def test_retain_grad_on_a_result_is_refused() -> None:
    layer = nn.Linear(2, 2)

    @rl.compile
    def step(x):
        hidden = layer(x)
        hidden.retain_grad()
        return hidden.square().sum(), hidden

    with pytest.raises(RecordingError, match=r"calls retain_grad\(\) on what it returns"):
        step(rl.ones(1, 2))


def test_grad_mode_that_the_step_switches_on() -> None:
    def run(way: Way) -> list[Any]:
        layer, found = networks()[0], []
        step = way(rl.enable_grad()(lambda x: layer(x).sum()))
        for _ in range(3):
            layer.zero_grad()
            with rl.no_grad():
                total = step(rl.ones(1, 2))
            assert total.requires_grad
            total.backward()
            assert layer.weight.grad is not None
            found.append(layer.weight.grad.clone())
        return found

    both(run)


# -- refused values -----------------------------------------------------------------------------------------


def test_what_is_written_before_and_after_a_refused_value() -> None:
    def run(way: Way) -> list[Any]:
        weight, count = nn.Parameter(rl.ones(2)), rl.zeros(1)
        optimizer = rl.optim.SGD([weight], lr=0.1)

        def step(x, y):
            count.add_(1)
            optimizer.zero_grad()
            (weight * weight).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
            F.binary_cross_entropy(rl.sigmoid(weight * x), y).backward()
            optimizer.step()
            count.add_(10)

        compiled, found = way(step), []
        for turn in range(6):
            wrong = turn in (3, 5)
            try:
                compiled(rl.ones(2), rl.full((2,), 3.0 if wrong else 0.5))
            except RuntimeError as error:
                assert wrong and "between 0 and 1" in str(error)
            found += [weight.detach().clone(), count.clone()]
        return found

    both(run)


def test_a_first_call_with_a_refused_value_says_so() -> None:
    step = rl.compile(lambda rate: rl.distributions.Poisson(rate).sample())
    with pytest.raises(ValueError, match="Expected parameter rate"):
        step(-rl.ones(()))


# -- what tensors are asked for, without computing with them ------------------------------------------------


@pytest.mark.parametrize("ask", ["requires_grad", "count", "shape", "len"])
def test_what_a_tensor_is_asked_for(ask: str) -> None:
    def make() -> Made:
        net = nn.Linear(3, 2)
        asks: dict[str, Callable[[], int]] = {
            "requires_grad": lambda: 2 if net.bias.requires_grad else 1,
            "count": lambda: sum(each.numel() for each in net.parameters() if each.requires_grad),
            "shape": lambda: net.bias.shape[0],
            "len": lambda: len(net.bias),
        }

        def change() -> None:
            net.bias.requires_grad_(False)
            net.bias.data = rl.ones(7)

        return lambda: ONE * asks[ask](), change

    assert_seen(make)


def generator_and_critic(wrap: Callable[[Any], Any]) -> tuple[nn.Module, list[Any]]:
    """Two steps, each of which says whether the critic learns."""
    rl.manual_seed(0)
    generator, critic = nn.Linear(2, 3), nn.Linear(3, 1)
    one, other = (rl.optim.SGD(each.parameters(), lr=0.1) for each in (generator, critic))

    def criticise() -> rl.Tensor:
        for each in critic.parameters():
            each.requires_grad = True
        loss = critic(generator(rl.randn(4, 2)).detach()).mean() - critic(rl.randn(4, 3)).mean()
        other.zero_grad()
        loss.backward()
        other.step()
        return loss.detach()

    def generate() -> rl.Tensor:
        critic.requires_grad_(False)
        loss = -critic(generator(rl.randn(4, 2))).mean()
        one.zero_grad()
        loss.backward()
        one.step()
        return loss.detach()

    return critic, [wrap(criticise), wrap(generate)]


def test_a_step_says_what_requires_grad() -> None:
    found = []
    for wrap in (lambda step: step, rl.compile):
        critic, steps = generator_and_critic(wrap)
        losses = []
        for number in range(6):
            for step, expected in zip(steps, (True, False), strict=True):
                losses.append(step().item())
                assert all(each.requires_grad is expected for each in critic.parameters())
            if number == 3:
                critic.requires_grad_(True)
        found.append(losses)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)
    assert [each.made for each in steps] == [2, 1]


def test_frozen_for_a_moment() -> None:
    layer = nn.Linear(2, 2)

    def plain(x: rl.Tensor) -> rl.Tensor:
        layer.requires_grad_(False)
        held = layer(x)
        layer.requires_grad_(True)
        return (layer(x) * held).sum()

    step = rl.compile(plain)
    found = []
    for run in (plain, *[step] * 3):
        layer.zero_grad()
        run(rl.ones(1, 2)).backward()
        assert layer.weight.requires_grad and layer.weight.grad is not None
        found.append(layer.weight.grad.flatten().tolist())
    for each in found[1:]:
        assert each == pytest.approx(found[0])
    assert step.made == 1


def test_an_attribute_that_holds_a_result_for_a_moment() -> None:
    class Trainer:
        def __init__(self) -> None:
            self.layer, self.loss = nn.Linear(2, 1), None

        def weigh(self) -> None:
            self.loss = self.loss * 2

        def step(self, x: rl.Tensor) -> rl.Tensor:
            self.loss = self.layer(x).sum()
            self.weigh()
            found, self.loss = self.loss.detach(), None
            return found

    trainer = Trainer()
    step = rl.compile(trainer.step)
    for number in range(4):
        x = rl.full((1, 2), float(number))
        assert step(x).item() == pytest.approx(trainer.step(x).item(), rel=1e-5)
    assert step.made == 1
