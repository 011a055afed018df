"""Reading a study's bytes: the members of a zip, or the files of a folder, bounded before anything is unpacked.

Nothing is extracted, so names (`..`, absolute ones) can do no harm. What the bytes mean is `decoding`.
"""

import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from heart_assets.dicom.errors import RejectedError

MAX_MEMBERS = 20_000
MAX_MEMBER_BYTES = 1 << 30
MAX_STUDY_BYTES = 8 << 30
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OverflowError)


@dataclass(frozen=True)
class Member:
    """One file of a study. `head` gives its first bytes, `read` all of them; both raise RejectedError."""

    name: str
    size: int
    head: Callable[[int], bytes]
    read: Callable[[], bytes]


@contextmanager
def open_study(path: Path) -> Iterator[list[Member]]:
    """The members of a study, in the order of their names; they can be read while the block lasts.

    Raises:
        RejectedError: not_a_zip, truncated_zip, encrypted_zip, unsupported_zip, overlapping_zip, corrupt_zip, empty,
            too_large or unreadable_file.
    """
    try:
        if path.is_dir():
            yield _bounded(_folder_members(path))
        else:
            with open(path, "rb") as file:
                yield _bounded(_zip_members(_open_zip(file)))
    except OSError as error:
        raise RejectedError("unreadable_file", os.strerror(error.errno) if error.errno else type(error).__name__) from error


def _bounded(members: list[Member]) -> list[Member]:
    if not members:
        raise RejectedError("empty", "no files")
    if len(members) > MAX_MEMBERS:
        raise RejectedError("too_large", f"{len(members)} files; at most {MAX_MEMBERS} are read")
    if max(member.size for member in members) > MAX_MEMBER_BYTES or sum(member.size for member in members) > MAX_STUDY_BYTES:
        raise RejectedError("too_large", f"files of up to {MAX_MEMBER_BYTES >> 20} MB are read, and {MAX_STUDY_BYTES >> 20} MB in all")
    return members


def _folder_members(folder: Path) -> list[Member]:
    members = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent, name)
            if not name.startswith(".") and path.is_file():
                members.append(_file_member(path, str(path.relative_to(folder))))
    return members


def _file_member(path: Path, name: str) -> Member:
    def read(count: int = -1) -> bytes:
        try:
            with path.open("rb") as file:
                return file.read(count)
        except OSError as error:
            raise RejectedError("unreadable_file", f"{name}: {os.strerror(error.errno or 0)}") from None

    return Member(name, path.stat().st_size, read, read)


def _open_zip(file: BinaryIO) -> zipfile.ZipFile:
    start = file.read(4)
    if not start:
        raise RejectedError("empty", "a file of no bytes")
    try:
        return zipfile.ZipFile(file)
    except _ZIP_ERRORS:
        if start == b"PK\x03\x04":
            raise RejectedError("truncated_zip", "the directory at its end is missing or broken") from None
        raise RejectedError("not_a_zip", f"starts with {start!r}") from None


def _zip_members(archive: zipfile.ZipFile) -> list[Member]:
    infos = [info for info in archive.infolist() if not info.filename.endswith("/")]
    if any(info.flag_bits & _ENCRYPTED for info in infos):
        raise RejectedError("encrypted_zip", "members need a password")
    if any(info.compress_type not in _METHODS for info in infos):
        raise RejectedError("unsupported_zip", "members are neither stored nor deflated")
    return [_zip_member(archive, info) for info in sorted(infos, key=lambda info: info.filename)]


def _zip_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    def read(count: int = -1) -> bytes:
        try:
            with archive.open(info) as file:
                return file.read(count)
        except _ZIP_ERRORS as error:
            reason = "overlapping_zip" if "Overlapped" in str(error) else "corrupt_zip"
            raise RejectedError(reason, f"{info.filename}: {type(error).__name__}") from None

    return Member(info.filename, info.file_size, read, read)
