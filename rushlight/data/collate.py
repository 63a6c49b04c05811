"""Collating: making one batch of a list of samples.

`default_collate` stacks what can be stacked and keeps the structure (tuples, lists, dicts, named tuples)
around it; `default_convert` only turns arrays into tensors, for loading without batches. Neither knows
datasets or samplers. Invariant: the type of the first sample decides, as in PyTorch.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

import numpy as np

from rushlight.dtype import float64
from rushlight.ops.convert import as_tensor, tensor
from rushlight.ops.join import stack
from rushlight.tensor import Tensor

CollateMap = dict[type | tuple[type, ...], Callable]

UNSUPPORTED = "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {}"


def default_convert(data: Any) -> Any:
    """``data`` with every NumPy array in it turned into a tensor; anything else stays as it is.

    >>> import numpy as np
    >>> default_convert([np.array([1, 2]), "a"])
    [tensor([1, 2]), 'a']
    """
    if isinstance(data, Tensor | str | bytes):
        return data
    if isinstance(data, np.ndarray):
        return data if _holds_text_or_objects(data) else as_tensor(data)
    if isinstance(data, np.generic):
        return as_tensor(data)
    if isinstance(data, Mapping):
        return _rebuild_mapping(data, {key: default_convert(data[key]) for key in data})
    if isinstance(data, tuple | Sequence):
        return _rebuild_sequence(data, [default_convert(part) for part in data])
    return data


def default_collate(batch: Any) -> Any:
    """The samples in ``batch`` as one: tensors, arrays and numbers are stacked along a new first dimension.

    Strings and bytes stay a list; dicts, named tuples, tuples and lists are collated part by part (a tuple
    comes back as a list). The type of the first sample decides. `default_collate_fn_map` may be extended with
    types of one's own.

    Raises TypeError for other types, RuntimeError for sequences of unequal length or tensors of unequal
    shape.

    >>> default_collate([{"x": 1, "y": (0.5, "a")}, {"x": 2, "y": (1.5, "b")}])
    {'x': tensor([1, 2]), 'y': [tensor([0.5000, 1.5000], dtype=torch.float64), ('a', 'b')]}
    """
    return collate(batch, collate_fn_map=default_collate_fn_map)


def collate(batch: Any, *, collate_fn_map: CollateMap | None = None) -> Any:
    """`default_collate` with a map of one's own from types to functions ``f(batch, *, collate_fn_map)``.

    >>> collate([1, 2], collate_fn_map={int: lambda batch, *, collate_fn_map: sum(batch)})
    3
    """
    first = batch[0]
    function = _function_for(first, collate_fn_map or {})
    if function is not None:
        return function(batch, collate_fn_map=collate_fn_map)
    if isinstance(first, Mapping):
        columns = {
            key: collate([sample[key] for sample in batch], collate_fn_map=collate_fn_map) for key in first
        }
        return _rebuild_mapping(first, columns)
    if isinstance(first, tuple | Sequence):
        named = isinstance(first, tuple) and hasattr(first, "_fields")
        if not named and any(len(sample) != len(first) for sample in batch):
            lengths = [len(sample) for sample in batch]
            raise RuntimeError(
                f"each element in list of batch should be of equal size: the lengths are {lengths}"
            )
        parts = [collate(part, collate_fn_map=collate_fn_map) for part in zip(*batch, strict=False)]
        return _rebuild_sequence(first, parts)
    raise TypeError(UNSUPPORTED.format(type(first)))


def _function_for(sample: Any, functions: CollateMap) -> Callable | None:
    if type(sample) in functions:
        return functions[type(sample)]
    return next((function for kind, function in functions.items() if isinstance(sample, kind)), None)


def _rebuild_mapping(original: Mapping, content: dict) -> Any:
    """A mapping of the kind of ``original`` with new values; a dict if that kind cannot be made this way."""
    try:
        if not isinstance(original, MutableMapping):
            return type(original)(content)  # type: ignore[call-arg]
        # A copy keeps what the type holds besides its items, such as a default factory.
        clone = copy.copy(original)
        clone.update(content)
    except TypeError:
        return content
    return clone


def _rebuild_sequence(original: Sequence, content: list) -> Any:
    """A sequence of the kind of ``original`` with new parts; a list for a tuple or what cannot be made."""
    if isinstance(original, tuple):
        return type(original)(*content) if hasattr(original, "_fields") else content
    try:
        if not isinstance(original, MutableSequence):
            return type(original)(content)  # type: ignore[call-arg]
        clone = copy.copy(original)
        for i, part in enumerate(content):
            clone[i] = part
    except TypeError:
        return content
    return clone


def _holds_text_or_objects(array: np.ndarray) -> bool:
    return array.dtype.kind in "SUO"


def _collate_tensors(batch: Any, *, collate_fn_map: CollateMap | None = None) -> Tensor:
    return stack(batch, 0)


def _collate_arrays(batch: Any, *, collate_fn_map: CollateMap | None = None) -> Tensor:
    if _holds_text_or_objects(batch[0]):
        raise TypeError(UNSUPPORTED.format(batch[0].dtype))
    return collate([as_tensor(array) for array in batch], collate_fn_map=collate_fn_map)


def _collate_numpy_scalars(batch: Any, *, collate_fn_map: CollateMap | None = None) -> Tensor:
    return as_tensor(batch)


def _collate_floats(batch: Any, *, collate_fn_map: CollateMap | None = None) -> Tensor:
    return tensor(batch, dtype=float64)


def _collate_ints(batch: Any, *, collate_fn_map: CollateMap | None = None) -> Tensor:
    return tensor(batch)


def _collate_text(batch: Any, *, collate_fn_map: CollateMap | None = None) -> Any:
    return batch


default_collate_fn_map: CollateMap = {
    Tensor: _collate_tensors,
    np.ndarray: _collate_arrays,
    (np.bool_, np.number, np.object_): _collate_numpy_scalars,
    float: _collate_floats,
    int: _collate_ints,
    str: _collate_text,
    bytes: _collate_text,
}

_STANDARD_MAP = dict(default_collate_fn_map)


def is_standard(collate_fn: Callable) -> bool:
    """Whether ``collate_fn`` is `default_collate`, and its map still the one it came with."""
    return collate_fn is default_collate and default_collate_fn_map == _STANDARD_MAP
