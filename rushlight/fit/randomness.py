"""Where all streams of random numbers stand, taken and put back: what an exact resume needs.

These are the default generator, generators of the user's own (a DataLoader's, say), Python's `random` and
NumPy's global one, which transforms of the user's own may draw from. Invariant: after ``restore(capture())``
every stream goes on as if nothing had been drawn in between.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from rushlight.random import Generator, default_generator
from rushlight.tensor import Tensor, new_tensor


def capture(generators: Sequence[Generator] = ()) -> dict[str, Any]:
    """The state of every stream, in containers that `rushlight.save` can write.

    >>> import rushlight as torch
    >>> before = capture()
    >>> first = torch.rand(3)
    >>> restore(before)
    >>> bool((torch.rand(3) == first).all())
    True
    """
    version, words, gauss = random.getstate()
    found: dict[str, Any] = {
        "generators": [each.get_state() for each in (default_generator, *generators)],
        "python": {"version": version, "words": new_tensor(np.array(words)), "gauss": gauss},
    }
    if "numpy.random" in sys.modules:  # else nothing was drawn from it, and importing it takes time
        state: Any = np.random.get_state(legacy=False)  # noqa: NPY002 - the stream users draw from
        found["numpy"] = {
            "kind": state["bit_generator"],
            "key": new_tensor(state["state"]["key"].astype(np.int64)),
            "position": state["state"]["pos"],
            "has_gauss": state["has_gauss"],
            "gauss": state["gauss"],
        }
    return found


def restore(state: dict[str, Any], generators: Sequence[Generator] = ()) -> None:
    """Put every stream back to where it stood; ValueError if there are other generators than then."""
    ours = (default_generator, *generators)
    if len(state["generators"]) != len(ours):
        raise ValueError(
            f"the state is of {len(state['generators'])} random generators, but the data has {len(ours)}"
        )
    for each, saved in zip(ours, state["generators"], strict=True):
        each.set_state(saved)
    python = state["python"]
    random.setstate((python["version"], tuple(_words(python["words"])), python["gauss"]))
    saved = state.get("numpy")
    if saved is not None and saved["kind"] == "MT19937":
        key = np.array(_words(saved["key"]), dtype=np.uint32)
        np.random.set_state(("MT19937", key, saved["position"], saved["has_gauss"], saved["gauss"]))  # noqa: NPY002


def _words(tensor: Tensor) -> list[int]:
    return tensor.tolist()
