"""Writing files so that nothing saved before is ever lost.

Content goes to a temporary file in the same folder, is flushed to disk, and then takes the place of the old
file in one step. Invariant: after a crash, a full disk or Ctrl-C the old file or the new one is there,
never a half.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], durable: bool = True) -> Iterator[IO[bytes]]:
    """A binary file to write to, which becomes `path` when the block ends without an error.

    Where `path` is a symbolic link, the file that it names is replaced. Without `durable` it is not flushed
    to disk, and a crash of the machine may leave anything in its place.

    Raises:
        OSError: the folder cannot be written to, or `path` is a device, a pipe or anything else but a file.

    >>> import pathlib, tempfile
    >>> target = pathlib.Path(tempfile.mkdtemp()) / "note"
    >>> with replacing(target) as file:
    ...     _ = file.write(b"kept")
    >>> target.read_bytes()
    b'kept'
    """
    refuse_what_is_no_file(path)
    target = Path(os.path.realpath(path))
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        _take_permissions(target, temporary)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def refuse_what_is_no_file(path: str | os.PathLike[str]) -> None:
    """OSError where something other than a regular file is there: a device that is replaced is gone."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EEXIST, "it is a device or a pipe, which is not replaced", os.fspath(path))


def _take_permissions(target: Path, temporary: str) -> None:
    """Give the new file the old one's permissions, or those any new file would get."""
    try:
        mode = target.stat().st_mode & 0o777
    except OSError:
        mask = os.umask(0)
        os.umask(mask)
        mode = 0o666 & ~mask
    os.chmod(temporary, mode)


def write_bytes(path: str | os.PathLike[str], content: bytes, durable: bool = True) -> None:
    """Put `content` in `path`, all or nothing."""
    with replacing(path, durable) as file:
        file.write(content)


def user_cache() -> Path:
    """For what can be fetched or made again: ``rushlight`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rushlight"
