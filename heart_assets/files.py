"""Files that are either the old one or the new one, whole: atomic writing, locks, and digests of what was written.

A leaf, used by every room that writes. No formats in here.
"""

import fcntl
import glob
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from heart_assets.errors import StudyError

SECONDS_BETWEEN_TRIES = 0.1

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


def remove_unfinished(path: Path) -> None:
    """Remove what killed processes have left of writing `path`. Only for who knows that nobody is writing it."""
    for temporary in path.parent.glob(f".tmp-{'?' * 12}-{glob.escape(path.name)}"):
        temporary.unlink()


def claim_folder(folder: Path) -> Path:
    """Empty a folder and keep it for this process until it ends, by an advisory lock that the kernel releases.

    Raises:
        StudyError: another process works in it.
    """
    if folder not in _claimed:
        lock = _lock(folder.with_name(folder.name + ".lock"))
        if lock is None:
            raise StudyError(f"another run is already working on {folder.name}: wait for it, or cancel it")
        _claimed[folder] = lock
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


@contextmanager
def locked(path: Path, wait_seconds: float, refusal: str) -> Iterator[None]:
    """Hold the lock file `path` while the block runs; the kernel releases it, too, when the process ends in any way.

    The file itself stays: removing it would let two processes hold locks of one name.

    Raises:
        StudyError: with the sentence `refusal`, if somebody else still holds it after the wait.
    """
    deadline = time.monotonic() + wait_seconds
    while (lock := _lock(path)) is None:
        if time.monotonic() >= deadline:
            raise StudyError(refusal)
        time.sleep(SECONDS_BETWEEN_TRIES)
    try:
        yield
    finally:
        os.close(lock)


def _lock(path: Path) -> int | None:
    """A descriptor that holds the advisory lock on a file (made if need be) until it is closed; None if somebody else has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    except OSError as error:
        os.close(lock)
        raise StudyError(f"the file system of {path.parent} keeps no locks ({error.strerror}): mount it with flock support") from None
    return lock


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
