"""The options of each command; what they mean is in `rushlight.jobs`.

Invariant: choices are listed by name in the help, and nothing heavy is imported before a command runs.
"""

from __future__ import annotations

import argparse

ACTIVATIONS = ("relu", "leaky-relu", "gelu", "silu", "elu", "tanh", "sigmoid")
OPTIMIZERS = ("sgd", "momentum", "adam", "adamw", "rmsprop", "adagrad", "nadam", "radam")
SCHEDULES = ("one-cycle", "cosine", "linear", "step", "constant")


def _sizes(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of layer sizes such as 64,32") from None


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    import rushlight
    from rushlight.cli import commands

    parser = argparse.ArgumentParser(prog="rushlight", description="Train and use small neural networks.")
    parser.add_argument("--version", action="version", version=f"rushlight {rushlight.__version__}")
    subparsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    train = subparsers.add_parser(
        "train", help="train a network on digits", description="Train a network on images."
    )
    train.add_argument("data", help="mnist, fashion-mnist, kmnist, or a folder of IDX files")
    train.add_argument("--hidden", type=_sizes, metavar="N,N", help="sizes of the hidden layers (64,32)")
    train.add_argument("--activation", choices=ACTIVATIONS, help="what follows each hidden layer (relu)")
    train.add_argument("--batch-size", type=int, metavar="N", help="images per step (64)")
    train.add_argument("--epochs", type=int, metavar="N", help="passes over the training images (10)")
    train.add_argument("--lr", type=float, metavar="RATE", help="learning rate (by optimizer)")
    train.add_argument("--optimizer", choices=OPTIMIZERS, help="how weights are updated (adam)")
    train.add_argument("--schedule", choices=SCHEDULES, help="how the rate changes over the run (one-cycle)")
    train.add_argument("--validation", type=float, metavar="SHARE", help="share of images held out (0.1)")
    train.add_argument("--seed", type=int, metavar="N", help="seed of everything random (0)")
    train.add_argument("--out", metavar="FOLDER", help="where the run is kept (runs/DATA-NUMBER)")
    train.add_argument("--resume", metavar="RUN", help="go on with an interrupted run")
    train.add_argument("--download", action="store_true", help="fetch the dataset if it is not found")
    train.add_argument("--no-report", action="store_true", help="leave out the picture")
    train.set_defaults(run=commands.train)

    evaluate = subparsers.add_parser(
        "evaluate", help="test a trained network", description="Test a trained network."
    )
    evaluate.add_argument("folder", metavar="RUN", help="the run folder")
    evaluate.add_argument("--data", help="another dataset or folder of IDX files with the same classes")
    evaluate.add_argument("--download", action="store_true", help="fetch the dataset if it is not found")
    evaluate.set_defaults(run=commands.evaluate)

    predict = subparsers.add_parser("predict", help="classify pictures", description="Classify pictures.")
    predict.add_argument("folder", metavar="RUN", help="the run folder")
    predict.add_argument("images", metavar="IMAGE", nargs="+", help="grey or colour pictures of any size")
    predict.set_defaults(run=commands.predict)
    return parser
