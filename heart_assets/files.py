"""Files that are either the old one or the new one, whole: atomic writing, and digests of what was written.

A leaf, used by every room that writes. No formats in here.
"""

import fcntl
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from heart_assets.errors import StudyError

_claimed: dict[Path, int] = {}


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends well, fsync it and rename it to `path`.

    On an exception the temporary file is removed and `path` is untouched. A process killed in between leaves `path`
    as it was, and a `.tmp-` file that nothing reads.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{uuid.uuid4().hex[:12]}-{path.name}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def claim_folder(folder: Path) -> Path:
    """Empty a folder and keep it for this process until it ends, by an advisory lock that the kernel releases.

    Raises:
        StudyError: another process works in it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder not in _claimed:
        lock = os.open(folder.with_name(folder.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise StudyError(f"another run is already working on {folder.name}: wait for it, or cancel it") from None
        _claimed[folder] = lock
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def sync_folder(folder: Path) -> None:
    """fsync a folder, so that a rename in it survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def file_digest(path: Path) -> str:
    """First 16 hex digits of the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def bytes_digest(content: bytes) -> str:
    """First 16 hex digits of the SHA-256 of some bytes."""
    return hashlib.sha256(content).hexdigest()[:16]


def digest(value: Any) -> str:
    """First 16 hex digits of the SHA-256 of a JSON-serialisable value, independent of key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return bytes_digest(text.encode())
