"""The name that a misspelt one was meant to be.

Invariant: nothing is proposed for a name that PyTorch has and Rushlight has not: who writes that means it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

ALIKE = 0.8  # the least share of letters two names have in common, as difflib counts, where one is meant

# PyTorch's own names that are so much like one of Rushlight's; a test finds those that are missing.
_NAMES = """
    bfloat16 BFloat16Tensor cdouble cfloat chalf cholesky_ex compiler complex cond
    fractional_max_pool2d_with_indices fractional_max_pool3d_with_indices fx gammainc
    hash_tensor histogramdd hspmm igamma igammac indices_copy init_num_threads int1 int2 int3
    int4 int5 int6 int7 is_autocast_enabled is_warn_always_enabled legacy_contiguous_format
    linear_cross_entropy LinearCrossEntropyLoss mkldnn_adaptive_avg_pool2d
    native_channel_shuffle NLLLoss2d PackedSequence_ qint32 qint8 quint8 saddmm
    set_anomaly_enabled set_default_tensor_type signal smm sparse_bsc sparse_bsc_tensor
    sparse_bsr sparse_bsr_tensor sparse_csc sparse_csc_tensor sparse_csr sparse_csr_tensor
    to_dlpack uint1 uint16 uint2 uint3 uint32 uint4 uint5 uint6 uint64 uint7 view_as_complex
"""
MEANT = frozenset(_NAMES.split())


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The one of `names` that `name` is so much like that it was probably meant; None where there is none.

    >>> nearest("softmx", ["softmax", "sign"]), nearest("jit", ["int"]), nearest("complex", ["compile"])
    ('softmax', None, None)
    """
    if name in MEANT:
        return None
    return next(iter(difflib.get_close_matches(name, names, n=1, cutoff=ALIKE)), None)
