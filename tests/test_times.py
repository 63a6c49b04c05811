"""Timestamps: every usual way of writing them, and rows in time order."""

from __future__ import annotations

import numpy as np
import pytest

pl = pytest.importorskip("polars", reason="needs the data extra")

from rushlight.jobs.errors import JobError
from rushlight.jobs.times import first_time_name, is_time_name, put_in_order, shown, times_of

NOON = "2023-06-01T12:00:00"
SECONDS = 1_685_620_800


@pytest.mark.parametrize(
    "value",
    [
        SECONDS,
        float(SECONDS),
        SECONDS * 1_000,
        SECONDS * 1_000_000,
        SECONDS * 1_000_000_000,
        "2023-06-01T12:00:00",
        "2023-06-01 12:00:00.000",
        "2023-06-01 12:00",
        "2023.06.01 12:00",
        "2023/06/01 12:00:00",
        "20230601 12:00:00",
        "2023-06-01T12:00:00Z",
        "2023-06-01T14:00:00+02:00",
        "2023-06-01 05:00:00.000-0700",
        "2023-06-01T15:00+03:00",
        "30.06.2023 12:00",
        "06/30/2023 12:00",
    ],
)
def test_ways_of_writing_a_moment(value):
    wanted = NOON.replace("06-01", "06-30") if str(value)[:2] in ("30", "06") else NOON
    assert times_of(pl.DataFrame({"t": [value]}), "t", "file") == np.datetime64(wanted, "us")


def test_days_and_typed_columns():
    day = np.datetime64("2023-06-01T00:00", "us")
    dates = np.array(["2023-06-01"], "datetime64[D]")
    for values in (["2023-06-01"], [20230601], dates, dates.astype("datetime64[ms]")):
        assert times_of(pl.DataFrame({"t": values}), "t", "file") == day
    zoned = (
        pl.Series("t", ["2023-06-01T00:00:00+03:00"]).str.to_datetime("%+").dt.convert_time_zone("Asia/Tokyo")
    )
    assert times_of(pl.DataFrame({"t": zoned}), "t", "file") == np.datetime64("2023-05-31T21:00", "us")


def test_a_day_and_month_that_could_be_exchanged_are_not_guessed():
    both = pl.DataFrame({"t": ["01/02/2023", "02/02/2023", "03/02/2023"]})
    with pytest.raises(
        JobError, match=r"more than one way; say which with --time-format '%d/%m/%Y' or .*%m/%d"
    ):
        times_of(both, "t", "file")
    assert times_of(both, "t", "file", "%d/%m/%Y")[2] == np.datetime64("2023-02-03", "us")
    clear = pl.DataFrame({"t": ["01/02/2023", "13/02/2023"]})
    assert times_of(clear, "t", "file")[0] == np.datetime64("2023-02-01", "us")
    late = pl.DataFrame({"t": ["01/02/2023"] * 1500 + ["13/02/2023"]})
    assert times_of(late, "t", "file")[0] == np.datetime64("2023-02-01", "us")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (["2023-06-01", None], "row 2 has no timestamp"),
        (["2023-06-01", "tomorrow"], "'tomorrow' in row 2 is not a timestamp"),
        (["2023-06-01"] * 2000 + ["tomorrow"], "'tomorrow' in row 2001 is not written like the others"),
        ([True, False], "holds Boolean"),
        ([5.0, 8e12], "is no time between 1800 and 2200"),
    ],
)
def test_what_is_no_time_is_named(values, sentence):
    with pytest.raises(JobError, match=sentence):
        times_of(pl.DataFrame({"t": values}), "t", "file")


def test_columns_of_times_are_known_by_their_names():
    assert all(map(is_time_name, ["time", "Date", "Open time", "close_time", "TIMESTAMP", "Unix Time"]))
    assert not any(map(is_time_name, ["open", "lifetime", "times", "update", "1"]))
    assert first_time_name(["open", "Open time", "Close time"]) == "Open time"
    assert first_time_name(["open"]) is None


def minutes(*values: int) -> np.ndarray:
    return np.datetime64("2024-01-01", "us") + np.array(values) * np.timedelta64(1, "m")


def test_rows_are_put_in_order_and_gaps_found():
    rows = np.array([[4.0], [1.0], [1.0], [2.0], [np.nan], [np.nan]])
    order = put_in_order(minutes(9, 0, 0, 1, 2, 2), rows, "file")
    assert order.rows.tolist() == [1, 3, 4, 0]
    assert order.step == np.timedelta64(1, "m")
    assert order.gaps.tolist() == [3]
    assert order.notes == [
        "the rows were not in time order: sorted",
        "2 rows are there twice: counted once",
        "1 gap in time, the longest from 2024-01-01 00:02 to 2024-01-01 00:09",
    ]
    newest_first = put_in_order(minutes(2, 1, 0), np.arange(3.0)[:, None], "file")
    assert newest_first.notes == ["the rows stand newest first: turned round"]
    assert newest_first.rows.tolist() == [2, 1, 0]
    untouched = put_in_order(minutes(0, 1, 2), np.arange(3.0)[:, None], "file")
    assert not untouched.notes


def test_one_moment_with_two_rows_is_refused():
    with pytest.raises(JobError, match="different rows for the same time, 2024-01-01 00:01"):
        put_in_order(minutes(0, 1, 1), np.arange(3.0)[:, None], "file")


def test_times_are_shown_short():
    assert shown(np.datetime64("2024-01-01")) == "2024-01-01 00:00"
    assert shown(np.datetime64("2024-01-01T10:00:20")) == "2024-01-01 10:00:20"
    assert shown(np.datetime64("2024-01-01T10:00:20.5")) == "2024-01-01 10:00:20.500000"
