"""Measurements: what an operation, a training step and an import cost next to PyTorch, and what batch size does.

``python -m benchmarks`` prints the first three, ``python -m benchmarks.batch_size`` the last. Nothing here is part of the
package. Invariant: whatever is compared runs in turns in one process with the same number of threads, so that a busy
machine slows both sides.
"""
