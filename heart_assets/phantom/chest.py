"""What lies around the heart: skin, fat, muscle, lungs, spine, great vessels, liver, stomach. It does not move.

What belongs here: still shapes in millimetres, in axes along the scanner's usual image (x right, y down), origin at the
heart's centre. What does not: the heart itself (anatomy.py).
"""

import numpy as np

from heart_assets.phantom.people import Scan
from heart_assets.phantom.shapes import Layer, ellipse

_STILL = np.zeros(1)
_BEHIND_VESSELS = 7  # layers of either view that lie under the small vessels of the lungs
_FAT, _LUNG, _MUSCLE, _SOFT, _LIVER, _VESSEL = 215, 9, 42, 34, 48, 150


def _shape(value: int, x: float, y: float, half_x: float, half_y: float, exponent: float = 2.0, angle: float = 0.0) -> Layer:
    return Layer(value, ellipse(x, y, half_x, half_y, _STILL, exponent, angle))


def chest_layers(view: str, scan: Scan) -> list[Layer]:
    """The still surroundings of one view, painted bottom up: 4ch is near transverse, the others near sagittal."""
    layers = _transverse(scan) if view == "4ch" else _sagittal(scan)
    rng = np.random.default_rng([scan.texture_seed, 1])
    places = rng.uniform(0, 1, (12, 2)) * ((150, 90) if view == "4ch" else (40, 150)) + ((0, -80) if view == "4ch" else (70, -80))
    sides = np.where(rng.random(12) < 0.5, 1, -1) if view == "4ch" else np.ones(12)
    vessels = [
        _shape(int(rng.uniform(25, 75)), side * max(x, 62), y, rng.uniform(1.0, 5.0), rng.uniform(0.8, 1.6), 2.0, rng.uniform(0, 180))
        for side, (x, y) in zip(sides, places, strict=True)
    ]
    return layers[:_BEHIND_VESSELS] + vessels + layers[_BEHIND_VESSELS:]


def _transverse(scan: Scan) -> list[Layer]:
    girth, fat, dome = scan.girth, scan.skin_fat_mm, scan.liver_dome_mm
    x, y, wide, high = -6.0, -26.0, 176.0 * girth, 130.0 * girth
    front = y - 0.30 * fat  # the fat is thicker in front
    return [
        _shape(_FAT, x, y, wide, high, 2.8),
        _shape(_MUSCLE, x + 2, front, wide - 0.9 * fat, high - fat, 2.7),
        _shape(150, x + 2, front - 2, wide - 0.9 * fat - 12, high - fat - 11, 2.6),
        _shape(_MUSCLE - 6, x + 2, front - 2, wide - 0.9 * fat - 15, high - fat - 14, 2.6),
        _shape(_LUNG, x - 82 * girth, y - 18, 62 * girth, 80 * girth, 2.5, 6),
        _shape(_LUNG, x + 86 * girth, y - 4, 58 * girth, 90 * girth, 2.5, -8),
        _shape(_SOFT, -8, -56, 38, 46, 2.2),
        _shape(165, 40, 72, 52, 15, 2.2, -20),
        _shape(_MUSCLE, -4, 86 * girth, 95, 8, 2.5, 0),
        _shape(_LIVER, -98, 42 - dome, 70, 46, 2.3, 14),
        _shape(118, -112, 30 - dome, 9, 2.2, 2.0, 40),
        _shape(112, -84, 44 - dome, 7, 2.0, 2.0, -30),
        _shape(108, -124, 52 - dome, 5, 2.2),
        _shape(90, -70, 60 - dome, 4, 1.6),
        _shape(105, -2, 101 * girth, 19, 6, 2.4),
        _shape(60, -14, -110, 60, 15, 2.4),
        _shape(26, -14, -88, 19, 17, 2.4),
        _shape(70, -13, -111, 12, 9, 2.0),
        _shape(185, -13, -109, 8, 7.5),
        _shape(78, -13, -109, 4.5, 4.2),
        _shape(40, 17, -84, 13.0 * scan.size, 14.5 * scan.size),
        _shape(_VESSEL, 17, -84, 11.5 * scan.size, 13 * scan.size),
        _shape(135, -66, -70, 7, 4.5, 2.0, 35),
        _shape(145, 47, -80, 6, 7),
        _shape(70, -54, -60, 9, 2.5, 2.0, -35),
    ]


def _sagittal(scan: Scan) -> list[Layer]:
    girth, fat, dome = scan.girth, scan.skin_fat_mm, scan.liver_dome_mm
    x, y, wide, high = 20.0, 6.0, 96.0 * girth, 235.0
    inner = x + 0.45 * fat
    return [
        _shape(_FAT, x - 4, y, wide, high, 2.7, 4),
        _shape(_MUSCLE, inner, y - 4, wide - 0.8 * fat, high, 2.6, 3),
        _shape(140, inner + 2, y - 4, wide - 0.8 * fat - 9, high, 2.6, 3),
        _shape(_MUSCLE - 6, inner + 3, y - 4, wide - 0.8 * fat - 12, high, 2.6, 2),
        _shape(_LUNG, x + 14, -108, 58 * girth, 62, 2.4),
        _shape(_LUNG, x + 46 * girth, 24, 38 * girth, 112, 2.6, -4),
        _shape(_SOFT, -8, -44, 42, 50, 2.2, 16),
        _shape(150, -34, 56, 26, 14, 2.0, 40),
        _shape(178, 30, 124 - dome, 64, 54, 2.3, 12),
        _shape(_LIVER - 4, 27, 127 - dome, 60, 51, 2.3, 12),
        _shape(72, 6, 126 - dome, 16, 9, 2.0, 20),
        _shape(62, 44, 112 - dome, 12, 7, 2.0, -30),
        _shape(160, 64, 150 - dome, 18, 5, 2.0, -40),
        _shape(40, 56, -22, 12.0 * scan.size, 15.5 * scan.size),
        _shape(_VESSEL, 56, -22, 10.5 * scan.size, 14 * scan.size),
        _shape(38, 64, -66, 12, 16, 2.0, 20),
        _shape(150, 62, -64, 3.5, 8, 2.0, 20),
        _shape(85, 106 * girth, -30, 8, 70, 2.6, 3),
        _shape(30, 96 * girth, 60, 9, 40, 2.6, -4),
    ]
