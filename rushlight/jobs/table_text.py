"""The lines of delimited text: decoded, cut into fields, checked for even width, and written anew as UTF-8.

What the text is and what is wrong with it is for `rushlight.jobs.reading` to say. Invariant: everything goes
line by line, so no file is too large; and what cannot be decoded is a `JobError` with its line.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rushlight.jobs.errors import JobError

DELIMITERS = (",", ";", "\t", "|", "::", " ")
NAMES_OF_DELIMITERS = {"\t": "tab", " ": "space"}
DAMAGE = (OSError, EOFError, zlib.error)  # what reading a file can end with, zipped or not
WIDE = 100  # columns
STAND_IN = "\x1f"  # readers want one byte between fields; a longer delimiter is replaced by this


class Row(NamedTuple):
    """The fields of a line, its number in the file, and the line itself."""

    number: int
    fields: list[str]
    line: str


def opened(file: Path, gzipped: bool) -> Any:
    """The bytes of a file, unzipped; reading them may raise one of `DAMAGE`."""
    return gzip.open(file) if gzipped else file.open("rb")


def not_this_encoding(file: Path, content: bytes, encoding: str, position: int, line: int = 1) -> JobError:
    """The error for bytes that are not in the encoding; `content` begins with line number `line`."""
    if content.startswith(b"PK\x03\x04"):
        return JobError(f"{file} is an Excel or zip file: save it as CSV or Parquet")
    line += content.count(b"\n", 0, position)
    return JobError(
        f"{file} is not {encoding.upper()} text: byte 0x{content[position]:02X} in line {line}. If it was "
        "written by an older program, give --encoding latin-1 (or cp1252)"
    )


def lines_of(file: Path, encoding: str, gzipped: bool) -> Iterator[str]:
    """The lines of a file, with their ends.

    Raises JobError where the text is in another encoding, one of `DAMAGE` where the file is damaged.
    """
    with opened(file, gzipped) as stream:
        if codecs.lookup(encoding).name.startswith(("utf-16", "utf-32")):
            try:
                with io.TextIOWrapper(stream, encoding, newline="") as text:
                    yield from text
            except UnicodeError as error:
                raise JobError(f"{file} is not {encoding.upper()} text: {error}") from None
            return
        for number, content in enumerate(stream, 1):
            try:
                yield content.decode(encoding)
            except UnicodeDecodeError as error:
                raise not_this_encoding(file, content, encoding, error.start, number) from None


def rows_of(lines: Iterable[str], delimiter: str) -> Iterator[Row]:
    """The fields of each line that is not blank.

    >>> [row.fields for row in rows_of(["a::b\\n", "\\n", '1::"x"\\n'], "::")]
    [['a', 'b'], ['1', 'x']]
    """
    last = ""

    def handed_over() -> Iterator[str]:
        nonlocal last
        for last in lines:
            yield last if len(delimiter) == 1 else last.replace(delimiter, STAND_IN)

    single = delimiter if len(delimiter) == 1 else STAND_IN
    reader = csv.reader(handed_over(), delimiter=single, skipinitialspace=delimiter == " ")
    before = 0
    for fields in reader:
        if fields:
            yield Row(before + 1, fields, last)
        before = reader.line_num


def check_widths(rows: Iterable[Row], delimiter: str, file: Path) -> None:
    """Refuse a line with another number of fields than the first, naming a second delimiter if it has one."""
    expected = 0
    for number, fields, line in rows:
        expected = expected or len(fields)
        if len(fields) == expected:
            continue
        for other in DELIMITERS:
            if other != delimiter and [len(row.fields) for row in rows_of([line], other)] == [expected]:
                raise JobError(
                    f"{file} mixes delimiters: its first line is divided by {_shown(delimiter)}, line "
                    f"{number} by {_shown(other)}"
                )
        many = "1 field" if len(fields) == 1 else f"{len(fields)} fields"
        raise JobError(f"{file}, line {number}: {many} where the first line has {expected}")


def _shown(delimiter: str) -> str:
    return NAMES_OF_DELIMITERS.get(delimiter, repr(delimiter))


def write_anew(file: Path, encoding: str, gzipped: bool, delimiter: str, target: Path) -> str:
    """Write a file's text as UTF-8 with a delimiter of one byte, which is returned."""
    single = delimiter if len(delimiter) == 1 else STAND_IN
    with target.open("w", encoding="utf-8", newline="") as stream:
        for number, line in enumerate(lines_of(file, encoding, gzipped)):
            line = line.removeprefix("\ufeff") if number == 0 else line
            stream.write(line if len(delimiter) == 1 else line.replace(delimiter, STAND_IN))
    return single


def without_blank_lines(pl: Any, lazy: Any, width: int) -> Any:
    """A lazy frame of polars with `width` columns, without the rows in which all are missing."""
    if width <= WIDE:
        return lazy.filter(~pl.all_horizontal(pl.all().is_null()))

    def filtered(frame: Any) -> Any:
        columns = frame.get_columns()
        if not all(column.null_count() for column in columns):
            return frame
        return frame.filter(~np.logical_and.reduce([column.is_null().to_numpy() for column in columns]))

    # polars takes minutes and gigabytes to plan a filter on thousands of columns
    return lazy.map_batches(
        filtered, predicate_pushdown=False, projection_pushdown=False, slice_pushdown=False, streamable=True
    )


def find_fault(file: Path, encoding: str, gzipped: bool, delimiter: str) -> JobError | None:
    """What is wrong with a text that cannot be read as a table; None if nothing is found."""
    reason = ""
    try:
        try:
            check_widths(rows_of(lines_of(file, encoding, gzipped), delimiter), delimiter, file)
        except csv.Error as broken:
            reason = str(broken)
        if sum(line.count('"') for line in lines_of(file, encoding, gzipped)) % 2:
            return JobError(f"{file} has a quotation mark that is opened and never closed")
    except JobError as fault:
        return fault
    except DAMAGE as damage:
        return JobError(f"{file} is damaged: {str(damage).splitlines()[0]}")
    return JobError(f"{file} cannot be read: {reason}") if reason else None
