"""Settings of the whole suite and of docstring examples: no test sees the user's files or what another set.

The environment is inherited by the commands that tests start: the checkout comes first on their path, their
cache folder is a fresh one, they keep byte code, and matplotlib draws without a screen. A test that changes
the compiler's own constants has to set RUSHLIGHT_CACHE=0.
"""

import gc
import importlib.util
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from rushlight.autograd import is_grad_enabled, set_grad_enabled
from rushlight.dtype import get_default_dtype, set_default_dtype
from rushlight.printing import printoptions
from rushlight.random import manual_seed

ROOT = Path(__file__).resolve().parent

# Programs, and modules that answer for PyTorch as soon as they are imported.
collect_ignore = [
    "rushlight/alias/children",
    "rushlight/as_torch.py",
    "tests/conformance/notebooks",
    "tests/conformance/scripts",
]

# What the comparisons with PyTorch share cannot even be looked through for examples without it; the tests
# beside are skipped, with their reason.
if importlib.util.find_spec("torch") is None:
    comparisons = ROOT / "tests" / "conformance"
    collect_ignore += [str(each) for each in comparisons.rglob("*.py") if not each.name.startswith("test_")]

# Times vary on a shared machine; a slow example is no failure.
settings.register_profile("rushlight", deadline=None)
settings.load_profile("rushlight")


@pytest.fixture(scope="session", autouse=True)
def own_environment() -> Iterator[None]:
    """Give the tests, and the commands they start, an environment of their own.

    Where the suite runs in the background, Ctrl-C would be ignored, and with it what is tested of it.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as cache:
        patch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
        patch.setenv("XDG_CACHE_HOME", cache)
        patch.delenv("RUSHLIGHT_CACHE", raising=False)
        patch.setenv("MPLBACKEND", "Agg")
        patch.delenv("RUSHLIGHT_DATA", raising=False)
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def fresh_state() -> Iterator[None]:
    """Start every test from one random state, and undo the global settings it changed."""
    manual_seed(0)
    dtype = get_default_dtype()
    grad_enabled = is_grad_enabled()
    with printoptions():
        yield
    set_default_dtype(dtype)
    set_grad_enabled(grad_enabled)


def pytest_collection_finish() -> None:
    """What was imported and collected stays to the end: the garbage collector need not look at it again."""
    gc.collect()
    gc.freeze()
