"""The left ventricle: cavity, wall and ring over the beat, on which the rest of the heart hangs.

What belongs here: its contours in millimetres, from traits and phase. Coordinates as in anatomy.py. What does not: the
other chambers.
"""

from collections.abc import Mapping

import numpy as np

from heart_assets.phantom.motion import contraction
from heart_assets.phantom.shapes import ellipse

_THETA = np.linspace(0, np.pi / 2, 22)


class Ventricle:
    """The left ventricle's moving frame: plane of the ring, apex, and half widths to either side as functions of height."""

    def __init__(self, traits: Mapping[str, float], phases: np.ndarray, size: float):
        t = traits
        self.traits, self.phases, self.size = t, phases, size
        self.long = contraction(phases, t, t["longitudinal_delay"])
        self.left = contraction(phases, t, t["septal_delay"])
        self.right = contraction(phases, t)
        excursion = max(t["long_axis_excursion_mm"], 3.0) * size
        tilt = np.tan(np.deg2rad(t["valve_plane_tilt_deg"])) * t["lv_radius_mm"] * size
        skew = np.clip(t["excursion_tilt"], -0.6, 0.6)
        self.base_left = tilt + excursion * (1 - skew) * self.long
        self.base_right = -tilt + excursion * (1 + skew) * self.long
        self.apex = t["lv_length_mm"] * size - 1.5 * self.long
        self.apex_x = t["apex_rocking_mm"] * self.left
        self.shortening = np.clip(t["radial_shortening"], 0.1, 0.6)
        # the right heart shares in the left one's work
        self.rv_shortening = np.clip(t["rv_shortening"] * self.shortening / 0.31, 0.04, 0.6)
        self.rv_excursion = max(t["rv_excursion_mm"] * excursion / (14.0 * size), 4.0) * size * self.long

    def side(self, sign: int, outer: bool, margin: float = 0.0) -> np.ndarray:
        """Contour of one side (-1 septal, +1 lateral) from ring to apex, (T, 22, 2): the cavity's, or the wall's outer one."""
        t, s = self.traits, np.sin(_THETA)[None, :]  # s: 0 at the ring, 1 at the apex
        base = (self.base_left if sign < 0 else self.base_right)[:, None]
        beat = (self.left if sign < 0 else self.right)[:, None]
        profile = (1 - s**2.4) ** 0.58 * (0.84 + 0.16 * np.sin(np.pi * np.minimum(s / 0.7, 1) * 0.5))
        profile = profile / profile.max()
        shortening = self.shortening * (1 + t["base_apex_gradient"] * (s - 0.45))
        width = t["lv_radius_mm"] * self.size * (1 - shortening * beat)
        apex = np.broadcast_to(self.apex[:, None], beat.shape).copy()
        if outer:
            wall, thickening = (
                (t["septal_wall_mm"], t["septal_thickening"]) if sign < 0 else (t["lateral_wall_mm"], t["lateral_thickening"])
            )
            thickening = max(thickening, 0.0) * self.shortening / 0.3  # muscle keeps its volume
            wall = max(wall, 4.0) * self.size * (1 + thickening * beat) + margin
            width = width + wall * (1 - 0.15 * s)
            apex = apex + 0.62 * wall
        elif t["trabeculation_mm"] > 0:
            rough = np.sin(9 * np.pi * s + sign) + 0.7 * np.sin(15 * np.pi * s + 2 * sign)
            towards_apex = np.sin(np.pi * np.clip((s - 0.25) / 0.75, 0, 1))
            width = width - t["trabeculation_mm"] * (0.9 + 0.6 * rough) * towards_apex * (0.6 + 0.4 * beat)
        y = base + s * (apex - base)
        return np.stack([sign * width * profile + self.apex_x[:, None] * s**2, y], axis=2)

    def contour(self, outer: bool, margin: float = 0.0) -> np.ndarray:
        """Closed contour of the cavity or of the wall's outside, (T, 44, 2)."""
        return np.concatenate([self.side(-1, outer, margin), self.side(1, outer, margin)[:, ::-1]], axis=1)

    def papillary(self) -> np.ndarray:
        """The papillary muscle's cut, a dark island in the cavity's lateral half."""
        right = self.side(1, False)[:, 9]
        return ellipse(right[:, 0] - 4.5 - 1.5 * self.right, right[:, 1], 2.0 + 1.2 * self.right, 8.5, self.phases, angle_deg=12)
