"""The command line of the candle job: its options, and its results as text.

Invariant: nothing heavy is imported before a command runs, and what is not a forecast is never called one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rushlight.cli.images import ACTIVATIONS, OPTIMIZERS, SCHEDULES, sizes
from rushlight.cli.shared import (
    add_reading_options,
    add_run_options,
    reading_arguments,
    run_folder,
    settings_asked,
)
from rushlight.jobs.errors import JobError, counted_rows

if TYPE_CHECKING:
    from rushlight.fit import Trainer
    from rushlight.jobs.candles import Data, Outcome, Saved
    from rushlight.jobs.candles_settings import Settings
    from rushlight.jobs.series import Series
    from rushlight.jobs.series_features import FeatureFunction

SUMMARY = "a column of a table with a time column (price candles, sensors), from the rows before it: --target"
SCALES = ("max", "standard", "minmax", "log", "returns")
LOSSES = ("mae", "mse", "rmse", "huber", "quantile")
GIVEN = (
    "target lags features scale loss quantile folds test validation purge gaps time time_format columns "
    "feature_functions hidden activation batch_size epochs lr optimizer schedule seed eager tensorboard"
)
SHOWN_ROWS = 5


def claims(found: argparse.Namespace) -> bool:
    """A table of which a column is to be predicted, and which has a column of times."""
    if found.target is None:
        return False
    if found.time is not None:
        return True
    from rushlight.jobs.reading import look
    from rushlight.jobs.times import first_time_name

    return first_time_name(look(found.data, **reading_arguments(found)).columns) is not None


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def train_options(train: argparse.ArgumentParser) -> None:
    """The options of ``rushlight train candles.csv --target high``."""
    what = train.add_argument_group("what is predicted, and from what")
    what.add_argument("--target", metavar="COLUMN", help="the column to predict")
    what.add_argument("--lags", type=int, metavar="N", help="how many rows back the features go (3)")
    what.add_argument(
        "--features",
        choices=("lags", "all"),
        help="lags: the rows before it alone, a forecast (the default); all: also the other columns of the "
        "same row, which is no forecast",
    )
    what.add_argument("--columns", type=_names, metavar="A,B", help="the columns to use (all numbers)")
    what.add_argument("--time", metavar="COLUMN", help="the column of times (by its name)")
    what.add_argument("--time-format", metavar="FORMAT", help="how times are written, such as %%d/%%m/%%Y")
    what.add_argument(
        "--gaps", choices=("keep", "drop"), help="keep or drop rows whose lags reach across a gap"
    )
    what.add_argument("--feature-functions", metavar="FILE.py", help="functions that add columns of your own")
    add_reading_options(train, rows=True)
    test = train.add_argument_group("how it is judged")
    test.add_argument("--folds", type=int, metavar="N", help="walk forward: train anew for N test blocks (1)")
    test.add_argument(
        "--test", type=float, metavar="SHARE", help="the last share of the rows, to test on (0.2)"
    )
    test.add_argument(
        "--validation", type=float, metavar="SHARE", help="the share before it, to stop by (0.1)"
    )
    test.add_argument(
        "--purge", type=int, metavar="N", help="rows left out between the spans (as many as lags)"
    )
    how = train.add_argument_group("how it is learnt")
    how.add_argument("--scale", choices=SCALES, help="fitted on the training rows only (returns)")
    how.add_argument("--loss", choices=LOSSES, help="what is made small, in the scaled unit (mae)")
    how.add_argument(
        "--quantile", type=float, metavar="Q", help="for --loss quantile: 0.9 is rarely exceeded"
    )
    how.add_argument(
        "--hidden", type=sizes, metavar="N,N", help="sizes of the hidden layers; '' for none (32)"
    )
    how.add_argument("--activation", choices=ACTIVATIONS, help="what follows each hidden layer (relu)")
    how.add_argument("--batch-size", type=int, metavar="N", help="rows per step (64)")
    how.add_argument("--epochs", type=int, metavar="N", help="passes over the training rows (30)")
    how.add_argument("--lr", type=float, metavar="RATE", help="learning rate (by optimizer)")
    how.add_argument("--optimizer", choices=OPTIMIZERS, help="how weights are updated (adam)")
    how.add_argument("--schedule", choices=SCHEDULES, help="how the rate changes over the run (one-cycle)")
    how.add_argument("--seed", type=int, metavar="N", help="seed of everything random (0)")
    add_run_options(train, "the picture", "runs/NAME-NUMBER")


def evaluate_options(evaluate: argparse.ArgumentParser) -> None:
    """The options of ``rushlight evaluate RUN``."""
    evaluate.add_argument("--data", metavar="FILE", help="another file with the same columns")
    evaluate.add_argument("--feature-functions", metavar="FILE.py", help="the functions it was trained with")


def predict_options(predict: argparse.ArgumentParser) -> None:
    """The arguments of ``rushlight predict RUN candles.csv``."""
    predict.add_argument("data", metavar="FILE", help="a table with the same columns")
    predict.add_argument("--out", metavar="FILE.csv", help="write the predictions of all rows there")
    predict.add_argument("--feature-functions", metavar="FILE.py", help="the functions it was trained with")


# -- train ---------------------------------------------------------------------------------------------------


def train(options: argparse.Namespace) -> int:
    """Train, walk forward, and compare with the naive forecasts."""
    from rushlight.jobs import candles
    from rushlight.jobs.series_errors import errors_text
    from rushlight.jobs.writing import write_table

    settings = settings_from(options)
    data = candles.prepare(settings, _functions(settings.feature_functions))
    folder = run_folder(options, Path(settings.data).name.split(".")[0])
    _print_data(data, settings)
    run = candles.train(data, settings, folder, resume=options.resume is not None)
    folds = len(data.folds)
    if folds > 1:
        for fold in range(1, folds + 1):
            print(
                f"\nfold {fold}: {_span(data, run.outcome, fold)}\n" + errors_text(run.outcome.errors(fold))
            )
    errors = errors_text(run.outcome.errors())
    print(f"\ntested on {_span(data, run.outcome)}, errors in the unit of {settings.target}:")
    print(errors)
    _print_reading(run.outcome, settings)
    write_table(
        folder.path / "predictions.csv", candles.forecast_table(data.series, settings.target, run.outcome)
    )
    if not options.no_report:
        from rushlight.fit.report import code, image
        from rushlight.jobs.candles_picture import worst_rows, write_picture

        picture = folder.path / "report.png"
        write_picture(picture, data.series, settings, run.outcome, run.trainer.history)
        sections = [
            (
                "Prediction",
                [image(picture.read_bytes(), "Prediction against truth, and the learning curves.")],
            ),
            ("Errors", [code(errors)]),
            ("Worst predictions", [worst_rows(data.series, settings, run.outcome)]),
        ]
        report = run.trainer.write_report(f"{Path(settings.data).name}: {settings.target}", sections)
        print(f"\npicture of prediction against truth: {picture}")
        print(f"report: {report}")
    print(f"run kept in {folder.path}")
    return 0


def settings_from(options: argparse.Namespace) -> Settings:
    """What a run with these options is asked to do, or was when it began."""
    from rushlight.jobs.candles_settings import Settings

    return settings_asked(Settings, options, GIVEN.split(), file="form")


def trainer(options: argparse.Namespace) -> Trainer:
    """The trainer of the last fold of the run that `train` would begin with these options."""
    from rushlight.jobs import candles
    from rushlight.jobs.series_scaling import Scaling

    settings = settings_from(options)
    data = candles.prepare(settings, _functions(settings.feature_functions))
    fold = data.folds[-1]
    scaling = Scaling.fit(settings.scale, data.rows.take(fold.train))
    return candles.fold_trainer(data, settings, fold, scaling)


def _functions(path: str | None) -> list[FeatureFunction]:
    from rushlight.jobs.series_features import load_functions

    return [] if path is None else load_functions(path)


def _print_data(data: Data, settings: Settings) -> None:
    """What was read, what it was made into, and how it is divided."""
    from rushlight.jobs.times import shown

    series, rows = data.series, data.rows
    extent = ""
    if series.times is not None:
        extent = f", {shown(series.times[0])} to {shown(series.times[-1])}, a row every {_step(series.step)}"
    print(f"{settings.data}: {len(series):,} rows{extent}")
    for note in series.notes:
        print(f"  {note}")
    if len(series.gaps) and settings.gaps == "keep":
        print("  lags count rows, and reach across the gaps; --gaps drop leaves such rows out")
    print(f"features: {len(rows.index):,} rows x {len(rows.features)} features + target {settings.target}")
    same_row = [feature.name for feature in rows.features if not feature.lag]
    if same_row:
        print(
            f"  this is NOT a forecast: {', '.join(same_row)} of the same row are known only when "
            f"{settings.target} is (--features lags forecasts from the rows before)"
        )
    else:
        before = counted_rows(settings.lags)
        print(f"  a forecast: each row's {settings.target} from the {before} before it alone")
    print("leak guard: no feature of a past row changes when later rows are taken away")
    fold = data.folds[-1]
    spans = [span.stop - span.start for span in fold]
    print(
        f"in time order: {spans[0]:,} rows to train on, {spans[1]:,} to validate, "
        f"{sum(each.test.stop - each.test.start for each in data.folds):,} to test; "
        f"{settings.gap} left out between them",
        flush=True,
    )


def _step(step: Any) -> str:
    """A span of time in the largest unit that goes into it.

    >>> import numpy as np
    >>> _step(np.timedelta64(900_000_000, "us"))
    '15 min'
    """
    microseconds = int(step.astype("timedelta64[us]").astype(int))
    for size, unit in ((86_400_000_000, "d"), (3_600_000_000, "h"), (60_000_000, "min"), (1_000_000, "s")):
        if microseconds % size == 0:
            return f"{microseconds // size} {unit}"
    return f"{microseconds / 1e6:g} s"


def _span(data: Data, result: Outcome, fold: int | None = None) -> str:
    from rushlight.jobs.times import shown

    index = result.rows.index if fold is None else result.rows.index[result.fold == fold]
    if data.series.times is None:
        return f"{len(index):,} rows, {index[0] + 1:,} to {index[-1] + 1:,}"
    times = data.series.times[index]
    return f"{len(index):,} rows, {shown(times[0])} to {shown(times[-1])}"


def _print_reading(result: Outcome, settings: Settings) -> None:
    """What the errors say, in words."""
    errors = dict(result.errors())
    network, best_naive = errors["network"], min(errors["last value"].mae, errors["drift"].mae)
    if settings.loss == "quantile":
        below = float((result.rows.target <= result.prediction).mean())
        print(
            f"{below:.1%} of the truths lie at or below the prediction; {settings.quantile:.1%} was asked for"
        )
    elif network.mae >= best_naive:
        print("the network is no better than a naive forecast: it has found nothing to go by")
    else:
        print(
            f"the network's mean error is {1 - network.mae / best_naive:.1%} below the best naive forecast's"
        )


# -- evaluate and predict ------------------------------------------------------------------------------------


def _saved(options: argparse.Namespace) -> tuple[Saved, list[FeatureFunction]]:
    """The run, and the functions that its features need; those only from where the user says."""
    from rushlight.fit import RunFolder
    from rushlight.jobs.candles import load
    from rushlight.jobs.series_features import fingerprint

    saved = load(RunFolder.open(options.folder))
    wanted, given = saved.settings.feature_functions, options.feature_functions
    if wanted is not None and given is None:
        raise JobError(
            f"this run's features come from functions: give --feature-functions {wanted} (a run folder never "
            "runs code by itself)"
        )
    if given is not None and (wanted is None or fingerprint(given) != saved.config["functions"]):
        raise JobError(f"{given} is not what this run was trained with")
    return saved, _functions(given)


def _tell(series: Series) -> None:
    """What was left out of a file or put right in it."""
    for note in series.notes:
        print(f"note: {note}", file=sys.stderr)


def evaluate(options: argparse.Namespace) -> int:
    """Errors on the rows that the run was tested on, or on another file."""
    import numpy as np

    from rushlight.jobs import candles
    from rushlight.jobs.series_errors import errors_text
    from rushlight.jobs.series_features import with_functions
    from rushlight.jobs.times import shown

    saved, functions = _saved(options)
    settings, config = saved.settings, saved.config
    series = with_functions(candles.read(settings, options.data, config["columns_read"]), functions)
    _tell(series)
    rows = candles.rows_of(series, settings)
    begins = config["test_begins"]
    if begins is not None and series.times is not None:
        rows = rows.take(series.times[rows.index] >= np.datetime64(begins))
    elif options.data is None:
        rows = rows.take(rows.index >= config["test_rows"][0])
    if not len(rows.index):
        raise JobError(
            f"{options.data or settings.data} has no complete row from {begins or 'the test rows'} on; rows "
            "before that were trained on"
        )
    result = candles.outcome_of(saved.model, saved.scaling, series, settings, rows)
    since = f" from {shown(series.times[rows.index[0]])} on" if series.times is not None else ""
    print(f"{len(rows.index):,} rows{since}, errors in the unit of {settings.target}:")
    print(errors_text(result.errors()))
    if settings.features == "all":
        print("not a forecast: other columns of the same row are used")
    return 0


def predict(options: argparse.Namespace) -> int:
    """Predictions for a file, with the row after its end where the features are lags alone."""
    from rushlight.jobs import candles
    from rushlight.jobs.series_features import with_functions
    from rushlight.jobs.writing import write_table

    saved, functions = _saved(options)
    settings = saved.settings
    series = with_functions(candles.read(settings, options.data, saved.config["columns_read"]), functions)
    _tell(series)
    rows = candles.rows_of(series, settings, ahead=True)
    if not len(rows.index):
        before = counted_rows(settings.lags)
        raise JobError(f"{options.data} has no complete row; {before} before each must be there")
    result = candles.outcome_of(saved.model, saved.scaling, series, settings, rows)
    table = candles.forecast_table(series, settings.target, result)
    if options.out is not None:
        write_table(options.out, table, options.data)
        print(f"{len(result.prediction):,} predictions written to {options.out}", file=sys.stderr)
    _print_rows(table, SHOWN_ROWS)
    if settings.features == "all":
        print("not a forecast: other columns of the same row are used")
    return 0


def _print_rows(table: Mapping[str, Any], count: int) -> None:
    """The last rows of a table as text; what is not known is empty."""
    import numpy as np

    from rushlight.jobs.times import shown

    def text(value: Any) -> str:
        if isinstance(value, np.datetime64):
            return shown(value)
        return "" if np.isnan(value) else f"{value:.10g}"

    last = zip(*(column[-count:] for column in table.values()), strict=True)
    lines = [list(table), *([text(value) for value in row] for row in last)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))
