"""Importing this answers ``import torch`` and ``import torchvision`` with Rushlight from then on.

For notebooks and test runners; a script needs no change at all under ``rushlight run script.py``::

    import rushlight.as_torch
    import torch

    torch.__version__           # '2.13.0+rushlight'

Test runners import it before the tests: ``pytest -p rushlight.as_torch``. An installed PyTorch is not
touched; `undo` gives its name back. If PyTorch was imported earlier in the same process, this raises
ImportError.
"""

from rushlight.alias import install, is_installed, undo

__all__ = ["install", "is_installed", "undo"]

install()
