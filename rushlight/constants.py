"""Numbers that PyTorch keeps as ``torch.<name>``."""

from __future__ import annotations

import math

pi, e, inf, nan = math.pi, math.e, math.inf, math.nan
newaxis = None
