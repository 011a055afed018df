"""Shapes onto a canvas: bent a little, placed, painted with smooth edges.

What belongs here: painting of layers. What does not: where a plane lies (planes.py), what the scanner adds (scanner.py).
"""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from heart_assets.phantom.shapes import Layer

_SHIFT = 4  # fractional bits of painted coordinates


def paint(canvas: np.ndarray, outlines: Sequence[tuple[Layer, np.ndarray, int]], frame: int) -> None:
    """Draw one frame's layers, anti-aliased, bottom up."""
    for layer, points, width in outlines:
        if width:
            cv2.polylines(canvas, [points[frame]], False, layer.value, width, cv2.LINE_AA, _SHIFT)
        else:
            cv2.fillPoly(canvas, [points[frame]], layer.value, cv2.LINE_AA, _SHIFT)


def place(layers: Sequence[Layer], affine: np.ndarray, fine: int, shifts: np.ndarray) -> list[tuple[Layer, np.ndarray, int]]:
    """Each layer with its points on the fine canvas (fixed-point int32, (T, K, 2)) and its line's width there (0: filled).

    `shifts` are displacements of the whole, mm, (T, 2).
    """
    scale = float(np.hypot(affine[0, 0], affine[1, 0])) * fine
    placed = []
    for layer in layers:
        pixels = (layer.contour + shifts[:, None]) @ affine[:, :2].T + affine[:, 2]
        points = np.rint(((pixels + 0.5) * fine - 0.5) * (1 << _SHIFT)).astype(np.int32)
        placed.append((layer, points, max(1, round(layer.line_mm * scale)) if layer.line_mm else 0))
    return placed


def organic(layers: Sequence[Layer], rng: np.random.Generator, amplitude_mm: float, wave_mm: float) -> list[Layer]:
    """The same layers bent by one smooth random field, so that nobody's contours are ellipses."""
    directions = rng.uniform(-1, 1, (5, 2)) * 2 * np.pi / wave_mm
    starts, pushes = rng.uniform(0, 2 * np.pi, 5), rng.standard_normal((5, 2)) * amplitude_mm / 2
    points = np.concatenate([layer.contour for layer in layers], axis=1)
    points = points + np.sin(points @ directions.T + starts) @ pushes
    ends = np.cumsum([layer.contour.shape[1] for layer in layers])[:-1]
    return [replace(layer, contour=contour) for layer, contour in zip(layers, np.split(points, ends, axis=1), strict=True)]
