"""``torchvision`` for processes that a program under `rushlight.as_torch` starts.

A new process gets the search path of its parent, which ends with this folder, but not the parent's finder.
Importing this installs the finder and leaves the stand-in module in ``sys.modules`` under this name.
"""

import importlib
import sys

from rushlight.alias import install

del sys.modules[__name__]
install()
importlib.import_module(__name__)
