"""Reading tables: the forms a file comes in, and every way in which it can be broken."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

pl = pytest.importorskip("polars", reason="needs the data extra")

from rushlight.jobs.errors import JobError
from rushlight.jobs.reading import Table, column_named, look, numbers, read_table

LONG = b"a,b\n" + b"1,2\n" * 40_000  # more than the form is judged by
NOISE = b"a,b\n" + b"".join(b"%d,%d\n" % (n, n * n % 9973) for n in range(40_000))


def flipped(content: bytes, place: int) -> bytes:
    """With one bit changed."""
    return content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]


@pytest.fixture
def written(tmp_path: Path):
    """Puts content into a file of its own and gives the path."""

    def write(content: str | bytes) -> Path:
        path = tmp_path / "table.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def rows(table: Table) -> list[tuple]:
    return table.frame.rows()


@pytest.mark.parametrize(
    "content",
    [
        "a,b\n1,x\n2,\n",
        "a;b\r\n1;x\r\n2;NA\r\n",
        "a\tb\n1\tx\n2\tNaN\n",
        "a|b\n1|x\n\n2|null\n",
        "a::b\n1::x\n2::?\n",
        "\ufeffa, b\n 1,x\n2 ,\n",
        'a,b\n1,"x"\n2,""\n',
        ",a,b\n0,1,x\n1,2,\n",
        "a,b\n1,x\n2,\n".encode("utf-16"),
        gzip.compress(b"a,b\n1,x\n2,\n", mtime=0),
    ],
    ids=["comma", "semicolon", "tab", "bar", "colons", "spaces", "quotes", "row-numbers", "utf-16", "gzip"],
)
def test_every_form_gives_the_same_table(written, content):
    table = read_table(written(content))
    assert table.frame.columns == ["a", "b"]
    assert rows(table) == [(1, "x"), (2, None)]
    assert bool(table.notes) == (isinstance(content, str) and content.startswith(",a"))


def test_parquet_gives_the_same_table_and_only_the_columns_wanted(tmp_path):
    pl.DataFrame({"a": [1, 2], "b": ["x", None], "c": [0.5, 1.5]}).write_parquet(tmp_path / "t.parquet")
    assert rows(read_table(tmp_path / "t.parquet", columns=["b", "a"])) == [("x", 1), (None, 2)]


def test_spaces_around_a_delimiter_divide_nothing(written):
    table = read_table(written("a , b , c\n1 , x , 3.5\n2 , y , \n"))
    assert table.frame.columns == ["a", "b", "c"]
    assert table.frame["a"].to_list() == [1, 2] and table.frame["b"].str.strip_chars().to_list() == ["x", "y"]


def test_decimal_commas_are_numbers(written):
    assert rows(read_table(written("t;price\n1;1,5\n2;NA\n"))) == [(1, 1.5), (2, None)]
    assert look(written("t;price\n1;1,5\n2;2.5\n")).decimal_comma is False


def test_a_first_line_of_numbers_is_data_unless_said_otherwise(written):
    path = written("196\t242\t3\n186\t302\t3\n")
    assert read_table(path).frame.columns == ["column_1", "column_2", "column_3"]
    assert len(read_table(path).frame) == 2
    assert read_table(path, header=True).frame.columns == ["196", "242", "3"]
    assert read_table(written("a,b\nx,y\n"), header=False).frame.rows() == [("a", "b"), ("x", "y")]


def test_encoding_and_delimiter_can_be_given(written):
    path = written("a#b\n1#café\n".encode("latin-1"))
    assert rows(read_table(path, encoding="latin-1", delimiter="#")) == [(1, "café")]


def test_a_text_in_the_last_of_many_rows_is_found_by_row(written):
    table = read_table(written(LONG + b"1,n.a.\n"))
    with pytest.raises(JobError, match=r"table.csv, column 'b': 'n.a.' in row 40001 is not a number"):
        numbers(table.frame, "b", "table.csv")
    assert numbers(table.frame, "a", "table.csv").sum() == 40_001


def test_numbers_are_float64_with_nan_where_missing(written):
    values = numbers(read_table(written("a,b\n1,-2.5e3\n2,NA\n3,inf\n")).frame, "b", "t")
    assert values.dtype == np.float64
    np.testing.assert_array_equal(values, [-2500.0, np.nan, np.inf])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "is empty"),
        ("\n\n", "no content but blank lines"),
        ("a,b\n", "has a header but no rows"),
        ("a\n1\n", "has only one column, 'a'"),
        ("a,b,a\n1,2,3\n", "more than one column named 'a'"),
        ("a,b,c\n1,2,3\n4;5;6\n", "mixes delimiters: its first line is divided by ',', line 3 by ';'"),
        ("a,b,c\n1,2,3\n\n4,5\n", "line 4: 2 fields where the first line has 3"),
        (LONG + b"1,2,3\n", "line 40002: 3 fields where the first line has 2"),
        (LONG + b'1,"2\n', "quotation mark that is opened and never closed"),
        (b"a,b\n1,caf\xe9\n", "is not UTF-8 text: byte 0xE9 in line 2"),
        (LONG + b"1,caf\xe9\n", "is not UTF-8 text: byte 0xE9 in line 40002"),
        (b"PK\x03\x04\x00\x00\x88", "is an Excel or zip file"),
        (b"a,b\0\0\0", "is no text but a binary file"),
        (b"PAR1 and no more", "is a damaged Parquet file"),
        (gzip.compress(LONG, mtime=0)[:60], "cannot be read: Compressed file ended"),
        (flipped(gzip.compress(LONG, mtime=0), 20), "cannot be read: Error -3 while decompressing"),
        (flipped(gzip.compress(LONG.replace(b",", b"::"), mtime=0), 20), "cannot be read: Error -3"),
        (gzip.compress(NOISE, mtime=0)[:-9], "is damaged: Compressed file ended|cannot be read"),
    ],
)
def test_a_broken_file_is_one_sentence(written, content, sentence):
    with pytest.raises(JobError, match=sentence) as caught:
        read_table(written(content))
    assert "table.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_file_or_no_encoding_is_named(tmp_path, written):
    with pytest.raises(JobError, match="there is no file"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(JobError, match="is a folder"):
        read_table(tmp_path)
    for name in ("klingon", "hex", "rot13", "zlib"):
        with pytest.raises(JobError, match=f"--encoding {name} is not the name"):
            read_table(written("a,b\n1,2\n"), encoding=name)


def test_an_unknown_column_is_answered_with_the_nearest(written):
    with pytest.raises(JobError, match="no column 'Hihg'; did you mean 'high'"):
        read_table(written("open,high\n1,2\n"), columns=["Hihg"])
    assert column_named(["open"], "open", "t") == "open"


@pytest.mark.parametrize("width", [99, 3000])
def test_a_table_of_thousands_of_columns_is_read_at_once(written, width):
    names = ",".join(f"c{number}" for number in range(width))
    row = ",".join(["1"] * width)
    path = written("\n".join([names, row, "", row, ",".join([""] * width), row, ""]))
    assert read_table(path).frame.shape == (3, width)
    assert read_table(path, columns=["c7"], rows=2).frame.rows() == [(1,), (1,)]
