"""What one frame's elements mean: plane, time, series. Values that make no sense are absent values, never errors.

No bytes and no pixels here; those are `elements` and `decoding`.
"""

import math
import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from heart_assets.dicom.elements import SERIES_DESCRIPTION, SERIES_UID, Values

_SOP_UID, _STATION, _SOFTWARE = 0x00080018, 0x00081010, 0x00181020
_TRIGGER_TIME, _NOMINAL_INTERVAL, _FRAME_TIME, _FRAME_TIMES, _HEART_RATE = 0x00181060, 0x00181062, 0x00181063, 0x00181065, 0x00181088
_CARDIAC_IMAGES, _SERIES_NUMBER, _ACQUISITION_NUMBER, _INSTANCE_NUMBER = 0x00181090, 0x00200011, 0x00200012, 0x00200013
_POSITION, ORIENTATION, _ROWS, _COLUMNS, _SPACING = 0x00200032, 0x00200037, 0x00280010, 0x00280011, 0x00280030
_TRIGGER_DELAY, _RR_INTERVAL, _TEMPORAL_INDEX, _FRAME_ACQUIRED = 0x00209153, 0x00209251, 0x00209128, 0x00189074
_ACQUISITION_DATETIME, _FRAMES = 0x0008002A, 0x00280008
_DATES_AND_TIMES = ((0x00080022, 0x00080032), (0x00080021, 0x00080031), (0x00080020, 0x00080033))
_PLAUSIBLE_RR_MS = (250.0, 3000.0)


@dataclass(frozen=True)
class FrameHeader:
    """The header of one frame. Directions and positions are LPS, in mm; times in ms; absent values are None."""

    series_uid: str
    description: str
    sop_uid: str
    series_number: int
    acquired: str
    acquisition_number: int
    instance: int | None
    trigger_ms: float | None
    rr_ms: float | None
    expected_frames: int | None
    rows: int
    columns: int
    spacing: tuple[float, float] | None
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    scan_date: str
    software: str
    station: str

    @property
    def normal(self) -> np.ndarray:
        """(3,) unit normal of the plane: row direction x column direction."""
        assert self.orientation is not None
        return np.cross(self.orientation[:3], self.orientation[3:])


def frame_header(values: Values, index: int = 0) -> FrameHeader:
    """The header of frame `index` (0-based; 0 for a single-frame file) from its elements."""
    trigger = number(values, _TRIGGER_TIME)
    if trigger is None:
        trigger = number(values, _TRIGGER_DELAY)
    if trigger is None:
        trigger = _time_within_file(values, index)
    date = _date(values)
    return FrameHeader(
        series_uid=text(values, SERIES_UID),
        description=text(values, SERIES_DESCRIPTION),
        sop_uid=text(values, _SOP_UID) and f"{text(values, _SOP_UID)}#{index}",
        series_number=integer(values, _SERIES_NUMBER) or 0,
        acquired=text(values, _ACQUISITION_DATETIME) or text(values, _FRAME_ACQUIRED) or _acquired(values),
        acquisition_number=integer(values, _ACQUISITION_NUMBER) or 0,
        instance=_instance(values, index),
        trigger_ms=trigger,
        rr_ms=_rr(values),
        expected_frames=_positive(integer(values, _CARDIAC_IMAGES)),
        rows=integer(values, _ROWS) or 0,
        columns=integer(values, _COLUMNS) or 0,
        spacing=_spacing(values),
        position=numbers(values, _POSITION, 3),
        orientation=_orientation(values),
        scan_date=date,
        software=text(values, _SOFTWARE)[:64],
        station=text(values, _STATION)[:64],
    )


def text(values: Values, tag: int) -> str:
    """A text element, or ''."""
    value = values.get(tag, "")
    return value if isinstance(value, str) else ""


def numbers(values: Values, tag: int, count: int | None = None) -> tuple[float, ...] | None:
    """The finite numbers of an element; None if it is absent, is not numbers, or has not `count` of them."""
    value = values.get(tag)
    parts = value.split("\\") if isinstance(value, str) else value
    try:
        found = tuple(float(part) for part in parts or ())
    except (ValueError, OverflowError, TypeError):
        return None
    if not found or (count is not None and len(found) != count) or not all(map(math.isfinite, found)):
        return None
    return found


def number(values: Values, tag: int) -> float | None:
    """The one finite number of an element, or None."""
    found = numbers(values, tag, 1)
    return found[0] if found else None


def integer(values: Values, tag: int) -> int | None:
    """The one whole number of an element, or None (also for 1.5, and beyond 2^31)."""
    found = number(values, tag)
    return int(found) if found is not None and found == int(found) and abs(found) < 2**31 else None


def _positive(value: int | None) -> int | None:
    return value if value is not None and value > 0 else None


def _instance(values: Values, index: int) -> int | None:
    position = integer(values, _TEMPORAL_INDEX)
    if position is not None:
        return position
    return index + 1 if (integer(values, _FRAMES) or 1) > 1 else integer(values, _INSTANCE_NUMBER)


def _time_within_file(values: Values, index: int) -> float | None:
    """Time of a frame of a classic multi-frame file, from its frame times."""
    vector = numbers(values, _FRAME_TIMES)
    if vector is not None and index < len(vector):
        return sum(vector[: index + 1])
    step = number(values, _FRAME_TIME)
    return step * index if step else None


def _rr(values: Values) -> float | None:
    rate = number(values, _HEART_RATE)
    for found in (number(values, _NOMINAL_INTERVAL), number(values, _RR_INTERVAL), 60_000 / rate if rate else None):
        if found is not None and _PLAUSIBLE_RR_MS[0] <= found <= _PLAUSIBLE_RR_MS[1]:
            return found
    return None


def _spacing(values: Values) -> tuple[float, float] | None:
    found = numbers(values, _SPACING, 2)
    return (found[0], found[1]) if found and all(0.05 <= one <= 50 for one in found) else None


def _orientation(values: Values) -> tuple[float, ...] | None:
    """The two directions of the plane, made exactly orthonormal; None if they are far from it."""
    found = numbers(values, ORIENTATION, 6)
    return None if found is None else _orthonormal(found)


@lru_cache(maxsize=64)
def _orthonormal(found: tuple[float, ...]) -> tuple[float, ...] | None:
    row, column = np.array(found[:3]), np.array(found[3:])
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if not all(0.9 < length < 1.1 for length in lengths) or abs(row @ column) > 0.05:
        return None
    row = row / lengths[0]
    column = column - (column @ row) * row
    return (*row.tolist(), *(column / np.linalg.norm(column)).tolist())


def _acquired(values: Values) -> str:
    for date, time in _DATES_AND_TIMES:
        if text(values, time):
            return text(values, date) + text(values, time)
    return ""


def _date(values: Values) -> str:
    """ISO date of the scan, or ''."""
    for tag in (0x00080022, 0x00080021, 0x00080020):
        match = re.fullmatch(r"(\d{4})\.?(\d{2})\.?(\d{2})", text(values, tag))
        if match and 1 <= int(match[2]) <= 12 and 1 <= int(match[3]) <= 31:
            return "-".join(match.groups())
    return ""
