"""Writing files so that nothing saved before is ever lost.

Content goes to a temporary file in the same folder, is flushed to disk, and then takes the place of the old
file in one step. Invariant: after a crash, a full disk or Ctrl-C the old file or the new one is there,
never a half.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], durable: bool = True) -> Iterator[IO[bytes]]:
    """A binary file to write to, which becomes `path` when the block ends without an error.

    Without `durable` it is not flushed to disk, and a crash of the machine may leave anything in its place.

    >>> import pathlib, tempfile
    >>> target = pathlib.Path(tempfile.mkdtemp()) / "note"
    >>> with replacing(target) as file:
    ...     _ = file.write(b"kept")
    >>> target.read_bytes()
    b'kept'
    """
    target = Path(path)
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
