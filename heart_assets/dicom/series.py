"""Which frames belong together, and which of a study's series is which view.

A *plane* is the frames of one series that lie in one plane. The description decides what a plane is; its normal only
splits a series that is called like several views, and warns of labels that are probably wrong. So a short axis or an
outflow tract never becomes a view, however its plane lies. No pixels here.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from heart_assets.dicom.decoding import Frame
from heart_assets.dicom.errors import RejectedError
from heart_assets.settings import SeriesSettings, ViewSettings

NONE = "none"
SAME_DIRECTION = 0.9998  # cosine of 1.1 degrees
SAME_PLACE_MM = 0.5
MIXED_LIMIT = float(np.cos(np.deg2rad(35)))  # planes of the views are about 60 degrees apart


@dataclass(frozen=True)
class Plane:
    """Frames of one series in one plane. `lost` counts files of the series that are absent or unreadable."""

    frames: tuple[Frame, ...]
    planes_in_series: int
    lost: int = 0
    lost_reason: str = "incomplete_series"

    @property
    def series_uid(self) -> str:
        return self.frames[0].header.series_uid

    @property
    def description(self) -> str:
        return self.frames[0].header.description

    @property
    def normal(self) -> np.ndarray:
        """(3,) unit normal."""
        return self.frames[0].header.normal

    @property
    def acquired(self) -> tuple[str, int, str]:
        """Sorts planes in acquisition order: time of the last frame, series number, uid."""
        return max(frame.header.acquired for frame in self.frames), self.frames[0].header.series_number, self.series_uid


@dataclass
class Choice:
    """Planes for one view, the preferred first, with flags; `hint` says what to do when there is none."""

    planes: list[Plane] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    series_count: int = 0
    hint: str = ""


def labels(uid: str, description: str, views: Mapping[str, ViewSettings], series: SeriesSettings) -> list[str]:
    """The views that a series may be: one by an override, else all whose patterns its description matches."""
    if uid in series.overrides:
        return [view for view in views if view == series.overrides[uid]]
    if _matches(series.skip, description):
        return []
    return [view for view, rule in views.items() if _matches(rule.series, description)]


def split_planes(frames: Iterable[Frame], lost: Mapping[str, tuple[int, str]]) -> list[Plane]:
    """Frames of any series -> planes.

    Args:
        lost: series uid -> number of its files that are absent or unreadable, and the reason code for it.

    Raises:
        RejectedError: inconsistent_geometry, if no frame has a usable plane at all.
    """
    groups: dict[str, list[list[Frame]]] = {}
    total = without = 0
    for frame in frames:
        total += 1
        header = frame.header
        if header.orientation is None or header.position is None or header.spacing is None:
            without += 1
            lost = {**lost, header.series_uid: (lost.get(header.series_uid, (0, ""))[0] + 1, "inconsistent_geometry")}
            continue
        planes = groups.setdefault(header.series_uid, [])
        home = next((plane for plane in planes if _same_plane(plane[0], frame)), None)
        if home is None:
            planes.append([frame])
        else:
            home.append(frame)
    if total and without == total:
        raise RejectedError("inconsistent_geometry", "no orientation, position or spacing in the headers")
    return [
        Plane(tuple(plane), len(planes), *lost.get(uid, (0, "incomplete_series"))) for uid, planes in groups.items() for plane in planes
    ]


def choose(planes: Iterable[Plane], views: Mapping[str, ViewSettings], series: SeriesSettings) -> dict[str, Choice]:
    """For every view the planes that may be it, best first: an override, then planes that fit their label, last acquired first."""
    choices = {view: Choice() for view in views}
    overridden: dict[str, list[Plane]] = {view: [] for view in views}
    labelled: dict[str, list[tuple[Plane, bool, bool]]] = {view: [] for view in views}
    for plane in sorted(planes, key=lambda plane: plane.acquired, reverse=True):
        names = labels(plane.series_uid, plane.description, views, series)
        if plane.series_uid in series.overrides:
            for name in names:
                overridden[name].append(plane)
        elif len(names) > 1:
            nearest = nearest_view(plane.normal, {name: views[name] for name in names})
            if _cosine(plane.normal, views[nearest]) >= MIXED_LIMIT and nearest == nearest_view(plane.normal, views):
                labelled[nearest].append((plane, True, True))
        elif names:
            nearest = nearest_view(plane.normal, views)
            labelled[names[0]].append((plane, nearest == names[0], False))
            if nearest != names[0]:
                choices[nearest].hint = (
                    f"probably mislabelled: series {plane.series_uid} is called like {names[0]} but lies in the plane of {nearest}; "
                    "if that is what it is, name it in series.overrides"
                )
    for view, choice in choices.items():
        _decide(choice, overridden[view], labelled[view])
    return choices


def nearest_view(normal: np.ndarray, views: Mapping[str, ViewSettings]) -> str:
    """The view whose usual normal is closest to `normal`, whatever the signs."""
    return max(views, key=lambda view: _cosine(normal, views[view]))


def _decide(choice: Choice, overridden: list[Plane], labelled: list[tuple[Plane, bool, bool]]) -> None:
    choice.series_count = len({plane.series_uid for plane in [*overridden, *(plane for plane, _, _ in labelled)]})
    fitting = [(plane, mixed) for plane, fits, mixed in labelled if fits]
    if overridden:
        choice.planes, choice.flags = overridden, ["override"]
    elif fitting:
        choice.planes = [plane for plane, _ in fitting]
        choice.flags = ["mixed_series"] if fitting[0][1] else []
        choice.flags += ["other_series_mislabelled"] if len(fitting) < len(labelled) else []
    elif labelled:
        choice.planes, choice.flags = [plane for plane, _, _ in labelled], ["probably_mislabelled"]
    if choice.series_count > 1:
        choice.flags.append("several_series")


def _matches(patterns: Iterable[str], description: str) -> bool:
    return any(re.search(pattern, description, re.IGNORECASE) for pattern in patterns)


def _cosine(normal: np.ndarray, rule: ViewSettings) -> float:
    usual = np.array(rule.usual_normal)
    return float(abs(normal @ usual) / np.linalg.norm(usual))


def _same_plane(one: Frame, other: Frame) -> bool:
    a, b = one.header, other.header
    assert a.orientation and b.orientation and a.position and b.position
    if a.orientation == b.orientation and a.position == b.position:
        return True
    directions = np.array(a.orientation).reshape(2, 3), np.array(b.orientation).reshape(2, 3)
    same_direction = bool(((directions[0] * directions[1]).sum(axis=1) >= SAME_DIRECTION).all())
    return same_direction and float(np.linalg.norm(np.subtract(a.position, b.position))) <= SAME_PLACE_MM
