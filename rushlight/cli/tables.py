"""The command line of the table job: its options, and from its results to text.

Invariant: nothing heavy is imported before a command runs.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rushlight.cli.images import sizes
from rushlight.cli.shared import (
    add_reading_options,
    add_run_options,
    reading_arguments,
    run_folder,
    settings_asked,
)
from rushlight.jobs.errors import JobError, counted_rows

if TYPE_CHECKING:
    from rushlight.fit import RunFolder, Trainer
    from rushlight.jobs.tables import Settings

SUMMARY = "a column of a table from the others, whatever they are (people, houses, measurements): --target"
SETTINGS = (
    "target",
    "task",
    "drop",
    "hidden",
    "dropout",
    "categories",
    "class_weights",
    "batch_size",
    "epochs",
    "lr",
    "weight_decay",
    "test",
    "validation",
    "folds",
    "seed",
    "eager",
    "tensorboard",
)
SHOWN_COLUMNS = 12
BAR = 24


def claims(found: argparse.Namespace) -> bool:
    """A table of which a column is to be predicted."""
    return bool(found.target)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def train_options(train: argparse.ArgumentParser) -> None:
    """The options of ``rushlight train people.csv --target Survived``."""
    what = train.add_argument_group("what is learnt")
    what.add_argument("--target", metavar="COLUMN", help="the column to predict")
    what.add_argument(
        "--task",
        choices=("classification", "regression", "auto"),
        help="what the target is (auto: found from its values)",
    )
    what.add_argument("--drop", type=_names, metavar="A,B", help="columns to leave out")
    what.add_argument("--folds", type=int, metavar="N", help="cross-validate in N folds (one test part)")
    what.add_argument("--test", type=float, metavar="SHARE", help="share of rows to test on (0.2)")
    what.add_argument("--validation", type=float, metavar="SHARE", help="of the rest, to choose by (0.1)")
    how = train.add_argument_group("the models")
    how.add_argument("--hidden", type=sizes, metavar="N,N", help="sizes of the network's layers (64,32)")
    how.add_argument("--dropout", type=float, metavar="SHARE", help="of each layer's results (0.4)")
    how.add_argument(
        "--categories", choices=("onehot", "embedding", "auto"), help="what the network sees of categories"
    )
    how.add_argument(
        "--class-weights",
        choices=("balanced", "none", "auto"),
        help="whether rare classes count for more (auto: a little, if far rarer)",
    )
    how.add_argument("--batch-size", type=int, metavar="N", help="rows per step (by the number of rows)")
    how.add_argument("--epochs", type=int, metavar="N", help="passes over the rows (by their number)")
    how.add_argument("--lr", type=float, metavar="RATE", help="the one-cycle's highest rate (0.005)")
    how.add_argument("--weight-decay", type=float, metavar="RATE", help="of all weights (1)")
    how.add_argument("--seed", type=int, metavar="N", help="seed of everything random (0)")
    add_run_options(train, "report.html")
    add_reading_options(train, rows=True)


def evaluate_options(evaluate: argparse.ArgumentParser) -> None:
    """The options of ``rushlight evaluate RUN FILE``."""
    evaluate.add_argument("file", nargs="?", help="other rows with the target (by default, the test part)")
    add_reading_options(evaluate)


def predict_options(predict: argparse.ArgumentParser) -> None:
    """The options of ``rushlight predict RUN FILE``."""
    predict.add_argument("file", nargs="?", help="a table with the columns that the model was trained on")
    predict.add_argument("--out", metavar="FILE", help="where the predictions go (predictions.csv)")
    add_reading_options(predict)


def settings_from(options: argparse.Namespace) -> Settings:
    """What a run with these options is asked to do, or was when it began."""
    from rushlight.jobs.tables import Settings

    settings: Settings = settings_asked(Settings, options, SETTINGS, file="reading")
    if options.resume is None:
        settings.check()
    return settings


def trainer(options: argparse.Namespace) -> Trainer:
    """The trainer of the network that `train` would begin with these options."""
    import rushlight as rl
    from rushlight.jobs.tables import divide, prepare_rows, read_task, trainer_of

    settings = settings_from(options)
    task = read_task(settings)
    rl.manual_seed(settings.seed)
    rows = _all_rows(task) if settings.folds else divide(task.target, task.classes, settings.test)[0]
    return trainer_of("network", prepare_rows(task, rows, settings), task.classes, settings)


def train(options: argparse.Namespace) -> int:
    """``rushlight train people.csv --target Survived``: train both models, and test them."""
    from rushlight.fit import RunFolder
    from rushlight.jobs.table_run import first_config, keep
    from rushlight.jobs.tables import cross_validate, fit_models, hold_out, read_task

    settings = settings_from(options)
    if options.resume is not None and _nothing_left(RunFolder.open(options.resume), not options.no_report):
        raise JobError(f"the run in {options.resume} is finished: there is nothing to resume")
    task = read_task(settings)
    folder = run_folder(options, Path(settings.data).stem)
    if options.resume is None:
        folder.write_config(first_config(task, settings))
    _print_task(task, settings)
    if settings.folds:
        outcome = cross_validate(task, settings)
        print("\nthe models that are kept learn from all rows:", flush=True)
        fitted = fit_models(task, _all_rows(task), settings, folder, options.resume is not None)
    else:
        fitted, outcome = hold_out(task, settings, folder, options.resume is not None)
    keep(folder, fitted, outcome.better)
    how = f"{settings.folds} folds" if settings.folds else f"{len(outcome.truth):,} rows"
    print(f"\ntested on {how} that were not trained on, with 95 % intervals:")
    tested = _metrics_rows(outcome.truth, outcome.predictions)
    by_fold = _folds_text(outcome.by_fold, bool(task.classes)) if outcome.by_fold else ""
    worth = _worth_text(outcome.worth, outcome.better, bool(task.classes))
    print("\n\n".join(each for each in (_aligned(tested), by_fold, worth) if each))
    folder.write_config({**folder.read_config(), "tested": True})
    network = fitted["network"].trainer
    if not options.no_report and network is not None:
        from rushlight.fit.report import code, paragraph, table
        from rushlight.jobs.table_report import answers, worst_answers

        untold = f"Tested on {how} that were not trained on, with 95 % intervals."
        folds_part = [code(by_fold)] if by_fold else []
        sections = [
            ("Test", [paragraph(untold), table(tested[0], tested[1:]), *folds_part]),
            ("Answers", answers(task, outcome, settings.target)),
            ("Worst answers", [worst_answers(task, outcome, settings.target)]),
            ("Worth of columns", [code(worth)]),
            ("Columns", [code(_columns_text(task))]),
        ]
        print(f"report: {network.write_report(f'{Path(settings.data).name}: {settings.target}', sections)}")
    print(f"kept for predictions: the {outcome.better}; run kept in {folder.path}")
    return 0


def _nothing_left(folder: RunFolder, report: bool) -> bool:
    """Whether a run was trained and tested, and has its report where one is wanted."""
    config = folder.read_config()
    done = config.get("finished") and config.get("tested", True)
    return bool(done) and not (report and not (folder.path / "report.html").exists())


def _all_rows(task: Any) -> Any:
    import numpy as np

    return np.arange(len(task.target))


def _print_task(task: Any, settings: Any) -> None:
    """What was found in the table."""
    for note in task.notes:
        print(f"note: {note}")
    if task.classes:
        shown = ", ".join(task.classes[:6]) + (", ..." if len(task.classes) > 6 else "")
        what = f"{len(task.classes)} classes ({shown})"
    else:
        what = f"a number from {task.target.min():g} to {task.target.max():g}"
    print(f"{len(task.target):,} rows; {settings.target} is {what}\n{_columns_text(task)}\n", flush=True)


def _columns_text(task: Any) -> str:
    """A line for each column: what it is, and what is taken of it."""
    lines = []
    width = max(len(column.name) for column in task.columns)
    for column in task.columns:
        taken = ", ".join(part for part in column.parts if not part.startswith("has:"))
        words = [part.removeprefix("has:") for part in column.parts if part.startswith("has:")]
        taken += (", " if taken and words else "") + ("the words " + " ".join(words) if words else "")
        plain = column.parts in (["number"], ["value"], [])
        text = "; ".join(each for each in (column.remark, "" if plain else f"taken: {taken}") if each)
        lines.append(f"  {column.name:{width}}  {column.kind:9}  {text}".rstrip())
    return "\n".join(lines)


def _metrics_rows(truth: Any, predictions: dict[str, Any]) -> list[list[str]]:
    """A heading and a row for each model: metrics with their intervals."""
    from rushlight.jobs.table_metrics import measure

    found = {name: measure(truth, each) for name, each in predictions.items()}
    metrics = list(next(iter(found.values())))
    percent = ("accuracy", "balanced accuracy")
    rows = [["", *metrics]]
    rows += [
        [name, *(each[metric].text(metric in percent) for metric in metrics)] for name, each in found.items()
    ]
    return rows


def _aligned(rows: list[list[str]]) -> str:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _folds_text(by_fold: dict[str, list[float]], classify: bool) -> str:
    import statistics

    lines = ["mean accuracy of the folds:" if classify else "mean RMSE of the folds:"]
    for name, values in by_fold.items():
        mean, deviation = statistics.mean(values), statistics.stdev(values)
        shown = f"{100 * mean:.1f} % ± {100 * deviation:.1f}" if classify else f"{mean:.4g} ± {deviation:.2g}"
        lines.append(f"  {name:14}{shown}")
    return "\n".join(lines)


def _worth_text(worth: dict[str, Any], better: str, classify: bool) -> str:
    """What each column is worth to the better model."""
    import numpy as np

    if not worth:
        return "what columns are worth was not measured: there are too many"
    loss = "log loss" if classify else "RMSE"
    lines = [f"what columns are worth to the {better}: how much the {loss} grows when one is shuffled"]
    ordered = sorted(worth.items(), key=lambda pair: -pair[1].mean())
    top = max(ordered[0][1].mean(), 1e-12)
    width = max(len(name) for name, _ in ordered[:SHOWN_COLUMNS])
    for name, values in ordered[:SHOWN_COLUMNS]:
        bar = "█" * max(0, round(BAR * float(values.mean()) / top))
        lines.append(f"  {name:{width}}  {values.mean():9.4g} ± {np.std(values):<8.2g} {bar}".rstrip())
    rest = len(ordered) - SHOWN_COLUMNS
    if rest > 0:
        lines.append(f"  and {rest} columns that are worth less")
    return "\n".join(lines)


def evaluate(options: argparse.Namespace) -> int:
    """``rushlight evaluate RUN [FILE]``: both models on the test part, or on the rows of a file."""
    import numpy as np

    from rushlight.fit import RunFolder
    from rushlight.jobs.table_run import TableRun

    run = TableRun(RunFolder.open(options.folder))
    if options.file is None:
        frame, where = _test_part(run), run.settings.data
    else:
        from rushlight.jobs.reading import read_table

        table = read_table(options.file, **reading_arguments(options))
        frame, where = table.frame, options.file
        run.check(frame, where)
        for note in [*table.notes, *_counted(run.unread(frame))]:
            print(f"note: {note}")
    truth = run.truth(frame, where)
    known = np.isfinite(truth)
    if not known.any():
        raise JobError(f"{where}: no row has a {run.settings.target} that the model knows")
    if not known.all():
        left_out = counted_rows(int((~known).sum()))
        print(f"note: left out: {left_out} without a {run.settings.target} that the model knows")
    found = {kind: run.predict(frame, where, kind)[known] for kind in run.models}
    truth = truth[known].astype(np.int64) if run.classes else truth[known]
    print(f"{len(truth):,} rows, with 95 % intervals:\n{_aligned(_metrics_rows(truth, found))}")
    return 0


def _test_part(run: Any) -> Any:
    """The rows that were held out in training, of a file that has not changed since."""
    import rushlight as rl
    from rushlight.jobs.tables import divide, read_task

    if run.settings.folds:
        raise JobError("after cross-validation the models learnt from all rows: name a file of other rows")
    task = read_task(run.settings)
    if len(task.target) != run.rows:
        raise JobError(f"{run.settings.data} has changed since the run: name the file of rows to test on")
    rl.manual_seed(run.settings.seed)
    return task.frame[divide(task.target, task.classes, run.settings.test)[1]]


def predict(options: argparse.Namespace) -> int:
    """``rushlight predict RUN FILE``: the rows of a table with predictions."""
    from rushlight.fit import RunFolder
    from rushlight.jobs.reading import read_parts
    from rushlight.jobs.table_run import TableRun
    from rushlight.jobs.writing import write_parts

    if options.file is None:
        raise JobError("name the table to predict: rushlight predict RUN FILE")
    run = TableRun(RunFolder.open(options.folder))
    rows = 0
    unread: Counter[str] = Counter()

    def predicted() -> Iterator[dict[str, Any]]:
        nonlocal rows
        for table in read_parts(options.file, **reading_arguments(options)):
            prediction = run.predict(table.frame, options.file)
            rows += len(prediction)
            unread.update(run.unread(table.frame))
            columns = {name: table.frame[name] for name in table.frame.columns}
            yield columns | run.answers(prediction)

    path = write_parts(options.out or "predictions.csv", predicted(), options.file)
    for note in _counted(unread):
        print(f"note: {note}")
    print(f"{rows:,} predictions written to {path}")
    return 0


def _counted(unread: Counter[str]) -> list[str]:
    return [f"{count:,} {what}" for what, count in unread.items()]
