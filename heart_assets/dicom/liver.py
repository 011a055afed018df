"""The liver's T1 map: one picture in ms, cropped or padded to the study's size.

Its series is found by its description; of a repeated one the last acquired wins.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from heart_assets.dicom.decoding import Frame
from heart_assets.dicom.errors import RejectedError, Rejection
from heart_assets.dicom.reading import open_study
from heart_assets.dicom.rows import pixel_digest, scan_columns, source_columns
from heart_assets.dicom.sources import StudySource
from heart_assets.dicom.study import gather, guarded
from heart_assets.settings import LiverSettings

LIVER = "liver"
_LARGEST_T1_MS = 65535


@dataclass
class LiverResult:
    """One map (size_px, size_px) uint16 in ms with its row, or one rejection."""

    images: dict[str, tuple[np.ndarray, dict[str, Any]]] = field(default_factory=dict)
    rejections: list[Rejection] = field(default_factory=list)


def clean_liver_study(source: StudySource, liver: LiverSettings) -> LiverResult:
    """Read one liver study. Never raises for bad input, of whatever kind."""
    return guarded(source, LiverResult, lambda: _clean(source, liver))


def _clean(source: StudySource, liver: LiverSettings) -> LiverResult:
    with open_study(source.path) as members:
        harvest = gather(members, lambda _uid, description: re.search(liver.series, description, re.IGNORECASE) is not None)
    frames = sorted(harvest.frames, key=lambda frame: (frame.header.acquired, frame.header.series_number, frame.header.instance or 0))
    if not frames:
        reason = next((reason for _, reason in harvest.lost.values()), "no_series")
        raise RejectedError(reason, "; ".join(harvest.details[:2]) or "no series is called like a T1 map")
    errors: list[RejectedError] = []
    for frame in reversed(frames):
        try:
            return LiverResult({LIVER: _map(source, frame, len({one.header.series_uid for one in frames}), liver.size_px)})
        except RejectedError as error:
            errors.append(error)
    raise errors[0]


def _map(source: StudySource, frame: Frame, series_count: int, size_px: int) -> tuple[np.ndarray, dict[str, Any]]:
    if frame.header.spacing is None or frame.header.orientation is None:
        raise RejectedError("inconsistent_geometry", "no orientation or spacing in the header")
    grey = frame.grey()
    image = _centred(np.rint(np.clip(grey, 0, _LARGEST_T1_MS)).astype(np.uint16), size_px)
    valid = image[image > 0]
    if not valid.size or valid.min() == valid.max():
        raise RejectedError("no_contrast", "all pixels of the map are alike")
    row = {
        **source_columns(source),
        **scan_columns(frame.header),
        "t1_median_ms": float(np.median(valid)),
        "valid_fraction": valid.size / image.size,
        "flags": "several_series" if series_count > 1 else "",
        "series_count": series_count,
        "image_digest": pixel_digest(image),
    }
    return image, row


def _centred(image: np.ndarray, size_px: int) -> np.ndarray:
    """Cut or pad with 0 about the middle, to (size_px, size_px)."""
    for axis in (0, 1):
        excess = image.shape[axis] - size_px
        if excess > 0:
            image = image.take(range(excess // 2, excess // 2 + size_px), axis)
        elif excess < 0:
            widths = [(0, 0), (0, 0)]
            widths[axis] = (-excess // 2, -excess - -excess // 2)
            image = np.pad(image, widths)
    return image
