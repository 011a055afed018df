"""A point of the patient lands where the geometry says, to a tenth of a pixel, however the plane lies."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heart_assets.dicom.cleaning import _warp
from heart_assets.dicom.geometry import PlaneGeometry, sampling_matrix, upright
from heart_assets.settings import GeometrySettings
from heart_assets_tests.dicom.builder import FOUR, OUTFLOW, THREE, TWO, VIEWS

DOWN = GeometrySettings().down


def plane(orientation, position=(-90.0, 60.0, 70.0), spacing=(3.0, 3.0)) -> PlaneGeometry:
    across, along = np.array(orientation, float).reshape(2, 3)
    across = across / np.linalg.norm(across)
    along = along - (along @ across) * across
    return PlaneGeometry(np.array(position), across, along / np.linalg.norm(along), spacing)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(1.0, 2.5), st.floats(1.0, 2.5), st.sampled_from(["3ch", "4ch"]))
def test_a_bright_spot_lands_at_its_predicted_pixel(seed, row_mm, column_mm, view):
    rng = np.random.default_rng(seed)
    random = plane(rng.normal(size=6), rng.normal(size=3) * 100, (row_mm, column_mm))
    shape, size, target = (150, 170), 64, 2.0
    column, row = rng.uniform(60, 110), rng.uniform(60, 90)
    y, x = np.mgrid[: shape[0], : shape[1]]
    distance2 = ((y - row) * row_mm) ** 2 + ((x - column) * column_mm) ** 2
    picture = np.exp(-0.5 * distance2 / 4.0**2).astype(np.float32)
    point = random.patient(column, row)
    pose = upright(random, DOWN, VIEWS[view].image_right)
    offset = rng.uniform(-25, 25, 2)
    centre = point - pose.right * offset[0] - pose.down * offset[1]
    out = _warp(picture[None], sampling_matrix(random, pose, centre, size, target), size)[0].astype(float)
    found_row, found_column = ((grid * out).sum() / out.sum() for grid in np.mgrid[:size, :size])
    assert abs(found_column - (31.5 + offset[0] / target)) < 0.1
    assert abs(found_row - (31.5 + offset[1] / target)) < 0.1


@given(st.integers(0, 10**6), st.sampled_from(["3ch", "4ch"]))
def test_directions_are_orthonormal_in_the_plane_and_have_the_right_parity(seed, view):
    random = plane(np.random.default_rng(seed).normal(size=6))
    pose = upright(random, DOWN, VIEWS[view].image_right)
    normal = np.cross(random.across, random.along)
    basis = np.stack([pose.right, pose.down, normal])
    np.testing.assert_allclose(np.abs(basis @ basis.T), np.eye(3), atol=1e-9)
    assert pose.right @ VIEWS[view].image_right >= 0
    assert pose.down @ np.array(DOWN) >= 0


def test_flipping_or_turning_the_acquisition_changes_nothing():
    across, along = np.array(FOUR).reshape(2, 3)
    poses = [upright(plane((*a, *b)), DOWN, (1, 0, 0)) for a, b in ((across, along), (-across, along), (along, across), (along, -across))]
    for pose in poses[1:]:
        np.testing.assert_allclose(pose.right, poses[0].right, atol=1e-3)
        np.testing.assert_allclose(pose.down, poses[0].down, atol=1e-3)


def test_the_picture_turns_continuously_with_the_plane():
    turns = []
    for angle in np.linspace(0, 0.6, 61):
        tilt = np.array([[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]])
        across, along = (tilt @ part for part in np.array(FOUR).reshape(2, 3))
        turns.append(upright(plane((*across, *along)), DOWN, (1, 0, 0)).down)
    assert np.abs(np.diff(turns, axis=0)).max() < 0.02


@pytest.mark.parametrize(("orientation", "view", "expected"), [(FOUR, "4ch", (0.9, 0.0, 0.2)), (THREE, "3ch", (0.2, 0.95, -0.2))])
def test_real_planes_show_patient_left_or_posterior_at_the_right(orientation, view, expected):
    pose = upright(plane(orientation), DOWN, VIEWS[view].image_right)
    assert pose.right @ np.array(expected) > 0.7
    assert not pose.steep


def test_planes_that_fit_the_convention_badly_are_marked():
    assert upright(plane((1, 0, 0, *np.cross(np.array(DOWN) / np.linalg.norm(DOWN), (1, 0, 0)))), DOWN, (1, 0, 0)).steep
    across = np.cross(DOWN, (1.0, 0.0, 0.0))
    facing = plane((*across, *np.cross(DOWN, across)))
    assert upright(facing, DOWN, (1, 0, 0)).steep  # `down` is the normal itself
    assert upright(plane(OUTFLOW), DOWN, (1, 0, 0)).steep  # patient left is the normal
    assert not upright(plane(TWO), DOWN, (0, 1, 0)).steep


def test_patient_and_picture_are_inverse():
    place = plane(FOUR, spacing=(1.5, 2.5))
    np.testing.assert_allclose(place.picture(place.patient(7.25, 3.5)), (7.25, 3.5))
    np.testing.assert_allclose(place.patient(0, 0), (-90.0, 60.0, 70.0))
