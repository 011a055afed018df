"""The columns that every stored row has, whatever it shows: whose it is, from which file, and from which scan.

These are the only header values that leave a DICOM file.
"""

import hashlib
from typing import Any

import numpy as np

from heart_assets.dicom.headers import FrameHeader
from heart_assets.dicom.sources import StudySource


def source_columns(source: StudySource) -> dict[str, Any]:
    """Ids, and the file they come from."""
    return {
        "study_id": source.study_id,
        "participant_id": source.participant_id,
        "visit": source.visit,
        "source_size": source.size,
        "source_mtime_ns": source.mtime_ns,
        "source_name": source.name,
    }


def scan_columns(header: FrameHeader) -> dict[str, Any]:
    """Spacing and orientation before resampling, date, software and station."""
    assert header.spacing is not None and header.orientation is not None
    return {
        "spacing_row_mm": header.spacing[0],
        "spacing_col_mm": header.spacing[1],
        "orientation": header.orientation,
        "scan_date": header.scan_date,
        "software": header.software,
        "station": header.station,
    }


def pixel_digest(pixels: np.ndarray) -> str:
    """First 16 hex digits of the SHA-256 of an array's bytes."""
    return hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()[:16]
