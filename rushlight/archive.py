"""PyTorch's checkpoint format: a zip with one pickle of the structure and one entry of raw bytes per storage.

This file knows the format and nothing of paths. The writer emits the pickle's opcodes itself, since the
names in it are PyTorch's; the reader interprets them with an unpickler that has a closed list of
constructors. Invariant: no name in a file leads to code that is not in `_Unpickler.find_class`.
"""

from __future__ import annotations

import collections
import io
import pickle
import struct
import sys
import zipfile
from typing import IO, Any

import numpy as np

from rushlight.device import device as Device
from rushlight.dtype import ALL
from rushlight.dtype import dtype as DType
from rushlight.size import Size
from rushlight.storage import owner_of
from rushlight.tensor import Tensor, new_tensor

_STORAGES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
_STORAGE_OF = {name: storage for storage, name in _STORAGES.items()}
_BY_NAME = {kind.name: kind for kind in ALL}
_ALIGNMENT = 64
_MOST_UNPACKED = 64 << 20  # bytes of a compressed entry that is no storage; PyTorch compresses none


# -- writing -------------------------------------------------------------------------------------------------


class ArchiveWriter:
    """Turns plain data and tensors into a checkpoint; TypeError at construction for anything else."""

    def __init__(self, obj: object) -> None:
        self.storages: list[bytes] = []
        self._keys: dict[tuple[int, str], tuple[int, int]] = {}  # (owner, type) -> (key, number of elements)
        self._memo: dict[int, int] = {}
        self._kept: list[Any] = []
        self._out: list[bytes] = [b"\x80\x02"]
        self._emit(obj, "the object")
        self._out.append(b".")

    def write(self, file: IO[bytes]) -> None:
        """Write the zip to an open file."""
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            self._entry(archive, file, "archive/data.pkl", b"".join(self._out))
            self._entry(archive, file, "archive/byteorder", sys.byteorder.encode())
            for key, content in enumerate(self.storages):
                self._entry(archive, file, f"archive/data/{key}", content)
            self._entry(archive, file, "archive/version", b"3\n")

    def _entry(self, archive: zipfile.ZipFile, file: IO[bytes], name: str, content: bytes) -> None:
        """One entry, padded so that its bytes begin at a multiple of 64, as PyTorch's reader likes for
        mapping.
        """
        info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
        header = archive.start_dir + 30 + len(name.encode())
        padding = -(header + 4) % _ALIGNMENT
        info.extra = struct.pack("<2sH", b"FB", padding) + b"Z" * padding
        archive.writestr(info, content)

    def _emit(self, obj: Any, where: str) -> None:
        """Append the opcodes that rebuild `obj`."""
        out = self._out
        if obj is None:
            out.append(b"N")
        elif obj is True or obj is False:
            out.append(b"\x88" if obj else b"\x89")
        elif isinstance(obj, Tensor):
            self._remembered(obj, self._emit_tensor, where)
        elif isinstance(obj, np.generic):
            self._emit(obj.item(), where)
        elif isinstance(obj, int):
            self._emit_int(obj)
        elif isinstance(obj, float):
            out.append(b"G" + struct.pack(">d", obj))
        elif isinstance(obj, str):
            text = obj.encode("utf-8", "surrogatepass")
            out.append(b"X" + struct.pack("<I", len(text)) + text)
        elif isinstance(obj, DType):
            self._global("torch", obj.name)
        elif isinstance(obj, Device):
            self._call("torch", "device", (str(obj),), where)
        elif isinstance(obj, Size):
            self._call("torch", "Size", (tuple(obj),), where)
        elif isinstance(obj, (dict, list, tuple, set)):
            self._remembered(obj, self._emit_container, where)
        else:
            raise TypeError(
                f"{where} is a {type(obj).__name__}, which save() does not write: only None, numbers, "
                "texts, tensors, dtypes and "
                "dicts, lists, tuples and sets of them. Of a module or an optimizer save its state_dict()."
            )

    def _emit_int(self, value: int) -> None:
        if -(2**31) <= value < 2**31:
            self._out.append(b"J" + struct.pack("<i", value))
        else:
            content = value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True)
            self._out.append(b"\x8b" + struct.pack("<i", len(content)) + content)

    def _remembered(self, obj: Any, emit: Any, where: str) -> None:
        """Emit an object once; later mentions fetch it from the unpickler's memo."""
        if id(obj) in self._memo:
            self._out.append(b"j" + struct.pack("<I", self._memo[id(obj)]))
            return
        emit(obj, where)
        self._kept.append(obj)
        self._memo[id(obj)] = len(self._memo)
        self._out.append(b"r" + struct.pack("<I", self._memo[id(obj)]))

    def _global(self, module: str, name: str) -> None:
        self._out.append(f"c{module}\n{name}\n".encode())

    def _call(self, module: str, name: str, arguments: tuple[Any, ...], where: str) -> None:
        self._global(module, name)
        self._sequence(arguments, where)
        self._out.append(b"R")

    def _sequence(self, items: Any, where: str) -> None:
        self._out.append(b"(")
        for place, item in enumerate(items):
            self._emit(item, f"{where}[{place}]")
        self._out.append(b"t")

    def _emit_container(self, obj: Any, where: str) -> None:
        if isinstance(obj, tuple):
            self._sequence(obj, where)
        elif isinstance(obj, list):
            self._out.append(b"](")
            for place, item in enumerate(obj):
                self._emit(item, f"{where}[{place}]")
            self._out.append(b"e")
        elif isinstance(obj, set):
            self._global("__builtin__", "set")
            self._out.append(b"(")
            self._emit_container(sorted(obj, key=repr), where)
            self._out.append(b"tR")
        else:
            if isinstance(obj, collections.OrderedDict):
                self._call("collections", "OrderedDict", (), where)
            else:
                self._out.append(b"}")
            self._out.append(b"(")
            for key, value in obj.items():
                self._emit(key, f"a key of {where}")
                self._emit(value, f"{where}[{key!r}]")
            self._out.append(b"u")
            versions = getattr(obj, "_metadata", None)  # of a state_dict(): of each module's entries
            if versions is not None:
                self._emit({"_metadata": versions}, where)
                self._out.append(b"b")

    def _emit_tensor(self, tensor: Tensor, where: str) -> None:
        """A tensor or parameter; one that was computed is written as a leaf, without its history."""
        from rushlight.nn.parameter import Parameter

        if isinstance(tensor, Parameter):
            self._global("torch._utils", "_rebuild_parameter")
            self._out.append(b"(")
            self._emit_window(tensor, False, where)
            self._emit(tensor.requires_grad, where)
            self._call("collections", "OrderedDict", (), where)
            self._out.append(b"tR")
        else:
            self._emit_window(tensor, tensor.requires_grad, where)

    def _emit_window(self, tensor: Tensor, requires_grad: bool, where: str) -> None:
        """A tensor as a window on a storage: key, offset, shape, strides."""
        array = tensor._array
        key, length, offset = self._storage(array)
        self._global("torch._utils", "_rebuild_tensor_v2")
        self._out.append(b"((")
        self._emit("storage", where)
        self._global("torch", _STORAGE_OF[tensor.dtype.name])
        for each in (str(key), "cpu", length):
            self._emit(each, where)
        self._out.append(b"tQ")
        for part in (
            offset,
            tuple(array.shape),
            tuple(stride // array.itemsize for stride in array.strides),
            requires_grad,
        ):
            self._emit(part, where)
        self._call("collections", "OrderedDict", (), where)
        self._out.append(b"tR")

    def _storage(self, array: np.ndarray) -> tuple[int, int, int]:
        """Key and length of the storage that holds the array's memory, and the array's offset in it."""
        owner = owner_of(array)
        dense = owner.dtype == array.dtype and (owner.flags.c_contiguous or owner.flags.f_contiguous)
        if not dense:
            owner = array = np.ascontiguousarray(array)
            self._kept.append(array)
        place = (owner.__array_interface__["data"][0], array.dtype.str)
        if place not in self._keys:
            self._keys[place] = (len(self.storages), owner.size)
            self.storages.append(owner.tobytes(order="A"))
        key, length = self._keys[place]
        offset = (array.__array_interface__["data"][0] - place[0]) // array.itemsize if array.size else 0
        return key, length, offset


# -- reading -------------------------------------------------------------------------------------------------


class ArchiveReader:
    """Reads a checkpoint from an open file; `name` is for error messages."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self.name = name
        try:
            self.archive = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, OSError, ValueError) as error:
            raise RuntimeError(
                f"{name} is not a sound checkpoint: it was cut short or damaged ({error})."
            ) from None

    def read(self) -> Any:
        """The object that was saved."""
        try:
            structure = next(each for each in self.archive.namelist() if each.endswith("/data.pkl"))
        except StopIteration:
            raise RuntimeError(
                f"{self.name} is a zip file but not a checkpoint: it has no data.pkl."
            ) from None
        self.folder = structure[: -len("data.pkl")]
        content = self._plain_content("data.pkl")
        self.swapped = self._is_swapped()
        self.loaded: dict[str, np.ndarray] = {}
        try:
            _check_memo(content)
            return _Unpickler(content, self).load()
        except pickle.UnpicklingError as error:
            raise RuntimeError(f"{self.name} cannot be loaded: {error}") from None
        except (
            EOFError,
            IndexError,
            KeyError,
            ValueError,
            TypeError,
            AttributeError,
            OverflowError,
            struct.error,
            MemoryError,
        ) as error:
            raise RuntimeError(
                f"{self.name} is not a sound checkpoint: its structure is damaged ({type(error).__name__}: "
                f"{error})."
            ) from None

    def _names(self) -> set[str]:
        return {each[len(self.folder) :] for each in self.archive.namelist() if each.startswith(self.folder)}

    def _damaged(self, name: str, reason: object) -> RuntimeError:
        return RuntimeError(f"{self.name} is not a sound checkpoint: entry {name} cannot be read ({reason}).")

    def _size(self, name: str) -> tuple[int, bool]:
        """The bytes of an entry, which reading it does not exceed, and whether it is compressed."""
        try:
            entry = self.archive.getinfo(self.folder + name)
        except KeyError as error:
            raise self._damaged(name, error) from None
        return entry.file_size, entry.compress_type != zipfile.ZIP_STORED

    def _content(self, name: str) -> bytes:
        try:
            return self.archive.read(self.folder + name)
        except Exception as error:  # noqa: BLE001 - zlib, bz2 and lzma have errors of their own
            raise self._damaged(name, error) from None

    def _plain_content(self, name: str) -> bytes:
        """An entry that is no storage; a small file that would fill the memory is refused."""
        size, packed = self._size(name)
        if packed and size > _MOST_UNPACKED:
            raise self._damaged(name, f"it would be unpacked to {size:,} bytes")
        return self._content(name)

    def _is_swapped(self) -> bool:
        """Whether numbers in the file have their bytes in the other order."""
        if "byteorder" not in self._names():
            return False
        order = self._plain_content("byteorder")
        if order not in (b"little", b"big"):
            raise self._damaged("byteorder", f"it is {order[:20]!r}")
        return order != sys.byteorder.encode()

    def storage(self, kind: DType, key: str, length: int) -> np.ndarray:
        """The flat array of one storage, read once and shared by all its tensors."""
        if key not in self.loaded:
            size, _ = self._size(f"data/{key}")
            content = b"" if size != length * kind.itemsize else self._content(f"data/{key}")
            if len(content) != length * kind.itemsize:
                raise RuntimeError(
                    f"{self.name} is not a sound checkpoint: storage {key} has {size} bytes, "
                    f"{length} elements of {kind.name} need {length * kind.itemsize}."
                )
            array = np.frombuffer(content, dtype=kind.numpy)
            self.loaded[key] = array.byteswap() if self.swapped else array.copy()
        return self.loaded[key]


def _check_memo(content: bytes) -> None:
    """ValueError for a place in the memo that no pickle of this length needs: pickle would fill the
    memory with all places before it.
    """
    import pickletools  # which few need

    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name in ("PUT", "LONG_BINPUT") and not 0 <= int(argument or 0) < len(content):
            raise ValueError(f"it remembers something at place {argument}")


class _Unpickler(pickle.Unpickler):
    """An unpickler with a closed list of constructors."""

    def __init__(self, content: bytes, reader: ArchiveReader) -> None:
        super().__init__(io.BytesIO(content), encoding="utf-8")
        self.reader = reader

    def find_class(self, module: str, name: str) -> Any:
        from rushlight.serialization import safe_global

        if module == "torch" and name in _STORAGES:
            return _BY_NAME[_STORAGES[name]]
        if module == "torch" and name in _BY_NAME:
            return _BY_NAME[name]
        found = _CONSTRUCTORS.get((module, name)) or safe_global(module, name)
        if found is None:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}, and only plain data is loaded: tensors, numbers, texts and "
                "containers of them. "
                "Nothing from the file was executed. If you trust it, load it with PyTorch and save its "
                "state_dict(), or name the class with serialization.safe_globals."
            )
        return found

    def persistent_load(self, pid: Any) -> np.ndarray:
        tag, kind, key, _, length = pid
        if tag != "storage" or not isinstance(kind, DType):
            raise pickle.UnpicklingError(f"it refers to an unknown kind of storage: {tag!r}")
        return self.reader.storage(kind, str(key), int(length))


def _rebuild_tensor(
    storage: np.ndarray,
    offset: int,
    shape: Any,
    strides: Any,
    requires_grad: bool,
    hooks: Any,
    metadata: Any = None,
) -> Tensor:
    shape, strides = tuple(int(n) for n in shape), tuple(int(n) for n in strides)
    empty = 0 in shape
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if any(n < 0 for n in (*shape, *strides, offset)) or (not empty and last >= storage.size):
        raise ValueError(f"a tensor of shape {shape} and strides {strides} at {offset} leaves its storage")
    step = storage.itemsize
    window = np.lib.stride_tricks.as_strided(storage[offset:], shape, tuple(n * step for n in strides))
    tensor = new_tensor(window)
    tensor._requires_grad = bool(requires_grad)
    return tensor


def _rebuild_parameter(data: Tensor, requires_grad: bool, hooks: Any) -> Tensor:
    from rushlight.nn.parameter import Parameter

    return Parameter(data, requires_grad)


_CONSTRUCTORS = {
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch", "Size"): Size,
    ("torch", "device"): Device,
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("__builtin__", "set"): set,
    ("builtins", "set"): set,
}
