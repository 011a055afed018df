"""The heart is found where something beats, not where something is bright or breathes slowly past."""

import numpy as np
import pytest

from heart_assets.dicom.centring import heart_centre, motion_map
from heart_assets_tests.dicom.builder import beating


@pytest.mark.parametrize("place", [(70, 80), (95, 60), (60, 110), (100, 120)])
@pytest.mark.parametrize("spacing", [(1.4, 1.4), (1.8, 1.6)])
def test_a_beating_disc_is_found_within_5_mm(place, spacing):
    row, column = place
    frames = beating(20, 150, 170, row, column, 22).astype(np.float32)
    frames += np.random.default_rng(1).normal(0, 10, frames.shape).astype(np.float32)
    frames[:, 5:20, 5:30] = 3000  # bright, but still
    found_column, found_row = heart_centre(motion_map(frames, spacing), spacing)
    assert np.hypot((found_row - row) * spacing[0], (found_column - column) * spacing[1]) < 5


def test_motion_map_is_the_amplitude_of_the_first_two_harmonics():
    time = np.arange(24) / 24
    wave = 3 * np.cos(2 * np.pi * time + 0.3) + 4 * np.sin(2 * np.pi * 2 * time) + 9 * np.cos(2 * np.pi * 5 * time) + 50
    frames = np.broadcast_to(wave[:, None, None], (24, 8, 9)).astype(np.float32)
    np.testing.assert_allclose(motion_map(frames, (1.0, 1.0)), 5.0, rtol=1e-4)


def test_motion_is_blurred_by_3_mm_in_both_directions():
    frames = np.zeros((16, 61, 61), np.float32)
    frames[:, 30, 30] = np.cos(2 * np.pi * np.arange(16) / 16)
    blurred = motion_map(frames, (1.0, 2.0)).astype(float)
    y, x = np.mgrid[:61, :61] - 30.0
    assert np.sqrt((blurred * y**2).sum() / blurred.sum()) == pytest.approx(3.0, rel=0.05)
    assert np.sqrt((blurred * (x * 2) ** 2).sum() / blurred.sum()) == pytest.approx(3.0, rel=0.05)


def test_a_single_blazing_vessel_does_not_draw_the_centre():
    motion = motion_map(beating(20, 150, 170, 75, 85, 25).astype(np.float32), (1.5, 1.5))
    motion[10:14, 10:14] = 100 * motion.max()
    column, row = heart_centre(motion, (1.5, 1.5))
    assert np.hypot(column - 85, row - 75) * 1.5 < 5


def test_a_still_picture_has_no_centre():
    assert heart_centre(np.zeros((20, 30), np.float32), (1.5, 1.5)) is None
