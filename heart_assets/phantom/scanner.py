"""The simulated scanner: where the image planes lie, how shapes become pixels, and what coil and noise do to them.

What belongs here: plane geometry (LPS, mm), rasterising, point spread, coil shading, flow, Rician noise. What does not:
the shapes themselves (anatomy.py, chest.py), and files.

Rasterising: each frame's layers are painted, anti-aliased, on a canvas finer than the image, then averaged down to pixels
(partial volume) and blurred. The chest is painted once per cine, the heart for every frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from heart_assets.phantom.anatomy import BLOOD, HEART_CENTRE_MM, Layer, heart_layers
from heart_assets.phantom.chest import chest_layers
from heart_assets.phantom.motion import aortic_opening, contraction, mitral_opening
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
_SHIFT = 4  # fractional bits of painted coordinates
_AIR = 2  # grey value
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


def _heart_affine(person: Person, view: str, plane: Plane) -> np.ndarray:
    right, down = heart_axes(plane.row, plane.column, view)
    affine = _to_pixels(plane, heart_position(person), right, down)
    angle = np.deg2rad(AXIS_DEG[view] + person.scan.axis_deg[view])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turn = turn * person.scan.cut[view]
    affine[:, 2] -= affine[:, :2] @ turn @ (HEART_CENTRE_MM[view] * person.scan.size)
    affine[:, :2] = affine[:, :2] @ turn
    return affine


def _chest_affine(person: Person, view: str, plane: Plane) -> np.ndarray:
    """The chest's axes are the usual plane's rows and columns, turned into the present plane with the heart's axes."""
    usual = _usual_directions(view)
    right0, down0 = heart_axes(*usual, view)
    right, down = heart_axes(plane.row, plane.column, view)
    x, y = ((axis @ right0) * right + (axis @ down0) * down for axis in usual)
    return _to_pixels(plane, heart_position(person), x, y)


def _paint(canvas: np.ndarray, outlines: Sequence[tuple[Layer, np.ndarray, int]], frame: int) -> None:
    """Draw one frame's layers, anti-aliased, bottom up."""
    for layer, points, width in outlines:
        if width:
            cv2.polylines(canvas, [points[frame]], False, layer.value, width, cv2.LINE_AA, _SHIFT)
        else:
            cv2.fillPoly(canvas, [points[frame]], layer.value, cv2.LINE_AA, _SHIFT)


def _outlines(layers: Sequence[Layer], affine: np.ndarray, fine: int, shifts: np.ndarray) -> list[tuple[Layer, np.ndarray, int]]:
    """Each layer with its points on the fine canvas (fixed-point int32, (T, K, 2)) and its line's width there (0: filled).

    `shifts` are displacements of the whole, mm, (T, 2).
    """
    scale = float(np.hypot(affine[0, 0], affine[1, 0])) * fine
    outlines = []
    for layer in layers:
        pixels = (layer.contour + shifts[:, None]) @ affine[:, :2].T + affine[:, 2]
        points = np.rint(((pixels + 0.5) * fine - 0.5) * (1 << _SHIFT)).astype(np.int32)
        outlines.append((layer, points, max(1, round(layer.line_mm * scale)) if layer.line_mm else 0))
    return outlines


def _organic(layers: Sequence[Layer], rng: np.random.Generator, amplitude_mm: float, wave_mm: float) -> list[Layer]:
    """The same layers bent by one smooth random field, so that nobody's contours are ellipses."""
    directions = rng.uniform(-1, 1, (5, 2)) * 2 * np.pi / wave_mm
    starts, pushes = rng.uniform(0, 2 * np.pi, 5), rng.standard_normal((5, 2)) * amplitude_mm / 2
    points = np.concatenate([layer.contour for layer in layers], axis=1)
    points = points + np.sin(points @ directions.T + starts) @ pushes
    ends = np.cumsum([layer.contour.shape[1] for layer in layers])[:-1]
    return [replace(layer, contour=contour) for layer, contour in zip(layers, np.split(points, ends, axis=1), strict=True)]


def _smooth_field(rng: np.random.Generator, plane: Plane, scale_mm: float) -> np.ndarray:
    """A random field of unit variance, smooth over about `scale_mm`."""
    step = scale_mm / plane.spacing_mm
    coarse = rng.standard_normal((int(plane.rows / step) + 3, int(plane.columns / step) + 3)).astype(np.float32)
    field = cv2.resize(coarse, (plane.columns, plane.rows), interpolation=cv2.INTER_CUBIC)
    return (field - field.mean()) / field.std()


def _spot(plane: Plane, affine: np.ndarray, x: float, y: float, radius_mm: float) -> np.ndarray:
    centre = affine[:, :2] @ np.array([x, y]) + affine[:, 2]
    column, row = np.arange(plane.columns) - centre[0], np.arange(plane.rows)[:, None] - centre[1]
    return np.exp(-0.5 * (column**2 + row**2) * (plane.spacing_mm / radius_mm) ** 2).astype(np.float32)


def _coil(person: Person, plane: Plane) -> np.ndarray:
    x = (np.arange(plane.columns) - plane.columns / 2) * plane.spacing_mm / 150
    y = (np.arange(plane.rows)[:, None] - plane.rows / 2) * plane.spacing_mm / 150
    along_row, along_column, curve = person.scan.shading
    along_row, along_column = along_row - 0.3 * plane.row[1], along_column - 0.3 * plane.column[1]  # the coil lies on the chest: -y
    return np.exp(along_row * x + along_column * y + curve * (x**2 + y**2 - 0.5)).astype(np.float32)


def _flow(person: Person, view: str, plane: Plane, affine: np.ndarray, phases: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Relative signal of moving blood, (T, rows, columns): inflow, slow swirls, speckled jets through the open valves."""
    swirl = [_smooth_field(rng, plane, 14.0) for _ in range(2)]
    turns = [np.cos(2 * np.pi * phases), np.sin(2 * np.pi * phases)]
    relative = sum(turn[:, None, None].astype(np.float32) * field for turn, field in zip(turns, swirl, strict=True)) * 0.05
    waves = [wave(2 * np.pi * harmonic * phases) for harmonic in (1, 2, 3) for wave in (np.cos, np.sin)]
    relative = relative + (np.array(person.scan.inflow) @ np.array(waves))[:, None, None].astype(np.float32)
    speckle = _smooth_field(rng, plane, 3.5)
    jets = [(0.0, 16.0, mitral_opening(phases, person.traits)), (-16.0, -22.0, aortic_opening(phases, person.traits))]
    for x, y, strength in jets[: 2 if view == "3ch" else 1]:
        spot = _spot(plane, affine, x, y, 11.0) * (0.6 * speckle - 0.35)
        relative = relative + person.scan.jet * strength[:, None, None].astype(np.float32) * spot
    return 1 + relative


def render(person: Person, view: str, plane: Plane, frames: int) -> np.ndarray:
    """One cine as the scanner stores it: (frames, rows, columns) uint16, 12 bits, frame k at phase k / frames after the trigger.

    Args:
        person: traits, nuisances and seed; the same person gives the same pixels.
        view: "3ch" or "4ch".
        plane: from `scan_plane` or `centred_plane`.
        frames: frames per cardiac cycle.
    """
    rng = np.random.default_rng([person.scan.texture_seed, int(view[0])])
    phases = (np.arange(frames) / frames + person.scan.trigger_delay) % 1.0
    fine = max(2, round(plane.spacing_mm / 1.1))
    affine, chest = _heart_affine(person, view, plane), _chest_affine(person, view, plane)
    still = np.full((plane.rows * fine, plane.columns * fine), _AIR, np.uint8)
    _paint(still, _outlines(_organic(chest_layers(view, person.scan), rng, 5.0, 200.0), chest, fine, np.zeros((1, 2))), 0)
    layers = _organic(heart_layers(view, person.traits, phases, person.scan.size), rng, 1.2, 85.0)
    bulk = np.outer(contraction(phases, person.traits), np.array([-0.35, 0.6]) * person.traits["bulk_motion_mm"])
    outlines = _outlines(layers, affine, fine, bulk)
    signal = np.empty((frames, plane.rows, plane.columns), np.float32)
    for frame in range(frames):
        canvas = still.copy()
        _paint(canvas, outlines, frame)
        signal[frame] = cv2.resize(canvas, (plane.columns, plane.rows), interpolation=cv2.INTER_AREA)
    sigma = 1.1 / plane.spacing_mm
    for image in signal:
        cv2.GaussianBlur(image, (0, 0), sigma, dst=image)
    bloody = np.clip((signal - 110) / 45, 0, 1) * np.clip((195 - signal) / 15, 0, 1)  # brighter is fat
    signal *= 1 + bloody * (_flow(person, view, plane, affine, phases, rng) - 1)
    signal *= (1 + 0.03 * _smooth_field(rng, plane, 5.0) + 0.06 * _smooth_field(rng, plane, 30.0)) * _coil(person, plane) / BLOOD
    noise = rng.standard_normal((2, *signal.shape), np.float32) * person.scan.noise
    magnitude = np.hypot(signal + noise[0], noise[1])
    return np.clip(np.rint(magnitude * person.scan.level), 0, 4095).astype(np.uint16)


def render_clips(people: Sequence[Person], view: str, frames: int = 25, size_px: int = 64, spacing_mm: float = 3.6) -> np.ndarray:
    """Cleaned-looking clips without any files: (people, frames, size_px, size_px) uint8, for gates and tests.

    Each lies in a plane that misses the heart's centre and the usual angles by the person's own nuisances, with grey values
    scaled between the clip's 1st and 99.5th percentile.
    """
    clips = np.empty((len(people), frames, size_px, size_px), np.uint8)
    for clip, person in zip(clips, people, strict=True):
        pixels = render(person, view, centred_plane(person, view, size_px, spacing_mm), frames).astype(np.float32)
        low, high = np.percentile(pixels, [1.0, 99.5])
        clip[...] = np.clip((pixels - low) * (255 / (high - low)), 0, 255)
    return clips
