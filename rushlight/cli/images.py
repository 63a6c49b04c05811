"""The command line of the digit job: its options, from parsed options to a job, and from its result to text.

Invariant: nothing heavy is imported before a command runs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rushlight.cli.background import Background
from rushlight.cli.shared import add_run_options, run_folder, settings_asked
from rushlight.jobs.errors import JobError

if TYPE_CHECKING:
    from rushlight.fit import Trainer
    from rushlight.jobs.image_data import ImageData
    from rushlight.jobs.images import Job, Settings

SUMMARY = "grey images in classes: mnist, fashion-mnist, kmnist, or a folder of IDX files"
ACTIVATIONS = ("relu", "leaky-relu", "gelu", "silu", "elu", "tanh", "sigmoid")
OPTIMIZERS = ("sgd", "momentum", "adam", "adamw", "rmsprop", "adagrad", "nadam", "radam")
SCHEDULES = ("one-cycle", "cosine", "linear", "step", "constant")
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
    "eager",
    "tensorboard",
)


def claims(found: argparse.Namespace) -> bool:
    """Names of datasets and folders; a table is refused with what is missing."""
    if Path(found.data).is_file():
        raise JobError(
            f"{found.data} is a file, and it is not said what to learn from it: name a column with --target, "
            "or the columns of ratings with --user, --item and --rating"
        )
    return True


def sizes(text: str) -> list[int]:
    """Layer sizes as they are written on the command line.

    >>> sizes("64,32")
    [64, 32]
    """
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of layer sizes such as 64,32") from None


def train_options(train: argparse.ArgumentParser) -> None:
    """The options of ``rushlight train mnist``."""
    train.add_argument("--hidden", type=sizes, metavar="N,N", help="sizes of the hidden layers (64,32)")
    train.add_argument("--activation", choices=ACTIVATIONS, help="what follows each hidden layer (relu)")
    train.add_argument("--batch-size", type=int, metavar="N", help="images per step (64)")
    train.add_argument("--epochs", type=int, metavar="N", help="passes over the training images (3)")
    train.add_argument("--lr", type=float, metavar="RATE", help="learning rate (by optimizer)")
    train.add_argument("--optimizer", choices=OPTIMIZERS, help="how weights are updated (adam)")
    train.add_argument("--schedule", choices=SCHEDULES, help="how the rate changes over the run (one-cycle)")
    train.add_argument("--validation", type=float, metavar="SHARE", help="share of images held out (0.1)")
    train.add_argument("--seed", type=int, metavar="N", help="seed of everything random (0)")
    train.add_argument("--download", action="store_true", help="fetch the dataset if it is not found")
    add_run_options(train, "report and picture")


def evaluate_options(evaluate: argparse.ArgumentParser) -> None:
    """The options of ``rushlight evaluate RUN``."""
    evaluate.add_argument("--data", help="another dataset or folder of IDX files with the same classes")
    evaluate.add_argument("--download", action="store_true", help="fetch the dataset if it is not found")


def predict_options(predict: argparse.ArgumentParser) -> None:
    """The arguments of ``rushlight predict RUN IMAGE ...``."""
    predict.add_argument("images", metavar="IMAGE", nargs="+", help="grey or colour pictures of any size")


def settings_from(options: argparse.Namespace) -> Settings:
    """What a run with these options is asked to do, or was when it began."""
    from rushlight.jobs.images import Settings

    settings: Settings = settings_asked(Settings, options, SETTINGS)
    if options.resume is None:
        settings.check()
    return settings


def trainer(options: argparse.Namespace) -> Trainer:
    """The trainer of the run that `train` would begin with these options, without a folder."""
    from rushlight.jobs.image_data import load_image_data
    from rushlight.jobs.images import prepare

    settings = settings_from(options)
    return prepare(load_image_data(settings.data, options.download), settings, None).trainer


def train(options: argparse.Namespace) -> int:
    """``rushlight train DATA``: train, test on the best model, and write the report.

    The files are read while the rest of the program is imported, and the step is compiled while both go on.
    """
    from rushlight.jobs.image_data import load_image_data

    with Background(lambda: load_image_data(options.data, options.download)) as loading:
        from rushlight.jobs.images import prepare, step_to_compile

        settings = settings_from(options)
        with Background(step_to_compile(settings)):
            data = loading.result()
            folder = run_folder(options, Path(settings.data).name or "images")
            job = prepare(data, settings, folder, resume=options.resume is not None)
            layers = " x ".join(str(n) for n in (job.train[0].shape[1], *settings.hidden, len(data.classes)))
            print(
                f"{len(job.train[0]):,} images to train on, {len(job.validation[0]):,} to validate, "
                f"{len(data.test_labels):,} to test; network {layers}",
                flush=True,
            )
            job.trainer.fit()
    _finish(options, job, data, layers)
    return 0


def _finish(options: argparse.Namespace, job: Job, data: ImageData, layers: str) -> None:
    """Test the best model, and write the report."""
    from rushlight.jobs.images import load_best, test_result

    trainer, folder = job.trainer, job.trainer.folder
    assert folder is not None
    result = test_result(load_best(folder, folder.read_config()), data)
    _print_result(result)
    print(f"\nbest validation accuracy {trainer.best:.2%}\ntest accuracy {result.accuracy:.2%}")
    if not options.no_report:
        from rushlight.jobs.report import report_sections, write_picture

        picture, title = folder.path / "report.png", f"{Path(options.data).name}: {layers}"
        write_picture(picture, trainer.history, result, title)
        report = trainer.write_report(title, report_sections(result))
        print(f"picture of curves, confusion and worst mistakes: {picture}")
        print(f"report: {report}")
    print(f"run kept in {folder.path}")


def _print_result(result: Any) -> None:
    from rushlight.jobs.report import confusion_text, mistakes_text

    print("\n" + confusion_text(result))
    if sys.stdout.isatty():
        drawn = mistakes_text(result)
        if drawn:
            print("\nmost confidently wrong:\n" + drawn)


def evaluate(options: argparse.Namespace) -> int:
    """``rushlight evaluate RUN``: accuracy and confusion matrix on the test images."""
    from rushlight.fit import RunFolder
    from rushlight.jobs.image_data import load_image_data
    from rushlight.jobs.images import load_best, test_result

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
    result = test_result(model, data)
    _print_result(result)
    print(f"\ntest accuracy {result.accuracy:.2%}")
    return 0


def predict(options: argparse.Namespace) -> int:
    """``rushlight predict RUN IMAGE ...``: the class of each picture, with its probability and the
    runners-up.
    """
    import numpy as np

    from rushlight.fit import RunFolder, predictions
    from rushlight.jobs.image_data import as_rows, picture_as_sample
    from rushlight.jobs.images import load_best
    from rushlight.jobs.report import probabilities
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
        rows = new_tensor(as_rows(sample[None]))
        chances = probabilities(predictions(model, [rows]).numpy())[0]
        order = np.argsort(-chances)[:3]
        others = ", ".join(f"{classes[i]} {chances[i]:.1%}" for i in order[1:])
        print(f"{path}: {classes[order[0]]}  {chances[order[0]]:.1%}  (then {others})")
    return 2 if failed else 0
