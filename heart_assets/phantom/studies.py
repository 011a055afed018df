"""The series of one person's heart study and liver study.

What belongs here: which series exist, what they are called, how they are acquired. What does not: pixels (scanner.py),
bytes (dicom_files.py), damage (defects.py).
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from heart_assets.phantom.dicom_files import DicomFile, SeriesHeader, make_uid, series_files
from heart_assets.phantom.people import Person
from heart_assets.phantom.scanner import Plane, render, scan_plane
from heart_assets.phantom.traits import Difficulty

DESCRIPTIONS = {"2ch": "CINE_segmented_LAX_2Ch", "3ch": "CINE_segmented_LAX_3Ch", "4ch": "CINE_segmented_LAX_4Ch"}
FRAMES = 50
# (short side, long side, spacing in mm); demo's is coarse for speed
MATRIX: dict[Difficulty, tuple[int, int, float]] = {"demo": (112, 136, 2.3), "benchmark": (150, 184, 1.8)}
LIVER_T1_MS = (745.0, 45.0)  # mean and SD between people


@dataclass(frozen=True)
class Series:
    """One series: its header and its files in time order."""

    header: SeriesHeader
    files: tuple[DicomFile, ...]


def _header(person: Person, kind: str, number: int, plane: Plane, description: str, frames: int) -> SeriesHeader:
    scan_date = person.visit_date
    return SeriesHeader(
        uid=make_uid(person.eid, person.seed, kind, number),
        study_uid=make_uid(person.eid, person.seed, kind),
        frame_of_reference_uid=make_uid(person.eid, person.seed, "frame of reference"),
        number=number,
        description=description,
        patient_id=person.eid,
        sex="M" if person.male else "F",
        age_years=int(person.age),
        date=scan_date.strftime("%Y%m%d"),
        time=f"{8 + person.seed % 10:02d}{person.seed // 10 % 60:02d}{number % 60:02d}",
        station=f"PHANTOM{1 + person.seed % 2}",
        software="syngo MR D13A" if scan_date.year < 2018 else "syngo MR E11",
        plane=plane,
        slice_mm=6.0,
        frames=frames,
        rr_ms=person.scan.rr_ms,
    )


def cine(person: Person, view: str, number: int, difficulty: Difficulty, frames: int = FRAMES, compression: str = "none", trigger_times: bool = True) -> Series:
    """One cine of one view, acquired as series `number` of the study."""
    short, long, spacing = MATRIX[difficulty]
    rows, columns = (short, long) if view == "4ch" else (long, short)
    plane = scan_plane(person, view, rows, columns, spacing)
    header = _header(person, "heart", number, plane, DESCRIPTIONS[view], frames)
    header = replace(header, compression=compression, trigger_times=trigger_times)
    return Series(header, tuple(series_files(header, render(person, view, plane, frames))))


def inline_function(person: Person, number: int, difficulty: Difficulty) -> Series:
    """The scanner's own ventricular-function series, a few derived frames that no reader should take for a view."""
    short, long, spacing = MATRIX[difficulty]
    plane = scan_plane(person, "4ch", short // 2, long // 2, spacing * 2)
    header = _header(person, "heart", number, plane, "CINE_segmented_LAX_4Ch_InlineVF", 3)
    return Series(header, tuple(series_files(header, render(person, "4ch", plane, 3))))


def liver_t1_ms(person: Person) -> float:
    """The person's liver T1, ms; independent of age."""
    return float(LIVER_T1_MS[0] + LIVER_T1_MS[1] * np.random.default_rng([person.seed, 20204]).standard_normal())


def liver_study(person: Person, size: tuple[int, int] = (72, 96)) -> list[Series]:
    """A ShMOLLI study: inversion images, the fit's quality, and the T1 map (grey value = T1 in ms)."""
    rows, columns = size
    rng = np.random.default_rng([person.seed, 20205])
    spacing = 384.0 / columns
    plane = Plane(np.array([-192.0, -144.0, 40.0]), np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0]), spacing, rows, columns)
    t1 = np.zeros((rows, columns), np.float32)
    girth, tissue = person.scan.girth, liver_t1_ms(person)
    for value, x, y, half_x, half_y, angle in (
        (290, 0, 0, 170 * girth, 118 * girth, 0), (920, 0, 4, 152 * girth, 102 * girth, 0), (330, 0, 4, 140 * girth, 92 * girth, 0),
        (tissue, -58, -12, 78, 66, 18), (1050, 92, 26, 28, 38, -20), (1150, 42, -30, 40, 26, 10), (980, 2, 62, 21, 20, 0), (1650, 14, 36, 9, 9, 0), (1600, -14, 30, 10, 8, 0),
    ):  # fmt: skip
        centre = (columns / 2 + x / spacing, rows / 2 + y / spacing)
        cv2.ellipse(t1, (centre, (2 * half_x / spacing, 2 * half_y / spacing), float(angle)), float(value), -1)
    body = t1 > 0
    t1 = cv2.GaussianBlur(t1, (0, 0), 0.6) + body * rng.normal(0, 18, t1.shape)
    t1 = np.where(body, t1, rng.uniform(0, 3000, t1.shape) * (rng.random(t1.shape) < 0.3))
    times = np.array([100.0, 180.0, 260.0, 1000.0, 1900.0, 2800.0, 3700.0])[:, None, None]
    images = np.abs(1 - 1.9 * np.exp(-times / np.maximum(t1, 50.0))) * np.where(body, 400, 8)
    fit = np.where(body, rng.uniform(800, 1000, t1.shape), rng.uniform(0, 400, t1.shape))
    series = []
    for number, (ending, pixels) in enumerate((("", images), ("_FITPARAMMAP", fit[None]), ("_T1MAP", t1[None])), start=11):
        header = _header(person, "liver", number, plane, f"ShMOLLI_192i{ending}", len(pixels))
        series.append(Series(header, tuple(series_files(header, np.clip(np.rint(pixels), 0, 4095).astype(np.uint16)))))
    return series
