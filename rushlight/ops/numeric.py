"""The NumPy side of `k`, the namespace that formulas run in, and the guard that keeps NumPy quiet.

A formula such as ``lambda k, input: k.tanh(input)`` runs with this module's `numpy_namespace` when eager and with
an expression builder when compiling. Invariant: everything here works elementwise on ndarrays and Python numbers and
keeps float32 in float32.
"""

from __future__ import annotations

import numpy as np

class Numpy:
    """The functions that formulas may call, as NumPy's."""

    abs = staticmethod(np.absolute)
    acos = staticmethod(np.arccos)
    acosh = staticmethod(np.arccosh)
    asin = staticmethod(np.arcsin)
    asinh = staticmethod(np.arcsinh)
    atan = staticmethod(np.arctan)
    atan2 = staticmethod(np.arctan2)
    atanh = staticmethod(np.arctanh)
    ceil = staticmethod(np.ceil)
    copysign = staticmethod(np.copysign)
    cos = staticmethod(np.cos)
    cosh = staticmethod(np.cosh)
    exp = staticmethod(np.exp)
    exp2 = staticmethod(np.exp2)
    expm1 = staticmethod(np.expm1)
    floor = staticmethod(np.floor)
    fmod = staticmethod(np.fmod)
    isfinite = staticmethod(np.isfinite)
    isinf = staticmethod(np.isinf)
    isnan = staticmethod(np.isnan)
    log = staticmethod(np.log)
    log10 = staticmethod(np.log10)
    log1p = staticmethod(np.log1p)
    log2 = staticmethod(np.log2)
    logical_and = staticmethod(np.logical_and)
    logical_not = staticmethod(np.logical_not)
    logical_or = staticmethod(np.logical_or)
    logical_xor = staticmethod(np.logical_xor)
    maximum = staticmethod(np.maximum)
    minimum = staticmethod(np.minimum)
    power = staticmethod(np.power)
    remainder = staticmethod(np.remainder)
    rint = staticmethod(np.rint)
    sign = staticmethod(np.sign)
    signbit = staticmethod(np.signbit)
    sin = staticmethod(np.sin)
    sinh = staticmethod(np.sinh)
    sqrt = staticmethod(np.sqrt)
    tan = staticmethod(np.tan)
    tanh = staticmethod(np.tanh)
    trunc = staticmethod(np.trunc)
    where = staticmethod(np.where)


numpy_namespace = Numpy()
