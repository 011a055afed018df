"""Contours: layers of tissue, ellipses, tubes, leaflets. Millimetres, x right, y down.

What belongs here: shapes that know nothing of hearts. What does not: what they stand for (ventricle.py, anatomy.py,
chest.py) and how they become pixels (raster.py).
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Layer:
    """One tissue: its grey value (0-255), its contour for each phase (T, K, 2) in mm, and for an open line its width in mm."""

    value: int
    contour: np.ndarray
    line_mm: float = 0.0


_CIRCLE = np.linspace(0, 2 * np.pi, 56, endpoint=False)


def _column(values: np.ndarray | float, phases: np.ndarray) -> np.ndarray:
    return np.broadcast_to(np.asarray(values, float), phases.shape)[:, None]


def ellipse(x, y, half_x, half_y, phases: np.ndarray, exponent: float = 2.0, angle_deg: float = 0.0) -> np.ndarray:
    """Superellipse contours (T, 56, 2); every number may be a scalar or one value per phase."""
    cos, sin = np.cos(_CIRCLE), np.sin(_CIRCLE)
    dx = _column(half_x, phases) * np.sign(cos) * np.abs(cos) ** (2 / exponent)
    dy = _column(half_y, phases) * np.sign(sin) * np.abs(sin) ** (2 / exponent)
    angle = np.deg2rad(angle_deg)
    return np.stack(
        [_column(x, phases) + dx * np.cos(angle) - dy * np.sin(angle), _column(y, phases) + dx * np.sin(angle) + dy * np.cos(angle)], axis=2
    )


def leaflets(left: np.ndarray, right: np.ndarray, opening: np.ndarray, length: float) -> list[Layer]:
    """Two thin leaflets hung from two points of a ring, (T, 2) each; closed they meet, open they point along the flow."""
    layers = []
    middle, half = (left + right) / 2, (right - left) / 2
    for ring, sign in ((left, 1.0), (right, -1.0)):
        open_tip = ring + sign * half * 0.30 + np.array([0.0, 1.0]) * length
        closed_tip = middle - sign * half * 0.04 + np.array([0.0, 1.0]) * length * 0.42
        mix = np.clip(opening, 0, 1.3)[:, None]
        tip = closed_tip * (1 - mix) + open_tip * mix
        bend = (ring + tip) / 2 + np.array([0.0, 1.5])
        layers.append(Layer(92, np.stack([ring, bend, tip], axis=1), line_mm=1.8))
    return layers


def tube(start: np.ndarray, direction: np.ndarray, along: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """A tube's outline (T, 2n, 2) from its start (T, 2), unit direction (2,), stations (n,) mm and radii (T, n) mm."""
    normal = np.array([direction[1], -direction[0]])
    spine = start[:, None] + along[None, :, None] * direction
    side = radius[:, :, None] * normal
    return np.concatenate([spine + side, (spine - side)[:, ::-1]], axis=1)
