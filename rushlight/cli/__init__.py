"""The command line: ``rushlight train | find-lr | evaluate | predict | explain | run``.

Parsing, printing and exit codes live here; the work is in `rushlight.jobs`. Invariant: what a user can mend
is one sentence on standard error and exit code 2, never a traceback; Ctrl-C ends with 130 after saving.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence

from rushlight.blas import one_thread
from rushlight.fit.errors import FitError, Interrupted

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EBADF)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code.

    >>> main(["predict"])  # doctest: +SKIP
    2
    """
    from rushlight.cli import streams
    from rushlight.cli.parser import build_parser
    from rushlight.cli.run import run

    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] != ["run"]:  # a script decides for itself
        streams.prepare()
    options = None
    try:
        options = build_parser(given).parse_args(given)
        if options.run is run:
            return options.run(options)
        with one_thread():
            code = options.run(options)
        streams.flush()
        return code
    except FitError as error:
        streams.tell(f"rushlight: {error}")
        return 2
    except ImportError as error:
        name = error.name if isinstance(error, ModuleNotFoundError) else None
        if (name or "").startswith("rushlight"):  # a mistake in Rushlight
            raise
        from rushlight.jobs.errors import missing_package

        streams.tell(f"rushlight: {missing_package(name) if name else error}")
        return 2
    except Interrupted as stopped:
        streams.tell(f"\nrushlight: {stopped}")
        return 130
    except KeyboardInterrupt:
        from rushlight.cli.shared import stopped_text

        streams.tell(f"\nrushlight: {stopped_text(options)}")
        return 130
    except BrokenPipeError:
        streams.give_up_output()
        return 1
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        streams.give_up_output()
        streams.tell(f"rushlight: cannot write {error.filename or 'the output'}: {error.strerror}")
        return 2
    except MemoryError:
        streams.tell("rushlight: there is not enough memory for this")
        return 2
