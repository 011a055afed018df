"""Where image planes lie: usual ones, tilted ones, and how millimetres in the heart become pixels. LPS, mm.

What belongs here: plane geometry. What does not: pixels.
"""

from dataclasses import dataclass

import numpy as np

from heart_assets.phantom.anatomy import HEART_CENTRE_MM
from heart_assets.phantom.people import Person

# Row and column directions (LPS) of a real study's planes, and the patient direction that lies to the heart's right in
# `anatomy` coordinates; the long axis lies along the projection of LONG_AXIS.
DIRECTIONS = {
    "4ch": (np.array([0.9954, 0.0, 0.0958]), np.array([0.0788, -0.5693, -0.8183]), np.array([1.0, 0.0, 0.0])),
    "3ch": (np.array([0.1983, 0.9660, 0.1658]), np.array([0.6414, 0.0, -0.7672]), np.array([0.0, 1.0, 0.0])),
    "2ch": (np.array([-0.6214, 0.7835, -0.0047]), np.array([0.0391, 0.0250, -0.9989]), np.array([0.0, 1.0, 0.0])),
}
LONG_AXIS = np.array([0.5, -0.5, -0.7])
HEART_LPS_MM = np.array([0.0, 17.0, -40.0])
AXIS_DEG = {"3ch": 2.0, "4ch": 9.0, "2ch": 0.0}  # usual angle of the heart's long axis off LONG_AXIS, in the plane


@dataclass(frozen=True)
class Plane:
    """An image plane as a DICOM header describes it: corner pixel's position, directions (LPS), pixel size, matrix."""

    position: np.ndarray
    row: np.ndarray  # direction in which the column index grows
    column: np.ndarray
    spacing_mm: float
    rows: int
    columns: int


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def _rotated(vector: np.ndarray, axis: np.ndarray, degrees: float) -> np.ndarray:
    """Rodrigues' rotation of a vector about a unit axis."""
    angle = np.deg2rad(degrees)
    return vector * np.cos(angle) + np.cross(axis, vector) * np.sin(angle) + axis * (axis @ vector) * (1 - np.cos(angle))


def _usual_directions(view: str) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of the usual plane, exactly orthonormal."""
    row, column = _unit(DIRECTIONS[view][0]), DIRECTIONS[view][1]
    return row, _unit(column - row * (row @ column))


def heart_axes(row: np.ndarray, column: np.ndarray, view: str) -> tuple[np.ndarray, np.ndarray]:
    """Unit directions (LPS) of `anatomy`'s x and y in a plane: y is LONG_AXIS projected into it."""
    normal = np.cross(row, column)
    down = _unit(LONG_AXIS - normal * (LONG_AXIS @ normal))
    right = np.cross(normal, down)
    return right * (1.0 if right @ DIRECTIONS[view][2] > 0 else -1.0), down


def scan_plane(person: Person, view: str, rows: int, columns: int, spacing_mm: float) -> Plane:
    """The plane that the radiographer chose: near the usual one, tilted, rotated, off centre, perhaps with axes swapped."""
    row, column = _usual_directions(view)
    about_row, about_column, turn = person.scan.tilt_deg[view]
    column = _rotated(column, row, about_row)
    row = _rotated(row, column, about_column)
    normal = np.cross(row, column)
    row, column = _rotated(row, normal, turn), _rotated(column, normal, turn)
    if person.scan.swapped[view]:
        row, column, rows, columns = column, row, columns, rows
    across, along = person.scan.field_shift_mm[view]
    centre = heart_position(person) + across * row + along * column
    corner = centre - row * spacing_mm * (columns - 1) / 2 - column * spacing_mm * (rows - 1) / 2
    return Plane(corner, row, column, spacing_mm, rows, columns)


def centred_plane(person: Person, view: str, size_px: int, spacing_mm: float) -> Plane:
    """A square plane with the long axis down, a little off the heart: what a good cleaning yields."""
    row, column = heart_axes(*_usual_directions(view), view)
    half = spacing_mm * (size_px - 1) / 2
    across, along = person.scan.field_shift_mm[view]
    corner = heart_position(person) + (across - half) * row + (along - half) * column
    return Plane(corner, row, column, spacing_mm, size_px, size_px)


def heart_position(person: Person) -> np.ndarray:
    """Centre of the heart in the patient, LPS mm."""
    return HEART_LPS_MM + np.array(person.scan.heart_shift_mm)


def _to_pixels(plane: Plane, centre: np.ndarray, right: np.ndarray, down: np.ndarray) -> np.ndarray:
    """Affine (2, 3) from in-plane mm along (right, down) off `centre` to (column, row) pixel coordinates."""
    offset = centre - plane.position
    axes = [plane.row, plane.column]
    return np.array([[a @ right, a @ down, a @ offset] for a in axes]) / plane.spacing_mm


def heart_affine(person: Person, view: str, plane: Plane) -> np.ndarray:
    right, down = heart_axes(plane.row, plane.column, view)
    affine = _to_pixels(plane, heart_position(person), right, down)
    angle = np.deg2rad(AXIS_DEG[view] + person.scan.axis_deg[view])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turn = turn * person.scan.cut[view]
    affine[:, 2] -= affine[:, :2] @ turn @ (HEART_CENTRE_MM[view] * person.scan.size)
    affine[:, :2] = affine[:, :2] @ turn
    return affine


def chest_affine(person: Person, view: str, plane: Plane) -> np.ndarray:
    """The chest's axes are the usual plane's rows and columns, turned into the present plane with the heart's axes."""
    usual = _usual_directions(view)
    right0, down0 = heart_axes(*usual, view)
    right, down = heart_axes(plane.row, plane.column, view)
    x, y = ((axis @ right0) * right + (axis @ down0) * down for axis in usual)
    return _to_pixels(plane, heart_position(person), x, y)
