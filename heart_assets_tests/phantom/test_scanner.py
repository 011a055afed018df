"""Planes, pixels, noise."""

from dataclasses import replace

import numpy as np
import pytest

from heart_assets.phantom import montage, render_clips
from heart_assets.phantom.people import draw_people
from heart_assets.phantom.planes import (
    DIRECTIONS,
    LONG_AXIS,
    centred_plane,
    heart_affine,
    heart_axes,
    heart_position,
    scan_plane,
)
from heart_assets.phantom.scanner import render
from heart_assets.phantom.traits import TRAITS, neutral_values

USUAL_NORMAL = {"3ch": (-0.741, 0.259, -0.620), "4ch": (0.055, 0.822, -0.567), "2ch": (0.782, 0.621, 0.046)}


@pytest.fixture(scope="module")
def person():
    return draw_people(1, 8, "benchmark")[0]


def upright(person, **changes):
    """The same person without tilt, turn, shift or swap."""
    views = person.scan.swapped
    still = {"tilt_deg": dict.fromkeys(views, (0.0, 0.0, 0.0)), "field_shift_mm": dict.fromkeys(views, (0.0, 0.0))}
    still |= {"swapped": dict.fromkeys(views, False), "axis_deg": dict.fromkeys(views, 0.0), "jet": 0.0}
    still |= {"cut": dict.fromkeys(views, (1.0, 1.0)), "trigger_delay": 0.0}
    return replace(person, scan=replace(person.scan, **(still | changes)))


@pytest.mark.parametrize("view", ["2ch", "3ch", "4ch"])
def test_usual_planes_are_those_of_a_real_study(person, view):
    plane = scan_plane(upright(person), view, 100, 120, 2.0)
    normal = np.cross(plane.row, plane.column)
    assert abs(normal @ USUAL_NORMAL[view]) == pytest.approx(1.0, abs=0.002)


@pytest.mark.parametrize("view", ["3ch", "4ch"])
def test_planes_are_orthonormal_tilted_by_little_and_nearest_their_own_view(view):
    for person in draw_people(80, 8, "benchmark"):
        plane = scan_plane(person, view, 100, 120, 2.0)
        assert [plane.row @ plane.row, plane.column @ plane.column, plane.row @ plane.column] == pytest.approx([1, 1, 0], abs=1e-12)
        closeness = {other: abs(np.cross(plane.row, plane.column) @ normal) for other, normal in USUAL_NORMAL.items()}
        assert max(closeness, key=closeness.get) == view


def test_the_image_centre_is_where_it_was_asked_for(person):
    shifted = upright(person, field_shift_mm=dict.fromkeys(person.scan.swapped, (7.0, -3.0)))
    plane = scan_plane(shifted, "4ch", 101, 121, 2.0)
    centre = plane.position + 60 * 2.0 * plane.row + 50 * 2.0 * plane.column
    assert centre == pytest.approx(heart_position(person) + 7.0 * plane.row - 3.0 * plane.column)


def test_swapping_exchanges_rows_and_columns_and_nothing_else(person):
    straight, swapped = (upright(person, swapped=dict.fromkeys(person.scan.swapped, value)) for value in (False, True))
    a, b = (scan_plane(p, "3ch", 100, 120, 2.0) for p in (straight, swapped))
    assert (a.rows, a.columns) == (b.columns, b.rows) == (100, 120)
    assert np.array_equal(a.row, b.column) and np.array_equal(a.column, b.row) and a.position == pytest.approx(b.position)
    affine_a, affine_b = (heart_affine(p, "3ch", plane) for p, plane in ((straight, a), (swapped, b)))
    assert affine_a == pytest.approx(affine_b[::-1])  # the heart lies mirrored in the matrix, at the same place in the patient


@pytest.mark.parametrize(("view", "patient_direction"), [("3ch", (0, 1, 0)), ("4ch", (1, 0, 0))])
def test_the_heart_axes_follow_the_patient(view, patient_direction):
    right, down = heart_axes(*DIRECTIONS[view][:2], view)
    assert right @ patient_direction > 0.8
    assert down @ (LONG_AXIS / np.linalg.norm(LONG_AXIS)) > 0.99
    flipped = heart_axes(-DIRECTIONS[view][0], DIRECTIONS[view][1], view)  # the same plane described the other way
    assert flipped[0] == pytest.approx(right) and flipped[1] == pytest.approx(down)


@pytest.mark.parametrize("view", ["2ch", "3ch", "4ch"])
def test_a_cine_is_twelve_bits_deterministic_and_beats(person, view):
    person = upright(person)
    plane = centred_plane(person, view, 48, 4.0)
    cine = render(person, view, plane, 20)
    assert cine.shape == (20, 48, 48) and cine.dtype == np.uint16 and cine.max() < 4096
    assert np.array_equal(cine, render(person, view, plane, 20))
    motion = cine.astype(float).std(axis=0)
    assert motion[12:36, 12:36].mean() > 1.7 * motion[:, :8].mean()


def test_blood_is_bright_muscle_grey_and_lung_dark(person):
    person = replace(upright(person, shading=(0.0, 0.0, 0.0), noise=0.001), traits=dict(neutral_values()))
    plane = centred_plane(person, "4ch", 160, 1.5)
    cine = render(person, "4ch", plane, 4)[0] / person.scan.level
    affine = heart_affine(person, "4ch", plane)
    size, traits = person.scan.size, person.traits
    radius = traits["lv_radius_mm"] * size

    def at(x, y):
        column, row = np.rint(affine[:, :2] @ np.array([x, y]) + affine[:, 2]).astype(int)
        return cine[row - 1 : row + 2, column - 1 : column + 2].mean()

    blood, septum = at(-5, 40 * size), at(-radius - 0.5 * traits["septal_wall_mm"] * size, 30 * size)
    lung = at(radius + 35, -25)
    assert blood > 2 * septum > 2 * 2 * lung


def test_noise_is_rician(person):
    """In air the magnitude of complex noise of standard deviation s has mean s sqrt(pi / 2)."""
    person = upright(person, shading=(0.0, 0.0, 0.0), noise=0.04, girth=0.3, skin_fat_mm=1.0, level=1000.0)
    corner = render(person, "4ch", centred_plane(person, "4ch", 100, 4.0), 10)[:, :12, :12]
    assert corner.mean() == pytest.approx(40 * np.sqrt(np.pi / 2), rel=0.08)
    assert corner.std() == pytest.approx(40 * np.sqrt(2 - np.pi / 2), rel=0.05)


def test_clips_are_uint8_in_the_order_of_the_people():
    people = draw_people(3, 8, "demo")
    clips = render_clips(people, "3ch", frames=6, size_px=24, spacing_mm=8.0)
    assert clips.shape == (3, 6, 24, 24) and clips.dtype == np.uint8
    assert np.array_equal(clips[1:2], render_clips(people[1:2], "3ch", frames=6, size_px=24, spacing_mm=8.0))
    assert clips.min() == 0 and clips.max() == 255


@pytest.mark.parametrize("view", ["3ch", "4ch"])
def test_motion_traits_change_motion(person, view):
    """A stronger ventricle changes more pixels between end diastole and end systole."""
    change = []
    for shift in (-2, 2):
        trait = next(trait for trait in TRAITS if trait.name == "radial_shortening")
        other = replace(person, traits=dict(neutral_values()) | {trait.name: trait.mean + shift * trait.scale})
        cine = render(other, view, centred_plane(other, view, 64, 3.0), 25).astype(float)
        change.append(np.abs(cine[9] - cine[0]).mean())
    assert change[1] > 1.05 * change[0]


def test_the_montage_shows_both_views_at_every_age():
    picture = montage("demo", ages=(50.0, 75.0), phases=(0.0, 0.36, 0.6), side_px=40, spacing_mm=8.0)
    assert picture.shape == (2 * 2 * 40, 3 * 40) and picture.dtype == np.uint8
    assert picture.max() == 255 and not np.array_equal(picture[:40], picture[80:120])
