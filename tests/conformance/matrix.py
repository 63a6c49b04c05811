"""What the op matrix is made of: data for samples, the PyTorch twin of a table entry, and comparing
results.

A sample is drawn once, with a seed that depends on the entry and the sample alone, and laid out afresh
in memory for every call, so both libraries always start from the same bits. Nothing here decides which
checks are run; see `checks`.
"""

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import rushlight
from rushlight.ops import full_table
from rushlight.ops.define import Entry
from rushlight.ops.samples import Named, Sample, T
from rushlight.tensor import wrap

# Relative and absolute tolerance of values by type; gradients and second derivatives multiply them.
TOLERANCE = {"float64": (1e-12, 1e-12), "float32": (2e-6, 1e-6), "float16": (2e-3, 1e-3)}
GRADIENT, SECOND = 8, 64

torch.set_num_threads(1)
torch.set_warn_always(True)  # or a warning would depend on which tests ran before


class Library:
    """One of the two libraries: its module, and how an array becomes a tensor of it."""

    def __init__(self, module: Any, from_array: Callable[[np.ndarray], Any]) -> None:
        self.module = module
        self.from_array = from_array

    def named(self, name: str) -> Any:
        found = self.module
        for part in name.split("."):
            found = getattr(found, part)
        return found

    def seed(self) -> None:
        """Start the random stream afresh: both libraries have the same."""
        self.module.random.default_generator.manual_seed(1)


OURS = Library(rushlight, wrap)
THEIRS = Library(torch, torch.from_numpy)


def twin(entry: Entry) -> Callable[..., Any] | None:
    """PyTorch's function (or Tensor method) for a table entry, None where it has none."""
    name = entry.torch_name.removeprefix("torch.")
    if "." in name:
        return THEIRS.named(name)
    for prefix in ("special_", "linalg_"):
        if name.startswith(prefix):
            return getattr(getattr(torch, prefix[:-1]), name.removeprefix(prefix))
    for place in (torch, torch.nn.functional, torch.Tensor, torch.special, torch.linalg):
        if hasattr(place, name):
            return getattr(place, name)
    return None


def samples_of(entry: Entry) -> list[Sample]:
    """The samples of an entry; an alias has those of the function it names."""
    if entry.samples is not None:
        return entry.samples()
    for other in full_table().values():
        if other.function is entry.function and other.samples is not None:
            return other.samples()
    return []


# -- data ------------------------------------------------------------------------------------------------


def specs_in(value: Any) -> list[T]:
    """All tensor specs in the arguments of a sample, in order."""
    if isinstance(value, T):
        return [value]
    if isinstance(value, Sample):
        return specs_in(value.args) + specs_in(value.kwargs)
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [spec for each in value for spec in specs_in(each)]
    return []


def draw(spec: T, rng: np.random.Generator) -> np.ndarray:
    """Numbers for one tensor spec."""
    kind = np.dtype(spec.dtype)
    if spec.values is not None:
        return np.array(spec.values, dtype=kind)
    if kind.kind == "b":
        return np.asarray(rng.random(spec.shape) < 0.5)
    floating = kind.kind == "f"
    low = spec.low if spec.low is not None else -2.0 if floating else 0 if kind.kind == "u" else -5
    high = spec.high if spec.high is not None else 2.0 if floating else 6
    if spec.distinct:
        count = int(np.prod(spec.shape))
        steps = rng.permutation(count)
        values = low + (high - low) * (steps + 0.5) / max(count, 1) if floating else low + steps
    elif floating:
        values = rng.uniform(low, high, spec.shape)
    else:
        values = rng.integers(int(low), int(high), spec.shape)
    return np.asarray(values).reshape(spec.shape).astype(kind)


def lay_out(values: np.ndarray, layout: str) -> np.ndarray:
    """A fresh array of these values, lying in memory as the layout says."""
    if layout == "contiguous" or values.ndim == 0:
        return values.copy()
    if layout == "transposed":
        return np.asfortranarray(values) if values.ndim > 1 else values.copy()
    if layout == "expanded":
        first = values[:1].copy()
        return np.lib.stride_tricks.as_strided(first, values.shape, (0, *first.strides[1:]))
    gaps = np.zeros((*values.shape[:-1], 2 * values.shape[-1]), values.dtype)
    gaps[..., ::2] = values
    return gaps[..., ::2]


class Case:
    """One sample (or a variant of it) with its data: builds the arguments of a call for either library."""

    def __init__(self, name: str, sample: Sample, number: int, label: str = "") -> None:
        self.sample = sample
        self.label = f"{sample!r}{' ' + label if label else ''}"
        self.rng = np.random.default_rng([zlib.crc32(name.encode()), number])
        self.specs = specs_in(sample)
        self.data = [draw(spec, self.rng) for spec in self.specs]
        for i, spec in enumerate(self.specs):
            if spec.layout == "expanded" and self.data[i].ndim and self.data[i].size:
                self.data[i] = np.broadcast_to(self.data[i][:1], self.data[i].shape)
        self.cotangents: list[np.ndarray] = []

    def build(
        self, library: Library, layout: str | None = None, grads: bool = False, given: list | None = None
    ) -> tuple[list, dict, list]:
        """Positional arguments, keyword arguments, and the leaves among the tensors that require gradients.

        Args:
            library: whose tensors to make.
            layout: instead of each spec's own.
            grads: let floating tensors require gradients.
            given: tensors to use for the leaves, in order, instead of new ones.
        """
        fresh = iter(zip(self.specs, self.data, strict=True))
        leaves: list[Any] = []

        def make(value: Any) -> Any:
            if isinstance(value, T):
                spec, values = next(fresh)
                if given is not None and spec.grad and values.dtype.kind == "f":
                    leaves.append(given[len(leaves)])
                    return leaves[-1]
                tensor = library.from_array(lay_out(values, layout or spec.layout))
                if grads and spec.grad and values.dtype.kind == "f":
                    tensor.requires_grad_(True)
                    leaves.append(tensor)
                return tensor
            if isinstance(value, Named):
                return library.named(value.name)
            if isinstance(value, list | tuple):
                return type(value)(make(each) for each in value)
            if isinstance(value, dict):
                return {key: make(each) for key, each in value.items()}
            return value

        args = [make(each) for each in self.sample.args]
        return args, make(self.sample.kwargs), leaves

    def cotangent(self, library: Library, index: int, like: Any) -> Any:
        """A random gradient for output number `index`, the same for both libraries."""
        while len(self.cotangents) <= index:
            self.cotangents.append(self.rng.uniform(-1, 1, tuple(like.shape)))
        values = self.cotangents[index].astype(str(like.dtype).removeprefix("torch."))
        return library.from_array(values).requires_grad_(True)

    def shrunk(self, name: str, number: int) -> "Case":
        """The same call with one size replaced by 0 in every tensor."""
        size = next(n for spec in self.specs for n in spec.shape if n > 1)
        return self._reshaped(
            name, number, lambda shape: tuple(0 if n == size else n for n in shape), "zero-size"
        )

    def scalar(self, name: str, number: int) -> "Case":
        """The same call on 0-d tensors."""
        return self._reshaped(name, number, lambda shape: (), "0-d")

    def _reshaped(self, name: str, number: int, change: Callable[[tuple], tuple], label: str) -> "Case":
        def convert(value: Any) -> Any:
            if isinstance(value, T):
                return T(change(value.shape), value.dtype, low=value.low, high=value.high, grad=value.grad)
            if isinstance(value, list | tuple):
                return type(value)(convert(each) for each in value)
            if isinstance(value, dict):
                return {key: convert(each) for key, each in value.items()}
            return value

        old = self.sample
        sample = Sample(
            convert(old.args),
            convert(old.kwargs),
            old.grads,
            second=old.second,
            tolerance=old.tolerance,
            values=old.values,
        )
        return Case(name, sample, number, label)


# -- comparing -------------------------------------------------------------------------------------------


def acts_on_tensor(sample: Sample) -> bool:
    """Whether the first argument is a tensor, so that an in-place variant makes sense."""
    return bool(sample.args) and isinstance(sample.args[0], T)


def is_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor | rushlight.Tensor)


def tensors_in(value: Any) -> list[Any]:
    """The tensors of a result, in order."""
    if is_tensor(value):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return (
        [tensor for each in value for tensor in tensors_in(each)] if isinstance(value, list | tuple) else []
    )


def array_of(tensor: Any) -> np.ndarray:
    return tensor._array if isinstance(tensor, rushlight.Tensor) else tensor.numpy(force=True)


def dtype_name(tensor: Any) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def close(
    ours: np.ndarray, theirs: np.ndarray, kind: str, scale: float = 1.0, rtol: float | None = None
) -> str:
    """What differs between two arrays of one shape; empty where nothing does."""
    if kind not in TOLERANCE:
        return "" if np.array_equal(ours, theirs) else f"values {ours.tolist()} != {theirs.tolist()}"
    relative, absolute = TOLERANCE[kind]
    relative = rtol or relative
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    with np.errstate(all="ignore"):
        same = (
            (a == b)
            | (np.isnan(a) & np.isnan(b))
            | (np.abs(a - b) <= scale * (absolute + relative * np.abs(b)))
        )
    if same.all():
        return ""
    worst = np.argwhere(~same)[0]
    place = tuple(int(i) for i in worst)
    return f"value at {place}: {a[place]!r} != {b[place]!r} ({int((~same).sum())} of {same.size} differ)"


def compare_tensor(ours: Any, theirs: Any, scale: float = 1.0, rtol: float | None = None) -> str:
    """What differs between a tensor of ours and one of PyTorch's: kind, type, shape or values."""
    if not isinstance(ours, rushlight.Tensor):
        return f"a {type(ours).__name__}, not a tensor"
    if dtype_name(ours) != dtype_name(theirs):
        return f"dtype {ours.dtype} != {theirs.dtype}"
    if tuple(ours.shape) != tuple(theirs.shape):
        return f"shape {tuple(ours.shape)} != {tuple(theirs.shape)}"
    if array_of(ours).dtype != np.dtype(dtype_name(theirs)) or type(array_of(ours)) is not np.ndarray:
        return f"_array is {array_of(ours)!r}"
    return close(array_of(ours), array_of(theirs), dtype_name(theirs), scale, rtol)


def compare_result(ours: Any, theirs: Any, rtol: float | None = None) -> str:
    """What differs between two results of any kind: tensors, numbers, tuples of them ..."""
    if is_tensor(theirs):
        problem = compare_tensor(ours, theirs, rtol=rtol)
        if problem or dtype_name(theirs) not in TOLERANCE:
            return problem
        a, b = array_of(ours), array_of(theirs)
        zeros = (a == 0) & (b == 0)
        if (np.signbit(a) != np.signbit(b))[zeros].any():
            return "the sign of a zero differs"
        return ""
    if isinstance(theirs, list | tuple):
        if not isinstance(ours, list | tuple) or len(ours) != len(theirs):
            return f"{ours!r} where PyTorch gives {theirs!r}"
        names = getattr(theirs, "_fields", None) or getattr(type(theirs), "__match_args__", ())
        if names and getattr(ours, "_fields", ()) != tuple(names):
            return f"a {type(ours).__name__} without the fields {names}"
        problems = [compare_result(a, b, rtol) for a, b in zip(ours, theirs, strict=True)]
        return next((f"part {i}: {text}" for i, text in enumerate(problems) if text), "")
    if isinstance(theirs, float):
        return close(np.float64(ours), np.float64(theirs), "float64", rtol=rtol)
    if isinstance(theirs, bool | int | str | type(None)):
        return "" if type(ours) is type(theirs) and ours == theirs else f"{ours!r} != {theirs!r}"
    return "" if repr(ours) == repr(theirs) else f"{ours!r} != {theirs!r}"
