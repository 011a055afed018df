"""The simulated scanner: shapes become images, and what coil, flow and noise do to them.

What belongs here: partial volume, point spread, coil shading, blood's signal, Rician noise. What does not: the shapes
(anatomy.py, chest.py), where the plane lies (planes.py), files.

Each frame's layers are painted on a canvas finer than the image, then averaged down to pixels (partial volume) and
blurred. The chest is painted once per cine, the heart for every frame.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from heart_assets.phantom.anatomy import BLOOD, heart_layers
from heart_assets.phantom.chest import chest_layers
from heart_assets.phantom.motion import aortic_opening, contraction, mitral_opening
from heart_assets.phantom.people import Person
from heart_assets.phantom.planes import Plane, centred_plane, chest_affine, heart_affine
from heart_assets.phantom.raster import organic, paint, place

_AIR = 2  # grey value


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
    affine, chest = heart_affine(person, view, plane), chest_affine(person, view, plane)
    still = np.full((plane.rows * fine, plane.columns * fine), _AIR, np.uint8)
    paint(still, place(organic(chest_layers(view, person.scan), rng, 5.0, 200.0), chest, fine, np.zeros((1, 2))), 0)
    layers = organic(heart_layers(view, person.traits, phases, person.scan.size), rng, 1.2, 85.0)
    bulk = np.outer(contraction(phases, person.traits), np.array([-0.35, 0.6]) * person.traits["bulk_motion_mm"])
    outlines = place(layers, affine, fine, bulk)
    signal = np.empty((frames, plane.rows, plane.columns), np.float32)
    for frame in range(frames):
        canvas = still.copy()
        paint(canvas, outlines, frame)
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
