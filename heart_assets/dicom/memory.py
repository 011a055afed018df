"""What the previous stores of a delivery know, so that unchanged studies are copied instead of read again.

Whether a study is the same is judged by name, size and time of its file, and by settings and code version of the store.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from heart_assets.dicom.errors import PASSING_REASONS, Rejection
from heart_assets.dicom.sources import StudySource
from heart_assets.store import ImageStore, StoreError, VideoStore

Row = tuple[np.ndarray, dict[str, Any]]
_Key = tuple[str, int, int]


@dataclass(frozen=True)
class Outcome:
    """What came of one study: rows of pixels and columns by view, rejections, and how it came to them."""

    source: StudySource
    rows: dict[str, Row]
    rejections: list[Rejection]
    unchanged: bool = False
    removed: bool = False

    def kind(self, has_rows: bool) -> str:
        """stored, rejected, unchanged or removed, of the study or of one view of it."""
        if self.removed:
            return "removed"
        if not has_rows:
            return "rejected"
        return "unchanged" if self.unchanged else "stored"


class Memory:
    """The previous stores. Without them, or where they are of other settings, nothing is known.

    Attributes:
        names: files that the previous stores hold or rejected, whatever their settings.
    """

    def __init__(self, stores: Mapping[str, VideoStore | ImageStore], views: tuple[str, ...], version: Mapping[str, str]) -> None:
        usable = set(views) <= set(stores) and all(
            store.attributes.get(name) == value for store in stores.values() for name, value in version.items()
        )
        self._stores = {view: stores[view] for view in views} if usable else {}
        self._rows = {view: _row_numbers(store) for view, store in self._stores.items()}
        self._rejections = {view: _rejections(store) for view, store in self._stores.items()}
        self.names = {name for store in stores.values() for table in (store.columns, store.rejected) for name in table["source_name"]}

    def knows(self, source: StudySource) -> bool:
        """Whether every view of this very file is stored, or rejected for a reason that lasts."""
        key = _key(source)
        return bool(self._stores) and all(
            (*key, source.study_id) in self._rows[view] or key in self._rejections[view] for view in self._stores
        )

    def recall(self, source: StudySource) -> Outcome:
        """The outcome of a study that is known."""
        key = _key(source)
        rows = {}
        for view, store in self._stores.items():
            number = self._rows[view].get((*key, source.study_id))
            if number is not None:
                rows[view] = store.read(np.array([number]))[0], store.columns.iloc[number].to_dict()
        rejections = dict.fromkeys(found[key] for found in self._rejections.values() if key in found)
        return Outcome(source, rows, list(rejections), unchanged=True)


def open_memory(
    kind: type[VideoStore] | type[ImageStore], previous: Mapping[str, Path] | None, views: tuple[str, ...], version: Mapping[str, str]
) -> Memory:
    """Open the previous stores of a delivery; with a missing or damaged one nothing is known, and all is read again."""
    try:
        return Memory({view: kind([path]) for view, path in (previous or {}).items()}, views, version)
    except StoreError:
        return Memory({}, views, version)


def _key(source: StudySource) -> _Key:
    return source.name, source.size, source.mtime_ns


def _row_numbers(store: VideoStore | ImageStore) -> dict[tuple[str, int, int, str], int]:
    names = ["source_name", "source_size", "source_mtime_ns", "study_id"]
    return {key: number for number, key in enumerate(zip(*(store.columns[name].tolist() for name in names), strict=True))}


def _rejections(store: VideoStore | ImageStore) -> dict[_Key, Rejection]:
    return {
        (row.source_name, row.source_size, row.source_mtime_ns): Rejection(row.source_name, row.view, row.reason, row.detail)
        for row in store.rejected.itertuples()
        if row.reason not in PASSING_REASONS
    }
