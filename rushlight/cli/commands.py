"""The commands: from parsed options to a job, and from its result to printed text."""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path
from typing import Any

from rushlight.jobs.errors import JobError

SETTINGS = (
    "hidden",
    "activation",
    "batch_size",
    "epochs",
    "lr",
    "optimizer",
    "schedule",
    "validation",
    "seed",
)


def train(options: argparse.Namespace) -> int:
    """``rushlight train DATA``: train, test on the best model, and write the report."""
    from rushlight.jobs.image_data import load_image_data
    from rushlight.jobs.images import Settings, Trainer, load_best, test_result
    from rushlight.jobs.progress import Progress
    from rushlight.jobs.run_folder import RunFolder

    given = {name: getattr(options, name) for name in SETTINGS if getattr(options, name) is not None}
    if options.resume is not None:
        folder = RunFolder.open(options.resume)
        settings = _resumed_settings(Settings, folder, options, given)
    else:
        settings = Settings(data=options.data, **given)
        settings.check()
    data = load_image_data(settings.data, options.download)
    if options.resume is None:
        folder = RunFolder.create(options.out or _free_folder(settings.data))
    trainer = Trainer(data, settings, folder)
    if options.resume is not None and folder.has_state():
        trainer.restore(folder.read_state())
    else:
        folder.write_config(trainer.config())
    sizes = " x ".join(str(n) for n in (trainer.images.shape[1], *settings.hidden, len(data.classes)))
    print(
        f"{len(trainer.images):,} images to train on, {len(trainer.validation_labels):,} to validate, "
        f"{len(data.test_labels):,} to test; network {sizes}"
    )
    with Progress(settings.epochs, len(trainer.images)) as progress:
        trainer.run(progress)
    result = test_result(load_best(folder, folder.read_config()), data, trainer.mean, trainer.deviation)
    _print_result(result)
    print(f"\nbest validation accuracy {trainer.best:.2%}\ntest accuracy {result.accuracy:.2%}")
    if not options.no_report:
        from rushlight.jobs.report import write_picture

        picture = folder.path / "report.png"
        write_picture(picture, trainer.history, result, f"{Path(settings.data).name}: {sizes}")
        print(f"picture of curves, confusion and worst mistakes: {picture}")
    print(f"run kept in {folder.path}")
    return 0


def _resumed_settings(kind: Any, folder: Any, options: argparse.Namespace, given: dict[str, Any]) -> Any:
    """The settings of the run to resume; an option that contradicts them is refused."""
    config = folder.read_config()
    try:
        settings = kind(**config["settings"])
    except (KeyError, TypeError) as error:
        raise JobError(f"{options.resume}/config.json does not describe a run: {error!r}") from None
    for name, value in {"data": options.data, **given}.items():
        if getattr(settings, name) != value:
            flag = "the dataset" if name == "data" else "--" + name.replace("_", "-")
            raise JobError(
                f"the run in {options.resume} has {flag} {getattr(settings, name)}, not {value}: "
                "resume it with its own settings, or start a new run"
            )
    if options.out is not None and Path(options.out) != Path(options.resume):
        raise JobError("--resume goes on in the run's own folder: leave out --out")
    return settings


def _free_folder(data: str) -> str:
    """``runs/mnist-1`` or the next number that is free."""
    name = Path(data).name or "images"
    for number in itertools.count(1):
        path = Path("runs") / f"{name}-{number}"
        if not path.exists():
            return str(path)
    raise AssertionError("unreachable")


def _print_result(result: Any) -> None:
    from rushlight.jobs.report import confusion_text, mistakes_text

    print("\n" + confusion_text(result))
    if sys.stdout.isatty():
        drawn = mistakes_text(result)
        if drawn:
            print("\nmost confidently wrong:\n" + drawn)


def evaluate(options: argparse.Namespace) -> int:
    """``rushlight evaluate RUN``: accuracy and confusion matrix on the test images."""
    from rushlight.jobs.image_data import load_image_data
    from rushlight.jobs.images import load_best, test_result
    from rushlight.jobs.run_folder import RunFolder

    folder = RunFolder.open(options.folder)
    config = folder.read_config()
    model = load_best(folder, config)
    data = load_image_data(options.data or config["settings"]["data"], options.download)
    if list(data.test_images.shape[1:]) != config["data"]["shape"] or len(data.classes) != len(
        config["data"]["classes"]
    ):
        raise JobError(
            f"the network was trained on images of {config['data']['shape']} in "
            f"{len(config['data']['classes'])} classes; "
            f"this data has {list(data.test_images.shape[1:])} in {len(data.classes)}"
        )
    result = test_result(model, data, config["mean"], config["deviation"])
    _print_result(result)
    print(f"\ntest accuracy {result.accuracy:.2%}")
    return 0


def predict(options: argparse.Namespace) -> int:
    """``rushlight predict RUN IMAGE ...``: the class of each picture, with its probability and the
    runners-up.
    """
    import numpy as np

    from rushlight.jobs.image_data import picture_as_sample, to_input
    from rushlight.jobs.images import load_best, scores_of
    from rushlight.jobs.report import probabilities
    from rushlight.jobs.run_folder import RunFolder
    from rushlight.tensor import new_tensor

    folder = RunFolder.open(options.folder)
    config = folder.read_config()
    model = load_best(folder, config)
    shape = tuple(config["data"]["shape"])
    like_digits = Path(config["settings"]["data"]).name == "mnist"
    classes = config["data"]["classes"]
    failed = False
    for path in options.images:
        try:
            sample = picture_as_sample(path, shape, like_digits)
        except JobError as error:
            print(f"rushlight: {error}", file=sys.stderr)
            failed = True
            continue
        rows = new_tensor(to_input(sample[None], config["mean"], config["deviation"]))
        chances = probabilities(scores_of(model, rows).numpy())[0]
        order = np.argsort(-chances)[:3]
        others = ", ".join(f"{classes[i]} {chances[i]:.1%}" for i in order[1:])
        print(f"{path}: {classes[order[0]]}  {chances[order[0]]:.1%}  (then {others})")
    return 2 if failed else 0
