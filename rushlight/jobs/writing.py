"""Writing tables of predictions: CSV, TSV or Parquet by the file's name.

Reading is in `rushlight.jobs.reading`. Invariant: the file is replaced in one step, so that nothing half
written is ever found under its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rushlight.files import replacing
from rushlight.jobs.errors import JobError
from rushlight.jobs.reading import polars


def write_table(path: str | Path, columns: Mapping[str, Any]) -> Path:
    """Write columns (polars series or arrays of one length) as a table, and return where.

    >>> import tempfile
    >>> file = write_table(Path(tempfile.mkdtemp()) / "out.csv", {"user": ["7"], "prediction": [3.5]})
    >>> file.read_text()
    'user,prediction\\n7,3.5\\n'
    """
    target = Path(path)
    frame = polars().DataFrame(dict(columns))
    try:
        with replacing(target) as file:
            if target.suffix == ".parquet":
                frame.write_parquet(file)
            else:
                frame.write_csv(file, separator="\t" if target.suffix == ".tsv" else ",")
    except OSError as error:
        raise JobError(f"cannot write {target}: {error.strerror or error}") from None
    return target
