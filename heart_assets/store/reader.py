"""Reading store files: the table through h5py once, pixels by `preadv` at the dataset's offset.

No HDF5 handle stays open, so a store may cross a fork, be sent to a spawned process and be read from threads. The
files stay open as plain descriptors: a reader keeps what it opened, even when the file is replaced under its name.
"""

import json
import os
import weakref
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from heart_assets.files import digest
from heart_assets.store.layout import ATTRIBUTES, IMAGES, REJECTED_COLUMNS, VIDEOS, Layout, StoreError, read_table

_GEOMETRY_ATTRIBUTES = ("view", "geometry", "spacing_mm")
_LARGEST_READ = 1 << 30


class _Part:
    """One file: its identity, where its pixels lie, and a descriptor on it."""

    def __init__(self, path: Path, layout: Layout) -> None:
        self.path = path
        try:
            with h5py.File(path, "r") as file:
                dataset = file[layout.dataset]
                self.shape: tuple[int, ...] = dataset.shape
                self.offset: int = dataset.id.get_offset() or 0
                self.attributes: dict[str, Any] = json.loads(file.attrs[ATTRIBUTES])
                if dataset.dtype != layout.dtype or dataset.chunks is not None:
                    raise KeyError(layout.dataset)
        except FileNotFoundError:
            raise StoreError(f"there is no store file {path.name}") from None
        except (OSError, KeyError, ValueError) as error:
            raise StoreError(f"{path.name} is not a store of {layout.dataset} ({type(error).__name__})") from None
        self._open()
        self.identity = self._identity()
        needed = self.offset + int(np.prod(self.shape)) * np.dtype(layout.dtype).itemsize
        if os.fstat(self.descriptor).st_size < needed:
            raise StoreError(f"{path.name} is cut short")

    def _open(self) -> None:
        self.descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self.descriptor)

    def _identity(self) -> tuple[int, int, int]:
        status = os.fstat(self.descriptor)
        return status.st_ino, status.st_size, status.st_mtime_ns

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "descriptor"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()
        if self._identity() != self.identity:
            raise StoreError(f"{self.path.name} was replaced since the store was opened")

    def read_into(self, row: int, out: np.ndarray) -> None:
        """Fill `out` (contiguous, one row's shape) with the pixels of a row."""
        view = memoryview(out.data).cast("B")
        position = self.offset + row * len(view)
        while view:
            count = os.preadv(self.descriptor, [view[:_LARGEST_READ]], position)
            if count == 0:
                raise StoreError(f"{self.path.name} is cut short")
            view, position = view[count:], position + count

    def table(self, group: str, columns: dict[str, type]) -> pd.DataFrame:
        """A table of this very file (through the open descriptor, so never of a newer one)."""
        with os.fdopen(os.dup(self.descriptor), "rb") as handle, h5py.File(handle, "r") as file:
            return read_table(file[group], columns)


class _Store:
    _layout: Layout

    def __init__(self, paths: Sequence[Path]) -> None:
        if not paths:
            raise StoreError("a store needs at least one file")
        self.paths = [Path(path) for path in paths]
        self._parts = [_Part(path, self._layout) for path in self.paths]
        first = self._parts[0]
        for part in self._parts[1:]:
            same = part.shape[1:] == first.shape[1:] and all(
                part.attributes.get(name) == first.attributes.get(name) for name in _GEOMETRY_ATTRIBUTES
            )
            if not same:
                raise StoreError(f"{part.path.name} and {first.path.name} differ in view or geometry: clean both with the same settings")
        self._ends = np.cumsum([part.shape[0] for part in self._parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("columns", "rejected")}

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of all rows of all files together."""
        return (len(self), *self._parts[0].shape[1:])

    @property
    def attributes(self) -> dict[str, Any]:
        """Attributes of the first file."""
        return dict(self._parts[0].attributes)

    @cached_property
    def columns(self) -> pd.DataFrame:
        """One row per video or map, in the order of the pixels, index 0..N-1."""
        return pd.concat([part.table("columns", self._layout.columns) for part in self._parts], ignore_index=True)

    @cached_property
    def rejected(self) -> pd.DataFrame:
        """Sources that gave no row (source name, size and time, view, reason, detail)."""
        return pd.concat([part.table("rejected", REJECTED_COLUMNS) for part in self._parts], ignore_index=True)

    @property
    def digest(self) -> str:
        """Content digest: geometry and every column, digests of the pixels included; not where or when files lay."""
        table = self.columns.drop(columns=[name for name in self.columns if name.startswith("source_")])
        return digest([self.shape, {name: self.attributes.get(name) for name in _GEOMETRY_ATTRIBUTES}, table.to_dict("list")])

    def read(self, indices: np.ndarray) -> np.ndarray:
        """Pixels of the given rows.

        Args:
            indices: integers in [0, N), in any order, repeats allowed.

        Returns:
            (len(indices), *row shape), uint8 for videos, uint16 for maps, in the order asked.

        Raises:
            IndexError: an index that is not an integer in [0, N).
            StoreError: a file has been cut short.
        """
        indices = np.asarray(indices)
        if indices.ndim != 1 or (indices.size and indices.dtype.kind not in "iu"):
            raise IndexError("indices must be a one-dimensional array of integers")
        if indices.size and (indices.min() < 0 or indices.max() >= len(self)):
            raise IndexError(f"indices must lie in 0..{len(self) - 1}")
        indices = indices.astype(np.int64)
        out = np.empty((len(indices), *self.shape[1:]), self._layout.dtype)
        files = np.searchsorted(self._ends, indices, side="right")
        for position in np.argsort(indices, kind="stable"):
            part = self._parts[files[position]]
            part.read_into(int(indices[position] - self._ends[files[position]]) + part.shape[0], out[position])
        return out


class VideoStore(_Store):
    """Videos of one view from one or several files: `videos` (N, frames, H, W) uint8."""

    _layout = VIDEOS


class ImageStore(_Store):
    """Liver T1 maps from one or several files: `images` (N, H, W) uint16, ms."""

    _layout = IMAGES
