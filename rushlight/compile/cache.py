"""Machine code on disk, so that what one process compiled the next ones only load.

A folder of small files, each named by the hash of all that its content depends on (`built` makes the names).
It is ``$RUSHLIGHT_CACHE``, or ``code`` in the user's cache; ``RUSHLIGHT_CACHE=0`` or ``off`` means none.
Invariant: `load` returns what was stored under that very name, by this user, or nothing; neither a broken
file nor a folder that cannot be used is ever an error.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from rushlight.files import user_cache, write_bytes

MARK = b"rushlight code\n"
LIMIT = 64 << 20  # bytes; beyond, what was not used for longest goes
LOOKS = 16  # how often a process looks through the folder while it stores as much as the limit
_SUFFIX = ".code"
_HASH_BYTES = 32

_stored: dict[Path, int] = {}  # bytes since this process last looked through a folder


def folder() -> Path | None:
    """Where the files are; None where there is to be no cache."""
    chosen = os.environ.get("RUSHLIGHT_CACHE", "")
    if chosen.lower() in ("0", "off"):
        return None
    if chosen:
        return Path(chosen)
    try:
        return user_cache() / "code"
    except RuntimeError:  # a user without a home
        return None


def hashed(content: bytes) -> bytes:
    """What tells contents apart."""
    return hashlib.blake2b(content, digest_size=_HASH_BYTES).digest()


def _seal(name: str, content: bytes) -> bytes:
    """What shows that a content is whole and belongs under its name: files may have changed their names."""
    return hashed(name.encode() + b"\0" + content)


def load(name: str) -> bytes | None:
    """What was stored under a name, if it is there and whole; it counts as used now."""
    place = folder()
    if place is None:
        return None
    path = place / (name + _SUFFIX)
    try:
        with open(path, "rb") as file:
            if hasattr(os, "getuid") and os.fstat(file.fileno()).st_uid != os.getuid():
                return None  # somebody else's code is not run
            content = file.read()
    except OSError:
        return None
    start = len(MARK) + _HASH_BYTES
    kept = content[start:]
    whole = content[:start] == MARK + _seal(name, kept)
    with contextlib.suppress(OSError):
        if whole:
            os.utime(path)
        else:
            os.unlink(path)
    return kept if whole else None


def store(name: str, content: bytes) -> None:
    """Keep something under a name, if that is possible."""
    place = folder()
    if place is None:
        return
    with contextlib.suppress(OSError):
        place.mkdir(parents=True, exist_ok=True)
        marked = MARK + _seal(name, content) + content
        write_bytes(place / (name + _SUFFIX), marked, durable=False)
        _make_room(place, len(marked))


def _make_room(place: Path, size: int) -> None:
    """Keep the folder within the limit, now that so many bytes were added.

    Looking through it takes longer the more there is, so a process does that when it first stores something
    and then once for every share of the limit; each time that share is kept free for what comes next.
    """
    share = LIMIT // LOOKS
    stored = _stored.get(place, share) + size
    if stored > share:
        _shrink(place, LIMIT - share)
        stored = 0
    _stored[place] = stored


def _shrink(place: Path, limit: int) -> None:
    """Drop what was not used for longest, until the rest fits."""
    found = []
    with os.scandir(place) as entries:
        for entry in entries:
            if _SUFFIX in entry.name:
                with contextlib.suppress(FileNotFoundError):  # another process drops files too
                    status = entry.stat()
                    found.append((status.st_mtime_ns, status.st_size, entry.path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= limit:
            return
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        total -= size
