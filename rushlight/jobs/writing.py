"""Writing tables of predictions: CSV, TSV or Parquet by the file's name.

Reading is in `rushlight.jobs.reading`. Invariant: the file is replaced in one step, so that nothing half
written is ever found under its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rushlight.files import replacing
from rushlight.jobs.errors import JobError
from rushlight.jobs.reading import polars


def write_table(path: str | Path, columns: Mapping[str, Any], read: str | Path | None = None) -> Path:
    """Write columns (polars series or arrays of one length) as a table, and return where; nan is missing.

    `read` is the file that they were made from, which is not written over.

    >>> import tempfile
    >>> file = write_table(Path(tempfile.mkdtemp()) / "out.csv", {"user": ["7"], "prediction": [3.5]})
    >>> file.read_text()
    'user,prediction\\n7,3.5\\n'
    """
    return write_parts(path, [columns], read)


def write_parts(path: str | Path, parts: Iterable[Mapping[str, Any]], read: str | Path | None = None) -> Path:
    """Write the rows of several tables with the same columns as one, and return where.

    Only one part is in memory at a time, but all of them for Parquet. `read` is the file that they are made
    from, which is not written over.
    """
    pl = polars()
    target = Path(path)
    if read is not None and target.exists() and Path(read).exists() and target.samefile(read):
        raise JobError(f"{target} is the table that is read, and is not written over: name another --out")
    frames = (pl.DataFrame(dict(columns)).fill_nan(None) for columns in parts)
    try:
        with replacing(target) as file:
            if target.suffix == ".parquet":
                pl.concat(frames, how="vertical_relaxed").write_parquet(file)
            else:
                separator = "\t" if target.suffix == ".tsv" else ","
                for number, frame in enumerate(frames):
                    frame.write_csv(file, separator=separator, include_header=number == 0)
    except OSError as error:
        raise JobError(f"cannot write {target}: {error.strerror or error}") from None
    except pl.exceptions.PolarsError as error:  # of a full disk, say, while it writes Parquet
        raise JobError(f"cannot write {target}: {str(error).splitlines()[0]}") from None
    return target
