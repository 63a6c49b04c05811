"""A finished run of the table job: what its folder holds, and what can be done with it.

`keep` writes both models, the encoder and the description of the columns beside what the fit loop left;
`TableRun` reads them again, predicts rows of other tables and says how good it is on them. Invariant: a table
is prepared as the training rows were, with the medians and levels found then.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

import rushlight as rl
from rushlight.files import write_bytes
from rushlight.fit import RunFolder
from rushlight.jobs.errors import JobError
from rushlight.jobs.kept import damaged, part, read_json, settings_of
from rushlight.jobs.reading import as_text, column_named, numbers
from rushlight.jobs.table_features import Encoder
from rushlight.jobs.table_model import state_of
from rushlight.jobs.tables import KINDS, Fitted, Settings, Task, build_model, class_numbers


def first_config(task: Task, settings: Settings) -> dict[str, Any]:
    """What ``config.json`` holds while the run is under way."""
    return {
        "job": "tables",
        "version": rl.__version__,
        "settings": asdict(settings),
        "rows": len(task.target),
        "classes": task.classes,
        "columns": [asdict(column) for column in task.columns],
        "finished": False,
    }


def keep(folder: RunFolder, fitted: Mapping[str, Fitted], better: str) -> None:
    """Write what predictions need: both models in one file, and how rows become their input."""
    state = {
        f"{kind}.{name}": tensor for kind in KINDS for name, tensor in fitted[kind].model.state_dict().items()
    }
    folder.write_model(state, {"better": better})
    one = fitted[better]
    saved = {"encoder": one.encoder.to_json(), "centre": one.centre, "scale": one.scale}
    try:
        write_bytes(folder.path / "encoder.json", json.dumps(saved, ensure_ascii=False).encode())
    except OSError as error:
        raise JobError(f"cannot write to the folder {folder.path}: {error.strerror or error}") from None
    folder.write_config({**folder.read_config(), "better": better, "finished": True, "tested": False})


class TableRun:
    """A finished run, ready to predict.

    Args:
        folder: the run folder.

    Raises:
        JobError: the folder does not hold a finished run of this kind.
    """

    def __init__(self, folder: RunFolder) -> None:
        config = folder.read_config()
        if not config.get("finished", True):
            raise JobError(f"the run in {folder.path} was not finished: go on with --resume {folder.path}")
        file = folder.path / "config.json"
        self.settings = settings_of(Settings, config, file)
        self.classes: list[str] = part(config, "classes", list[str], file)
        self.rows: int = part(config, "rows", int, file)
        self.better: str = part(config, "better", str, file)
        if self.better not in KINDS:
            raise damaged(file, f"'better' is {self.better!r}")
        file = folder.path / "encoder.json"
        saved = read_json(file)
        encoder = Encoder.from_json(part(saved, "encoder", dict, file), file)
        centre, scale = part(saved, "centre", float, file), part(saved, "scale", float, file)
        try:
            state = folder.read_model()
            self.models: dict[str, Fitted] = {}
            for kind in KINDS:
                model = build_model(kind, encoder, self.classes, self.settings)
                model.load_state_dict(state_of(kind, state))
                self.models[kind] = Fitted(encoder, model, self.classes, centre, scale)
        except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise JobError(f"{folder.path} does not hold a finished run of a table: {error}") from None

    def predict(self, frame: Any, where: str, kind: str | None = None) -> np.ndarray:
        """Probabilities ``(N, classes)`` or numbers ``(N,)`` for the rows of a frame.

        Args:
            frame: a polars frame with all columns that the model was trained on.
            where: the file, for messages.
            kind: one of the two models; the better one if None.

        Raises:
            JobError: a column is missing.
        """
        self.check(frame, where)
        fitted = self.models[kind or self.better]
        return fitted.predict(fitted.encoder.encode(frame))

    def check(self, frame: Any, where: str) -> None:
        """JobError where a column that the models need is not in a frame."""
        numbers_of, codes_of = self.models[self.better].encoder.sources
        for name in dict.fromkeys([*numbers_of, *codes_of]):
            column_named(frame.columns, name, where)

    def unread(self, frame: Any) -> Counter[str]:
        """What in these rows is not as it was in training, in words, and of how many rows that holds."""
        return self.models[self.better].encoder.unread(frame)

    def truth(self, frame: Any, where: str) -> np.ndarray:
        """The target of the rows: class numbers or numbers (float64), nan where it is missing or unknown."""
        name = column_named(frame.columns, self.settings.target, where)
        return (
            class_numbers(as_text(frame[name]), self.classes) if self.classes else numbers(frame, name, where)
        )

    def answers(self, prediction: np.ndarray) -> dict[str, Any]:
        """The columns that a table of predictions gets.

        For classes: the likeliest one, its probability, and each class's where there are no more than ten.
        """
        if not self.classes:
            return {f"predicted_{self.settings.target}": prediction}
        best = prediction.argmax(1)
        found: dict[str, Any] = {
            f"predicted_{self.settings.target}": [self.classes[place] for place in best],
            "probability": prediction[np.arange(len(best)), best],
        }
        if len(self.classes) <= 10:
            found |= {f"probability_{name}": prediction[:, place] for place, name in enumerate(self.classes)}
        return found
