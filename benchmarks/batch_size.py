"""Why tiny batches win at a fixed learning rate: the measurements behind docs/batch-size.md.

The network, data and initial weights are those of the NumPy notebook: 784-64-32-10 with ReLU, plain SGD,
pixels divided by 255, the last 6,000 training images for validation, weights drawn uniformly from -0.005 to
0.005; and beside them PyTorch's initial weights. Invariant: a run depends on its `Case` alone, so results
kept in a file can be completed later and tables remade from them.

    python -m benchmarks.batch_size --results batch-size.json --figure docs/images/batch-size.png
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import rushlight as torch
from rushlight import nn
from rushlight.jobs.image_data import load_image_data
from rushlight.nn import functional as F

BATCHES = (2, 4, 8, 16, 64, 256)
RATE = 0.01
VALIDATION = 6_000
STARTS = ("notebook", "pytorch")
TWO_EPOCHS_OF_PAIRS = 54_000
LEARNING = 1.5  # a loss below this cannot be had without looking at the image: guessing gives 2.3
NOISE_POINTS = (0, 1_000, 10_000, 54_000)
NOISE_BATCHES = (2, 8, 64, 256)
NOISE_SAMPLES = 10_240


@dataclass(frozen=True)
class Case:
    """One run: initial weights, images a step, learning rate, steps (None: two epochs) and seed."""

    start: str
    batch: int
    rate: float
    steps: int | None
    seed: int

    @property
    def key(self) -> str:
        """What the results file knows the case by."""
        return json.dumps(asdict(self))


Outcome = tuple[Case, dict[str, Any]]


class Digits:
    """MNIST as the notebook prepares it: 54,000 images to train on, the last 6,000 to validate."""

    def __init__(self) -> None:
        data = load_image_data("mnist")
        pixels = torch.from_numpy(
            (data.train_images.reshape(len(data.train_images), -1) / 255).astype(np.float32)
        )
        labels = torch.from_numpy(data.train_labels.astype(np.int64))
        self.images, self.labels = pixels[:-VALIDATION], labels[:-VALIDATION]
        self.validation_images, self.validation_labels = pixels[-VALIDATION:], labels[-VALIDATION:]

    def accuracy(self, model: nn.Module) -> float:
        """The share of validation images that are read correctly."""
        with torch.no_grad():
            return (model(self.validation_images).argmax(1) == self.validation_labels).float().mean().item()


def network(start: str) -> nn.Sequential:
    """784-64-32-10 with ReLU, and the initial weights asked for."""
    model = nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    if start == "notebook":
        for parameter in model.parameters():
            nn.init.uniform_(parameter, -0.005, 0.005)
    return model


def train(case: Case, data: Digits, look: Callable[[int, nn.Module], None] | None = None) -> dict[str, Any]:
    """Run one case; returns what the tables need. `look` sees the model before every step and at the end."""
    torch.manual_seed(case.seed)
    model = network(case.start)
    optimizer = torch.optim.SGD(model.parameters(), lr=case.rate)
    per_epoch = len(data.images) // case.batch
    total = case.steps if case.steps is not None else 2 * per_epoch
    losses = np.full(total, np.nan)
    for step in range(total):
        if step % per_epoch == 0:
            order = torch.randperm(len(data.images))
        if look is not None:
            look(step, model)
        first = step % per_epoch * case.batch
        rows = order[first : first + case.batch]
        loss = F.cross_entropy(model(data.images[rows]), data.labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses[step] = loss.item()
        if not math.isfinite(losses[step]):
            break
    if look is not None:
        look(total, model)
    return {
        "accuracy": data.accuracy(model),
        "steps": total,
        "diverged": not bool(np.isfinite(losses).all()),
        "learning_from": first_below(losses, LEARNING, width=2_000 // case.batch),
        "curve": curve(losses),
    }


def first_below(losses: np.ndarray, bound: float, width: int) -> int | None:
    """The first step at which the mean loss of the last `width` steps is below a bound."""
    width = max(1, min(width, len(losses)))
    means = np.convolve(losses, np.ones(width) / width, mode="valid")
    below = np.flatnonzero(means < bound)
    return int(below[0]) + width if len(below) else None


def curve(losses: np.ndarray, points: int = 60) -> list[tuple[int, float]]:
    """Mean losses of up to 60 equal stretches, each with its last step."""
    edges = np.linspace(0, len(losses), min(points, len(losses)) + 1).astype(int)
    return [(int(b), float(losses[a:b].mean())) for a, b in itertools.pairwise(edges)]


def gradient_noise(model: nn.Module, data: Digits) -> dict[str, float]:
    """How far the gradient of a batch is from the mean gradient, measured on the first 10,240 images.

    ``scale`` is the variance of one image's gradient over the squared length of the mean gradient: the batch
    size at which noise and signal are equally long (McCandlish et al., 2018, arXiv:1812.06162).
    ``relative_B`` is the measured root-mean-square distance of the gradient of a batch of B from the mean
    gradient, in lengths of the mean gradient.
    """
    smallest = NOISE_BATCHES[0]
    parameters = list(model.parameters())
    sums = {batch: np.zeros(sum(p.numel() for p in parameters)) for batch in NOISE_BATCHES}
    squares = dict.fromkeys(NOISE_BATCHES, 0.0)
    total = np.zeros_like(sums[smallest])
    for first in range(0, NOISE_SAMPLES, smallest):
        rows = slice(first, first + smallest)
        loss = F.cross_entropy(model(data.images[rows]), data.labels[rows])
        gradients = torch.autograd.grad(loss, parameters)
        vector = np.concatenate([gradient.numpy().reshape(-1) for gradient in gradients])
        total += vector
        for batch in NOISE_BATCHES:
            sums[batch] += vector
            if (first + smallest) % batch == 0:
                mean = sums[batch] * (smallest / batch)
                squares[batch] += float(mean @ mean)
                sums[batch][:] = 0
    mean = total * (smallest / NOISE_SAMPLES)
    length = float(mean @ mean)
    variances = {batch: squares[batch] / (NOISE_SAMPLES // batch) - length for batch in NOISE_BATCHES}
    of_one = variances[smallest] * smallest * NOISE_SAMPLES / (NOISE_SAMPLES - smallest)
    signal = length - of_one / NOISE_SAMPLES
    result = {f"relative_{batch}": math.sqrt(max(variances[batch], 0) / signal) for batch in NOISE_BATCHES}
    return {"scale": of_one / signal, "gradient": math.sqrt(signal), **result}


def noise_along(start: str, seed: int, data: Digits) -> dict[str, dict[str, float]]:
    """The gradient noise at a few points of a run with batches of two."""
    found = {}

    def look(step: int, model: nn.Module) -> None:
        if step in NOISE_POINTS:
            found[str(step)] = gradient_noise(model, data)

    train(Case(start, 2, RATE, None, seed), data, look)
    return found


# -- the plan ------------------------------------------------------------------------------------------------


def fixed_rate(seeds: int) -> list[Case]:
    """Two epochs at the notebook's rate, whatever the batch."""
    return [Case(start, b, RATE, None, seed) for seed in range(seeds) for start in STARTS for b in BATCHES]


def scaled_rate(seeds: int) -> list[Case]:
    """Two epochs with the rate in proportion to the batch, 0.01 for two images."""
    return [
        Case(start, b, RATE * b / 2, None, seed)
        for seed in range(seeds)
        for start in STARTS
        for b in BATCHES[1:]
    ]


def equal_steps(seeds: int) -> list[Case]:
    """As many steps as batches of two make in two epochs, at the notebook's rate."""
    return [
        Case("notebook", b, RATE, TWO_EPOCHS_OF_PAIRS, seed) for seed in range(seeds) for b in (8, 64, 256)
    ]


def rates_at_64(seeds: int) -> list[Case]:
    """Two epochs with batches of 64 at many rates."""
    return [
        Case(start, 64, rate, None, seed)
        for seed in range(seeds)
        for start in STARTS
        for rate in (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28)
    ]


class Results:
    """Finished runs by case, in a JSON file that a later call completes."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.found: dict[str, Any] = {}
        if path is not None and path.exists():
            self.found = json.loads(path.read_text(encoding="utf-8"))

    def get(self, key: str, compute: Callable[[], Any]) -> Any:
        """The result kept under a key, computed first if there is none."""
        if key not in self.found:
            self.found[key] = compute()
            if self.path is not None:
                self.path.write_text(json.dumps(self.found), encoding="utf-8")
        return self.found[key]

    def of(self, cases: Iterable[Case], data: Digits) -> list[Outcome]:
        """The results of cases, in order."""
        return [(case, self.get(case.key, partial(train, case, data))) for case in cases]


# -- tables and picture --------------------------------------------------------------------------------------


def spread(values: Sequence[float]) -> str:
    """Median with the least and the largest of several runs, in per cent."""
    return f"{statistics.median(values):.1%} ({min(values):.1%} to {max(values):.1%})"


def cell(results: list[Outcome]) -> str:
    """Validation accuracy of the same case under several seeds."""
    text = spread([result["accuracy"] for _, result in results])
    lost = sum(result["diverged"] for _, result in results)
    return f"{text}, {lost} of {len(results)} diverged" if lost else text


def learning_from(results: list[Outcome]) -> str:
    """Median step at which the loss had fallen, or how often it did."""
    steps = [result["learning_from"] for _, result in results]
    if not any(steps):
        return "never"
    if None in steps:
        return f"in {sum(step is not None for step in steps)} of {len(steps)} runs"
    return f"{int(statistics.median(steps)):,}"


def table(results: list[Outcome], column: str) -> str:
    """Accuracy by a field of the case (rows) and initial weights (columns), as Markdown."""
    starts = [start for start in STARTS if any(case.start == start for case, _ in results)]
    heads = " | ".join(f"{start} weights: accuracy | learning from step" for start in starts)
    lines = [f"| {column} | steps | {heads} |", "|---:|---:" + "|---:|---:" * len(starts) + "|"]
    for value in sorted({getattr(case, column) for case, _ in results}):
        rows = [(case, result) for case, result in results if getattr(case, column) == value]
        cells = [f"{value:g}", f"{rows[0][1]['steps']:,}"]
        for start in starts:
            mine = [(case, result) for case, result in rows if case.start == start]
            cells += [cell(mine), learning_from(mine)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def noise_table(noise: dict[str, dict[str, dict[str, float]]]) -> str:
    """The gradient noise along a run, as Markdown."""
    heads = " | ".join(f"batch of {batch}" for batch in NOISE_BATCHES)
    lines = [f"| weights | after step | length of the mean gradient | noise scale | {heads} |"]
    lines.append("|---|---:|---:|---:" + "|---:" * len(NOISE_BATCHES) + "|")
    for start, points in noise.items():
        for step, found in points.items():
            distances = " | ".join(f"{found[f'relative_{batch}']:.2f}" for batch in NOISE_BATCHES)
            lines.append(
                f"| {start} | {int(step):,} | {found['gradient']:.3f} | {found['scale']:,.0f} | {distances} |"
            )
    return "\n".join(lines)


def draw(path: Path, fixed: list[Outcome], scaled: list[Outcome]) -> None:
    """Left: accuracy by batch size. Right: the loss of the notebook's runs by steps taken."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    lines = (
        (fixed, "notebook", "rate 0.01, the notebook's weights", "tab:red", "-"),
        (fixed, "pytorch", "rate 0.01, PyTorch's weights", "tab:blue", "-"),
        (scaled, "notebook", "rate 0.005 an image, the notebook's weights", "tab:red", ":"),
        (scaled, "pytorch", "rate 0.005 an image, PyTorch's weights", "tab:blue", ":"),
    )
    for results, start, label, colour, style in lines:
        batches = sorted({case.batch for case, _ in results})
        runs = [[r["accuracy"] for c, r in results if c.start == start and c.batch == b] for b in batches]
        middle = [100 * statistics.median(r) for r in runs]
        left.plot(batches, middle, style, color=colour, marker="o", label=label)
        lower, upper = [100 * min(r) for r in runs], [100 * max(r) for r in runs]
        left.fill_between(batches, lower, upper, color=colour, alpha=0.12, linewidth=0)
    left.set_xscale("log", base=2)
    left.set_xticks(BATCHES, [str(b) for b in BATCHES])
    left.set_xlabel("images in a batch")
    left.set_ylabel("validation accuracy after 2 epochs, %")
    left.set_ylim(0, 100)
    left.legend(fontsize=8, loc="center left")
    for number, batch in enumerate(BATCHES):
        (found,) = [r for c, r in fixed if c.start == "notebook" and c.batch == batch and c.seed == 0]
        steps, losses = zip(*found["curve"], strict=True)
        colour = pyplot.get_cmap("viridis")(number / len(BATCHES))
        right.plot(steps, losses, color=colour, label=f"batch of {batch}")
        right.plot(steps[-1], losses[-1], "o", color=colour)
    right.set_xlabel("steps taken (rate 0.01, the notebook's weights, 2 epochs)")
    right.set_ylabel("training loss")
    right.legend(fontsize=8)
    figure.savefig(path, dpi=90)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, print the tables, and draw the picture if asked to."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.batch_size", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--seeds", type=int, default=5, help="runs of every case (5)")
    parser.add_argument(
        "--results", type=Path, help="keep finished runs in this JSON file, and use those it has"
    )
    parser.add_argument("--figure", type=Path, help="draw the picture into this PNG")
    options = parser.parse_args(arguments)
    data, results = Digits(), Results(options.results)
    fixed = results.of(fixed_rate(options.seeds), data)
    print(f"### Two epochs at rate 0.01\n\n{table(fixed, 'batch')}\n", flush=True)
    scaled = results.of(scaled_rate(options.seeds), data)
    print(f"### Two epochs, the rate in proportion to the batch\n\n{table(scaled, 'batch')}\n", flush=True)
    swept = results.of(rates_at_64(options.seeds), data)
    print(f"### Two epochs with batches of 64, by rate\n\n{table(swept, 'rate')}\n", flush=True)
    noise = {start: results.get(f"noise {start}", partial(noise_along, start, 0, data)) for start in STARTS}
    print(f"### Distance of a batch's gradient from the mean gradient\n\n{noise_table(noise)}\n", flush=True)
    equal = results.of(equal_steps(min(options.seeds, 3)), data)
    print(f"### {TWO_EPOCHS_OF_PAIRS:,} steps at rate 0.01\n\n{table(equal, 'batch')}", flush=True)
    if options.figure is not None:
        draw(options.figure, fixed, scaled)


if __name__ == "__main__":
    main()
