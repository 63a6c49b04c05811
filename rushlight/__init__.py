"""Rushlight: PyTorch's API on NumPy."""

__version__ = "0.1.0"

from rushlight import autograd as autograd
from rushlight import ops as ops
from rushlight.autograd import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)
from rushlight.device import device
from rushlight.dtype import (
    bool_,
    can_cast,
    double,
    dtype,
    finfo,
    float16,
    float32,
    float64,
    float_,
    get_default_dtype,
    half,
    iinfo,
    int8,
    int16,
    int32,
    int64,
    int_,
    long,
    promote_types,
    set_default_dtype,
    short,
    uint8,
)
from rushlight.layout import channels_last, contiguous_format, layout, memory_format, preserve_format, strided
from rushlight.ops.convert import as_tensor, asarray, from_dlpack, is_tensor, tensor
from rushlight.ops.convert import from_numpy_array as from_numpy
from rushlight.ops.define import TABLE as _TABLE
from rushlight.random import (
    Generator,
    default_generator,
    get_rng_state,
    initial_seed,
    manual_seed,
    seed,
    set_rng_state,
)
from rushlight.size import Size
from rushlight.tensor import Tensor

globals().update({"float": float_, "int": int_, "bool": bool_})
for _entry in _TABLE.values():
    if "." not in _entry.torch_name:
        globals().setdefault(_entry.name, _entry.function)  # torch.double is the dtype, not the method
