"""The liver study: a ShMOLLI series of inversion images, its fit's quality, and the T1 map (grey value = T1 in ms).

What belongs here: a still transverse slice through liver, spleen, stomach, spine. What does not: the heart.
"""

import cv2
import numpy as np

from heart_assets.phantom.dicom_files import series_files
from heart_assets.phantom.people import Person
from heart_assets.phantom.planes import Plane
from heart_assets.phantom.studies import Series, series_header

T1_MEAN_MS, T1_SD_MS = 745.0, 45.0  # of the liver, between people
INVERSION_TIMES_MS = np.array([100.0, 180.0, 260.0, 1000.0, 1900.0, 2800.0, 3700.0])
ROWS, COLUMNS, WIDTH_MM = 72, 96, 384.0


def liver_t1_ms(person: Person) -> float:
    """The person's liver T1, ms; independent of age."""
    return float(T1_MEAN_MS + T1_SD_MS * np.random.default_rng([person.seed, 20204]).standard_normal())


def liver_plane() -> Plane:
    """A transverse plane; rows towards the patient's left, columns towards the back."""
    spacing = WIDTH_MM / COLUMNS
    corner = np.array([-(COLUMNS - 1) / 2, -(ROWS - 1) / 2, 0.0]) * spacing + np.array([0.0, 0.0, -120.0])
    return Plane(corner, np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0]), spacing, ROWS, COLUMNS)


def t1_map(person: Person) -> tuple[np.ndarray, np.ndarray]:
    """T1 in ms, (72, 96) float, with the noise of air where there is no tissue; and the mask of tissue."""
    rng = np.random.default_rng([person.seed, 20205])
    girth, liver, spacing = person.scan.girth, liver_t1_ms(person), WIDTH_MM / COLUMNS
    t1 = np.zeros((ROWS, COLUMNS), np.float32)
    for value, x, y, half_x, half_y, angle in (
        (290, 0, 0, 170 * girth, 118 * girth, 0),  # fat under the skin
        (920, 0, 4, 152 * girth, 102 * girth, 0),  # muscle
        (330, 0, 4, 140 * girth, 92 * girth, 0),  # fat inside
        (liver, -58, -12, 78, 66, 18),
        (1050, 92, 26, 28, 38, -20),  # spleen
        (1150, 42, -30, 40, 26, 10),  # stomach
        (980, 2, 62, 21, 20, 0),  # vertebra
        (1650, 14, 36, 9, 9, 0),  # aorta
        (1600, -14, 30, 10, 8, 0),  # inferior vena cava
    ):
        centre = (COLUMNS / 2 + x / spacing, ROWS / 2 + y / spacing)
        cv2.ellipse(t1, (centre, (2 * half_x / spacing, 2 * half_y / spacing), float(angle)), float(value), -1)
    tissue = t1 > 0
    noisy = cv2.GaussianBlur(t1, (0, 0), 0.6) + rng.normal(0, 18, t1.shape)
    air = rng.uniform(0, 3000, t1.shape) * (rng.random(t1.shape) < 0.3)
    return np.where(tissue, noisy, air), tissue


def liver_study(person: Person) -> list[Series]:
    """The three series of a liver study; the T1 map's description ends in T1MAP."""
    t1, tissue = t1_map(person)
    recovery = np.abs(1 - 1.9 * np.exp(-INVERSION_TIMES_MS[:, None, None] / np.maximum(t1, 50.0)))
    fit = np.where(tissue, 900.0 + t1 % 100, t1 % 400)
    series = []
    for number, (ending, pixels) in enumerate(
        (("", recovery * np.where(tissue, 400, 8)), ("_FITPARAMMAP", fit[None]), ("_T1MAP", t1[None])), start=11
    ):
        header = series_header(person, "liver", number, liver_plane(), f"ShMOLLI_192i{ending}", len(pixels))
        series.append(Series("", header, tuple(series_files(header, np.clip(np.rint(pixels), 0, 4095).astype(np.uint16)))))
    return series
