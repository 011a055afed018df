"""What lies in the raw folder: deliveries and the studies in them, from names, sizes and times alone.

Nothing is opened here; reading a study is `reading`.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from heart_assets.dicom.errors import WHOLE_STUDY, RawDataError, Rejection
from heart_assets.files import digest

FLAT = "all"
_ZIP_NAME = re.compile(r"(?P<participant>[A-Za-z0-9-]+)_(?P<field>\d+)_(?P<visit>\d{1,2})_(?P<array>\d{1,2})\.zip")
_FOLDER_NAME = re.compile(r"(?P<participant>.+?)(_(?P<visit>\d{1,2}))?")


@dataclass(frozen=True)
class StudySource:
    """One study of a delivery: a zip, or a folder of DICOM files.

    `name` is relative to the delivery; a folder's size is the sum over its files and its time that of the newest.
    """

    path: Path
    name: str
    study_id: str
    participant_id: str
    visit: int
    size: int
    mtime_ns: int


def list_deliveries(root: Path, layout: str) -> list[str]:
    """Names of the deliveries under a raw root, sorted; `all` is the flat part of the root itself.

    Raises:
        RawDataError: the root is missing, is empty or holds no study, or has a sub-folder called `all`.
    """
    if not root.is_dir():
        raise RawDataError(f"the raw folder {root} does not exist")
    folders = [entry.name for entry in _entries(root) if entry.is_dir()]
    if layout == "dicom_folders":
        deliveries = [FLAT] if any(_holds_a_study(root, FLAT, layout)) else []
    else:
        deliveries = [name for name in folders if any(_holds_a_study(root, name, layout))]
        if FLAT in folders:
            raise RawDataError(f"the raw folder {root} has a sub-folder called `all`, the name of its flat part: rename it")
        if layout == "ukb_zips" and any(_holds_a_study(root, FLAT, layout)):
            deliveries.append(FLAT)
    if not deliveries:
        wanted = "zips named like {eid}_{field}_{visit}_{array}.zip" if layout == "ukb_zips" else "folders of DICOM files"
        raise RawDataError(f"the raw folder {root} holds no study: expected {wanted}")
    return sorted(deliveries)


def list_studies(root: Path, delivery: str, layout: str, field: str, default_visit: int) -> tuple[list[StudySource], list[Rejection]]:
    """The studies of a delivery, sorted by name, and what else lies there.

    Args:
        field: UK Biobank field of the zips, `20208` (heart) or `20204` (liver); of no meaning for folders.
        default_visit: visit of a folder whose name has none.

    Returns:
        Studies, and one rejection for each other entry (`not_a_study`, `empty`) and for the second and later studies
        with one id (`duplicate_study_id`).
    """
    studies: dict[str, StudySource] = {}
    rejections: list[Rejection] = []
    for entry in _delivery_entries(root, delivery, layout):
        source = _zip_source(entry, field) if layout == "ukb_zips" else _folder_source(entry, default_visit)
        if source is None:
            detail = f"not a zip of field {field} by its name" if layout == "ukb_zips" else "not a folder of DICOM files"
            rejections.append(Rejection(entry.name, WHOLE_STUDY, "not_a_study", detail))
        elif source.study_id in studies:
            detail = f"{studies[source.study_id].name} has the same study id"
            rejections.append(Rejection(entry.name, WHOLE_STUDY, "duplicate_study_id", detail))
        else:
            studies[source.study_id] = source
    return list(studies.values()), rejections


def listing_digest(root: Path, delivery: str, layout: str) -> str:
    """Digest of names, sizes and times of all that lies in a delivery: the data version of the raw asset."""
    entries = _delivery_entries(root, delivery, layout)
    return digest([[entry.name, *_size_and_time(entry)] for entry in entries])


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)


def _delivery_entries(root: Path, delivery: str, layout: str) -> list[os.DirEntry[str]]:
    folder = root if delivery == FLAT else root / delivery
    if not folder.is_dir():
        raise RawDataError(f"the delivery {delivery} is no longer in the raw folder {root}")
    entries = _entries(folder)
    if delivery == FLAT and layout == "ukb_zips":  # its sub-folders are deliveries of their own
        return [entry for entry in entries if not entry.is_dir()]
    return entries


def _holds_a_study(root: Path, delivery: str, layout: str) -> Iterator[bool]:
    for entry in _delivery_entries(root, delivery, layout):
        if layout == "ukb_zips":
            if _ZIP_NAME.fullmatch(entry.name):
                yield True
        elif entry.is_dir() and next(_files(Path(entry.path)), None) is not None:
            yield True


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent, name) for name in sorted(names) if not name.startswith("."))


def _size_and_time(entry: os.DirEntry[str]) -> tuple[int, int]:
    if not entry.is_dir():
        status = os.stat(entry.path) if os.path.exists(entry.path) else entry.stat(follow_symlinks=False)
        return status.st_size, status.st_mtime_ns
    states = [os.lstat(path) for path in _files(Path(entry.path))]
    return sum(state.st_size for state in states), max((state.st_mtime_ns for state in states), default=0)


def _zip_source(entry: os.DirEntry[str], field: str) -> StudySource | None:
    match = _ZIP_NAME.fullmatch(entry.name)
    if match is None or match["field"] != field:
        return None
    visit = int(match["visit"])
    study_id = f"{match['participant']}_{visit}_{int(match['array'])}"
    return StudySource(Path(entry.path), entry.name, study_id, match["participant"], visit, *_size_and_time(entry))


def _folder_source(entry: os.DirEntry[str], default_visit: int) -> StudySource | None:
    match = _FOLDER_NAME.fullmatch(entry.name)
    if match is None or not entry.is_dir():
        return None
    visit = int(match["visit"] or default_visit)
    participant = match["participant"]
    return StudySource(Path(entry.path), entry.name, f"{participant}_{visit}_0", participant, visit, *_size_and_time(entry))
