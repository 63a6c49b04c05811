"""``rushlight run``: a PyTorch script as it stands, with Rushlight answering for ``import torch``.

The script sees what it would see under ``python script.py``: its name and arguments in ``sys.argv``, its
folder first on the search path, ``__name__ == "__main__"``. Invariant: its exit code is passed on, and an
error in it is printed as Python prints it, without a line of Rushlight's own.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import runpy
import sys
from types import TracebackType

from rushlight.jobs.errors import JobError


def run(options: argparse.Namespace) -> int:
    """``rushlight run [--watch] SCRIPT [ARGUMENT ...]``, or ``-m MODULE`` in place of a script."""
    from rushlight.alias import install

    script, arguments = _command(options)
    try:
        install()
    except ImportError as error:
        raise JobError(str(error)) from None
    sys.argv = [script, *arguments]
    try:
        with _watching() if options.watch else contextlib.nullcontext():
            if options.module:
                _set_search_path(os.getcwd())
                runpy.run_module(script, run_name="__main__", alter_sys=True)
            else:
                _set_search_path(os.path.dirname(os.path.realpath(script)))
                runpy.run_path(script, run_name="__main__")
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001 - Python's own way to end a program
        frames = _frames_of_script(error.__traceback__)
        sys.excepthook(type(error), error.with_traceback(frames), frames)
        return 130 if isinstance(error, KeyboardInterrupt) else 1
    return 0


def _watching() -> contextlib.AbstractContextManager[object]:
    from rushlight.fit.script_watch import script_watch

    return script_watch()


def _command(options: argparse.Namespace) -> tuple[str, list[str]]:
    """The script or module, and its arguments."""
    if options.module:
        return options.module[0], options.module[1:]
    if options.script is None:
        raise JobError("run needs a script, or -m and a module")
    if not os.path.exists(options.script):
        raise JobError(f"there is no script {options.script}")
    return options.script, options.arguments


def _set_search_path(folder: str) -> None:
    """The script's folder takes the place of this program's, where Python puts one there at all."""
    if not sys.flags.safe_path:
        sys.path[0] = folder


def _frames_of_script(frames: TracebackType | None) -> TracebackType | None:
    """The traceback from the script's first frame on: what runs it is left out."""
    runner = (__file__, "<frozen runpy>", runpy.__file__)
    while frames is not None and frames.tb_frame.f_code.co_filename in runner:
        frames = frames.tb_next
    return frames
