"""One study, from its file to one video or one rejection for each view; bad input never raises.

The way through the room: reading -> decoding -> series -> timing -> cleaning.
"""

import logging
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from heart_assets.dicom.cleaning import clean_cine
from heart_assets.dicom.decoding import HEAD_BYTES, Frame, decode, is_dicom, peek
from heart_assets.dicom.errors import WHOLE_STUDY, RejectedError, Rejection
from heart_assets.dicom.geometry import PlaneGeometry
from heart_assets.dicom.manifest import absent_by_series, is_manifest
from heart_assets.dicom.reading import Member, open_study
from heart_assets.dicom.rows import pixel_digest, scan_columns, source_columns
from heart_assets.dicom.series import Choice, Plane, choose, labels, split_planes
from heart_assets.dicom.sources import StudySource
from heart_assets.dicom.timing import time_frames
from heart_assets.settings import GeometrySettings, SeriesSettings, ViewSettings

MAX_CINE_PIXELS = 64 << 20
MAX_WANTED_BYTES = 1 << 30
MAX_MANIFEST_BYTES = 4 << 20
Wanted = Callable[[str, str], bool]  # (series uid, description) -> whether its files are wanted
Result = TypeVar("Result")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CleanedVideo:
    """A video (frames, size_px, size_px) uint8 and its row (every column of the store)."""

    video: np.ndarray
    row: dict[str, Any]


@dataclass
class StudyResult:
    """What a study gave: for every view a video or a rejection, or one rejection of the whole study."""

    videos: dict[str, CleanedVideo] = field(default_factory=dict)
    rejections: list[Rejection] = field(default_factory=list)


@dataclass
class Harvest:
    """Frames of the series that may be wanted, and the bytes of their files; files lost on the way: uid -> (count, reason)."""

    frames: list[Frame] = field(default_factory=list)
    lost: dict[str, tuple[int, str]] = field(default_factory=dict)
    details: list[str] = field(default_factory=list)
    held: int = 0


def clean_study(source: StudySource, views: Mapping[str, ViewSettings], series: SeriesSettings, geometry: GeometrySettings) -> StudyResult:
    """Read, sort and clean one study. Never raises for bad input, of whatever kind."""
    return guarded(source, StudyResult, lambda: _clean(source, views, series, geometry))


def guarded(source: StudySource, result: Callable[..., Result], clean: Callable[[], Result]) -> Result:
    """Run `clean`; bad input, and faults of this program, become one rejection of the whole study."""
    try:
        return clean()
    except RejectedError as error:
        return result(rejections=[Rejection(source.name, WHOLE_STUDY, error.reason, error.detail)])
    except Exception as error:
        return result(rejections=[_internal_error(source, error)])


def _clean(source: StudySource, views: Mapping[str, ViewSettings], series: SeriesSettings, geometry: GeometrySettings) -> StudyResult:
    with open_study(source.path) as members:
        harvest = gather(members, lambda uid, description: bool(labels(uid, description, views, series)))
    choices = choose(split_planes(harvest.frames, harvest.lost), views, series)
    result = StudyResult()
    for view, choice in choices.items():
        try:
            result.videos[view] = _clean_view(source, choice, harvest, views[view], geometry)
        except RejectedError as error:
            result.rejections.append(Rejection(source.name, view, error.reason, error.detail))
    return result


def _internal_error(source: StudySource, error: Exception) -> Rejection:
    """Turn a fault of this program into a rejection, and log its place: names of files and functions, never values."""
    places = traceback.extract_tb(error.__traceback__)
    steps = " < ".join(f"{Path(place.filename).name}:{place.lineno} {place.name}" for place in reversed(places))
    logger.error("internal error while cleaning a study: %s at %s", type(error).__name__, steps)
    return Rejection(source.name, WHOLE_STUDY, "internal_error", f"{type(error).__name__} at {steps.split(' < ')[0]}")


def gather(members: list[Member], is_wanted: Wanted) -> Harvest:
    """Decode the headers of every file whose series is wanted.

    Args:
        is_wanted: tells by series uid and description.

    Raises:
        RejectedError: no file at all is a readable DICOM (the first one's reason, or empty), or too_large.
    """
    harvest = Harvest()
    manifest, seen = "", 0
    for member in members:
        try:
            if is_manifest(member.name):
                manifest = member.head(MAX_MANIFEST_BYTES).decode("utf-8", "replace")
            else:
                seen += _take(member, is_wanted, harvest)
        except RejectedError as error:
            harvest.details.append(error.detail)
            harvest.lost[""] = harvest.lost.get("", (0, ""))[0] + 1, error.reason
        if harvest.held > MAX_WANTED_BYTES:
            raise RejectedError("too_large", f"more than {MAX_WANTED_BYTES >> 20} MB of files that may be a view")
    if not seen:
        reason = harvest.lost[""][1] if "" in harvest.lost else "empty"
        raise RejectedError(reason, harvest.details[0] if harvest.details else "no DICOM files")
    uids = {frame.header.series_uid for frame in harvest.frames if frame.header.expected_frames is None}
    for uid, count in absent_by_series(manifest, {member.name for member in members}, uids).items():
        harvest.lost.setdefault(uid, (count, "incomplete_series"))
    return harvest


def _take(member: Member, is_wanted: Wanted, harvest: Harvest) -> bool:
    """Add the frames of one file if they are wanted; returns whether it was a readable DICOM file."""
    head = member.head(HEAD_BYTES)
    if not is_dicom(head):
        if member.name.lower().endswith(".dcm"):
            raise RejectedError("unreadable_dicom", f"{member.name}: not a DICOM file")
        return False
    known = peek(head)
    if known is not None and not is_wanted(*known):
        return True
    try:
        frames = decode(member.name, member.read())
    except RejectedError as error:
        if known is None:
            raise
        harvest.lost[known[0]] = harvest.lost.get(known[0], (0, ""))[0] + 1, error.reason
        harvest.details.append(error.detail)
        return True
    if is_wanted(frames[0].header.series_uid, frames[0].header.description):
        harvest.frames += frames
        harvest.held += member.size
    return True


def _clean_view(source: StudySource, choice: Choice, harvest: Harvest, rule: ViewSettings, geometry: GeometrySettings) -> CleanedVideo:
    """The first plane of the choice that is whole and can be cleaned; the error of the first if there is none."""
    if not choice.planes:
        raise RejectedError("no_series", choice.hint or "no series is called like this view")
    errors: list[RejectedError] = []
    for plane in choice.planes:
        try:
            return _clean_plane(source, plane, choice, rule, geometry, ["last_incomplete"] if errors else [])
        except RejectedError as error:
            errors.append(error)
    details = "; ".join(part for part in [errors[0].detail, *harvest.details[:2]] if part)
    raise RejectedError(errors[0].reason, details)


def _clean_plane(
    source: StudySource, plane: Plane, choice: Choice, rule: ViewSettings, geometry: GeometrySettings, flags: list[str]
) -> CleanedVideo:
    headers = [frame.header for frame in plane.frames]
    timing = time_frames(headers, plane.planes_in_series == 1, plane.lost, plane.lost_reason)
    frames = [plane.frames[index] for index in timing.order]
    first = frames[0].header
    shapes = {(frame.header.rows, frame.header.columns, frame.header.spacing) for frame in frames}
    if len(shapes) > 1:
        raise RejectedError("inconsistent_geometry", "frames of different sizes or spacings")
    if len(frames) * first.rows * first.columns > MAX_CINE_PIXELS:
        raise RejectedError("too_large", f"{len(frames)} frames of {first.rows} x {first.columns}")
    assert first.position is not None and first.orientation is not None and first.spacing is not None
    across, along = np.array(first.orientation).reshape(2, 3)
    place = PlaneGeometry(np.array(first.position), across, along, first.spacing)
    grey = np.stack([frame.grey() for frame in frames])
    cleaned = clean_cine(grey, place, timing, geometry, rule.image_right)
    row = {
        **source_columns(source),
        "rr_ms": timing.rr_ms,
        "frame_interval_ms": timing.interval_ms,
        **scan_columns(first),
        "shift_x_mm": cleaned.shift_mm[0],
        "shift_y_mm": cleaned.shift_mm[1],
        "shift_capped": cleaned.shift_capped,
        "snr": cleaned.snr,
        "motion_energy": cleaned.motion_energy,
        "frames_found": len(frames),
        "flags": ",".join([*choice.flags, *flags, *cleaned.flags]),
        "series_count": choice.series_count,
        "video_digest": pixel_digest(cleaned.video),
    }
    return CleanedVideo(cleaned.video, row)
