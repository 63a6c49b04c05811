"""`step.over(loader)` does what a loop over the loader does."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import rushlight as rl
from rushlight import nn, optim
from rushlight.compile import over
from rushlight.nn import functional as F
from rushlight.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

X, Y = rl.arange(23 * 5).reshape(23, 5).float().sin(), rl.arange(23) % 3
DATA = TensorDataset(X, Y)


class EveryOther(Sampler[int]):
    """A sampler of the user's own, which draws between batches."""

    def __iter__(self) -> Iterator[int]:
        for place in range(0, 23, 2):
            yield (place + int(rl.randint(23, ()))) % 23

    def __len__(self) -> int:
        return 12


class Doubled(Dataset):
    """A data set that is not in memory."""

    def __getitem__(self, index: int) -> tuple[rl.Tensor, rl.Tensor]:
        return X[index] * 2, Y[index]

    def __len__(self) -> int:
        return 23


class Stream(IterableDataset):
    """A data set without a length."""

    def __iter__(self) -> Iterator[Any]:
        return iter(zip(X, Y, strict=True))


def seeded(seed: int) -> rl.Generator:
    return rl.Generator().manual_seed(seed)


LOADERS: dict[str, Callable[[], DataLoader]] = {
    "in order": lambda: DataLoader(DATA, 4),
    "shuffled": lambda: DataLoader(DATA, 4, shuffle=True),
    "drop last": lambda: DataLoader(DATA, 4, shuffle=True, drop_last=True),
    "one by one": lambda: DataLoader(DATA),
    "generator": lambda: DataLoader(DATA, 4, shuffle=True, generator=seeded(1)),
    "default generator": lambda: DataLoader(
        DATA, 4, sampler=RandomSampler(DATA, replacement=True, generator=rl.default_generator)
    ),
    "replacement": lambda: DataLoader(DATA, 3, sampler=RandomSampler(DATA, True, 40)),
    "weights": lambda: DataLoader(DATA, 4, sampler=WeightedRandomSampler(range(23), 19)),
    "subset sampler": lambda: DataLoader(DATA, 4, sampler=SubsetRandomSampler(range(3, 20))),
    "own sampler": lambda: DataLoader(DATA, 5, sampler=EveryOther()),
    "own batches": lambda: DataLoader(DATA, batch_sampler=[[1, 2], [3, 4], [5], [6, 7], [8, 9]]),
    "batch sampler": lambda: DataLoader(DATA, batch_sampler=BatchSampler(RandomSampler(DATA), 6, True)),
    "subset": lambda: DataLoader(Subset(Subset(DATA, range(20)), [5, 3, 9, 11, 0]), 2, shuffle=True),
    "not in memory": lambda: DataLoader(Doubled(), 4, shuffle=True),
    "stream": lambda: DataLoader(Stream(), 4),
}


def training(compiled: bool, make: Callable[[], DataLoader], epochs: int = 3) -> Any:
    """The losses of some epochs, the parameters and the random state afterwards."""
    rl.manual_seed(2)
    model = nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.3), nn.Tanh(), nn.Linear(8, 3))
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = optim.lr_scheduler.ExponentialLR(optimizer, 0.97)

    def step(x: rl.Tensor, y: rl.Tensor) -> rl.Tensor:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    run = rl.compile(step)
    losses = []
    loader = make()
    for _ in range(epochs):
        if compiled:
            losses += run.over(loader, scheduler=scheduler).tolist()
        else:
            for x, y in loader:
                losses.append(step(x, y).item())
                scheduler.step()
    assert scheduler.last_epoch == len(losses)
    return losses, [p.detach().numpy() for p in model.parameters()], rl.get_rng_state().tolist()


@pytest.mark.parametrize("name", LOADERS)
def test_an_epoch_is_a_loop_over_the_loader(name: str) -> None:
    """The same batches in the same order, the same masks, the same rates."""
    plain, compiled = training(False, LOADERS[name]), training(True, LOADERS[name])
    np.testing.assert_allclose(compiled[0], plain[0], 2e-5, 2e-6)
    for ours, theirs in zip(compiled[1], plain[1], strict=True):
        np.testing.assert_allclose(ours, theirs, 2e-5, 2e-6)
    assert compiled[2] == plain[2]


def test_only_what_an_epoch_may_run_gets_a_loop_over_steps() -> None:
    """What goes backward outside, or changes an argument, is called one by one: it is compiled without."""
    pytest.importorskip("llvmlite", reason="native code needs llvmlite")
    weight = rl.ones(5, requires_grad=True)
    for function, repeats in (
        (lambda x: (x * weight.detach()).sum(), True),
        (lambda x: (x * weight).sum(), False),
        (lambda x: x.add_(1).sum(), False),
    ):
        compiled = rl.compile(function)
        compiled(X.clone())
        (made,) = compiled.all_recordings()
        assert made.executor.can_run_many == repeats
        if made.half is not None:
            assert not made.half.executor.can_run_many


@pytest.mark.parametrize("name", ["in order", "shuffled", "generator", "weights", "batch sampler", "subset"])
def test_data_in_memory_is_run_through_natively(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the first batches, among which a step is recorded, in few native calls."""
    native = pytest.importorskip("rushlight.compile.native", reason="native code needs llvmlite")
    pytest.importorskip("llvmlite", reason="native code needs llvmlite")
    steps = []
    run_many = native.Native.run_many

    def spy(self: Any, data: Any, rows: np.ndarray, live: np.ndarray, threads: int | None = None) -> Any:
        steps.append(len(rows))
        return run_many(self, data, rows, live, threads)

    monkeypatch.setattr(native.Native, "run_many", spy)
    losses, *_ = training(True, LOADERS[name], 6)
    assert sum(steps) >= len(losses) // 3  # a last, shorter batch is a step of its own


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_gradients_of_the_last_step_are_left(chunk: int) -> None:
    """Many steps in one call leave the .grad of the last one; whoever holds an older one keeps that."""
    rl.manual_seed(0)
    models = [nn.Sequential(nn.Linear(5, 40), nn.ReLU(), nn.Linear(40, 3)) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    grads = []
    for model, compiled in zip(models, (False, True), strict=True):
        optimizer = optim.SGD(model.parameters(), lr=0.1)

        def step(x: rl.Tensor, y: rl.Tensor, model: Any = model, optimizer: Any = optimizer) -> rl.Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss.detach()

        loader = DataLoader(TensorDataset(X[:20], Y[:20]), 4)
        held = []
        run = rl.compile(step)
        run.chunk = chunk
        for _ in range(3):
            if compiled:
                run.over(loader)
            else:
                for batch in loader:
                    step(*batch)
            held.append([p.grad for p in model.parameters()])
        grads.append(held)
    for plain, compiled_grads in zip(*grads, strict=True):
        for one, other in zip(plain, compiled_grads, strict=True):
            np.testing.assert_allclose(other.numpy(), one.numpy(), 1e-5, 1e-6)


def test_progress_is_told_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts up to the number of batches; chunks grow until they take their time."""
    for loader, total in (
        (DataLoader(DATA, 2), 12),
        (DataLoader(Doubled(), 2), 12),
        (DataLoader(Stream(), 2), None),
    ):
        told: list[tuple[int, int | None]] = []
        step = rl.compile(lambda x, y: x.sum())
        step.over(loader, progress=lambda done, total, told=told: told.append((done, total)))
        assert told[-1] == (12, total)
        assert [done for done, _ in told] == sorted(done for done, _ in told)
    told = []
    monkeypatch.setattr(over, "CHUNK_SECONDS", 1e9)
    step.over(DataLoader(DATA, 1), progress=lambda done, _: told.append((done, None)))
    assert [done for done, _ in told] == [1, 9, 23]


def test_an_interrupt_waits_for_the_step_to_end() -> None:
    """Ctrl-C in the middle of a step: the step is finished, then KeyboardInterrupt is raised."""
    counts = rl.zeros(2)
    steps = 0

    class Watch:
        def step(self) -> None:
            nonlocal steps
            steps += 1
            if steps == 5:
                signal.raise_signal(signal.SIGINT)

    @rl.compile
    def step(x: rl.Tensor, y: rl.Tensor) -> rl.Tensor:
        counts[0] += 1
        counts[1] += 1
        return counts.sum()

    handler = signal.getsignal(signal.SIGINT)
    for loader in (DataLoader(DATA, 1), DataLoader(Doubled(), 1)):
        steps = 0
        counts.zero_()
        with pytest.raises(KeyboardInterrupt):
            step.over(loader, scheduler=Watch())
        assert counts.tolist() == [steps, steps] and steps >= 5
        assert signal.getsignal(signal.SIGINT) is handler


def test_results_are_stacked() -> None:
    """Structures are kept; results of different shapes become a list; no batches give no losses."""
    step = rl.compile(lambda x, y: {"sum": x.sum(), "pair": (y.max(), None), "rows": y * 2, "n": len(y)})
    made = step.over(DataLoader(DATA, 10))
    assert made["sum"].shape == (3,) and made["pair"][0].tolist() == [2, 2, 2] and made["pair"][1] is None
    assert [each.shape[0] for each in made["rows"]] == [10, 10, 3] and made["n"] == [10, 10, 3]
    assert step.over(DataLoader(DATA, 30, drop_last=True)).shape == (0,)
    assert rl.compile(lambda x: x.sum()).over([rl.ones(2), rl.ones(3)]).tolist() == [2.0, 3.0]
    assert rl.compile(lambda a, b: a + b).over([dict(a=rl.ones(()), b=rl.ones(()))]).tolist() == [2.0]
    assert not rl.compile(lambda x: x.sum()).over([rl.ones(2, requires_grad=True)]).requires_grad


def test_what_changes_during_an_epoch_is_seen() -> None:
    """A schedule that switches the model to evaluation half way: the rest is recorded anew."""
    model = nn.Dropout(0.5)
    seen = 0

    class Switch:
        def step(self) -> None:
            nonlocal seen
            seen += 1
            model.train(seen < 12)

    step = rl.compile(lambda x, y: (model(rl.ones(50)) == 1).all())
    made = step.over(DataLoader(DATA, 1), scheduler=Switch()).tolist()
    assert made == [False] * 12 + [True] * 11


def test_wrong_arguments_are_refused() -> None:
    """By name."""
    step = rl.compile(lambda x, y: x.sum())
    with pytest.raises(TypeError, match="scheduler must have a step"):
        step.over(DataLoader(DATA), scheduler=3)
    with pytest.raises(TypeError, match="progress must be callable"):
        step.over(DataLoader(DATA), progress=3)


def test_a_schedule_may_switch_the_model_in_the_middle_of_a_chunk() -> None:
    """The same for a step that runs as native code, of which many are run in one call."""
    model = nn.BatchNorm1d(5)
    seen = 0

    class Switch:
        def step(self) -> None:
            nonlocal seen
            seen += 1
            model.train(seen < 15)

    def losses(run: Callable[[Any], list[float]]) -> list[float]:
        nonlocal seen
        seen = 0
        model.train()
        model.reset_running_stats()
        return run(DataLoader(DATA, 1))

    def step(x: rl.Tensor, y: rl.Tensor) -> rl.Tensor:
        return model(x.expand(2, 5) * rl.tensor([[1.0], [2.0]])).sum(0)[0]

    def plainly(loader: DataLoader) -> list[float]:
        found, switch = [], Switch()
        for x, y in loader:
            found.append(step(x, y).item())
            switch.step()
        return found

    compiled = rl.compile(step)
    expected = losses(plainly)
    for _ in range(2):
        found = losses(lambda loader: compiled.over(loader, scheduler=Switch()).tolist())
        np.testing.assert_allclose(found, expected, 1e-4, 1e-5)
