"""What this machine can do at most: the largest matrix product and the largest copy, on all its cores.

For every line of standard input it prints a line of JSON: operations a second of the product of two
2048 x 2048 float32 matrices, and bytes a second read and written by a copy of 64 MB
(`rushlight.compile.peak`). Invariant: it measures when it is told to, so that it can take turns with the
contestants.
"""

from __future__ import annotations

import json
import sys

from rushlight.compile.peak import measured_peak


def main() -> None:
    """Serve until the input ends."""
    for _ in sys.stdin:
        print(json.dumps(measured_peak()._asdict()), flush=True)


if __name__ == "__main__":
    main()
