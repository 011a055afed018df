"""The time axis of a cine: order, completeness, intervals, and resampling to another number of frames.

Headers in, indices and matrices out; no pixels are touched here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from heart_assets.dicom.errors import RejectedError
from heart_assets.dicom.headers import FrameHeader

MIN_FRAMES = 8
FULL_CYCLE = (0.95, 1.15)  # share of the RR interval that the frames of one whole beat cover
_GAP = 1.6  # a step this many times the usual one: a frame is missing
_DISTINCT_MS = 0.5


@dataclass(frozen=True)
class Timing:
    """Order of the frames (indices into those given, duplicates dropped), and the times of the cine in ms."""

    order: list[int]
    interval_ms: float
    rr_ms: float
    flags: list[str]

    @property
    def covers_cycle(self) -> bool:
        """Whether the frames cover one whole heart beat: at least 95 % of a known RR interval, and not far more than it."""
        share = len(self.order) * self.interval_ms / self.rr_ms
        return "rr_from_frames" not in self.flags and FULL_CYCLE[0] <= share <= FULL_CYCLE[1]


def time_frames(headers: Sequence[FrameHeader], whole_series: bool, lost: int, lost_reason: str) -> Timing:
    """Order the frames of one plane by trigger time, or by instance number where that is missing, and check that all are there.

    Args:
        whole_series: these are all planes of their series, so that instance numbers must start at 0 or 1.
        lost: files known to be absent or unreadable, and `lost_reason`, the code to reject with if they matter.

    Raises:
        RejectedError: no_frame_order, or the series is incomplete (incomplete_series, inconsistent_geometry or lost_reason).
    """
    triggers = [header.trigger_ms for header in headers]
    instances = [header.instance for header in headers]
    flags = []
    by_trigger = None not in triggers and np.ptp(np.array(triggers, float)) > 0
    if by_trigger:
        keys = np.array(triggers, float)
        distinct = _DISTINCT_MS
    elif None not in instances and (len(headers) == 1 or len(set(instances)) > 1):
        keys, distinct = np.array(instances, float), 0.5
        flags.append("order_by_instance")
    else:
        raise RejectedError("no_frame_order", f"{triggers.count(None)} of {len(headers)} frames without trigger time")
    order = _ordered(headers, keys, distinct)
    if len(order) < len(headers):
        flags.append("duplicate_frames")
    _check_complete([headers[index] for index in order], keys[order], whole_series, lost, lost_reason)
    steps = np.diff(keys[order])
    interval = float(np.median(steps)) if by_trigger else None
    rr = next((headers[index].rr_ms for index in order if headers[index].rr_ms is not None), None)
    if interval is None:
        if rr is None:
            raise RejectedError("no_frame_order", "neither trigger times nor a heart rate: the frame interval is unknown")
        interval = rr / len(order)
        flags.append("interval_from_rr")
    if rr is None:
        rr = interval * len(order)
        flags.append("rr_from_frames")
    return Timing(order, interval, float(rr), flags)


def resampling_matrix(found: int, frames: int, circular: bool) -> np.ndarray:
    """(frames, found) float32 matrix that resamples a cine in time.

    Circular: trigonometric interpolation of one period, exact for whatever the fewer of the two samplings can hold
    (when made shorter, faster harmonics are left out). Otherwise: linear, from the first frame to the last.
    """
    if circular:
        spectrum = np.fft.rfft(np.eye(found), axis=0)[: frames // 2 + 1]
        shorter = min(found, frames)
        if shorter % 2 == 0 and found != frames:
            spectrum[shorter // 2] *= 0.5 if frames > found else 2.0
        return (np.fft.irfft(spectrum, frames, axis=0) * (frames / found)).astype(np.float32)
    positions = np.linspace(0, found - 1, frames)
    return np.maximum(0, 1 - np.abs(positions[:, None] - np.arange(found))).astype(np.float32)


def _ordered(headers: Sequence[FrameHeader], keys: np.ndarray, distinct: float) -> list[int]:
    """Indices in the order of `keys`; of frames at one time the one acquired last."""

    def rank(index: int) -> tuple[float, int, str, int, str]:
        header = headers[index]
        return keys[index], header.acquisition_number, header.acquired, header.instance or 0, header.sop_uid

    order: list[int] = []
    for index in sorted(range(len(headers)), key=rank):
        if order and keys[index] - keys[order[-1]] < distinct:
            order[-1] = index
        else:
            order.append(index)
    return order


def _check_complete(headers: Sequence[FrameHeader], keys: np.ndarray, whole_series: bool, lost: int, lost_reason: str) -> None:
    found = len(headers)
    expected = max((header.expected_frames or 0 for header in headers), default=0)
    instances = sorted(header.instance for header in headers if header.instance is not None)
    steps = np.diff(keys)
    missing = max(expected - found, 0)
    if not expected:
        gaps = len(steps) > 1 and steps.max() > _GAP * np.median(steps)
        late = whole_series and len(instances) == found and instances[0] > 1
        missing = lost or int(gaps or late)
    if missing:
        whole = f"{found} of {expected}" if expected else f"{found}, with gaps,"
        split = "" if whole_series else "; its frames lie in several planes"
        reason = lost_reason if lost else "incomplete_series" if whole_series else "inconsistent_geometry"
        raise RejectedError(reason, f"{whole} frames{split}" + (f"; {lost} files absent or unreadable" if lost else ""))
    if found < MIN_FRAMES:
        raise RejectedError("incomplete_series", f"{found} frames are no cine")
