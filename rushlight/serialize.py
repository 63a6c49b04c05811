"""Saving and loading: `save` and `load` in PyTorch's own file format, `save_file` and `load_file` as
safetensors.

A file from a stranger can be loaded without fear: `load` reads the pickle inside a checkpoint with an
unpickler that knows a dozen harmless constructors and refuses every other name, so nothing in a file is
ever executed. PyTorch reads what `save` writes (``torch.load``, also with ``weights_only=True``), and
`load` reads what PyTorch wrote. Invariant: files are replaced in one step (`rushlight.files`), and a file
that is damaged or foreign gives one clear error.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from rushlight.tensor import Tensor, new_tensor

__all__ = ["load", "load_file", "save", "save_file"]


def save(
    obj: object,
    f: str | os.PathLike[str] | IO[bytes],
    pickle_module: Any = None,
    pickle_protocol: int = 2,
    _use_new_zipfile_serialization: bool = True,
) -> None:
    """Save nested dicts, lists, tuples, numbers, texts and tensors, such as a ``state_dict()``, in
    PyTorch's format.

    Tensors that share memory share it again after `load`. Anything else (a whole module, say) raises
    TypeError: save its ``state_dict()``.

    >>> import io
    >>> import rushlight as torch
    >>> file = io.BytesIO()
    >>> torch.save({"step": 3, "weight": torch.ones(2)}, file)
    >>> _ = file.seek(0)
    >>> torch.load(file)
    {'step': 3, 'weight': tensor([1., 1.])}
    """
    if pickle_module is not None:
        raise NotImplementedError("save(): pickle_module is not supported, only plain data is written")
    if pickle_protocol != 2:
        raise NotImplementedError("save(): pickle_protocol other than 2 is not supported")
    if not _use_new_zipfile_serialization:
        raise NotImplementedError("save(): PyTorch's format of before 1.6 is not supported")
    if isinstance(f, (str, os.PathLike)) and not Path(f).parent.is_dir():
        raise RuntimeError(f"Parent directory {Path(f).parent} does not exist.")
    from rushlight.archive import ArchiveWriter
    from rushlight.files import replacing

    writer = ArchiveWriter(obj)
    if isinstance(f, (str, os.PathLike)):
        with replacing(f) as file:
            writer.write(file)
    else:
        writer.write(f)


def load(
    f: str | os.PathLike[str] | IO[bytes],
    map_location: Any = None,
    pickle_module: Any = None,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = None,
) -> Any:
    """Load what `save`, or PyTorch's ``torch.save``, wrote; safetensors files give a dict of tensors.

    Args:
        f: a path, or a binary file open for reading.
        map_location: None, "cpu" or a CPU device; tensors saved from other devices come to the CPU too.
        pickle_module: not supported.
        weights_only: False is accepted, but nothing beyond plain data is ever loaded.
        mmap: accepted; files are always read.

    Raises:
        RuntimeError: the file is damaged, or holds something other than plain data.
        UnpicklingError: it is of another kind.
        EOFError: it is empty.
    """
    if pickle_module is not None:
        raise NotImplementedError("load(): pickle_module is not supported: nothing from a file is executed")
    if isinstance(f, (str, os.PathLike)):
        with open(f, "rb") as file:
            _check_location(map_location)
            return _load_open(file, os.fspath(f))
    _check_location(map_location)
    return _load_open(f, getattr(f, "name", "the file"))


def _check_location(map_location: Any) -> None:
    """Refuse to bring tensors to devices that are not there. What a function says is not asked for."""
    from rushlight.device import check_device, device

    wanted = map_location.get("cpu") if isinstance(map_location, Mapping) else map_location
    if wanted is None or callable(wanted):
        return
    if isinstance(wanted, (str, device)):
        kind = str(wanted).partition(":")[0]
        if kind in ("cuda", "xpu"):
            raise RuntimeError(
                f"Attempting to deserialize object on a {kind.upper()} device but "
                f"torch.{kind}.is_available() is False. If you are running on a CPU-only machine, please use "
                "torch.load with map_location=torch.device('cpu') to map your storages to the CPU."
            )
    check_device(wanted)


def _load_open(file: IO[bytes], name: str) -> Any:
    start = file.read(9)
    if not start:
        raise EOFError(f"Ran out of input: {name} is empty")
    file.seek(-len(start), os.SEEK_CUR)
    if start[:2] == b"PK":
        from rushlight.archive import ArchiveReader

        return ArchiveReader(file, str(name)).read()
    if len(start) == 9 and start[8:9] == b"{":
        return _tensors_from(file.read(), str(name))
    from pickle import UnpicklingError

    raise UnpicklingError(
        f"Weights only load failed. {name} is neither a PyTorch checkpoint nor a safetensors file: it "
        f"begins with {start[:4]!r}. If it was written by PyTorch before version 1.6, save it again with a "
        "newer one."
    )


# -- safetensors ---------------------------------------------------------------------------------------------


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError:
        raise ImportError("safetensors files need the safetensors package: pip install safetensors") from None
    return safetensors


def save_file(
    tensors: Mapping[str, Tensor], filename: str | os.PathLike[str], metadata: Mapping[str, str] | None = None
) -> None:
    """Save a dict of tensors, such as a ``state_dict()``, as a safetensors file.

    Args:
        tensors: tensors by name.
        filename: where to; replaced in one step.
        metadata: texts to keep in the header.
    """
    from rushlight.files import write_bytes

    library = _safetensors()
    arrays = {}
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise ValueError(
                f"Key `{name}` is invalid, expected torch.Tensor but received {type(tensor)}. "
                "Use save() for anything but a dict of tensors."
            )
        array = tensor._array
        arrays[str(name)] = array if array.flags.c_contiguous else array.copy(order="C")
    write_bytes(filename, library.numpy.save(arrays, dict(metadata) if metadata else None))


def load_file(filename: str | os.PathLike[str], device: Any = "cpu") -> dict[str, Tensor]:
    """Load a safetensors file as a dict of tensors.

    Raises:
        FileNotFoundError: there is no such file.
        RuntimeError: the file is damaged or of another kind.
    """
    from rushlight.device import check_device

    check_device(device)
    with open(filename, "rb") as file:
        return _tensors_from(file.read(), os.fspath(filename))


def read_metadata(filename: str | os.PathLike[str]) -> dict[str, str]:
    """The texts in a safetensors file's header."""
    library = _safetensors()
    try:
        with library.safe_open(os.fspath(filename), framework="numpy") as opened:
            return opened.metadata() or {}
    except library.SafetensorError as error:
        raise RuntimeError(f"{filename} is not a sound safetensors file: {error}") from None


def _tensors_from(content: bytes, name: str) -> dict[str, Tensor]:
    library = _safetensors()
    try:
        arrays = library.numpy.load(content)
    except (library.SafetensorError, KeyError, ValueError, TypeError) as error:
        raise RuntimeError(f"{name} is not a sound safetensors file: {error}") from None
    # the arrays look into `content`, which is read-only: tensors own writable memory
    return {key: new_tensor(array.copy()) for key, array in arrays.items()}
