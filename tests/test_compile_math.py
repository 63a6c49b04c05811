"""Functions in native code: the bits that the reference evaluator gives, without calls of a C library."""

import ctypes
import functools
import itertools
import re

import numpy as np
import pytest

from rushlight.compile.emit import Emitter
from rushlight.compile.evaluate import evaluate
from rushlight.compile.expr import Symbols, is_float
from rushlight.compile.llvm import ATTRIBUTES, Code, assembly, binding, vector_bytes
from rushlight.compile.scalar import Scalars
from rushlight.compile.vmath import FORMULAS, lower
from rushlight.ops import special_math

TWO_OPERANDS = [
    *["atan2", "floor_divide", "fmax", "fmin", "fmod", "hypot", "logaddexp", "logaddexp2", "maximum"],
    *["minimum", "nextafter", "power", "remainder", "trunc_divide", "copysign"],
]
SPECIAL = ["erf", "erfc", "lgamma"]
INSTRUCTIONS = ["abs", "ceil", "copysign", "floor", "rint", "sqrt", "trunc"]
FUNCTIONS = sorted([*FORMULAS, *SPECIAL, *INSTRUCTIONS])
WHOLE = ["floor_divide", "fmod", "maximum", "minimum", "power", "remainder", "sign", "trunc_divide"]
COUNT = 512  # divides into vectors of every kind


def formula(name, kind):
    """A function of inputs of a kind, as primitives."""
    k = Symbols()
    operands = [k.load(place, kind) for place in range(1 + (name in TWO_OPERANDS))]
    made = getattr(special_math if name in SPECIAL else k, name)
    return lower([made(k, *operands) if name in SPECIAL else made(*operands)])[0]


def function(name, root, kind, lanes):
    """The text of a loop over all elements of two inputs, and the intrinsics it needs."""
    e = Emitter()
    e.begin(name, ["ptr noalias %a", "ptr noalias %b", "ptr noalias %out"])
    with e.loop(0, COUNT, lanes) as loop:

        def leaf(node):
            return e.load(e.pointer(["%a", "%b"][node.args[0]], loop.index, kind), kind, lanes)

        value = Scalars(e, lanes, leaf).values([root])[0]
        e.store(value, e.pointer("%out", loop.index, value.kind))
    e.end()
    return "\n".join(e.lines), e.declared


def text_of(names, kind, lanes):
    """The formulas and the module of some functions."""
    roots = {name: formula(name, kind) for name in names}
    texts, declared = [], set()
    for name, root in roots.items():
        text, needed = function(name, root, kind, lanes)
        texts.append(text)
        declared |= needed
    attributes = f"attributes #0 = {{ nounwind {ATTRIBUTES} }}"
    return roots, "\n".join([*texts, *sorted(declared), attributes])


@functools.cache
def compiled(names, kind, lanes):
    """The formulas and the machine code of some functions."""
    roots, text = text_of(names, kind, lanes)
    return roots, Code(text)


def native(name, roots, code, a, b):
    """The function's values as the machine computes them."""
    out = np.empty(COUNT, bool if roots[name].kind == "b1" else roots[name].kind)
    call = code.function(name, None, *[ctypes.c_void_p] * 3)
    call(a.ctypes.data, b.ctypes.data, out.ctypes.data)
    return out


def extremes(kind):
    """The special values of a floating type and their neighbours, of both signs."""
    info = np.finfo(kind)
    least = float(info.smallest_subnormal)
    sizes = [0.0, least, 3 * least, float(info.tiny), 1e-3, 0.4, 0.5, 1.0, 1.5, 2.5, 3.0, 10.0, 88.6, 104.0]
    sizes += [1e5, 1e10, float(2**54), 1e30, float(info.max), np.inf]
    return np.array([*sizes, *(-each for each in sizes), np.nan], kind)


def operands(kind):
    """Pairs of numbers: all pairs of special ones, those of all sizes, and those of about 1."""
    rng = np.random.default_rng(3)
    if not is_float(kind):
        info = np.iinfo(kind)
        edges = [info.min, info.min + 1, info.max - 1, info.max, 0, 1, 2, 3, 10]
        pairs = np.array(list(itertools.product(edges, repeat=2))).astype(kind).T
        rest = rng.integers(info.min, info.max, (2, COUNT), kind, endpoint=True)
        rest[1, ::2] = rng.integers(0, 9, COUNT // 2)
    else:
        edges = extremes(kind)
        chosen = np.array(list(itertools.product(edges, repeat=2)), kind)
        pairs = rng.permutation(chosen)[: COUNT // 2].T
        pairs[0, : len(edges)] = edges
        reach = {"f4": 126, "f8": 1020}[kind]
        sized = np.exp2(rng.uniform(-reach, reach, (2, COUNT // 4))) * rng.choice([-1.0, 1.0], COUNT // 4)
        rest = np.concatenate([sized, rng.normal(0, 4, (2, COUNT))], axis=1).astype(kind)
    both = np.concatenate([pairs, rest], axis=1)[:, :COUNT]
    return both[0].copy(), both[1].copy()


def equal(a, b):
    """Whether values have the same bits, NaN aside, which may have any."""
    if a.dtype.kind != "f":
        return a == b
    bits = f"i{a.dtype.itemsize}"
    return (a.view(bits) == b.view(bits)) | (np.isnan(a) & np.isnan(b))


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_native_functions_give_the_bits_of_the_evaluator(kind, wide):
    # one at a time only what is left over is computed, of all kinds of nodes
    names = tuple(FUNCTIONS if wide else ["exp", "fmod", "log", "power", "sin", "tanh"])
    roots, code = compiled(names, kind, vector_bytes() // int(kind[1]) if wide else 1)
    a, b = operands(kind)
    for name in names:
        expected = evaluate([roots[name]], [a, b])[0]
        values = native(name, roots, code, a, b)
        right = equal(values, expected)
        assert right.all(), (name, a[~right], b[~right], values[~right], expected[~right])


@pytest.mark.parametrize("kind", ["u1", "i2", "i4", "i8"])
def test_native_functions_of_whole_numbers_give_those_of_the_evaluator(kind):
    roots, code = compiled(tuple(WHOLE), kind, 8)
    a, b = operands(kind)
    for name in WHOLE:
        expected = evaluate([roots[name]], [a, b])[0]
        assert (native(name, roots, code, a, b) == expected).all(), name


def test_what_only_rare_values_need_is_there_for_one_of_them():
    roots, code = compiled(tuple(FUNCTIONS), "f4", vector_bytes() // 4)
    for place in (0, 17, COUNT - 1):
        x = np.linspace(-3, 3, COUNT).astype("f4")
        x[place] = 1e30
        assert equal(native("sin", roots, code, x, x), evaluate([roots["sin"]], [x])[0]).all()
    x = np.linspace(-3, 3, COUNT).astype("f4")
    assert equal(native("sin", roots, code, x, x), evaluate([roots["sin"]], [x])[0]).all()


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_native_functions_call_nothing_and_use_vectors(kind):
    _, text = text_of(tuple(FUNCTIONS), kind, vector_bytes() // int(kind[1]))
    instructions = assembly(text)
    features = binding().get_host_cpu_features()
    if not features.get("fma"):
        pytest.skip("without instructions for fma LLVM calls the C library's")
    assert not re.search(r"\tcallq?\s", instructions)
    suffix = {"f4": "ps", "f8": "pd"}[kind]
    assert len(re.findall(rf"\tvfm(?:add|sub)\d+{suffix}\s", instructions)) > 200
    assert len(re.findall(rf"\tvfn?m(?:add|sub)\d+s{suffix[1]}\s", instructions)) == 0
