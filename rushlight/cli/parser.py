"""The commands and their arguments; what the options mean is in `rushlight.jobs`.

A command that trains or uses a network has the options of its kind of job (`rushlight.cli.kinds`), so the
parser is built for the arguments at hand. Invariant: choices are listed by name in the help, and nothing
heavy is imported before a command runs.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Sequence

from rushlight.cli.explain import explain
from rushlight.cli.kinds import KINDS, kind_named, kind_of_run, kind_to_train
from rushlight.cli.rates import add_options, find_lr
from rushlight.cli.run import run


def build_parser(arguments: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The parser for a command line.

    Raises:
        JobError: the data or the run folder that the arguments name cannot be read.
    """
    import rushlight

    parser = argparse.ArgumentParser(prog="rushlight", description="Train and use small neural networks.")
    parser.add_argument("--version", action="version", version=f"rushlight {rushlight.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_train(commands, arguments)
    _add_find_lr(commands, arguments)
    _add_evaluate(commands, arguments)
    _add_predict(commands, arguments)
    _add_explain(commands)
    _add_run(commands)
    return parser


def _add_train(commands: argparse._SubParsersAction, arguments: Sequence[str]) -> None:
    kind = kind_to_train(arguments[1:]) if arguments[:1] == ["train"] else None
    train = commands.add_parser(
        "train",
        help="train a network on a file or a dataset",
        description=kind.SUMMARY if kind else "Train a network. What is trained follows from the data:",
        epilog=None if kind else _kinds_listed(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    train.add_argument("data", metavar="DATA", help="the name of a dataset, a file or a folder")
    train.add_argument("--kind", choices=KINDS, help="the kind of job, where the data would be taken wrongly")
    if kind is not None:
        kind.train_options(train)
        train.set_defaults(run=kind.train)


def _add_find_lr(commands: argparse._SubParsersAction, arguments: Sequence[str]) -> None:
    kind = kind_to_train(arguments[1:]) if arguments[:1] == ["find-lr"] else None
    find = commands.add_parser(
        "find-lr",
        help="find a learning rate to train with",
        description="Find a learning rate: a short sweep, after which nothing is kept. Takes the options "
        "that train has for the same data.",
        allow_abbrev=False,
    )
    find.add_argument("data", metavar="DATA", help="what train would be given")
    find.add_argument("--kind", choices=KINDS, help="the kind of job, where the data would be taken wrongly")
    if kind is not None:
        add_options(find, kind)
        find.set_defaults(run=functools.partial(find_lr, kind))


def _kinds_listed() -> str:
    lines = [f"  {name:10}{kind_named(name).SUMMARY}" for name in KINDS]
    return "\n".join(
        ["kinds of jobs:", *lines, "", "rushlight train DATA --help lists the options for that data."]
    )


def _add_evaluate(commands: argparse._SubParsersAction, arguments: Sequence[str]) -> None:
    kind = kind_of_run("evaluate", arguments[1:]) if arguments[:1] == ["evaluate"] else None
    evaluate = commands.add_parser(
        "evaluate",
        help="test a trained network",
        description="Test a trained network.",
        allow_abbrev=False,
    )
    evaluate.add_argument("folder", metavar="RUN", help="the run folder")
    if kind is not None:
        kind.evaluate_options(evaluate)
        evaluate.set_defaults(run=kind.evaluate)


def _add_predict(commands: argparse._SubParsersAction, arguments: Sequence[str]) -> None:
    kind = kind_of_run("predict", arguments[1:]) if arguments[:1] == ["predict"] else None
    predict = commands.add_parser(
        "predict",
        help="use a trained network",
        description="Use a trained network.",
        allow_abbrev=False,
    )
    predict.add_argument("folder", metavar="RUN", help="the run folder")
    if kind is not None:
        kind.predict_options(predict)
        predict.set_defaults(run=kind.predict)


def _add_explain(commands: argparse._SubParsersAction) -> None:
    explainer = commands.add_parser(
        "explain",
        help="show what the training step of a run was compiled to",
        description="Show the loops that the training step of a run was compiled to, and how well each uses "
        "the machine. Nothing is trained, and the run stays as it is.",
        allow_abbrev=False,
    )
    explainer.add_argument("folder", metavar="RUN", help="the run folder")
    explainer.add_argument("--code", action="store_true", help="print the program as C instead")
    explainer.set_defaults(run=explain)


def _add_run(commands: argparse._SubParsersAction) -> None:
    runner = commands.add_parser(
        "run",
        help="run a PyTorch script as it stands",
        description="Run a PyTorch script, with Rushlight answering for torch and torchvision.",
        allow_abbrev=False,
    )
    runner.add_argument(
        "--watch", action="store_true", help="tell the classic mistakes in training a network"
    )
    runner.add_argument(
        "-m", nargs=argparse.REMAINDER, dest="module", metavar="MODULE", help="run a module, not a script"
    )
    runner.add_argument("script", nargs="?", metavar="SCRIPT", help="the script")
    runner.add_argument(
        "arguments", nargs=argparse.REMAINDER, metavar="ARGUMENT", help="what the script gets in sys.argv"
    )
    runner.set_defaults(run=run)
