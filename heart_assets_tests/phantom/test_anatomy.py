"""The heart's shapes: sizes in mm, and that each trait does what it says."""

import numpy as np
import pytest

from heart_assets.phantom.anatomy import heart_layers
from heart_assets.phantom.shapes import ellipse
from heart_assets.phantom.traits import TRAITS, neutral_values
from heart_assets.phantom.ventricle import Ventricle

PHASES = np.arange(50) / 50


def area(contour):
    """Shoelace areas of closed contours (T, K, 2), (T,)."""
    x, y = contour[..., 0], contour[..., 1]
    return 0.5 * np.abs((x * np.roll(y, -1, axis=1) - y * np.roll(x, -1, axis=1)).sum(axis=1))


def cavity(**changes):
    return Ventricle(dict(neutral_values()) | changes, PHASES, 1.0)


def test_ellipse_has_its_size():
    contour = ellipse(3.0, -2.0, 10.0, 5.0, PHASES[:1])[0]
    assert contour.min(axis=0) == pytest.approx([-7, -7]) and contour.max(axis=0) == pytest.approx([13, 3])


def test_the_ventricle_empties_and_fills():
    areas = area(cavity().contour(outer=False))
    end_systole = areas.argmin()
    assert PHASES[end_systole] == pytest.approx(neutral_values()["systole_end"], abs=0.04)
    assert areas[0] == pytest.approx(areas.max(), rel=0.01)
    assert 0.3 < 1 - areas.min() / areas[0] < 0.6  # fractional area change of a healthy heart


def test_lengths_are_the_traits():
    lv = cavity(trabeculation_mm=0.0, valve_plane_tilt_deg=0.0)
    inner, outer = lv.contour(outer=False)[0], lv.contour(outer=True)[0]
    traits = neutral_values()
    assert np.ptp(inner[:, 1]) == pytest.approx(traits["lv_length_mm"], abs=0.01)
    assert np.ptp(inner[:, 0]) == pytest.approx(2 * traits["lv_radius_mm"], rel=0.03)
    wall = (outer[:, 0].max() - inner[:, 0].max(), inner[:, 0].min() - outer[:, 0].min())
    assert wall == pytest.approx((traits["lateral_wall_mm"], traits["septal_wall_mm"]), rel=0.12)


def test_the_valve_plane_moves_towards_the_apex_by_its_excursion():
    lv = cavity(longitudinal_delay=0.0, excursion_tilt=0.2)
    middle = (lv.base_left + lv.base_right) / 2
    assert np.ptp(middle) == pytest.approx(neutral_values()["long_axis_excursion_mm"], rel=0.02)
    assert np.ptp(lv.base_right) / np.ptp(lv.base_left) == pytest.approx(1.2 / 0.8)


@pytest.mark.parametrize("view", ["2ch", "3ch", "4ch"])
def test_a_beat_closes_and_nothing_jumps(view):
    for layer in heart_layers(view, neutral_values(), PHASES):
        assert np.isfinite(layer.contour).all()
        steps = np.linalg.norm(np.diff(layer.contour, axis=0, append=layer.contour[:1]), axis=2)
        assert steps.max() < (8.0 if layer.line_mm else 4.0)  # mm per frame; leaflets are the fastest


def test_the_four_chamber_heart_has_the_size_of_a_real_one():
    points = np.concatenate([layer.contour.reshape(-1, 2) for layer in heart_layers("4ch", neutral_values(), PHASES, size=1.07)])
    assert np.ptp(points, axis=0) == pytest.approx([134, 160], abs=22)


@pytest.mark.parametrize("trait", TRAITS, ids=lambda trait: trait.name)
def test_every_trait_shows_in_a_view(trait):
    """Two standard deviations move some contour or grey value; a trait of motion leaves the first frame's cavity alone."""
    high = dict(neutral_values()) | {trait.name: trait.mean + 2 * trait.scale}
    change = 0.0
    for view in ("3ch", "4ch"):
        for before, after in zip(heart_layers(view, neutral_values(), PHASES), heart_layers(view, high, PHASES), strict=True):
            change = max(change, np.abs(before.contour - after.contour).max(), abs(before.value - after.value) / 10)
    if trait.name != "bulk_motion_mm":  # the whole heart's motion, done by the scanner
        assert change > 0.4


@pytest.mark.parametrize("trait", [trait for trait in TRAITS if not trait.static], ids=lambda trait: trait.name)
def test_traits_of_motion_leave_the_end_diastolic_ventricle_alone(trait):
    high = dict(neutral_values()) | {trait.name: trait.mean + 2 * trait.scale}
    before, after = (Ventricle(values, PHASES[:1], 1.0).contour(outer=True) for values in (neutral_values(), high))
    assert after == pytest.approx(before, abs=0.7)


def test_extreme_traits_still_give_a_heart():
    for sign in (-1, 1):
        extreme = {trait.name: trait.mean + sign * 8 * trait.scale for trait in TRAITS}
        for view in ("3ch", "4ch"):
            for layer in heart_layers(view, extreme, PHASES):
                assert np.isfinite(layer.contour).all() and 0 <= layer.value <= 255
