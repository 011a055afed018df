"""Writing a store file row by row, without knowing how many there will be.

Pixels are appended to a temporary file behind a hole of one block. When all are there, HDF5 writes a file of the same
shape whose dataset is allocated but never filled (a sparse file, a few kilobytes on disk), and its head and tail are
grafted onto the pixels. So every pixel is written once, memory holds one row, and the result is what HDF5 itself
would have written. The file appears under its name only when whole.
"""

import json
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import h5py
import numpy as np

from heart_assets.files import atomic_path
from heart_assets.store.layout import ALIGNMENT, ATTRIBUTES, IMAGES, REJECTED_COLUMNS, VIDEOS, Layout, StoreError, write_table


class _Writer:
    def __init__(self, path: Path, layout: Layout, row_shape: tuple[int, ...], attributes: Mapping[str, Any]) -> None:
        self._layout = layout
        self._row_shape = row_shape
        self._attributes = json.dumps(dict(attributes), sort_keys=True)
        self._rows: list[dict[str, Any]] = []
        self._rejected: list[dict[str, Any]] = []
        self.path = path
        self._target: AbstractContextManager[Path] = atomic_path(path)

    def __enter__(self) -> Self:
        self._temporary = self._target.__enter__()
        self._file: BinaryIO = self._temporary.open("w+b")
        self._file.seek(ALIGNMENT)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        try:
            if kind is None:
                self._finish()
        except BaseException as failure:
            self._file.close()
            self._target.__exit__(type(failure), failure, failure.__traceback__)
            raise
        self._file.close()
        self._target.__exit__(kind, error, traceback)

    def __len__(self) -> int:
        return len(self._rows)

    def append(self, pixels: np.ndarray, row: Mapping[str, Any]) -> None:
        """Add one row.

        Args:
            pixels: uint8 (frames, H, W) of a video, or uint16 (H, W) of a map.
            row: a value for every column of the layout; others are refused.

        Raises:
            StoreError: wrong shape or dtype, or a missing or unknown column.
        """
        if pixels.shape != self._row_shape or pixels.dtype != self._layout.dtype:
            raise StoreError(f"a row of shape {pixels.shape} and {pixels.dtype} does not fit {self._row_shape} and {self._layout.dtype}")
        if row.keys() != self._layout.columns.keys():
            raise StoreError(f"columns missing or unknown: {', '.join(sorted(row.keys() ^ self._layout.columns.keys()))}")
        self._file.write(np.ascontiguousarray(pixels).data)
        self._rows.append(dict(row))

    def reject(self, row: Mapping[str, Any]) -> None:
        """Remember a source that gave no row here (columns of `REJECTED_COLUMNS`)."""
        self._rejected.append({name: row[name] for name in REJECTED_COLUMNS})

    def _finish(self) -> None:
        skeleton = self._temporary.with_name(self._temporary.name + ".skeleton")
        try:
            offset = self._write_skeleton(skeleton)
            end = ALIGNMENT + len(self._rows) * int(np.prod(self._row_shape)) * np.dtype(self._layout.dtype).itemsize
            if offset not in (ALIGNMENT, None):
                raise StoreError(f"HDF5 placed the pixels at {offset} instead of {ALIGNMENT}")
            with skeleton.open("rb") as source:
                if offset is None:  # no rows: all of the file is metadata
                    end = ALIGNMENT
                self._file.seek(0)
                self._file.write(source.read(ALIGNMENT))
                source.seek(end)
                self._file.seek(end)
                self._file.write(source.read())
            self._file.truncate(os.path.getsize(skeleton))
        finally:
            skeleton.unlink(missing_ok=True)

    def _write_skeleton(self, path: Path) -> int | None:
        aligned = {"alignment_threshold": ALIGNMENT, "alignment_interval": ALIGNMENT, "meta_block_size": ALIGNMENT}
        with h5py.File(path, "w", libver=("v110", "v110"), **aligned) as file:
            creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            creation.set_layout(h5py.h5d.CONTIGUOUS)
            creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
            creation.set_obj_track_times(False)  # the same rows give the same bytes
            space = h5py.h5s.create_simple((len(self._rows), *self._row_shape))
            kind = h5py.h5t.py_create(np.dtype(self._layout.dtype))
            dataset = h5py.h5d.create(file.id, self._layout.dataset.encode(), kind, space, creation)
            file.attrs[ATTRIBUTES] = self._attributes
            write_table(file.create_group("columns"), self._rows, self._layout.columns)
            write_table(file.create_group("rejected"), self._rejected, REJECTED_COLUMNS)
            return dataset.get_offset()


class VideoWriter(_Writer):
    """Writes `videos` (N, frames, size_px, size_px) uint8. A context manager: the file appears when the block ends well."""

    def __init__(self, path: Path, frames: int, size_px: int, attributes: Mapping[str, Any]) -> None:
        super().__init__(path, VIDEOS, (frames, size_px, size_px), attributes)


class ImageWriter(_Writer):
    """Writes `images` (N, size_px, size_px) uint16, T1 in ms. A context manager like `VideoWriter`."""

    def __init__(self, path: Path, size_px: int, attributes: Mapping[str, Any]) -> None:
        super().__init__(path, IMAGES, (size_px, size_px), attributes)
