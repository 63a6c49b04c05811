"""Rushlight: PyTorch's names, numbers and printed text, written by hand in Python on NumPy.

``import rushlight as torch`` and go on as before. Functions on tensors come from the op table
(`rushlight.ops`); layers, losses and optimizers from `nn` and `optim`. Importing this package imports NumPy
and nothing else.

>>> import rushlight as torch
>>> x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
>>> (x**2).sum().backward()
>>> x.grad
tensor([2., 4., 6.])
"""

from typing import Any as _Any

__version__ = "0.1.0"

from rushlight import autograd as autograd
from rushlight import ops as ops
from rushlight.autograd import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from rushlight.compile import compile
from rushlight.constants import e, inf, nan, newaxis, pi
from rushlight.device import device, get_default_device, set_default_device
from rushlight.directory import FUNCTIONS as _FUNCTIONS
from rushlight.dtype import bool_ as bool
from rushlight.dtype import (
    can_cast,
    double,
    dtype,
    finfo,
    float16,
    float32,
    float64,
    get_default_dtype,
    half,
    iinfo,
    int8,
    int16,
    int32,
    int64,
    long,
    promote_types,
    result_type,
    set_default_dtype,
    short,
    uint8,
)
from rushlight.dtype import float_ as float
from rushlight.dtype import int_ as int
from rushlight.layout import (
    channels_last,
    channels_last_3d,
    contiguous_format,
    layout,
    memory_format,
    preserve_format,
    sparse_coo,
    strided,
)
from rushlight.ops.convert import (
    BoolTensor,
    ByteTensor,
    CharTensor,
    DoubleTensor,
    FloatTensor,
    HalfTensor,
    IntTensor,
    LongTensor,
    ShortTensor,
    as_tensor,
    asarray,
    from_dlpack,
    tensor,
)
from rushlight.ops.convert import from_numpy_array as from_numpy
from rushlight.ops.define import TABLE as _TABLE
from rushlight.queries import (
    broadcast_shapes,
    get_device,
    is_complex,
    is_conj,
    is_floating_point,
    is_inference,
    is_neg,
    is_nonzero,
    is_same_size,
    is_signed,
    is_tensor,
    numel,
    typename,
)
from rushlight.size import Size
from rushlight.storage import keep_freed_memory as _keep_freed_memory
from rushlight.tensor import Tensor
from rushlight.threads import get_num_threads, set_num_threads

_keep_freed_memory()

# Every function of the table that PyTorch keeps as torch.<name>; those that `directory` lists come when used.
for _entry in _TABLE.values():
    if "." not in _entry.torch_name:
        globals().setdefault(_entry.name, _entry.function)
        if _entry.inplace is not None:  # torch.relu_ and its like
            globals().setdefault(_entry.name + "_", _entry.inplace)

# Imported when first asked for, so that ``import rushlight`` stays quick.
_SUBMODULES = (
    "accelerator",
    "amp",
    "backends",
    "cuda",
    "distributions",
    "fit",
    "jobs",
    "linalg",
    "nn",
    "optim",
    "random",
    "serialization",
    "sparse",
    "special",
    "testing",
    "utils",
    "vision",
)


def __getattr__(name: str) -> _Any:
    import importlib

    if name in _SUBMODULES:
        return importlib.import_module(f"rushlight.{name}")
    found = ops.listed_function(name)
    if found is not None:
        globals()[name] = found
        return found
    if name.startswith("__"):
        raise AttributeError(name)
    from rushlight.nearest import nearest

    near = nearest(name, __dir__())
    hint = f" The nearest name here is '{near}'." if near else ""
    raise AttributeError(f"module 'rushlight' has no attribute '{name}'.{hint}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_SUBMODULES, *_FUNCTIONS})
