"""The command line of the ratings job: its options, and from its results to text.

Invariant: nothing heavy is imported before a command runs.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    from rushlight.jobs.ratings import Settings

SUMMARY = "who rated what how much, in a table: u.data, ratings.csv, or --user, --item and --rating columns"
NAMES = ("user", "item", "rating", "items")
SETTINGS = (
    *NAMES,
    "n_factors",
    "y_range",
    "batch_size",
    "epochs",
    "lr",
    "weight_decay",
    "bias_decay",
    "test",
    "seed",
    "eager",
    "tensorboard",
)


def claims(found: argparse.Namespace) -> bool:
    """Tables with a column of users or items named, MovieLens' own file names, and tables whose header names
    users, items and ratings as usual.
    """
    if found.user or found.item or found.rating:
        return True
    if found.target:
        return False
    if Path(found.data).name in ("u.data", "ratings.csv", "ratings.dat", "ratings.parquet"):
        return True
    if not Path(found.data).is_file():
        return False
    from rushlight.jobs.ratings_data import find_columns
    from rushlight.jobs.reading import look

    try:
        form = look(found.data, **reading_arguments(found))
    except JobError:  # an image file, say: another kind of job says what is wrong with it
        return False
    return form.header and len(find_columns(form, {}, found.data)) == 3


def _range(text: str) -> list[float]:
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a range such as 0,5.5") from None
    return [low, high]


def train_options(train: argparse.ArgumentParser) -> None:
    """The options of ``rushlight train ratings.csv``."""
    train.add_argument("--user", metavar="COLUMN", help="the column of users (found by its name)")
    train.add_argument("--item", metavar="COLUMN", help="the column of what they rated (found by its name)")
    train.add_argument("--rating", metavar="COLUMN", help="the column of ratings (found by its name)")
    train.add_argument("--items", metavar="FILE", help="a table with the names of items, such as u.item")
    train.add_argument("--n-factors", type=int, metavar="N", help="length of the vectors (50)")
    train.add_argument(
        "--y-range",
        "--sigmoid-range",
        type=_range,
        metavar="LOW,HIGH",
        help="range of predictions (ratings')",
    )
    train.add_argument("--batch-size", type=int, metavar="N", help="ratings per step (128, more of many)")
    train.add_argument("--epochs", type=int, metavar="N", help="passes over the ratings (5)")
    train.add_argument("--lr", type=float, metavar="RATE", help="the one-cycle's highest rate (0.005)")
    train.add_argument("--weight-decay", type=float, metavar="RATE", help="of the vectors (0.2)")
    train.add_argument("--bias-decay", type=float, metavar="RATE", help="weight decay of the biases (0.01)")
    train.add_argument("--test", type=float, metavar="SHARE", help="share of ratings held out (0.2)")
    train.add_argument("--seed", type=int, metavar="N", help="seed of everything random (0)")
    add_run_options(train, "the picture")
    add_reading_options(train, rows=True)


def evaluate_options(evaluate: argparse.ArgumentParser) -> None:
    """The options of ``rushlight evaluate RUN``."""
    evaluate.add_argument("file", nargs="?", help="other ratings (by default, those held out in training)")
    add_reading_options(evaluate)


def predict_options(predict: argparse.ArgumentParser) -> None:
    """The options of ``rushlight predict RUN``."""
    predict.add_argument("file", nargs="?", help="a table of users and items to predict the ratings of")
    predict.add_argument("--user", metavar="ID", help="a user to suggest items to")
    predict.add_argument("--top", type=int, default=10, metavar="N", help="how many items to suggest (10)")
    predict.add_argument("--out", metavar="FILE", help="where a table's predictions go (predictions.csv)")
    add_reading_options(predict)


def settings_from(options: argparse.Namespace) -> Settings:
    """What a run with these options is asked to do, or was when it began."""
    from rushlight.jobs.ratings import Settings

    settings: Settings = settings_asked(Settings, options, SETTINGS, file="reading")
    if options.resume is None:
        settings.check()
    return settings


def trainer(options: argparse.Namespace) -> Trainer:
    """The trainer of the run that `train` would begin with these options, without a folder."""
    from rushlight.jobs.ratings import prepare, read_split

    settings = settings_from(options)
    return prepare(read_split(settings), settings, None)


def train(options: argparse.Namespace) -> int:
    """``rushlight train ratings.csv``: train, and test beside the baselines."""
    from rushlight.jobs.ratings import Recommender, compare, predicted, prepare, read_split

    settings = settings_from(options)
    split = read_split(settings)
    folder = run_folder(options, Path(settings.data).stem)
    trainer = prepare(split, settings, folder, resume=options.resume is not None)
    for note in split.notes:
        print(f"note: {note}")
    assert settings.y_range is not None
    print(
        f"{len(split.train[1]):,} ratings to train on, {len(split.test[1]):,} to test, of "
        f"{len(split.users.ids):,} users and {len(split.items.ids):,} items; predictions from "
        f"{settings.y_range[0]:g} to {settings.y_range[1]:g}",
        flush=True,
    )
    trainer.fit()
    folder.write_model(trainer.model.state_dict(), {"epoch": str(trainer.epoch)})
    recommender = Recommender(folder)
    pairs, rating = split.test
    prediction = predicted(recommender.model, pairs)
    errors = compare(split, prediction)
    print("\n" + _errors_text(errors))
    if not options.no_report:
        from rushlight.fit.report import code, image, table
        from rushlight.jobs.ratings_report import answers, factors_text, worst_answers, write_factors

        factors = factors_text(recommender)
        print("\n" + factors)
        picture = folder.path / "factors.png"
        write_factors(picture, recommender)
        print(f"picture of the factors: {picture}")
        sections = [
            (
                "Test",
                [table(["", "RMSE", "MAE"], [[name, each.rmse, each.mae] for name, each in errors.items()])],
            ),
            ("Answers", [answers(rating, prediction)]),
            ("Worst answers", [worst_answers(recommender, pairs, rating, prediction)]),
            ("Factors", [image(picture.read_bytes(), "The most telling factors."), code(factors)]),
        ]
        print(f"report: {trainer.write_report(Path(settings.data).name, sections)}")
    print(f"run kept in {folder.path}")
    return 0


def _errors_text(errors: dict[str, Any]) -> str:
    lines = [f"{'':18}test RMSE   test MAE"]
    lines += [f"{name:18}{each.rmse:9.4f}{each.mae:11.4f}" for name, each in errors.items()]
    return "\n".join(lines)


def evaluate(options: argparse.Namespace) -> int:
    """``rushlight evaluate RUN [FILE]``: errors on the ratings held out, or on those of a file."""
    import numpy as np

    from rushlight.fit import RunFolder
    from rushlight.jobs.ratings import Errors, Recommender, compare, predicted, read_split

    recommender = Recommender(RunFolder.open(options.folder))
    if options.file is None:
        split = read_split(recommender.settings)
        if len(split.train[1]) + len(split.test[1]) != recommender.ratings:
            raise JobError(
                f"{recommender.settings.data} has changed since the run: name the ratings to test on"
            )
        print(_errors_text(compare(split, predicted(recommender.model, split.test[0]))))
        return 0
    ratings = recommender.read(options.file, reading_arguments(options), need_rating=True)
    pairs = recommender.pairs(ratings)
    assert ratings.rating is not None
    for note in [*ratings.notes, *_unknown_notes(pairs)]:
        print(f"note: {note}")
    errors = Errors.of(predicted(recommender.model, pairs), np.asarray(ratings.rating))
    print(f"{len(pairs):,} ratings: RMSE {errors.rmse:.4f}, MAE {errors.mae:.4f}")
    return 0


def _unknown_notes(pairs: Any) -> list[str]:
    return [
        f"{counted_rows(count)} with {'an item' if column else 'a user'} that was not trained on"
        for column in (0, 1)
        if (count := int((pairs[:, column] == 0).sum()))
    ]


def predict(options: argparse.Namespace) -> int:
    """``rushlight predict RUN --user 42``, or ``rushlight predict RUN FILE`` for a table of pairs."""
    from rushlight.fit import RunFolder
    from rushlight.jobs.ratings import Recommender

    if (options.user is None) == (options.file is None):
        raise JobError("say whom to suggest items to with --user ID, or name a table of users and items")
    if options.top < 1:
        raise JobError("--top must be at least 1")
    recommender = Recommender(RunFolder.open(options.folder))
    if options.file is not None:
        return _predict_file(options, recommender)
    found = recommender.top(options.user, options.top)
    if not recommender.knows_user(options.user):
        print(f"note: user {options.user} was not trained on; this is for a user nothing is known of")
    if not found:
        print(f"user {options.user} has rated every item there is")
    for place, each in enumerate(found, 1):
        named = f"{each.name}  (item {each.item})" if each.name else f"item {each.item}"
        print(f"{place:3}  {each.rating:.2f}  {named}, rated {each.times_rated:,} times")
    return 0


def _predict_file(options: argparse.Namespace, recommender: Any) -> int:
    from rushlight.jobs.ratings import predicted
    from rushlight.jobs.writing import write_table

    ratings = recommender.read(options.file, reading_arguments(options), need_rating=False)
    pairs = recommender.pairs(ratings)
    for note in [*ratings.notes, *_unknown_notes(pairs)]:
        print(f"note: {note}")
    columns = {
        "user": ratings.users,
        "item": ratings.items,
        "prediction": predicted(recommender.model, pairs),
    }
    path = write_table(options.out or "predictions.csv", columns, options.file)
    print(f"{len(pairs):,} predictions written to {path}")
    return 0
