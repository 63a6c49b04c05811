"""Making tensors from nothing: zeros, identity matrices and the `*_like` and `new_*` families.

These are ops without inputs (kind "create"), so a recorded step knows them. Evenly spaced numbers are made in
`ranges`, tensors from data in `convert`, random ones in `random`. Invariant: the default type of the result
is PyTorch's: the default floating type, or int64 where all numbers given are whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rushlight import storage
from rushlight.device import check_device
from rushlight.dtype import BOOL_NUMPY, I64, from_numpy, get_default_dtype
from rushlight.dtype import dtype as DType
from rushlight.ops.define import TABLE, TITLES, apply, write_out
from rushlight.ops.kinds import primitive, public
from rushlight.ops.samples import Named, Sample, T
from rushlight.storage import in_memory_order
from rushlight.tensor import Tensor, new_tensor

FULL = primitive(
    "full", "create", lambda *, shape, value, dtype: storage.full(shape, value, dtype), inputs=()
)
EMPTY = primitive("empty", "create", lambda *, shape, dtype: storage.empty(shape, dtype), inputs=())
# Laid out as a model that is not row-major: strides in the order of the model's, without gaps.
FULL_LIKE = primitive(
    "full_like",
    "create",
    lambda input, *, value, dtype: in_memory_order(storage.full(input.size, value, dtype), input),
)
EMPTY_LIKE = primitive(
    "empty_like", "create", lambda input, *, dtype: in_memory_order(storage.empty(input.size, dtype), input)
)
EYE = primitive("eye", "create", lambda *, n, m, dtype: np.eye(n, m, dtype=dtype), inputs=())


# -- arguments -----------------------------------------------------------------------------------------------


def shape_from(name: str, size: Sequence[Any]) -> tuple[int, ...]:
    """The shape given as varargs or as one sequence; the errors name the function."""
    if len(size) == 1 and not isinstance(size[0], (int, np.integer, Tensor)):
        if not isinstance(size[0], (tuple, list)):
            kind = type(size[0]).__name__
            raise TypeError(f"{name}(): argument 'size' (position 1) must be tuple of ints, not {kind}")
        size = size[0]
    try:
        shape = tuple(each.__index__() for each in size)
    except AttributeError:
        wrong = next(each for each in size if not hasattr(each, "__index__"))
        raise TypeError(
            f"{name}(): argument 'size' must be tuple of ints, but found element of type "
            f"{type(wrong).__name__}"
        ) from None
    if any(n < 0 for n in shape):
        raise RuntimeError(
            f"Trying to create tensor with negative dimension {min(shape)}: {list(shape)}"
            if name != "zeros"
            else "zeros: Dimension size must be non-negative."
        )
    return shape


_PYTHON_TYPES = {float: "float64", int: "int64", bool: "bool"}


def numpy_type(name: str, dtype: Any, default: DType | None = None) -> np.dtype:
    """The NumPy type for a ``dtype=`` argument (also Python's float, int and bool, as PyTorch allows)."""
    if dtype is None:
        return (default or get_default_dtype()).numpy
    if isinstance(dtype, DType):
        return dtype.numpy
    if dtype in _PYTHON_TYPES:
        return np.dtype(_PYTHON_TYPES[dtype])
    raise TypeError(f"{name}(): argument 'dtype' must be torch.dtype, not {type(dtype).__name__}")


def check_options(
    name: str,
    layout: Any,
    device: Any,
    memory_format: Any = None,
    pin_memory: bool = False,
    requires_grad: bool | None = False,
) -> None:
    """Accept what a CPU tensor of ordinary layout may say; refuse the rest by name."""
    if requires_grad is not False and requires_grad is not True and requires_grad is not None:
        kind = type(requires_grad).__name__
        raise TypeError(f"{name}(): argument 'requires_grad' must be bool, not {kind}")
    if device is not None:
        check_device(device)
    if layout is not None and str(layout) != "torch.strided":
        raise NotImplementedError(f"{name}(): only layout=torch.strided is supported, got {layout}")
    if memory_format is not None and str(memory_format) not in (
        "torch.preserve_format",
        "torch.contiguous_format",
    ):
        raise NotImplementedError(f"{name}(): memory_format={memory_format} is not supported")
    if pin_memory:
        raise RuntimeError(
            "pin_memory=True requires a CUDA or other accelerator backend; no pinned memory allocator is "
            "available on this system."
        )


def finish(made: Tensor, requires_grad: bool, out: Any) -> Tensor:
    """What every creation ends with: ``out=`` and ``requires_grad=``."""
    if out is not None:
        if made.dtype is not out.dtype:
            have, want = TITLES[made.dtype.name], TITLES[out.dtype.name]
            raise RuntimeError(f"dtype {have} does not match dtype of out parameter ({want})")
        made = write_out(out, made)
    if requires_grad:
        if not made.is_floating_point():
            raise RuntimeError("Only Tensors of floating point and complex dtype can require gradients")
        made.requires_grad = True
    return made


def zeros_of(shape: tuple[int, ...], kind: np.dtype) -> Tensor:
    """Zeros of a given shape and NumPy type."""
    return apply(FULL, (), {"shape": shape, "value": 0, "dtype": kind})


def follows(input: Tensor, memory_format: Any) -> bool:
    """Whether what is made like `input` takes its order in memory, which is not row-major."""
    return not input._array.flags.c_contiguous and str(memory_format) != "torch.contiguous_format"


def type_asked(dtype: Any, out: Any) -> Any:
    """The type asked for: by ``dtype=``, or by the tensor to write to."""
    return dtype if dtype is not None or out is None else out.dtype


# -- filled with one value -----------------------------------------------------------------------------------


def _filled(name: str, value: int | None, summary: str) -> Callable[..., Tensor]:
    """`zeros`, `ones` or `empty`: the three differ in the value alone."""

    def function(
        *size: Any,
        out: Any = None,
        dtype: Any = None,
        layout: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        pin_memory: bool = False,
        memory_format: Any = None,
        names: Any = None,
        **given: Any,
    ) -> Tensor:
        if names is not None:
            raise NotImplementedError(f"{name}(): named tensors (names=) are not supported")
        if not size:
            if "size" not in given:
                raise TypeError(f'{name}() missing 1 required positional arguments: "size"')
            size = (given.pop("size"),)
        if given:
            raise TypeError(f"{name}() got an unexpected keyword argument '{next(iter(given))}'")
        check_options(name, layout, device, memory_format, pin_memory, requires_grad)
        shape = shape_from(name, size)
        kind = numpy_type(name, dtype, None if out is None else out.dtype)
        if value is None:
            made = apply(EMPTY, (), {"shape": shape, "dtype": kind})
        else:
            made = apply(FULL, (), {"shape": shape, "value": value, "dtype": kind})
        return finish(made, requires_grad, out)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = summary

    def samples() -> list[Sample]:
        calls: list[Any] = [((2, 3), {}), (((0, 4),), {}), (((),), {}), ((3,), {"dtype": Named("int64")})]
        return [Sample(args, kwargs, values=value is not None) for args, kwargs in calls]

    return public(FULL if value is not None else EMPTY, method=False, samples=samples)(function)


zeros = _filled(
    "zeros",
    0,
    """A tensor of zeros; the shape as numbers or one sequence.

    >>> import rushlight as torch
    >>> torch.zeros(2, 3)
    tensor([[0., 0., 0.],
            [0., 0., 0.]])
    """,
)
ones = _filled(
    "ones",
    1,
    """A tensor of ones; the shape as numbers or one sequence.

    >>> import rushlight as torch
    >>> torch.ones(2, dtype=torch.int64)
    tensor([1, 1])
    """,
)
empty = _filled("empty", None, "A tensor whose elements are whatever the memory held.")


@public(FULL, method=False, samples=lambda: [Sample(((2, 3), 1.5)), Sample(((2,), 3)), Sample(((), True))])
def full(
    size: Any,
    fill_value: Any,
    *,
    out: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """A tensor filled with one value, whose type it takes.

    >>> import rushlight as torch
    >>> torch.full((2,), 3)
    tensor([3, 3])
    """
    check_options("full", layout, device, None, pin_memory, requires_grad)
    _check_sequence("full", size)
    fill_value = _number("full", fill_value)
    if out is not None and dtype is None:
        dtype = out.dtype
    kind = numpy_type("full", dtype, _type_of_numbers(fill_value))
    made = apply(FULL, (), {"shape": shape_from("full", (size,)), "value": fill_value, "dtype": kind})
    return finish(made, requires_grad, out)


def _check_sequence(name: str, size: Any) -> None:
    if not isinstance(size, (tuple, list)):
        kind = type(size).__name__
        raise TypeError(f"{name}(): argument 'size' (position 1) must be tuple of ints, not {kind}")


def _number(name: str, value: Any) -> Any:
    """The value to fill with: a number, or a tensor without dimensions."""
    if isinstance(value, Tensor) and not value._array.ndim:
        return value.item()
    if not isinstance(value, (int, float, complex, np.generic)):
        kind = type(value).__name__
        raise TypeError(f"{name}(): argument 'fill_value' (position 2) must be Number, not {kind}")
    return value


def _type_of_numbers(*values: Any) -> DType:
    """bool or int64 if all numbers are, else the default floating type."""
    if all(isinstance(each, (bool, np.bool_)) for each in values):
        return from_numpy(BOOL_NUMPY)
    if all(isinstance(each, (int, np.integer)) for each in values):
        return from_numpy(I64)
    return get_default_dtype()


def _like(name: str, base: Callable[..., Tensor], value: int | None, summary: str) -> Callable[..., Tensor]:
    """`zeros_like` and its sisters, from the function without a model."""

    def function(
        input: Tensor,
        *,
        dtype: Any = None,
        layout: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        pin_memory: bool = False,
        memory_format: Any = None,
    ) -> Tensor:
        check_options(name, layout, device, memory_format, pin_memory, requires_grad)
        if not follows(input, memory_format):
            return base(input._array.shape, dtype=dtype or input.dtype, requires_grad=requires_grad)
        kind = numpy_type(name, dtype, input.dtype)
        if value is None:
            made = apply(EMPTY_LIKE, (input,), {"dtype": kind})
        else:
            made = apply(FULL_LIKE, (input,), {"value": value, "dtype": kind})
        return finish(made, requires_grad, None)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = summary

    def samples() -> list[Sample]:
        models = [T((2, 3)), T((0,), "int64"), T((), "float64")]
        return [Sample((model,), grads=False, values=base is not empty) for model in models]

    return public(TABLE[base.__name__].op, method=False, samples=samples)(function)


zeros_like = _like("zeros_like", zeros, 0, "Zeros of the shape and type of `input`.")
ones_like = _like("ones_like", ones, 1, "Ones of the shape and type of `input`.")
empty_like = _like("empty_like", empty, None, "An uninitialised tensor of the shape and type of `input`.")


@public(
    FULL,
    method=False,
    samples=lambda: [Sample((T((2, 3)), 2), grads=False), Sample((T((2,), "int64", low=0, high=3), 2))],
)
def full_like(
    input: Tensor,
    fill_value: Any,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """A tensor of the shape and type of `input`, filled with one value."""
    check_options("full_like", layout, device, memory_format, pin_memory, requires_grad)
    if not follows(input, memory_format):
        fill_value = _number("full_like", fill_value)
        return full(input._array.shape, fill_value, dtype=dtype or input.dtype, requires_grad=requires_grad)
    fill_value = _number("full_like", fill_value)
    kind = numpy_type("full_like", dtype, input.dtype)
    return finish(apply(FULL_LIKE, (input,), {"value": fill_value, "dtype": kind}), requires_grad, None)


# -- identity ------------------------------------------------------------------------------------------------


@public(
    EYE,
    method=False,
    samples=lambda: [Sample((3,)), Sample((2, 4)), Sample((3, 0)), Sample((2,), {"dtype": Named("int64")})],
)
def eye(
    n: int,
    m: int | None = None,
    *,
    out: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """An n x m matrix with ones on the diagonal."""
    check_options("eye", layout, device, None, pin_memory, requires_grad)
    if n < 0 or (m is not None and m < 0):
        raise RuntimeError(f"n must be greater or equal to 0, got {min(n, m if m is not None else n)}")
    kind = numpy_type("eye", type_asked(dtype, out))
    return finish(apply(EYE, (), {"n": n, "m": n if m is None else m, "dtype": kind}), requires_grad, out)


@public(FULL, method=False, samples=lambda: [Sample((3,)), Sample((2.5,), {"dtype": Named("float64")})])
def scalar_tensor(
    s: Any,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """A 0-d tensor of the default type."""
    check_options("scalar_tensor", layout, device, None, pin_memory, requires_grad)
    return full((), s, dtype=dtype or get_default_dtype(), requires_grad=requires_grad)


# -- from another tensor -------------------------------------------------------------------------------------


def _new(name: str, base: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def method(
        self: Tensor,
        *size: Any,
        dtype: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        layout: Any = None,
        pin_memory: bool = False,
        **given: Any,
    ) -> Tensor:
        if "size" in given:
            size = (given.pop("size"),)
        return base(
            *size,
            dtype=dtype or self.dtype,
            device=device,
            requires_grad=requires_grad,
            layout=layout,
            pin_memory=pin_memory,
            **given,
        )

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"`{base.__name__}` with this tensor's type where none is given."
    return method


new_zeros = _new("new_zeros", zeros)
new_ones = _new("new_ones", ones)
new_empty = _new("new_empty", empty)


def new_full(
    self: Tensor,
    size: Any,
    fill_value: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    layout: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """`full` with this tensor's type where none is given."""
    check_options("new_full", layout, device, None, pin_memory, requires_grad)
    _check_sequence("new_full", size)
    fill_value = _number("new_full", fill_value)
    return full(size, fill_value, dtype=dtype or self.dtype, requires_grad=requires_grad)


def triangle_indices(name: str, keep: Callable[..., np.ndarray]) -> Callable[..., Tensor]:
    """`tril_indices` or `triu_indices`: row and column numbers of a triangle, as a 2 x N tensor."""

    def function(
        row: int,
        col: int,
        offset: int = 0,
        *,
        dtype: Any = None,
        device: Any = None,
        layout: Any = None,
        pin_memory: bool = False,
    ) -> Tensor:
        check_options(name, layout, device, None, pin_memory)
        rows, columns = np.nonzero(keep(np.ones((row, col), bool), offset))
        return new_tensor(np.stack([rows, columns]).astype(numpy_type(name, dtype, from_numpy(I64))))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Row and column indices of the triangle that `{name[:4]}` keeps, as a 2 x N tensor."
    samples = lambda: [Sample((3, 3)), Sample((4, 3, 1)), Sample((2, 5, -1))]  # noqa: E731
    return public(None, method=False, samples=samples)(function)


tril_indices = triangle_indices("tril_indices", np.tril)
triu_indices = triangle_indices("triu_indices", np.triu)

METHODS: dict[str, Callable[..., Tensor]] = {
    "new_zeros": new_zeros,
    "new_ones": new_ones,
    "new_empty": new_empty,
    "new_full": new_full,
}
