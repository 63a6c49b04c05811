"""Reading tables: CSV, TSV and other delimited text (also gzipped) and Parquet, as polars frames.

What the file looks like (compression, encoding, delimiter, header, decimal comma) is found from its first
lines; polars reads the rest in a streaming pass over the columns that are asked for, of a file that is too
large a part of the rows. What a column means is for the jobs to say: this file knows text, numbers and
missing values only; timestamps are in `rushlight.jobs.times`. Invariant: memory is bounded by `MOST_FIELDS`,
and a file that cannot be read as one table of at least two columns ends in one `JobError` that names the file
and, where there is one, the line or column.
"""

from __future__ import annotations

import codecs
import contextlib
import difflib
import gzip
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rushlight.jobs.errors import JobError
from rushlight.jobs.table_text import (
    DAMAGE,
    DELIMITERS,
    STAND_IN,
    Row,
    check_widths,
    find_fault,
    not_this_encoding,
    rows_of,
    without_blank_lines,
    write_anew,
)

MISSING = ["", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "none", "?"]
SAMPLE = 1 << 16  # bytes that the form of a file is judged by
TYPE_ROWS = 10_000  # rows that the types of columns are first judged by
MOST_FIELDS = 20_000_000  # of a table in memory: about a gigabyte while it is prepared
BATCH_FIELDS = 2_000_000  # of a part of a table that is read part by part
NO_SEPARATOR = "\x1e"  # for reading whole lines
LARGEST = float(np.finfo(np.float32).max)  # a target or a rating beyond it is none
ALL_ROWS = 2**62  # for `read_table`: more than there can be
GOLDEN = 2654435769  # 2**32 divided by the golden ratio: its multiples are spread most evenly

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
    """A table in memory: a polars ``frame``, and ``notes`` on what was left out or taken differently.

    ``is_part`` says that rows were left out because they are too many.
    """

    frame: Any
    notes: list[str]
    is_part: bool = False


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
    rows = list(rows_of(lines, delimiter))
    columns, header = _names(rows[0].fields, header)
    _at_least_two(columns, file, delimiter)
    repeated = [name for name, count in Counter(columns).items() if count > 1]
    if repeated:
        raise JobError(
            f"{file} has more than one column named {', '.join(map(repr, repeated))}: give each its own "
            "name, or say --no-header if they are data"
        )
    check_widths(rows, delimiter, file)
    fields = [field for row in rows[1:] for field in row.fields]
    decimal_comma = delimiter != "," and (
        any(map(_DECIMAL_COMMA.fullmatch, fields)) and not any(map(_DECIMAL_POINT.fullmatch, fields))
    )
    index = header and not rows[0].fields[0].strip()
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
    except DAMAGE as error:
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
        b" ".decode(encoding, "ignore")  # LookupError also for what gives no text, such as hex
        # not final: the sample may end within a character
        text = codecs.getincrementaldecoder(encoding)().decode(start).removeprefix("\ufeff")
    except LookupError:
        raise JobError(f"--encoding {encoding} is not the name of an encoding, such as latin-1") from None
    except UnicodeDecodeError as error:
        raise not_this_encoding(file, start, encoding, error.start) from None
    except UnicodeError as error:  # UTF-16 without its mark
        raise JobError(f"{file} is not {encoding.upper()} text: {error}") from None
    if "\0" in text:
        kind = "an Excel or zip file" if start.startswith(b"PK") else "a binary file"
        raise JobError(f"{file} is no text but {kind}: save it as CSV or Parquet")
    if "\r" in text and "\n" not in text:
        raise JobError(f"{file} ends its lines with carriage returns alone: save it with ordinary line ends")
    return text, codecs.lookup(encoding).name


def _guess_delimiter(lines: Sequence[str]) -> str:
    """The delimiter that gives most lines the same number of fields as the first, at least two."""
    best, best_score = ",", (0.0, 0)
    for delimiter in DELIMITERS:
        rows = list(rows_of(lines, delimiter))
        widths = [len(row.fields) for row in rows]
        # spaces around another delimiter divide nothing
        if widths[0] > 1 and not set(rows[0].fields) & set(DELIMITERS):
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
    rows: int | None = None,
    keep: str = "spread",
    copies: int = 1,
) -> Table:
    """Read a table, or the named columns of it.

    Args:
        path: CSV, TSV or other delimited text, also gzipped, or Parquet.
        columns: the columns wanted; all if None.
        delimiter: what divides the fields; found from the first lines if None.
        encoding: of the text; UTF-8, or UTF-16 by its mark, if None.
        header: whether the first line holds names; if None, it does unless all its fields look like numbers.
        rows: how many rows to read at most; as many as make `MOST_FIELDS` fields if None.
        keep: which rows to read of a file that has more: ``spread`` evenly over it, the ``last`` or the
            ``first``.
        copies: how many numbers each field is going to become, for `rows` where it is None.

    Columns that hold nothing but numbers come as numbers, all others as text; what stands for a missing value
    (empty, ``NA``, ``NaN``, ``null``, ``?`` and the like) is null. A nameless first column that counts the
    rows is left out.

    Raises:
        JobError: the file is missing, empty, damaged, in another encoding, has one column or two of a name,
            lines of different lengths, or no rows.
    """
    if rows is not None and rows < 1:
        raise JobError("--rows must be at least 1")
    with _opened(Path(path), columns, delimiter, encoding, header) as source:
        file, form = source.file, source.form
        most = rows if rows is not None else max(1, MOST_FIELDS // (len(source.columns) * copies))
        large = not form.delimiter or form.gzipped or file.stat().st_size > 2 * MOST_FIELDS // copies

        def collect(type_rows: int | None) -> tuple[Any, int]:
            """The rows wanted, and how many there are."""
            lazy, total = source.scan(type_rows), 0
            if rows is not None or large:
                total = lazy.select(polars().len()).collect(engine="streaming").item()
            chosen = lazy if total <= most else _part_of(lazy, total, most, keep)
            frame = chosen.select(source.columns).collect(engine="streaming")
            return frame, max(total, len(frame))

        try:
            frame, total = collect(TYPE_ROWS)
        except polars().exceptions.ComputeError:
            frame, total = collect(None)  # a later row has another type than the first ones
        source.refuse_short_lines(frame)
    if not len(frame):
        raise JobError(f"{file} has a header but no rows")
    notes = []
    is_part = len(frame) < total
    if is_part:
        which = {"spread": "spread evenly over the file", "last": "the last ones", "first": "the first ones"}
        more = "" if rows is not None else "; --rows takes more, or fewer"
        notes.append(f"{total:,} rows: {len(frame):,} of them are used, {which[keep]}{more}")
    if form.index and form.columns[0] in frame.columns and _counts_rows(frame[form.columns[0]]):
        frame = frame.drop(form.columns[0])
        notes.append("the nameless first column counts the rows: left out")
    return Table(_numbers_as_numbers(frame), notes, is_part)


def read_parts(
    path: str | Path,
    *,
    delimiter: str | None = None,
    encoding: str | None = None,
    header: bool | None = None,
) -> Iterator[Table]:
    """A table part by part, all rows in order: for what needs no more than a row at a time.

    Arguments and errors are those of `read_table`. A number may be of another type in each part.
    """
    drop: bool | None = None
    with _opened(Path(path), None, delimiter, encoding, header) as source:
        file, form, pl = source.file, source.form, polars()
        types: int | None = TYPE_ROWS
        try:
            source.scan(types).select(pl.all().null_count()).collect(engine="streaming")
        except pl.exceptions.ComputeError:
            types = None
        size = max(1, BATCH_FIELDS // len(source.columns))
        checked = False
        for frame in source.scan(types).collect_batches(chunk_size=size, engine="streaming"):
            if not checked:
                source.refuse_short_lines(frame)
                checked = any(column.null_count() for column in frame.get_columns())
            if drop is None and len(frame):
                drop = form.index and _counts_rows(frame[form.columns[0]])
            if len(frame):
                yield Table(_numbers_as_numbers(frame.drop(form.columns[0]) if drop else frame), [])
    if drop is None:
        raise JobError(f"{file} has a header but no rows")


@contextlib.contextmanager
def _opened(
    file: Path,
    columns: Sequence[str] | None,
    delimiter: str | None,
    encoding: str | None,
    header: bool | None,
) -> Iterator[_Source]:
    """A file to be read; whatever polars refuses inside becomes a JobError."""
    form = look(file, delimiter=delimiter, encoding=encoding, header=header)
    for name in columns or ():
        column_named(form.columns, name, str(file))
    pl = polars()
    try:
        with tempfile.TemporaryDirectory(prefix="rushlight-") as folder:
            yield _Source(file, form, columns, Path(folder))
    except pl.exceptions.PolarsError as error:
        fault = find_fault(file, form.encoding, form.gzipped, form.delimiter) if form.delimiter else None
        raise fault or JobError(f"{file} cannot be read: {_first_line(error)}") from None
    except DAMAGE as error:
        reason = getattr(error, "strerror", None) or _first_line(error)
        raise JobError(f"{file} cannot be read: {reason}") from None


class _Source:
    """What polars reads: the file, or, of text that polars does not know, a copy of it in `folder`."""

    def __init__(self, file: Path, form: Form, columns: Sequence[str] | None, folder: Path) -> None:
        self.file, self.form, self.path, self.separator = file, form, file, form.delimiter
        self.columns = list(columns or form.columns)
        if form.delimiter and (form.encoding not in ("utf-8", "ascii") or len(form.delimiter) > 1):
            self.path = folder / "table.csv"
            self.separator = write_anew(file, form.encoding, form.gzipped, form.delimiter, self.path)

    def scan(self, type_rows: int | None) -> Any:
        """A lazy read of all rows and columns; types are judged by so many rows, or by all."""
        pl, form = polars(), self.form
        if not form.delimiter:
            return pl.scan_parquet(self.path)
        lazy = pl.scan_csv(
            self.path,
            separator=self.separator,
            has_header=form.header,
            with_column_names=lambda _: form.columns,
            null_values=MISSING,
            decimal_comma=form.decimal_comma,
            infer_schema_length=type_rows,
        )
        return without_blank_lines(pl, lazy, len(form.columns))

    def refuse_short_lines(self, frame: Any) -> None:
        """JobError where a line has too few fields, which polars takes for missing values.

        They show in `frame`, what was read.
        """
        if not self.form.delimiter or not any(column.null_count() for column in frame.get_columns()):
            return
        if not self.form.gzipped and self.path.stat().st_size < SAMPLE:
            return  # `look` has seen all lines
        pl = polars()
        options = {"has_header": False, "quote_char": None, "infer_schema": False, "new_columns": ["line"]}
        lines = pl.scan_csv(self.path, separator=NO_SEPARATOR, truncate_ragged_lines=True, **options)
        line = pl.col("line")
        fields = line.str.count_matches(self.separator, literal=True) + 1
        # a line with a quotation mark may go on in the next one, and what it holds may look like a separator
        short = (fields < len(self.form.columns)) & ~line.str.contains('"', literal=True)
        short &= line.str.strip_chars_end("\r") != ""
        found = lines.with_row_index("number", 1).filter(short).head(1).collect(engine="streaming")
        if len(found):
            number, text = found.row(0)
            row = next(rows_of([text], self.separator))._replace(number=number)
            check_widths([Row(1, self.form.columns, ""), row], self.form.delimiter, self.file)


def _part_of(lazy: Any, total: int, most: int, keep: str) -> Any:
    """The rows to keep of a table that has more than are wanted."""
    pl = polars()
    if keep == "first":
        return lazy.head(most)
    if keep == "last":
        return lazy.slice(total - most, most)
    place = pl.col(STAND_IN).cast(pl.UInt64)
    chosen = (place * GOLDEN) % 2**32 < round(most / total * 2**32)
    return lazy.with_row_index(STAND_IN).filter(chosen).drop(STAND_IN).head(most)


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
    """A column as text without spaces around it; whole numbers that were read as fractions are whole again,
    infinity is missing.

    >>> as_text(polars().Series("user", [7.0, None, float("inf")])).to_list()
    ['7', None, None]
    """
    pl = polars()
    text = column.cast(pl.String).str.strip_chars()
    if column.dtype.is_float():
        text = text.set(~column.is_finite(), None)  # infinity is no value
        known = column.filter(column.is_finite())
        if (known == known.round()).all():
            # what is too large for a whole number stays as it is
            text = column.cast(pl.Int64, strict=False).cast(pl.String).fill_null(text)
    return text
