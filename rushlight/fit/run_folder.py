"""The run folder: everything a training run leaves behind, and all that is needed to go on with it.

``config.json`` says what was asked for, ``history.csv`` what happened, ``model.safetensors`` holds the best
model so far and ``last.pt`` the exact state to resume from. Invariant: every file is replaced in one step,
so the folder is usable at any moment.
"""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rushlight.files import replacing, write_bytes
from rushlight.fit.errors import FitError
from rushlight.serialize import load, load_file, save, save_file

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

FORMAT = 1


class RunFolder:
    """The files of one run.

    Args:
        path: the folder; made by `create`, expected by `open`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    @classmethod
    def create(cls, path: str | os.PathLike[str]) -> RunFolder:
        """A new run folder; FitError if it cannot be written to or already holds a run."""
        folder = cls(path)
        try:
            if not folder._holds_a_run():
                folder.path.mkdir(parents=True, exist_ok=True)
                if not _claim(folder.path):
                    raise FitError(
                        f"another process begins a run in {folder.path} just now: choose another --out"
                    )
                with replacing(folder.path / ".writable"):
                    pass
                (folder.path / ".writable").unlink()
        except OSError as error:
            raise FitError(f"cannot write to the folder {folder.path}: {error.strerror or error}") from None
        if folder._holds_a_run():  # perhaps since a moment ago
            raise FitError(
                f"{folder.path} already holds a run. Continue it with --resume {folder.path}, or choose "
                "another --out."
            )
        return folder

    def _holds_a_run(self) -> bool:
        return (self.path / "config.json").exists()

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> RunFolder:
        """An existing run folder; FitError if there is none."""
        folder = cls(path)
        if not folder.path.is_dir():
            raise FitError(f"there is no run folder {folder.path}")
        if not (folder.path / "config.json").is_file():
            raise FitError(f"{folder.path} is not a run folder: it has no config.json")
        return folder

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Save the settings, with the format's number."""
        content = json.dumps({"format": FORMAT, **config}, indent=2) + "\n"
        self._write("config.json", lambda path: write_bytes(path, content.encode()))
        _let_go(self.path)  # from now on the file says that there is a run

    def read_config(self) -> dict[str, Any]:
        """The settings; FitError where they are damaged or of another version."""
        path = self.path / "config.json"
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise FitError(f"{path} cannot be read: {error}") from None
        if not isinstance(config, dict) or config.get("format") != FORMAT:
            found = config.get("format") if isinstance(config, dict) else None
            raise FitError(
                f"{self.path} was written by another version of Rushlight (format {found}, this one reads "
                f"{FORMAT}). "
                "Use that version, or train again."
            )
        return config

    def write_history(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Save one line per epoch."""
        text = io.StringIO()
        if rows:
            table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
            table.writeheader()
            table.writerows(rows)
        self._write("history.csv", lambda path: write_bytes(path, text.getvalue().encode()))

    def write_model(self, state: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
        """Save the best model."""
        self._write("model.safetensors", lambda path: save_file(state, path, metadata))

    def read_model(self) -> dict[str, Any]:
        """The best model's tensors by name; FitError where they are damaged or missing."""
        return self._read("model.safetensors", load_file)

    def write_state(self, state: Mapping[str, Any]) -> None:
        """Save the exact state to resume from."""
        self._write("last.pt", lambda path: save(dict(state), path))

    def read_state(self) -> dict[str, Any]:
        """The state to resume from; FitError where it is damaged or missing."""
        return self._read("last.pt", load)

    def has_state(self) -> bool:
        """Whether there is anything to resume from."""
        return (self.path / "last.pt").is_file()

    def _write(self, name: str, write: Any) -> None:
        path = self.path / name
        try:
            write(path)
        except OSError as error:
            raise FitError(
                f"cannot write {path}: {error.strerror or error}. What was saved before is untouched."
            ) from None

    def _read(self, name: str, read: Any) -> Any:
        path = self.path / name
        try:
            return read(path)
        except FileNotFoundError:
            raise FitError(
                f"{self.path} has no {name}: the run was stopped before anything was saved"
            ) from None
        except OSError as error:
            raise FitError(f"cannot read {path}: {error.strerror or error}") from None
        except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
            raise FitError(str(error)) from None


# -- one process at a time -----------------------------------------------------------------------------------

_claimed: dict[tuple[int, int], int] = {}  # folders in which this process begins runs, and their descriptors


def _claim(path: Path) -> bool:
    """Whether no other process begins a run in this folder; from now on none will, until `_let_go`.

    It is a lock of the system's, which ends with the process. Where there is none, nobody is kept out.
    """
    if fcntl is None:
        return True
    status = path.stat()
    key = status.st_dev, status.st_ino
    if key in _claimed:
        return True
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    except OSError:  # a file system without locks
        os.close(descriptor)
        return True
    _claimed[key] = descriptor
    return True


def _let_go(path: Path) -> None:
    """End what `_claim` began, if it did."""
    status = path.stat()
    descriptor = _claimed.pop((status.st_dev, status.st_ino), None)
    if descriptor is not None:
        os.close(descriptor)
