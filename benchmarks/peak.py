"""What this machine can do at most: the largest matrix product and the largest copy, on all its cores.

Prints JSON: operations a second of the product of two 2048 x 2048 float32 matrices, and bytes a second read
and written by a copy of 64 MB (`rushlight.compile.peak`).
"""

from __future__ import annotations

import json

from rushlight.compile.peak import measured_peak


def main() -> None:
    """Measure and print."""
    print(json.dumps(measured_peak()._asdict()))


if __name__ == "__main__":
    main()
