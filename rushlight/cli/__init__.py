"""The command line: ``rushlight train | find-lr | evaluate | predict | explain | run``.

Parsing, printing and exit codes live here; the work is in `rushlight.jobs`. Invariant: what a user can mend
is one sentence on standard error and exit code 2, never a traceback; Ctrl-C ends with 130 after saving.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rushlight.blas import one_thread
from rushlight.fit.errors import FitError, Interrupted


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code.

    >>> main(["predict"])  # doctest: +SKIP
    2
    """
    from rushlight.cli.parser import build_parser
    from rushlight.cli.run import run

    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        options = build_parser(given).parse_args(given)
        if options.run is run:  # a script decides for itself
            return options.run(options)
        with one_thread():
            return options.run(options)
    except FitError as error:
        print(f"rushlight: {error}", file=sys.stderr)
        return 2
    except ImportError as error:
        name = error.name if isinstance(error, ModuleNotFoundError) else None
        if (name or "").startswith("rushlight"):  # a mistake in Rushlight
            raise
        from rushlight.jobs.errors import missing_package

        print(f"rushlight: {missing_package(name) if name else error}", file=sys.stderr)
        return 2
    except Interrupted as stopped:
        print(f"\nrushlight: {stopped}", file=sys.stderr)
        return 130
    except KeyboardInterrupt:
        print("\nrushlight: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except MemoryError:
        print("rushlight: there is not enough memory for this", file=sys.stderr)
        return 2
