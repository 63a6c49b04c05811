"""What the tests of the random stream share: tensors of many layouts, and comparisons with PyTorch."""

import math

import numpy as np
import pytest
import torch

import rushlight

FLOATS = ["float16", "float32", "float64"]
DTYPES = [*FLOATS, "int8", "int16", "int32", "int64", "uint8", "bool"]


def layouts(library, dtype, expanded=False, value=0):
    """Tensors of one value that lie in memory in different ways, by name; the same for both libraries."""
    kind = getattr(library, dtype)

    def full(*shape):
        return library.full(shape, value, dtype=kind)

    found = {
        "0-d": full(),
        "contiguous": full(4, 5, 6),
        "transposed": full(4, 5, 6).transpose(0, 2),
        "permuted": full(4, 5, 6).permute(1, 2, 0),
        "stepped": full(40)[::3],
        "sliced": full(8, 5, 12)[::2, :, ::3],
        "sliced transposed": full(8, 5, 12)[::2, :, ::3].transpose(0, 1),
        "column": full(6, 5)[:, 2],
        "one long": full(1, 5, 6).transpose(0, 2),
        "row of a matrix": full(6, 5)[3],
        "few": full(5, 3).t(),
    }
    if expanded:
        found |= {
            "expanded": full(5).expand(4, 5),
            "expanded transposed": full(5).expand(4, 5).t(),
            "expanded inside": full(4, 1, 6).expand(4, 5, 6).transpose(0, 2),
            "expanded last": full(4, 5, 1).transpose(0, 1).expand(5, 4, 6),
        }
    return found


def run_both(call, seed=3):
    """The results of `call(library)` in both libraries from one seed; the states after it must be equal."""
    results = []
    states = []
    for library in (rushlight, torch):
        # torch.manual_seed would also note the stack for every kind of device there is not
        library.default_generator.manual_seed(seed)
        results.append(call(library))
        states.append(library.get_rng_state().numpy().tobytes())
    assert states[0] == states[1], "the generators stand at different places"
    return results


def check_same(ours, theirs, tolerance=0, where=""):
    """Equal shapes, types, `requires_grad` and values; `tolerance` is relative beyond 1, absolute below."""
    assert isinstance(ours, rushlight.Tensor), where
    assert tuple(ours.shape) == tuple(theirs.shape), where
    assert str(ours.dtype) == str(theirs.dtype), where
    assert ours.requires_grad == theirs.requires_grad, where
    mine, yours = ours.detach().numpy(), theirs.detach().numpy()
    if tolerance == 0:
        assert np.array_equal(mine, yours, equal_nan=mine.dtype.kind == "f"), where
    else:
        differ = mine != yours  # infinities may be equal too
        mine, yours = mine[differ].astype(np.float64), yours[differ].astype(np.float64)
        apart = np.abs(mine - yours) / np.maximum(1, np.abs(yours))
        assert apart.size == 0 or apart.max() <= tolerance, f"{where}: {apart.max()}"


def check_error(source):
    """`source`, an expression of `lib`, raises the same in both libraries: type and first sentence."""
    caught = []
    for library in (rushlight, torch):
        with pytest.raises(Exception) as raised:
            eval(source, {"lib": library, "math": math})
        caught.append(raised.value)
    ours, theirs = caught
    assert isinstance(ours, type(theirs)), f"{ours!r} where PyTorch raises {theirs!r}"
    if isinstance(theirs, TypeError) and (" combination of " in str(theirs) or "positional" in str(theirs)):
        return  # PyTorch lists its C++ signatures
    sentence = str(theirs).split("\n")[0].split(".  ")[0].rstrip(".")
    assert str(ours).startswith(sentence), f"{ours!r} where PyTorch says {sentence!r}"
