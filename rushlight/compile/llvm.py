"""Machine code from LLVM IR, in this process, through llvmlite.

Text becomes an object file, and that becomes functions to call. Invariant: code lives as long as the `Code`
object, and was made for the CPU it runs on.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from typing import Any

# Linux on x86-64: the call that asks, what for, and the number of the state that tiles are.
_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA = 158, 0x1023, 18


@functools.cache
def binding() -> Any:
    """llvmlite's binding, set up once."""
    try:
        import llvmlite.binding as llvm
    except ImportError as problem:
        raise ImportError("native code needs llvmlite: pip install llvmlite") from problem
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    _keep_whole_in_forks(llvm)
    return llvm


def _keep_whole_in_forks(llvm: Any) -> None:
    """Have no thread be inside LLVM while the process forks, as helpers are when they let go of a program: in
    the forked process that thread would be gone and its lock taken for ever.
    """
    lock = getattr(getattr(llvm.ffi, "lib", None), "_lock", None)
    if lock is None or not hasattr(os, "register_at_fork"):  # another llvmlite, or no forks
        return

    def leave() -> None:
        lock.__exit__(None, None, None)

    os.register_at_fork(before=lock.__enter__, after_in_parent=leave, after_in_child=leave)


@functools.cache
def vector_bytes() -> int:
    """The width of vectors in bytes: the CPU's, if ``RUSHLIGHT_VECTOR_BYTES`` does not say 16, 32 or 64.

    Wider ones than the CPU's are right, too, and slow, for LLVM makes each of several. Tests use them.
    """
    wanted = os.environ.get("RUSHLIGHT_VECTOR_BYTES", "")
    if wanted not in ("", "16", "32", "64"):
        raise ValueError(f"RUSHLIGHT_VECTOR_BYTES must be 16, 32 or 64, not {wanted!r}")
    if wanted:
        return int(wanted)
    if _cpu_has_avx512():
        return 64
    return 32 if binding().get_host_cpu_features().get("avx2") else 16


def _cpu_has_avx512() -> bool:
    features = binding().get_host_cpu_features()
    return bool(features.get("avx512f") and features.get("avx512dq"))


@functools.cache
def has_avx512() -> bool:
    """Whether vectors of 64 bytes have instructions of their own."""
    return vector_bytes() == 64 and _cpu_has_avx512()


@functools.cache
def vector_registers() -> int:
    """How many vectors are kept in registers: x86 has 32 of them since AVX-512, and 16 before."""
    return 32 if vector_bytes() == 64 or not _is_x86() else 16


@functools.cache
def has_low_tiles() -> bool:
    """Whether tiles of large products are low and go through narrow panels, so that all of their rows are
    zero at more steps (see `nests` and `nonzero`): on x86 without a matrix unit, where that is quicker.
    """
    return _is_x86() and not has_matrix_unit()


@functools.cache
def _features() -> str:
    features = binding().get_host_cpu_features()
    without = ",-avx512f" if features.get("avx512f") and vector_bytes() < 64 else ""
    return f"{features.flatten()},-prefer-256-bit{without}"


@functools.cache
def has_matrix_unit() -> bool:
    """Whether this process may use a unit that multiplies tiles of bfloat16: on Linux it has to ask for that.

    ``RUSHLIGHT_MATRIX_UNIT=0`` goes without it.
    """
    if os.environ.get("RUSHLIGHT_MATRIX_UNIT", "").lower() in ("0", "off"):
        return False
    features = binding().get_host_cpu_features()
    if not all(features.get(each) for each in ("amx-tile", "amx-bf16", "avx512bf16", "avx512bw")):
        return False
    if vector_bytes() != 64 or not sys.platform.startswith("linux") or ctypes.sizeof(ctypes.c_void_p) != 8:
        return False
    system_call = ctypes.CDLL(None, use_errno=True).syscall
    return bool(system_call(_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA) == 0)


def new_machine() -> Any:
    """A target machine for this CPU. An execution engine takes its own over."""
    llvm = binding()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=_features(), opt=2)


@functools.cache
def target() -> tuple[Any, ...]:
    """What machine code depends on besides its text and this file: versions and the CPU."""
    import llvmlite

    llvm = binding()
    versions = llvmlite.__version__, llvm.llvm_version_info
    cpu = llvm.get_process_triple(), llvm.get_host_cpu_name(), _features(), vector_bytes()
    return *versions, *cpu, has_matrix_unit()


@functools.cache
def machine() -> Any:
    """The target machine for everything but execution engines."""
    return new_machine()


def _is_x86() -> bool:
    return machine().triple.startswith(("x86", "i686", "amd64"))


def pause_function() -> str:
    """The instruction that makes a waiting loop easy on its neighbour, where there is one."""
    return "llvm.x86.sse2.pause" if _is_x86() else ""


def has_flush() -> bool:
    """Whether the CPU has x86's switch to count denormal numbers as zero; others hardly need one."""
    return _is_x86()


ATTRIBUTES = '"prefer-vector-width"="512"'


def _module(text: str) -> Any:
    """A module ready for machine code. What is written here has equal parts once, loops as vectors and tested
    at their end: LLVM's usual pipeline takes twice as long as making the machine code and finds nothing.
    """
    llvm = binding()
    module = llvm.parse_assembly(text)
    module.verify()
    passes = llvm.create_new_module_pass_manager()
    passes.add_simplify_cfg_pass()
    passes.run(module, llvm.create_pass_builder(machine(), llvm.create_pipeline_tuning_options()))
    return module


def object_code(text: str) -> bytes:
    """The object file that LLVM IR becomes."""
    return bytes(machine().emit_object(_module(text)))


def assembly(text: str) -> str:
    """The machine's instructions that LLVM IR becomes, as text."""
    return str(machine().emit_assembly(_module(text)))


class Code:
    """An object file in this process's memory.

    Args:
        content: the object file, or the LLVM IR to make it from.
    """

    def __init__(self, content: bytes | str) -> None:
        llvm = binding()
        code = object_code(content) if isinstance(content, str) else content
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), new_machine())
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()

    def function(self, name: str, result: Any, *arguments: Any) -> Any:
        """A function of the code as something Python can call; it runs without Python's lock."""
        return ctypes.CFUNCTYPE(result, *arguments)(self.address(name))

    def address(self, name: str) -> int:
        """Where a function of the code begins."""
        return self._engine.get_function_address(name)
