"""Where the files of a dataset are: looked for on this machine, or downloaded from one of several mirrors.

Nothing here knows what the files hold. Invariant: a file appears under its own name only when it is complete
and its MD5 checksum is the expected one; until then it is a temporary file beside it, which is removed if
anything goes wrong.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from rushlight.files import user_cache

CHUNK = 1 << 16
TIMEOUT = 30.0  # seconds without a byte before a mirror is given up


def shared_folders(name: str) -> list[Path]:
    """Folders outside a dataset's ``root`` that may hold the dataset ``name``, such as ``mnist``, in order.

    These are ``$RUSHLIGHT_DATA`` and its subfolder ``name``; ``data/<name>`` in the current folder, its
    parents and beside the package; and ``name`` in the user's cache.
    """
    folders = []
    if os.environ.get("RUSHLIGHT_DATA"):
        data = Path(os.environ["RUSHLIGHT_DATA"])
        folders += [data, data / name]
    current = Path.cwd()
    package = Path(__file__).resolve().parents[1]
    folders += [place / "data" / name for place in (current, *current.parents, package.parent)]
    return [*folders, user_cache() / name]


def find_together(folders: Iterable[Path], names: Sequence[str]) -> list[Path] | None:
    """The paths of ``names``, each plain or ``.gz``, in the first folder that has them all; else None."""
    for folder in folders:
        paths = [_find(folder, name) for name in names]
        if all(paths):
            return [path for path in paths if path is not None]
    return None


def _find(folder: Path, name: str) -> Path | None:
    for candidate in (folder / name, folder / f"{name}.gz"):
        if candidate.is_file():
            return candidate
    return None


def download(name: str, folder: Path, md5: str, mirrors: Sequence[str]) -> Path:
    """Fetch ``name`` into ``folder`` from the first of the ``mirrors`` that has it.

    A mirror is an address that ends in a slash. Progress goes to standard error. Raises RuntimeError that
    tells what each mirror answered if none of them gave the file with the checksum ``md5``, and OSError
    if the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    failures = []
    for mirror in mirrors:
        descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=name, suffix=".part")
        try:
            with open(descriptor, "wb") as file:
                received = _fetch(mirror + name, file)
            if received == md5:
                os.chmod(temporary, 0o644)  # a temporary file is its owner's only; a dataset need not be
                os.replace(temporary, folder / name)
                return folder / name
            failures.append(f"Tried {mirror}, got:\na file with MD5 checksum {received} instead of {md5}")
        except ConnectionError as error:
            failures.append(f"Tried {mirror}, got:\n{error}")
        finally:
            Path(temporary).unlink(missing_ok=True)
    raise RuntimeError(f"Error downloading {name}:\n" + "\n".join(failures))


def _fetch(url: str, file: BinaryIO) -> str:
    """Write what ``url`` gives to ``file``; returns its MD5 checksum."""
    digest = hashlib.md5(usedforsecurity=False)
    for chunk in _receive(url):
        file.write(chunk)
        digest.update(chunk)
    return digest.hexdigest()


def _receive(url: str) -> Iterator[bytes]:
    """The content of ``url`` piece by piece, showing progress; whatever goes wrong is a ConnectionError."""
    import http.client  # these take a while, and files are mostly there
    import urllib.request

    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
            total = int(response.headers.get("Content-Length") or 0)
            received = 0
            while chunk := response.read(CHUNK):
                received += len(chunk)
                if sys.stderr.isatty():
                    _show_progress(url, received, total, end="")
                yield chunk
            _show_progress(url, received, total, end="\n")
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionError(str(error)) from error


def _show_progress(url: str, received: int, total: int, end: str) -> None:
    of_total = f" of {total / 1e6:.1f}" if total else ""
    print(f"\rDownloading {url}: {received / 1e6:.1f}{of_total} MB", end=end, file=sys.stderr, flush=True)
