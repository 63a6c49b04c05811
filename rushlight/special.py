"""``torch.special``: special functions under the names that SciPy made common.

This file only gathers names; the ops are in `rushlight.ops`.
"""

from rushlight.ops.bessel import entr, i0, i0e, i1, i1e, logit, xlog1py
from rushlight.ops.functions import exp2, expm1, log1p, sinc
from rushlight.ops.functions import sigmoid as expit
from rushlight.ops.pairs import xlogy
from rushlight.ops.rounding import round
from rushlight.ops.softmax import log_softmax, logsumexp, softmax
from rushlight.ops.special import (
    digamma,
    erf,
    erfc,
    erfcx,
    erfinv,
    log_ndtr,
    ndtr,
    ndtri,
    polygamma,
    zeta,
)
from rushlight.ops.special import digamma as psi
from rushlight.ops.special import lgamma as gammaln
from rushlight.ops.special import mvlgamma as multigammaln

__all__ = [
    "digamma",
    "entr",
    "erf",
    "erfc",
    "erfcx",
    "erfinv",
    "exp2",
    "expit",
    "expm1",
    "gammaln",
    "i0",
    "i0e",
    "i1",
    "i1e",
    "log1p",
    "log_ndtr",
    "log_softmax",
    "logit",
    "logsumexp",
    "multigammaln",
    "ndtr",
    "ndtri",
    "polygamma",
    "psi",
    "round",
    "sinc",
    "softmax",
    "xlog1py",
    "xlogy",
    "zeta",
]
