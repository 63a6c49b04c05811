"""Rushlight under PyTorch's names: ``import torch`` and ``import torchvision`` answered by this package.

What programs use is `rushlight.as_torch`, which does this when it is imported, and ``rushlight run``. The
list of which module answers for which is in `places`, the stand-in modules and the finder that the import
system asks are in `finder`. An installed PyTorch is neither imported nor changed, and `undo` takes
everything back. Invariant: classes and functions are Rushlight's own objects, whichever name led to them.
"""

from rushlight.alias.finder import install, is_installed, undo

__all__ = ["install", "is_installed", "undo"]
