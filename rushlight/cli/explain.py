"""``rushlight explain RUN``: what the training step of a run is compiled to.

The run's trainer is made anew from its settings and data, one step is recorded and undone. Invariant: the run
folder is only read.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rushlight.cli.kinds import kind_of_folder
from rushlight.jobs.kept import part


def explain(options: argparse.Namespace) -> int:
    """Print the loops with their share of the machine's peak, or the C code."""
    from rushlight.fit import RunFolder
    from rushlight.fit.compiled_step import compiled_step

    kind = kind_of_folder(options.folder)
    file = Path(options.folder) / "config.json"
    config = RunFolder.open(options.folder).read_config()
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    kind.train_options(parser)
    begun = parser.parse_args(["--resume", options.folder])
    begun.data, begun.download = part(part(config, "settings", dict, file), "data", str, file), False
    step = compiled_step(kind.trainer(begun))
    print(step.code() if options.code else step.explain(measure=True))
    return 0
