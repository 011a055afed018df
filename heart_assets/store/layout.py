"""The layout of a store file: names of datasets, columns and their types; tables in and out of HDF5 groups.

    /videos  (N, frames, H, W) uint8     or    /images  (N, H, W) uint16 (T1 in ms)      contiguous, 4096-aligned
    /columns/<name>    one dataset of N values each (`orientation`: N x 6)
    /rejected/<name>   sources that gave no row here, so that an unchanged one need not be read again
    file attribute `attributes`: one JSON object

Nothing here opens a file.
"""

from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
import pandas as pd

from heart_assets.errors import StudyError

ALIGNMENT = 4096
ATTRIBUTES = "attributes"


class StoreError(StudyError):
    """A store file that is missing, damaged, of another geometry, or was replaced while in use; names no participant."""


_SOURCE_COLUMNS: dict[str, type] = {"source_size": int, "source_mtime_ns": int, "source_name": str}
_SCAN_COLUMNS: dict[str, type] = {
    "spacing_row_mm": float,
    "spacing_col_mm": float,
    "orientation": list,
    "scan_date": str,
    "software": str,
    "station": str,
}
_ID_COLUMNS: dict[str, type] = {"study_id": str, "participant_id": str, "visit": int}

VIDEO_COLUMNS: dict[str, type] = {
    **_ID_COLUMNS,
    "rr_ms": float,
    "frame_interval_ms": float,
    **_SCAN_COLUMNS,
    "shift_x_mm": float,
    "shift_y_mm": float,
    "shift_capped": bool,
    "snr": float,
    "motion_energy": float,
    "frames_found": int,
    "flags": str,
    "series_count": int,
    **_SOURCE_COLUMNS,
    "video_digest": str,
}

IMAGE_COLUMNS: dict[str, type] = {
    **_ID_COLUMNS,
    **_SCAN_COLUMNS,
    "t1_median_ms": float,
    "valid_fraction": float,
    "flags": str,
    "series_count": int,
    **_SOURCE_COLUMNS,
    "image_digest": str,
}

REJECTED_COLUMNS: dict[str, type] = {**_SOURCE_COLUMNS, "view": str, "reason": str, "detail": str}


@dataclass(frozen=True)
class Layout:
    """What differs between the two kinds of store."""

    dataset: str
    dtype: str
    columns: dict[str, type]


VIDEOS = Layout("videos", "uint8", VIDEO_COLUMNS)
IMAGES = Layout("images", "uint16", IMAGE_COLUMNS)

_TEXT = h5py.string_dtype("utf-8")
_DTYPES: dict[type, Any] = {str: _TEXT, int: np.int64, float: np.float64, bool: np.bool_, list: np.float64}


def write_table(group: h5py.Group, rows: list[dict[str, Any]], columns: dict[str, type]) -> None:
    """Write rows as one dataset per column into an empty group."""
    for name, kind in columns.items():
        values = [row[name] for row in rows]
        if kind is list:
            group[name] = np.array(values, np.float64).reshape(len(rows), 6)
        else:
            group.create_dataset(name, data=np.array(values, object if kind is str else _DTYPES[kind]), dtype=_DTYPES[kind])


def read_table(group: h5py.Group, columns: dict[str, type]) -> pd.DataFrame:
    """The table of a group, columns in the layout's order; `orientation` as one tuple of six floats per row."""
    table: dict[str, Any] = {}
    for name, kind in columns.items():
        if kind is str:
            table[name] = pd.Series(group[name].asstr()[:], dtype=object)
        elif kind is list:
            table[name] = pd.Series([tuple(row) for row in group[name][:].tolist()], dtype=object)
        else:
            table[name] = group[name][:]
    return pd.DataFrame(table)
