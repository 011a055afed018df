"""The heart's shapes over the cardiac cycle, in both long-axis views.

What belongs here: contours in millimetres from traits and phase. What does not: the chest around it (chest.py), pixels,
grey-value effects of the scanner (scanner.py).

Coordinates: x to the image's right and y down, origin at the middle of the mitral ring at end diastole, the left
ventricle's long axis along +y. So x is towards the lateral wall in 4ch and towards the inferolateral wall in 3ch. A heart
is a list of `Layer`s, painted in order, each with one closed (or, for leaflets, open) contour per phase.
"""

from collections.abc import Mapping

import numpy as np

from heart_assets.phantom.motion import aortic_opening, aortic_pulse, atrial_kick, mitral_opening
from heart_assets.phantom.shapes import Layer, ellipse, leaflets, tube
from heart_assets.phantom.ventricle import Ventricle

BLOOD, FAT, WALL = 168, 205, 60
# Centre of the whole heart in these coordinates
HEART_CENTRE_MM = {"2ch": np.array([0.0, 18.0]), "3ch": np.array([-8.0, 12.0]), "4ch": np.array([-22.0, 24.0])}


def _right_ventricle(
    lv: Ventricle, margin: float, top: np.ndarray, radius: np.ndarray, reach: float, bulge: float, dome: float = 0.0
) -> np.ndarray:
    """The crescent in front of the septum, from height `top` (T,) to `reach` of the left ventricle's outer length.

    `bulge` rounds it towards the apex; `dome` is the share of its length over which it is rounded at the top.
    """
    u = np.linspace(0, 1, 22)[None, :]
    septum = lv.side(-1, True)
    y = top[:, None] + u * (septum[:, -1, 1][:, None] * reach + margin - top[:, None])
    inner = np.stack([np.interp(row, side[:, 1], side[:, 0]) for row, side in zip(y, septum, strict=True)])
    free = inner - (radius[:, None] * (0.9 + 0.1 * np.sin(np.pi * np.minimum(1.5 * u, 1))) + margin) * (1 - u**bulge) ** 0.8
    if dome:
        free = inner + (free - inner) * np.sqrt(1 - np.clip(1 - u / dome, 0, 1) ** 2)
    return np.concatenate([np.stack([free, y], axis=2), np.stack([inner + 2.0, y], axis=2)[:, ::-1]], axis=1)


def heart_layers(view: str, traits: Mapping[str, float], phases: np.ndarray, size: float = 1.0) -> list[Layer]:
    """The whole heart of one view, painted bottom up.

    Args:
        view: "2ch", "3ch" or "4ch".
        traits: physical values by name (`traits.NAMES`).
        phases: (T,) cardiac phases in cycles.
        size: common factor on lengths (body size and sex).
    """
    lv = Ventricle(traits, phases, size)
    return {"2ch": _two_chambers, "3ch": _three_chambers, "4ch": _four_chambers}[view](lv)


def _ventricular_layers(lv: Ventricle) -> list[Layer]:
    wall = _muscle(lv)
    return [
        Layer(wall, lv.contour(outer=True)),
        Layer(BLOOD, lv.contour(outer=False)),
        Layer((wall + BLOOD) // 2, lv.papillary()),
    ]


def _muscle(lv: Ventricle) -> int:
    return int(np.clip(lv.traits["myocardial_signal"], 12, 125))


def _fat(lv: Ventricle) -> float:
    return max(lv.traits["epicardial_fat_mm"], 0.6)


def _two_chambers(lv: Ventricle) -> list[Layer]:
    t = lv.traits
    height, half = t["la_size_mm"] * lv.size, 0.5 * t["la_size_mm"] * lv.size * (1 - t["la_kick"] * atrial_kick(lv.phases, t))
    bottom = (lv.base_left + lv.base_right) / 2 + 3
    atrium = [
        Layer(value, ellipse(2.0, (bottom - height) / 2, half + grow, (bottom + height) / 2 + grow, lv.phases, 2.4))
        for grow, value in ((2.0, _muscle(lv)), (0.0, BLOOD))
    ]
    ring = [lv.side(sign, False)[:, 0] for sign in (-1, 1)]
    return [
        Layer(FAT, lv.contour(True, margin=_fat(lv))),
        atrium[0],
        *_ventricular_layers(lv),
        atrium[1],
        *leaflets(ring[0], ring[1], mitral_opening(lv.phases, t), 17.0 * lv.size),
    ]


def _four_chambers(lv: Ventricle) -> list[Layer]:
    t, phases, size = lv.traits, lv.phases, lv.size
    kick, fat = atrial_kick(phases, t), _fat(lv)
    septum_x = lv.side(-1, True)[:, 0, 0]
    tricuspid = 7.0 * size + lv.rv_excursion
    rv_radius = t["rv_radius_mm"] * size * (1 - lv.rv_shortening * lv.left)
    rv = [_right_ventricle(lv, margin, tricuspid, rv_radius, 0.93, 2.6) for margin in (3.2 + fat * 1.6, 3.2, 0.0)]

    la_height = t["la_size_mm"] * size
    la_half = 0.63 * t["la_size_mm"] * size * (1 + t["la_reservoir"] * (lv.long - 0.3) - t["la_kick"] * kick)
    la_bottom = (lv.base_left + lv.base_right) / 2 + 3
    la_y, la_half_y = (la_bottom - la_height) / 2, (la_bottom + la_height) / 2
    ra_height = t["ra_size_mm"] * size
    ra_half = 0.5 * t["ra_size_mm"] * size * (1 + t["ra_reservoir"] * (lv.long - 0.3) - 0.1 * kick)
    ra_x = septum_x - 0.60 * 0.87 * t["rv_radius_mm"] * size - 1.0
    ra_top, ra_bottom = 8.0 - ra_height, tricuspid + 3
    ra_y, ra_half_y = (ra_bottom + ra_top) / 2, (ra_bottom - ra_top) / 2

    def atria(grow: float, value: int) -> list[Layer]:
        return [
            Layer(value, ellipse(4.0, la_y - grow * 0.3, la_half + grow, la_half_y + grow * 0.7, phases, 2.3, -6)),
            Layer(value, ellipse(ra_x, ra_y, ra_half + grow, ra_half_y + grow * 0.7, phases, 2.4, 8)),
        ]

    veins = [
        Layer(BLOOD - 8, ellipse(26.0 * size, -la_height * 0.86, 13.0, 5.0, phases, angle_deg=-28)),
        Layer(BLOOD - 8, ellipse(-22.0 * size, -la_height * 0.90, 11.0, 4.5, phases, angle_deg=30)),
    ]
    groove_l = np.stack([ra_x - ra_half * 0.86, tricuspid + 1], axis=1)
    groove_r = lv.side(1, True)[:, 0] + np.array([0.5, -2.0])
    grooves = [Layer(FAT, ellipse(groove[:, 0], groove[:, 1], 3.5 + fat, 4.0 + 1.2 * fat, phases)) for groove in (groove_l, groove_r)]
    ring = [lv.side(sign, False)[:, 0] for sign in (-1, 1)]
    tricuspid_ring = [np.stack([septum_x - 1, tricuspid], axis=1), np.stack([septum_x - rv_radius * 0.98, tricuspid], axis=1)]
    opening = mitral_opening(phases, t)
    return [
        Layer(FAT, lv.contour(True, margin=fat)),
        Layer(FAT, rv[0]),
        *atria(2.0, _muscle(lv)),
        *grooves,
        *veins,
        Layer(_muscle(lv), rv[1]),
        Layer(BLOOD - 8, rv[2]),
        *_ventricular_layers(lv),
        *atria(0.0, BLOOD - 2),
        *leaflets(ring[0], ring[1], opening, 17.0 * size),
        *leaflets(tricuspid_ring[1], tricuspid_ring[0], opening, 15.0 * size),
    ]


def _three_chambers(lv: Ventricle) -> list[Layer]:
    t, phases, size = lv.traits, lv.phases, lv.size
    kick, fat = atrial_kick(phases, t), _fat(lv)
    radius = t["lv_radius_mm"] * size
    # right ventricular outflow tract, in front (left) of the septum
    rv_top = -34.0 * size + 0.5 * lv.rv_excursion
    rv_radius = 0.78 * t["rv_radius_mm"] * size * (1 - lv.rv_shortening * lv.left)
    rv = [_right_ventricle(lv, margin, rv_top - margin, rv_radius, 0.56, 1.9, 0.3) for margin in (3.2 + fat * 1.6, 3.2, 0.0)]
    # aorta: from the left half of the base upwards
    pulse = aortic_pulse(phases, t)
    root = 0.5 * t["aortic_root_mm"] * size
    along = np.array([-14.0, 0.0, 7.0, 12.0, 17.0, 22.0, 27.0, 40.0, 56.0, 64.0, 69.0, 73.0, 75.0]) * size
    shape = np.array([0.80, 0.78, 0.95, 1.05, 1.04, 0.94, 0.88, 0.94, 0.98, 0.92, 0.75, 0.45, 0.15])
    stretch = 1 + np.clip(t["aortic_distension"], 0, 0.3) * pulse[:, None] * (along > 4)
    direction = np.array([-0.36, -0.93])
    start = np.stack([np.full_like(phases, -0.46 * radius), lv.base_left - 3], axis=1)
    aorta = [tube(start, direction, along, root * shape * stretch + grow) for grow in (2.2, 0.0)]
    # left atrium: behind (right of) the aorta
    la_height = 1.2 * t["la_size_mm"] * size
    la_half = 0.44 * t["la_size_mm"] * size * (1 + t["la_reservoir"] * (lv.long - 0.3) - t["la_kick"] * kick)
    la_bottom = lv.base_right + 3
    la_y, la_half_y = (la_bottom - la_height) / 2, (la_bottom + la_height) / 2
    la_x = 0.55 * radius + 5.0
    atrium = [
        Layer(value, ellipse(la_x, la_y, la_half + grow, la_half_y + grow, phases, 2.4, 10))
        for grow, value in ((2.0, _muscle(lv)), (0.0, BLOOD))
    ]
    right = lv.side(1, False)[:, 0]
    hinge = np.stack([np.full_like(phases, -0.02 * radius), (lv.base_left + lv.base_right) / 2], axis=1)
    valve_left, valve_right = (start + direction * 2.0 * size + sign * root * 0.78 * np.array([0.93, -0.36]) for sign in (-1, 1))
    cusps = leaflets(valve_left, valve_right, 1.0 - aortic_opening(phases, t), 7.0 * size)
    groove = lv.side(1, True)[:, 0] + np.array([0.0, -3.0])
    return [
        Layer(FAT, lv.contour(True, margin=fat)),
        Layer(FAT, rv[0]),
        Layer(FAT - 40, ellipse(-0.9 * radius, -42.0 * size, 30.0, 26.0, phases)),
        Layer(BLOOD - 25, ellipse(la_x - 3, -la_height - 12, 8.5 * size, 6.5 * size, phases)),
        atrium[0],
        Layer(_muscle(lv), rv[1]),
        Layer(BLOOD - 6, rv[2]),
        Layer(FAT, ellipse(groove[:, 0], groove[:, 1], 3.0 + fat, 3.5 + 1.2 * fat, phases)),
        _ventricular_layers(lv)[0],
        Layer(WALL - 8, aorta[0]),
        *_ventricular_layers(lv)[1:],
        atrium[1],
        Layer(BLOOD - 2, aorta[1]),
        Layer(BLOOD, ellipse(0.1 * radius, (lv.base_left + lv.base_right) / 2 + 9, 0.62 * radius, 9.0, phases)),
        *leaflets(hinge, right, mitral_opening(phases, t), 17.0 * size),
        *cusps,
    ]
