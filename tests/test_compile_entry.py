"""Native code that is called with the arguments themselves: what it may read, and that it writes nothing."""

from __future__ import annotations

import gc
import threading
from typing import Any

import numpy as np
import pytest

import rushlight as rl
from rushlight import nn
from rushlight.compile.entry import is_possible
from rushlight.nn import functional as F
from rushlight.utils.data import DataLoader, TensorDataset


def recording_of(compiled: Any) -> Any:
    (made,) = compiled.all_recordings()
    return made


def test_arguments_of_every_layout_are_read_where_they_are() -> None:
    """Transposed, expanded, spread out, overlapping, of one element, and of none."""
    data = rl.arange(48.0)
    layouts = [
        data[:12].view(3, 4),
        data[:12].view(4, 3).t(),
        data[:4].expand(3, 4),
        data[::4].view(3, 4),
        data.as_strided((3, 4), (1, 2), 5),
        data[5:6].view(1, 1),
        data.as_strided((1, 4), (999, 1), 2),
        data[:0].view(0, 4),
    ]
    compiled = rl.compile(lambda a, b: (a * b).sum(0) + a.mean(), recompile_limit=100)
    for x in layouts:
        for y in layouts[:6]:
            for shift in range(3):
                a, b = x + 0, y + shift
                if x.shape == y.shape:
                    a, b = x, y  # which share memory
                if a.shape[0] in (1, b.shape[0]) or b.shape[0] == 1:
                    wanted = (a * b).sum(0) + a.mean()
                    np.testing.assert_allclose(compiled(a, b).numpy(), wanted.numpy(), 1e-6)
    whole = data.clone()
    assert rl.equal(data, whole)


@pytest.mark.skipif(not is_possible(), reason="this Python has no such functions")
def test_nothing_is_copied() -> None:
    """The program's own memory for arguments stays as it was."""
    compiled = rl.compile(lambda a: a * 2)
    for value in (1.0, 2.0, 3.0):
        assert compiled(rl.full((4,), value)).tolist() == [2 * value] * 4
    executor = recording_of(compiled).executor
    assert executor.can_run_on
    assert executor.arguments[0].tolist() == [0.0] * 4


def classifier(batch: int) -> tuple[Any, nn.Module]:
    rl.manual_seed(0)
    model = nn.Linear(5, 3)
    optimizer = rl.optim.SGD(model.parameters(), lr=0.1)

    @rl.compile
    def step(x: rl.Tensor, y: rl.Tensor) -> rl.Tensor:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(3):
        step(rl.rand(batch, 5), rl.randint(0, 3, (batch,)))
    return step, model


def test_an_epoch_after_single_steps_leaves_their_batches_alone() -> None:
    """An epoch gathers its batches into memory, which must be the program's own."""
    step, _ = classifier(4)
    x, y = rl.rand(4, 5), rl.randint(0, 3, (4,))
    step(x, y)
    before = x.clone(), y.clone()
    step.over(DataLoader(TensorDataset(rl.rand(12, 5), rl.randint(0, 3, (12,))), batch_size=4))
    assert rl.equal(x, before[0]) and rl.equal(y, before[1])


def test_a_wrong_label_is_explained_and_changes_nothing() -> None:
    step, model = classifier(4)
    weight = model.weight.detach().clone()
    x = rl.rand(4, 5)
    for bad in (3, -1):
        with pytest.raises(IndexError, match=f"Target {bad} is out of bounds"):
            step(x, rl.tensor([0, 1, bad, 2]))
        assert rl.equal(model.weight, weight)
    assert step(x, rl.tensor([0, 1, 1, 2])).isfinite()


def test_a_gradient_that_the_program_left_may_be_its_next_argument() -> None:
    """It would be read while it is written; the plain step makes a new one."""

    def trained(compiled: bool) -> list[float]:
        weight = nn.Parameter(rl.arange(6.0))

        def step(x: rl.Tensor) -> None:
            weight.grad = None
            (weight.flip(0) * x * weight).sum().backward()

        run = rl.compile(step) if compiled else step
        run(rl.ones(6))
        for _ in range(4):
            run(weight.grad / 10)
        for _ in range(4):
            run(weight.grad)
            run(weight.grad.detach()[:])
        assert weight.grad is not None
        return weight.grad.tolist()

    np.testing.assert_allclose(trained(compiled=True), trained(compiled=False), 1e-5)


def test_many_threads_call_one_program() -> None:
    """Each gets the results of its own arguments, and none is lost."""
    model = nn.Sequential(nn.Linear(20, 30), nn.Tanh(), nn.Linear(30, 4))
    compiled = rl.compile(model)
    inputs = [rl.rand(3, 20) for _ in range(4)]
    wrong: list[int] = []

    def work(number: int) -> None:
        with rl.no_grad():
            wanted = model(inputs[number])
            for _ in range(200):
                if not rl.allclose(compiled(inputs[number]), wanted, atol=1e-6):
                    wrong.append(number)

    with rl.no_grad():
        compiled(inputs[0])
    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert wrong == []


def test_a_program_goes_when_nobody_holds_it() -> None:
    """With its built-in function, which holds the program's table."""
    compiled = rl.compile(lambda a: a + 1)
    for _ in range(3):
        compiled(rl.ones(3))
    before = sum(type(each).__name__ == "Native" for each in gc.get_objects())
    del compiled
    gc.collect()
    assert sum(type(each).__name__ == "Native" for each in gc.get_objects()) < before


def test_random_numbers_are_drawn_from_the_generator_itself() -> None:
    compiled = rl.compile(lambda a: a + rl.rand(5))
    x = rl.zeros(5)
    compiled(x)
    rl.manual_seed(3)
    found = [compiled(x).tolist() for _ in range(3)]
    rl.manual_seed(3)
    assert found == [rl.rand(5).tolist() for _ in range(3)]
