"""``torch.version``: Rushlight's own version, and of everything else that there is none here."""

from __future__ import annotations

from rushlight import __version__ as __version__

debug = False
cuda: str | None = None
hip: str | None = None
xpu: str | None = None
git_version: str | None = None
