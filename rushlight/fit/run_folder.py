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
        if (folder.path / "config.json").exists():
            raise FitError(
                f"{folder.path} already holds a run. Continue it with --resume {folder.path}, or choose "
                "another --out."
            )
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
            with replacing(folder.path / ".writable"):
                pass
            (folder.path / ".writable").unlink()
        except OSError as error:
            raise FitError(f"cannot write to the folder {folder.path}: {error.strerror or error}") from None
        return folder

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
