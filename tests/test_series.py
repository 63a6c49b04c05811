"""Features, scaling, splits and naive forecasts of time series, and the leak guard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("polars", reason="needs the data extra")

from rushlight.jobs.candles import guard
from rushlight.jobs.candles_settings import Settings
from rushlight.jobs.errors import JobError
from rushlight.jobs.series import Series, read_series
from rushlight.jobs.series_errors import drift, errors_of, folds_in_time
from rushlight.jobs.series_features import build_rows, load_functions, with_functions
from rushlight.jobs.series_guard import LeakError, check_past, check_target
from rushlight.jobs.series_scaling import KINDS, Scaling

NAMES = ["open", "high", "low", "close", "vol"]


def candles(count: int = 400, seed: int = 0) -> Series:
    """Candles of a random walk."""
    rng = np.random.default_rng(seed)
    close = 27_000 + np.cumsum(rng.normal(0, 20, count))
    opening = np.concatenate([[27_000], close[:-1]])
    high = np.maximum(opening, close) + rng.exponential(15, count)
    low = np.minimum(opening, close) - rng.exponential(15, count)
    vol = rng.lognormal(6, 1, count)
    times = np.datetime64("2023-06-01", "us") + np.arange(count) * np.timedelta64(15, "m")
    values = np.column_stack([opening, high, low, close, vol])
    return Series(list(NAMES), values, times, np.timedelta64(15, "m"))


# -- features ------------------------------------------------------------------------------------------------


def test_features_are_those_of_the_notebook():
    """The notebook's own lines in pandas, cell by cell."""
    pd = pytest.importorskip("pandas")
    series = candles(50)
    df = pd.DataFrame(series.values, columns=NAMES)
    shifted = [df.shift(n).add_suffix(f"_s{n}") for n in (3, 2, 1)]
    df_train = pd.concat([*shifted, df], axis=1).dropna()
    wanted = df_train.loc[:, df_train.columns != "high"]
    rows = build_rows(series, "high", 3, "all")
    assert [feature.name for feature in rows.features] == list(wanted.columns)
    np.testing.assert_array_equal(rows.inputs, wanted.values)
    np.testing.assert_array_equal(rows.target, df_train["high"].values)
    assert rows.inputs.shape == (47, 19)
    assert build_rows(series, "high", 3, "lags").inputs.shape == (47, 15)


def test_a_missing_value_costs_the_rows_that_need_it():
    series = candles(20)
    series.values[10, 0] = np.nan
    assert build_rows(series, "high", 2, "lags").index.tolist() == [*range(2, 11), *range(13, 20)]
    assert build_rows(series, "high", 2, "all").index.tolist() == [*range(2, 10), *range(13, 20)]
    series = candles(20)
    series.values[10, 1] = np.nan  # the target
    assert build_rows(series, "high", 2).index.tolist() == [*range(2, 10), *range(13, 20)]


def test_rows_across_a_gap_can_be_dropped():
    series = candles(20)
    series.gaps = np.array([8, 19])
    assert build_rows(series, "high", 3, across_gaps=False).index.tolist() == [*range(3, 8), *range(11, 19)]
    ahead = build_rows(series, "high", 3, ahead=True, across_gaps=False)
    assert ahead.index.tolist() == [*range(3, 8), *range(11, 19)]
    assert build_rows(series, "high", 3, ahead=True).index[-1] == 20
    assert len(build_rows(candles(3), "high", 3).index) == 0


def test_functions_of_the_users_own_add_columns(tmp_path: Path):
    (tmp_path / "my.py").write_text(
        "from math import pi\nimport numpy as np\n"
        "def _hidden(columns): raise ValueError\n"
        "def spread(columns):\n    columns['open'][:] = 0\n"
        "    return {'spread': columns['high'] - columns['low']}\n"
        "def change(columns):\n    return {'change': np.diff(columns['close'], prepend=np.nan)}\n"
    )
    functions = load_functions(tmp_path / "my.py")
    assert [function.__name__ for function in functions] == ["spread", "change"]
    series = candles(30)
    wide = with_functions(series, functions)
    assert wide.names == [*NAMES, "spread", "change"]
    np.testing.assert_array_equal(wide.values[:, :5], series.values)
    np.testing.assert_allclose(wide.column("spread"), series.column("high") - series.column("low"))
    assert build_rows(wide, "high", 3).inputs.shape == (26, 21)  # the first change is missing


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("def f(c): return {'open': c['close']}\n", "'open', which there is already"),
        ("def f(c): return {'x': c['close'][1:]}\n", r"function f gives 'x' the shape \(29,\)"),
        ("def f(c): return {'x': c['clothes']}\n", "function f failed: KeyError: 'clothes'"),
        ("def f(c): return 5\n", "function f failed"),
        ("def f(c): raise SystemExit(3)\n", "function f failed: SystemExit: 3"),
        ("import sys\nsys.exit(3)\n", "cannot be run: SystemExit: 3"),
        ("x = 1\n", "defines no function"),
        ("import nonsense_\n", "cannot be run: ModuleNotFoundError"),
        ("def f(:\n", "cannot be run: SyntaxError"),
    ],
)
def test_functions_that_do_not_work_are_one_sentence(tmp_path: Path, text, sentence):
    (tmp_path / "my.py").write_text(text)
    with pytest.raises(JobError, match=sentence):
        with_functions(candles(30), load_functions(tmp_path / "my.py"))


# -- the leak guard ------------------------------------------------------------------------------------------


def centred_mean(columns):
    """Looks two rows ahead."""
    padded = np.pad(columns["close"], 2, constant_values=np.nan)
    return {"mean5": np.convolve(padded, np.ones(5) / 5, "valid")}


def scaled_by_the_whole_file(columns):
    """Knows mean and deviation of rows to come."""
    close = columns["close"]
    return {"close_scaled": (close - close.mean()) / close.std()}


def divided_by_the_maximum(columns):
    """Knows the largest value to come, which is in the first third here."""
    close = columns["close"] - 30 * np.abs(np.arange(len(columns["close"])) - 130)
    return {"share": close / close.max()}


def measured_by_the_largest_step(columns):
    """Knows the largest step to come."""
    steps = np.diff(columns["close"], prepend=np.nan)
    return {"step": steps / np.nanmax(steps)}


def shifted_the_wrong_way(columns):
    """The next row's value."""
    return {"previous": np.append(columns["close"][1:], np.nan)}


def trailing_mean(columns):
    """The mean of the last five rows: clean."""
    total = np.cumsum(np.insert(columns["close"], 0, 0.0))
    return {"mean5": np.concatenate([np.full(4, np.nan), (total[5:] - total[:-5]) / 5])}


def smoothed(columns):
    """An exponential mean: clean, though every row before counts."""
    values = columns["close"].copy()
    for row in range(1, len(values)):
        values[row] = 0.9 * values[row - 1] + 0.1 * values[row]
    return {"smooth": values}


def settings(**given) -> Settings:
    return Settings(**{"data": "candles.csv", "target": "high", **given})


@pytest.mark.parametrize("features", ["lags", "all"])
@pytest.mark.parametrize(
    ("function", "column"),
    [
        (centred_mean, "mean5"),
        (scaled_by_the_whole_file, "close_scaled"),
        (divided_by_the_maximum, "share"),
        (measured_by_the_largest_step, "step"),
        (shifted_the_wrong_way, "previous"),
    ],
)
def test_the_guard_catches_planted_leaks(function, column, features):
    with pytest.raises(LeakError, match=f"the feature '{column}' leaks") as caught:
        guard(candles(), settings(features=features), [trailing_mean_of_low, function], 250)
    assert caught.value.column == column


def trailing_mean_of_low(columns):
    return {"low5": trailing_mean({"close": columns["low"]})["mean5"]}


@pytest.mark.parametrize("features", ["lags", "all"])
@pytest.mark.parametrize("scale", KINDS)
def test_the_guard_lets_clean_features_pass(scale, features):
    functions = [] if features == "all" else [trailing_mean, smoothed]
    guard(candles(), settings(features=features, scale=scale), functions, 250)


def test_the_guard_tries_the_finished_features_too(monkeypatch):
    """A scaling that is fitted on all rows instead of the training rows."""
    honest = Scaling.fit.__func__
    everything = build_rows(candles(), "high", 3)

    def leaky(cls, kind, rows):
        return honest(cls, kind, everything.take(everything.index < leaky.known))

    monkeypatch.setattr(Scaling, "fit", classmethod(leaky))
    leaky.known = 250
    guard(candles(), settings(scale="standard"), [], 250)

    def fitted_on_what_is_there(values):
        leaky.known = len(values)
        rows = everything.take(everything.index < len(values))
        placed = np.full((len(values), 15), np.nan)
        placed[rows.index] = Scaling.fit("standard", rows).apply(rows)
        return [feature.name for feature in rows.features], placed

    with pytest.raises(LeakError, match="the feature 'open_s3' leaks"):
        check_past(fitted_on_what_is_there, candles().values, least=251)


def test_the_guard_refuses_the_target_in_disguise():
    """With the same row's columns a function of the target would give it away; lags hide nothing."""
    double = lambda columns: {"twice": 2 * columns["high"]}  # noqa: E731
    guard(candles(), settings(features="lags"), [double], 250)
    with pytest.raises(LeakError, match="'twice' leaks: it is computed from the target"):
        guard(candles(), settings(features="all"), [double], 250)


def test_the_guard_says_where():
    values = np.arange(100.0)[:, None]
    sentence = r"in row (\d+) is \1 with all 100 rows and missing if the rows after \1 are not there yet"
    with pytest.raises(LeakError, match=sentence):
        check_past(lambda values: (["next"], np.append(values[1:], [[np.nan]], 0)), values)
    check_target(lambda values: (["past"], np.roll(values, 1, 0)), values, 0)


# -- scaling -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_scaling_comes_back_and_is_kept(kind):
    rows = build_rows(candles(), "high", 3, "all")
    scaling = Scaling.from_dict(Scaling.fit(kind, rows.take(slice(0, 200))).as_dict())
    scaled = scaling.apply(rows)
    assert scaled.dtype == np.float32
    assert scaled.shape == rows.inputs.shape
    assert np.isfinite(scaled).all()
    assert np.abs(scaled[:200]).max() <= (1.000001 if kind in ("max", "minmax") else 8)
    np.testing.assert_allclose(
        scaling.restore(scaling.apply_target(rows), rows.last), rows.target, rtol=1e-12
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_scaling_knows_the_training_rows_only(kind):
    rows = build_rows(candles(), "high", 3, "all")
    before = Scaling.fit(kind, rows.take(slice(0, 200))).as_dict()
    rows.inputs[200:] *= 3
    rows.target[200:] *= 3
    assert Scaling.fit(kind, rows.take(slice(0, 200))).as_dict() == before


def test_scalings_are_what_their_names_say():
    rows = build_rows(candles(), "high", 3, "all")
    inputs = rows.inputs
    np.testing.assert_allclose(Scaling.fit("max", rows).apply(rows), inputs / inputs.max(0), rtol=1e-6)
    standard = (inputs - inputs.mean(0)) / inputs.std(0)
    np.testing.assert_allclose(Scaling.fit("standard", rows).apply(rows), standard, atol=1e-5)
    low, high = inputs.min(0), inputs.max(0)
    np.testing.assert_allclose(
        Scaling.fit("minmax", rows).apply(rows), (inputs - low) / (high - low), atol=1e-6
    )
    logs = np.log(inputs)
    logs = (logs - logs.mean(0)) / logs.std(0)
    np.testing.assert_allclose(Scaling.fit("log", rows).apply(rows), logs, atol=1e-3)
    returns = Scaling.fit("returns", rows)
    prices = [name for name, related in zip(returns.names, returns.related, strict=True) if related]
    assert not any(name.startswith("vol") for name in prices)
    assert len(prices) == 15
    moves = np.log(rows.target / rows.last)
    np.testing.assert_allclose(
        returns.apply_target(rows), (moves - moves.mean()) / moves.std(), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("kind", KINDS)
def test_zeros_negatives_and_constants_can_be_scaled(kind):
    rng = np.random.default_rng(1)
    values = np.column_stack(
        [rng.normal(size=200), np.zeros(200), np.full(200, 7.0), rng.integers(0, 2, 200)]
    )
    rows = build_rows(Series(["target", "zero", "seven", "flag"], values), "target", 2)
    scaling = Scaling.fit(kind, rows)
    assert np.isfinite(scaling.apply(rows)).all()
    np.testing.assert_allclose(scaling.restore(scaling.apply_target(rows), rows.last), rows.target, atol=1e-9)


# -- splits, naive forecasts, errors -------------------------------------------------------------------------


def test_folds_go_forward_in_time_with_gaps():
    folds = folds_in_time(1000, 4, 0.4, 0.1, 5)
    assert [fold.test for fold in folds] == [slice(600 + 100 * n, 700 + 100 * n) for n in range(4)]
    for fold in folds:
        assert fold.train.start == 0
        assert fold.validation.start - fold.train.stop == 5
        assert fold.test.start - fold.validation.stop == 5
    assert folds_in_time(141, 1, 0.2, 0.1, 3)  # twelve years of months
    with pytest.raises(JobError, match="leave 4 to test on; at least 5"):
        folds_in_time(300, 4, 0.05, 0.1, 5)
    with pytest.raises(JobError, match="leave 11 to train on; at least 20"):
        folds_in_time(40, 1, 0.3, 0.4, 3)


def test_drift_knows_the_past_only():
    series = candles().column("high")
    forecast = drift(series, np.array([100, 200]))
    changed = series.copy()
    changed[200:] = 0
    np.testing.assert_array_equal(drift(changed, np.array([100, 200])), forecast)
    assert forecast[0] == series[99] + (series[99] - series[0]) / 99


def test_errors_where_the_truth_is_zero_or_the_series_still():
    errors = errors_of(np.array([1.0, 2.0]), np.array([0.0, 2.0]), np.array([0.0, 2.0]))
    assert np.isnan(errors.mape)
    assert np.isnan(errors.skill)
    assert errors.mae == 0.5


# -- reading -------------------------------------------------------------------------------------------------


def test_a_series_leaves_out_what_is_no_number(tmp_path: Path):
    (tmp_path / "c.csv").write_text(
        "time,symbol,high,close_time,empty,low\n2024-01-01,BTC,1,2024-01-02,,inf\n2024-01-02,BTC,2,2024-01-03,,1\n"
    )
    series = read_series(tmp_path / "c.csv")
    assert series.names == ["high", "low"]
    assert series.notes == [
        "every value is missing in empty: left out",
        "text, not numbers, in symbol: left out",
        "1 infinite values: taken as missing",
    ]
    assert read_series(tmp_path / "c.csv", columns=["low"]).names == ["low"]
    with pytest.raises(JobError, match="'BTC' in row 1 is not a number"):
        read_series(tmp_path / "c.csv", needed="symbol")
    with pytest.raises(JobError, match="column 'empty': every value is missing"):
        read_series(tmp_path / "c.csv", needed="empty")
