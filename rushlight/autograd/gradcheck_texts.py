"""What `gradcheck` says when it fails, in PyTorch's words."""

from __future__ import annotations

NONDETERMINISTIC = (
    "\n\nNOTE: If your op relies on non-deterministic operations, this failure might be expected: call "
    "gradcheck/gradgradcheck with `nondet_tol=<tol>` as a keyword argument."
)
FAST_FAILED = """
The above quantities relating the numerical and analytical jacobians are computed
in fast mode. Below, we recompute numerical and analytical jacobians in slow mode:

Numerical:
 {numerical}
Analytical:
{analytical}

The max per-element difference (slow mode) is: {difference}.
"""
SLOW_OK = (
    "Fast gradcheck failed but element-wise differences are small. This means that the test might've passed "
    "in "
    "slow_mode! Call gradcheck/gradgradcheck with `fast_mode=False` as a keyword argument."
)
