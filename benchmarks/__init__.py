"""Measurements: what operations, training steps and imports cost, and what batch size does.

``python -m benchmarks`` prints costs beside PyTorch's and NumPy's, ``python -m benchmarks.batch_size`` the
tables of docs/batch-size.md. Nothing here is part of the package. Invariant: what is compared runs in turns
with the same number of threads, so that a busy machine slows both sides.
"""
