"""``python -m rushlight``: the command line, for when the command itself is not on the path.

Invariant: the same as ``rushlight`` with the same arguments.
"""

from __future__ import annotations

import sys

from rushlight.cli import main

if __name__ == "__main__":
    sys.exit(main())
