"""The series of one person's heart study: what is acquired, in which order, under which name.

What belongs here: which series exist and how they are acquired, defects of acquisition included. What does not: pixels
(scanner.py), bytes (dicom_files.py), the liver (liver.py), damage to finished things (damage.py).
"""

from dataclasses import dataclass, replace

import numpy as np

from heart_assets.phantom.defects import VIEWS, Defect
from heart_assets.phantom.dicom_files import DicomFile, SeriesHeader, make_uid, series_files
from heart_assets.phantom.people import Person
from heart_assets.phantom.planes import Plane, scan_plane
from heart_assets.phantom.scanner import render
from heart_assets.phantom.traits import Difficulty

DESCRIPTION = "CINE_segmented_LAX"
FRAMES = 50
# (short side, long side, spacing in mm); demo's is coarse for speed
MATRIX: dict[Difficulty, tuple[int, int, float]] = {"demo": (104, 128, 2.4), "benchmark": (150, 184, 1.8)}


@dataclass(frozen=True)
class Acquisition:
    """One cine to be acquired."""

    view: str
    number: int  # of the series
    description: str
    frames: int = FRAMES
    broken_off_after: int | None = None  # frames
    compression: str = "none"
    trigger_times: bool = True
    first_instance: int = 0  # instances of the same series before this cine


@dataclass(frozen=True)
class Series:
    """One series, or one view's share of a mixed one: its view (empty: none), its header, its files in time order."""

    view: str
    header: SeriesHeader
    files: tuple[DicomFile, ...]


def plan_acquisitions(defect: Defect, rng: np.random.Generator) -> list[Acquisition]:
    """The cines of one study in order: 3ch and 4ch, at times 2ch before them, a few compressed; with the defect's doing."""
    compression = str(rng.choice(["none", "rle", "jpeg2000"], p=[0.97, 0.015, 0.015]))
    cut, fewer = int(rng.integers(12, 40)), int(rng.integers(20, 40))
    views = [*(["2ch"] if rng.random() < 0.04 else []), *VIEWS]
    planned: list[Acquisition] = []
    for number, view in enumerate(views):
        one = Acquisition(view, 10 + 2 * number, f"{DESCRIPTION}_{view[0]}Ch", compression=compression)
        kind = defect.kind if defect.view in (view, "all") and view in VIEWS else "none"
        if kind == "missing_view":
            continue
        if kind == "repeated_series":
            planned.append(replace(one, number=one.number - 1, broken_off_after=cut))
        elif kind == "fewer_frames":
            one = replace(one, frames=fewer)
        elif kind == "missing_trigger_time":
            one = replace(one, trigger_times=False)
        elif kind == "mixed_series":
            one = replace(one, number=20, description=DESCRIPTION, first_instance=FRAMES * VIEWS.index(view))
        planned.append(one)
    return planned


def heart_study(person: Person, difficulty: Difficulty, defect: Defect, rng: np.random.Generator) -> list[Series]:
    """The series of a heart study in acquisition order, in one study of ten with the scanner's InlineVF series at the end."""
    series = [cine(person, difficulty, acquisition) for acquisition in plan_acquisitions(defect, rng)]
    return [*series, inline_function(person, difficulty)] if rng.random() < 0.1 else series


def cine(person: Person, difficulty: Difficulty, acquisition: Acquisition) -> Series:
    """One cine of one view."""
    short, long, spacing = MATRIX[difficulty]
    view = acquisition.view
    plane = scan_plane(person, view, *((short, long) if view == "4ch" else (long, short)), spacing)
    header = series_header(person, "heart", acquisition.number, plane, acquisition.description, acquisition.frames)
    header = replace(header, compression=acquisition.compression, trigger_times=acquisition.trigger_times)
    pixels = render(person, view, plane, acquisition.frames)[: acquisition.broken_off_after]
    return Series(view, header, tuple(series_files(header, pixels, acquisition.first_instance)))


def inline_function(person: Person, difficulty: Difficulty) -> Series:
    """The scanner's own ventricular-function series: a few derived frames that no reader should take for a view."""
    short, long, spacing = MATRIX[difficulty]
    plane = scan_plane(person, "4ch", short // 2, long // 2, spacing * 2)
    header = series_header(person, "heart", 31, plane, f"{DESCRIPTION}_4Ch_InlineVF", 3)
    return Series("", header, tuple(series_files(header, render(person, "4ch", plane, 3))))


def series_header(person: Person, study: str, number: int, plane: Plane, description: str, frames: int) -> SeriesHeader:
    """What the headers of a person's series say; `study` tells the studies of one person apart."""
    scan_date = person.visit_date
    return SeriesHeader(
        uid=make_uid(person.eid, person.seed, study, number),
        study_uid=make_uid(person.eid, person.seed, study),
        frame_of_reference_uid=make_uid(person.eid, person.seed, "frame of reference"),
        number=number,
        description=description,
        patient_id=person.eid,
        sex="M" if person.male else "F",
        age_years=int(person.age),
        date=scan_date.strftime("%Y%m%d"),
        time=f"{8 + person.seed % 10:02d}{number % 60:02d}{person.seed // 10 % 60:02d}",
        station=f"PHANTOM{1 + person.seed % 2}",
        software="syngo MR D13A" if scan_date.year < 2018 else "syngo MR E11",
        plane=plane,
        slice_mm=6.0,
        frames=frames,
        rr_ms=person.scan.rr_ms,
    )
