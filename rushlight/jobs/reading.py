"""Reading tables: CSV, TSV and other delimited text (also gzipped) and Parquet, as polars frames.

What the file looks like (compression, encoding, delimiter, header, decimal comma) is found from its first
lines; polars reads the rest in a streaming pass over the columns that are asked for. What a column means is
for the jobs to say: this file knows text, numbers and missing values only; timestamps are in
`rushlight.jobs.times`. Invariant: a file that cannot be read as one table of at least two columns ends in
one `JobError` that names the file and, where there is one, the line or column.
"""

from __future__ import annotations

import codecs
import csv
import difflib
import gzip
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rushlight.jobs.errors import JobError

MISSING = ["", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "none", "?"]
DELIMITERS = (",", ";", "\t", "|", "::", " ")
NAMES_OF_DELIMITERS = {"\t": "tab", " ": "space"}
SAMPLE = 1 << 16  # bytes that the form of a file is judged by
TYPE_ROWS = 10_000  # rows that the types of columns are first judged by
STAND_IN = "\x1f"  # polars wants one byte between fields; a longer delimiter is replaced by this

_STARTS_A_NUMBER = re.compile(r"\s*[-+.]?\d")
_DECIMAL_COMMA = re.compile(r"\s*[-+]?\d+,\d+\s*")
_DECIMAL_POINT = re.compile(r"\s*[-+]?\d+\.\d+\s*")


@dataclass(frozen=True)
class Form:
    """How a file is written: what `look` found, or what the user said.

    `delimiter` is empty for Parquet. `columns` are the names that the table will have; `index` says that the
    first one was nameless in the header, as pandas writes its row numbers.
    """

    columns: list[str]
    delimiter: str = ""
    encoding: str = "utf-8"
    header: bool = True
    decimal_comma: bool = False
    gzipped: bool = False
    index: bool = False


@dataclass(frozen=True)
class Table:
    """A table in memory: a polars ``frame``, and ``notes`` on what was left out or taken differently."""

    frame: Any
    notes: list[str]


def polars() -> Any:
    """The library that reads tables; JobError with what to install where it is missing."""
    try:
        import polars
    except ImportError:
        raise JobError('reading tables needs polars: pip install "rushlight[data]"') from None
    return polars


# -- what the file looks like --------------------------------------------------------------------------------


def look(
    path: str | Path, *, delimiter: str | None = None, encoding: str | None = None, header: bool | None = None
) -> Form:
    """Find out how a table is written, from its first lines; what is given is not guessed.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "prices.csv"
    >>> _ = file.write_text("time;price\\n2024-01-01;1,5\\n2024-01-02;1,75\\n")
    >>> look(file)
    Form(columns=['time', 'price'], delimiter=';', encoding='utf-8', header=True, decimal_comma=True, ...)
    """
    file = Path(path)
    start, gzipped, whole = _start(file)
    if start.startswith(b"PAR1"):
        return Form(_at_least_two(_parquet_columns(file), file, ""))
    text, encoding = _decoded(start, encoding, file)
    lines = text.splitlines()
    if not whole and len(lines) > 1:
        del lines[-1]  # cut short by the end of the sample
    if not any(line.strip() for line in lines):
        raise JobError(f"{file} has no content but blank lines")
    if delimiter is None:
        delimiter = _guess_delimiter(lines)
    rows = _rows_of(lines, delimiter)
    columns, header = _names(rows[0][1], header)
    _at_least_two(columns, file, delimiter)
    repeated = [name for name, count in Counter(columns).items() if count > 1]
    if repeated:
        raise JobError(
            f"{file} has more than one column named {', '.join(map(repr, repeated))}: give each its own name"
        )
    _check_widths(rows, lines, delimiter, file)
    fields = [field for _, row in rows[1:] for field in row]
    decimal_comma = delimiter != "," and (
        any(map(_DECIMAL_COMMA.fullmatch, fields)) and not any(map(_DECIMAL_POINT.fullmatch, fields))
    )
    index = header and not rows[0][1][0].strip()
    return Form(columns, delimiter, encoding, header, decimal_comma, gzipped, index)


def _start(file: Path) -> tuple[bytes, bool, bool]:
    """The first bytes (unzipped), whether they were zipped, and whether they are all there is."""
    try:
        with file.open("rb") as stream:
            gzipped = stream.read(2) == b"\x1f\x8b"
            stream.seek(0)
            source: Any = gzip.GzipFile(fileobj=stream) if gzipped else stream
            start = source.read(SAMPLE)
            whole = len(start) < SAMPLE
    except FileNotFoundError:
        raise JobError(f"there is no file {file}") from None
    except IsADirectoryError:
        raise JobError(f"{file} is a folder, not a table") from None
    except (OSError, EOFError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise JobError(f"{file} cannot be read: {reason}") from None
    if not start:
        raise JobError(f"{file} is empty")
    return start, gzipped, whole


def _decoded(start: bytes, encoding: str | None, file: Path) -> tuple[str, str]:
    """The sample as text and the encoding it is in, guessed only between UTF-8 and (by its mark) UTF-16."""
    if encoding is None:
        utf16 = start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        encoding = "utf-16" if utf16 else "utf-8"
    try:
        # not final: the sample may end within a character
        text = codecs.getincrementaldecoder(encoding)().decode(start).removeprefix("\ufeff")
    except LookupError:
        raise JobError(f"--encoding {encoding} is not the name of an encoding, such as latin-1") from None
    except UnicodeDecodeError as error:
        raise _not_this_encoding(file, start, encoding, error.start) from None
    if "\0" in text:
        kind = "an Excel or zip file" if start.startswith(b"PK") else "a binary file"
        raise JobError(f"{file} is no text but {kind}: save it as CSV or Parquet")
    return text, codecs.lookup(encoding).name


def _not_this_encoding(file: Path, content: bytes, encoding: str, position: int) -> JobError:
    if content.startswith(b"PK\x03\x04"):
        return JobError(f"{file} is an Excel or zip file: save it as CSV or Parquet")
    line = content.count(b"\n", 0, position) + 1
    return JobError(
        f"{file} is not {encoding.upper()} text: byte 0x{content[position]:02X} in line {line}. If it was "
        "written by an older program, give --encoding latin-1 (or cp1252)"
    )


def _rows_of(lines: Sequence[str], delimiter: str) -> list[tuple[int, list[str]]]:
    """The fields of each line that is not blank, with its number in the file."""
    single = delimiter if len(delimiter) == 1 else STAND_IN
    source = lines if len(delimiter) == 1 else [line.replace(delimiter, STAND_IN) for line in lines]
    reader = csv.reader(source, delimiter=single, skipinitialspace=delimiter == " ")
    found = []
    before = 0
    for row in reader:
        if row:
            found.append((before + 1, row))
        before = reader.line_num
    return found


def _guess_delimiter(lines: Sequence[str]) -> str:
    """The delimiter that gives most lines the same number of fields as the first, at least two."""
    best, best_score = ",", (0.0, 0)
    for delimiter in DELIMITERS:
        widths = [len(row) for _, row in _rows_of(lines, delimiter)]
        if widths[0] > 1:
            agreeing = sum(width == widths[0] for width in widths) / len(widths)
            score = (round(agreeing, 1), widths[0])
            if score > best_score:
                best, best_score = delimiter, score
    return best


def _names(first: Sequence[str], header: bool | None) -> tuple[list[str], bool]:
    """The names of the columns, and whether they are the file's first line.

    A first line in which every field begins like a number is taken for data.
    """
    if header is None:
        header = not all(map(_STARTS_A_NUMBER.match, first))
    names = [field.strip() if header else "" for field in first]
    return [name or f"column_{number}" for number, name in enumerate(names, 1)], header


def _at_least_two(columns: list[str], file: Path, delimiter: str) -> list[str]:
    if len(columns) > 1:
        return columns
    hint = "" if delimiter == "" else ". If its fields are divided by something unusual, give --delimiter"
    raise JobError(f"{file} has only one column, {columns[0][:40]!r}: there is nothing to learn from{hint}")


def _check_widths(
    rows: Sequence[tuple[int, list[str]]], lines: Sequence[str], delimiter: str, file: Path
) -> None:
    """Refuse a line with another number of fields than the first, naming a second delimiter if it has one."""
    expected = len(rows[0][1])
    for number, row in rows:
        if len(row) == expected:
            continue
        line = lines[number - 1]
        for other in DELIMITERS:
            if other != delimiter and len(_rows_of([line], other)[0][1]) == expected:
                raise JobError(
                    f"{file} mixes delimiters: its first line is divided by {_shown(delimiter)}, line "
                    f"{number} by {_shown(other)}"
                )
        raise JobError(
            f"{file}, line {number}: {len(row)} {'field' if len(row) == 1 else 'fields'} where the first "
            f"line has {expected}"
        )


def _shown(delimiter: str) -> str:
    return NAMES_OF_DELIMITERS.get(delimiter, repr(delimiter))


def _parquet_columns(file: Path) -> list[str]:
    pl = polars()
    try:
        return list(pl.read_parquet_schema(file))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise JobError(f"{file} is a damaged Parquet file: {_first_line(error)}") from None


# -- reading it ----------------------------------------------------------------------------------------------


def read_table(
    path: str | Path,
    *,
    columns: Sequence[str] | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    header: bool | None = None,
) -> Table:
    """Read a table, or the named columns of it.

    Args:
        path: CSV, TSV or other delimited text, also gzipped, or Parquet.
        columns: the columns wanted; all if None.
        delimiter: what divides the fields; found from the first lines if None.
        encoding: of the text; UTF-8, or UTF-16 by its mark, if None.
        header: whether the first line holds names; if None, it does unless all its fields look like numbers.

    Columns that hold nothing but numbers come as numbers, all others as text; what stands for a missing value
    (empty, ``NA``, ``NaN``, ``null``, ``?`` and the like) is null. A nameless first column that counts the
    rows is left out.

    Raises:
        JobError: the file is missing, empty, damaged, in another encoding, has one column or two of a name,
            lines of different lengths, or no rows.
    """
    file = Path(path)
    form = look(file, delimiter=delimiter, encoding=encoding, header=header)
    for name in columns or ():
        column_named(form.columns, name, str(file))
    pl = polars()
    try:
        frame = _collect(pl, file, form, list(columns) if columns is not None else form.columns)
    except pl.exceptions.PolarsError as error:
        raise _unreadable(file, form, error) from None
    except OSError as error:
        raise JobError(f"{file} cannot be read: {error.strerror or _first_line(error)}") from None
    if not len(frame):
        raise JobError(f"{file} has a header but no rows")
    notes = []
    if form.index and form.columns[0] in frame.columns and _counts_rows(frame[form.columns[0]]):
        frame = frame.drop(form.columns[0])
        notes.append("the nameless first column counts the rows: left out")
    return Table(_numbers_as_numbers(frame), notes)


def _collect(pl: Any, file: Path, form: Form, columns: list[str]) -> Any:
    """Read in a streaming pass; types are judged by the first rows, or by all where a later one disagrees."""
    if not form.delimiter:
        return pl.scan_parquet(file).select(columns).collect(engine="streaming")
    try:
        return _scan_text(pl, file, form, TYPE_ROWS).select(columns).collect(engine="streaming")
    except pl.exceptions.ComputeError:
        return _scan_text(pl, file, form, None).select(columns).collect(engine="streaming")


def _scan_text(pl: Any, file: Path, form: Form, type_rows: int | None) -> Any:
    source: Any = file
    separator = form.delimiter
    if form.encoding not in ("utf-8", "ascii") or len(separator) > 1:
        text = _whole_text(file, form)
        if len(separator) > 1:
            text, separator = text.replace(separator, STAND_IN), STAND_IN
        source = io.BytesIO(text.encode())
    names = form.columns
    lazy = pl.scan_csv(
        source,
        separator=separator,
        has_header=form.header,
        with_column_names=lambda _: names,
        null_values=MISSING,
        decimal_comma=form.decimal_comma,
        infer_schema_length=type_rows,
    )
    return lazy.filter(~pl.all_horizontal(pl.all().is_null()))  # blank lines


def _whole_text(file: Path, form: Form) -> str:
    content = gzip.decompress(file.read_bytes()) if form.gzipped else file.read_bytes()
    try:
        return content.decode(form.encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise _not_this_encoding(file, content, form.encoding, error.start) from None


def _unreadable(file: Path, form: Form, error: Exception) -> JobError:
    """What polars refused, in words that name the line where it can be found."""
    if form.delimiter:
        try:
            text = _whole_text(file, form)
        except (OSError, EOFError) as damage:
            return JobError(f"{file} is damaged: {_first_line(damage)}")
        except JobError as wrong_encoding:
            return wrong_encoding
        lines = text.splitlines()
        try:
            _check_widths(_rows_of(lines, form.delimiter), lines, form.delimiter, file)
        except JobError as uneven:
            return uneven
        except csv.Error as broken:
            return JobError(f"{file} cannot be read: {broken}")
        if text.count('"') % 2:
            return JobError(f"{file} has a quotation mark that is opened and never closed")
    return JobError(f"{file} cannot be read: {_first_line(error)}")


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _counts_rows(column: Any) -> bool:
    """Whether a column is 0, 1, 2... or 1, 2, 3..."""
    if not column.dtype.is_integer() or column.null_count():
        return False
    values = column.to_numpy()
    return values[0] in (0, 1) and bool(np.array_equal(values, np.arange(len(values)) + values[0]))


def _numbers_as_numbers(frame: Any) -> Any:
    """Text columns that hold nothing but numbers with spaces around them, as numbers."""
    pl = polars()
    converted = []
    for column in frame.get_columns():
        if column.dtype == pl.String and column.null_count() < len(column):
            numbers = column.str.strip_chars().cast(pl.Float64, strict=False)
            if numbers.null_count() == column.null_count():
                converted.append(numbers)
    return frame.with_columns(converted)


# -- columns -------------------------------------------------------------------------------------------------


def column_named(names: Sequence[str], wanted: str, where: str) -> str:
    """`wanted`, if it is among `names`; else a JobError with the nearest one.

    >>> column_named(["open", "high"], "hihg", "a.csv")
    Traceback (most recent call last):
        ...
    rushlight.jobs.errors.JobError: a.csv has no column 'hihg'; did you mean 'high'? (columns: open, high)
    """
    if wanted in names:
        return wanted
    folded = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(wanted.casefold(), folded, 1)
    hint = f"; did you mean {folded[near[0]]!r}?" if near else "."
    listed = ", ".join(list(names)[:20]) + (", ..." if len(names) > 20 else "")
    raise JobError(f"{where} has no column {wanted!r}{hint} (columns: {listed})")


def numbers(frame: Any, name: str, where: str) -> np.ndarray:
    """A column as float64 with nan where it is missing; JobError naming the first value that is no number.

    >>> frame = polars().DataFrame({"price": ["1.5", None, "cheap"]})
    >>> numbers(frame, "price", "shop.csv")
    Traceback (most recent call last):
        ...
    rushlight.jobs.errors.JobError: shop.csv, column 'price': 'cheap' in row 3 is not a number
    """
    pl = polars()
    column = frame[name]
    if column.dtype == pl.String:
        values = column.str.strip_chars().cast(pl.Float64, strict=False)
        bad = (values.is_null() & column.is_not_null()).arg_true()
        if len(bad):
            first = int(bad[0])
            raise JobError(
                f"{where}, column {name!r}: {column[first]!r} in row {first + 1} is not a number"
                + (f" (and {len(bad) - 1:,} more like it)" if len(bad) > 1 else "")
            )
    elif column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null):
        values = column.cast(pl.Float64)
    else:
        raise JobError(f"{where}, column {name!r} holds {column.dtype}, not numbers")
    return values.fill_null(float("nan")).to_numpy().astype(np.float64, copy=True)


def as_text(column: Any) -> Any:
    """A column as text without spaces around it; whole numbers that were read as fractions are whole again.

    >>> as_text(polars().Series("user", [7.0, None])).to_list()
    ['7', None]
    """
    pl = polars()
    if column.dtype.is_float() and (column.drop_nulls() == column.drop_nulls().round()).all():
        column = column.cast(pl.Int64)
    return column.cast(pl.String).str.strip_chars()
