"""Settings for the whole suite, docstring examples included: no test sees the user's own files or settings.

The environment is inherited by the commands that tests start: the checkout comes first on their path, their
cache folder is a fresh one, and matplotlib draws without a screen.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent

# Times vary on a shared machine; a slow example is no failure.
settings.register_profile("rushlight", deadline=None)
settings.load_profile("rushlight")


@pytest.fixture(scope="session", autouse=True)
def own_environment() -> Iterator[None]:
    """Give the tests, and the commands they start, an environment of their own."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as cache:
        patch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
        patch.setenv("XDG_CACHE_HOME", cache)
        patch.setenv("MPLBACKEND", "Agg")
        patch.delenv("RUSHLIGHT_DATA", raising=False)
        yield
