"""From a cine to a video: grey range, centre, time and the quality measures, with known answers."""

import numpy as np
import pytest

from heart_assets.dicom.cleaning import _without_aliases, clean_cine
from heart_assets.dicom.errors import RejectedError
from heart_assets.dicom.geometry import PlaneGeometry
from heart_assets.dicom.timing import Timing
from heart_assets.settings import GeometrySettings
from heart_assets_tests.dicom.builder import beating

# rows run along `down`, columns to patient left: the stored picture is the acquired one, cropped
DOWN = np.array([0.5, -0.5, -0.7]) / np.linalg.norm([0.5, -0.5, -0.7])
LEFT = np.array([1.0, 0, 0]) - DOWN[0] * DOWN
UPRIGHT = PlaneGeometry(np.zeros(3), LEFT / np.linalg.norm(LEFT), DOWN, (2.0, 2.0))
GEOMETRY = GeometrySettings(frames=20, size_px=60, spacing_mm=2.0, crop_mm=100)
WHOLE = Timing(list(range(20)), 50.0, 1000.0, [])


def clean(frames, plane=UPRIGHT, timing=WHOLE, geometry=GEOMETRY):
    return clean_cine(frames.astype(np.float32), plane, timing, geometry, (1, 0, 0))


def middle(video):
    moving = video.astype(float).std(axis=0)
    moving[moving < 0.3 * moving.max()] = 0
    return tuple((grid * moving).sum() / moving.sum() for grid in np.mgrid[: video.shape[1], : video.shape[2]])


def test_the_heart_comes_to_the_middle_and_its_shift_is_kept():
    result = clean(beating(20, 101, 101, 58, 40, 14))
    assert result.video.shape == (20, 60, 60) and result.video.dtype == np.uint8
    assert middle(result.video) == pytest.approx((29.5, 29.5), abs=1.0)
    assert result.shift_mm == pytest.approx((-20, 16), abs=2.0)
    assert not result.shift_capped and result.flags == []


def test_a_long_shift_is_capped_and_flagged():
    geometry = GEOMETRY.model_copy(update={"max_shift_mm": 10.0})
    result = clean(beating(20, 101, 101, 58, 40, 14), geometry=geometry)
    assert result.shift_capped and "shift_capped" in result.flags
    assert np.hypot(*result.shift_mm) == pytest.approx(10.0)
    assert np.arctan2(16, -20) == pytest.approx(np.arctan2(result.shift_mm[1], result.shift_mm[0]), abs=0.1)


def test_grey_range_is_taken_inside_the_crop_alone():
    frames = beating(20, 141, 141, 70, 70, 14).astype(np.float32)
    frames[:, :15] = 50_000  # beyond the crop
    geometry = GEOMETRY.model_copy(update={"low_percentile": 0.0, "high_percentile": 100.0, "max_shift_mm": 0.0})
    video = clean(frames, geometry=geometry).video
    inside = frames[:, 46:95, 46:95]
    assert video.min() == 0 and video.max() == 255
    expected = (frames[3, 70, 70] - inside.min()) / (inside.max() - inside.min()) * 255
    assert abs(int(video[3, 29:31, 29:31].max()) - expected) <= 2


def test_half_pixel_offset_of_an_even_picture_is_exact():
    x = np.arange(101, dtype=np.float32)
    frames = np.broadcast_to(x, (20, 101, 101)).copy()
    frames += 3 * np.cos(2 * np.pi * np.arange(20) / 20)[:, None, None].astype(np.float32)
    geometry = GEOMETRY.model_copy(update={"max_shift_mm": 0.0, "low_percentile": 0.0, "high_percentile": 100.0, "crop_mm": 120.0})
    video = clean(frames, geometry=geometry).video[5].astype(float)
    # stored column u samples acquired column 50 + (u - 29.5); grey is linear in it
    slope = np.polyfit(np.arange(60), video[30], 1)[0]
    value_at_middle = np.interp(29.5, np.arange(60), video[30])
    span = 59 + 6
    assert slope == pytest.approx(255 / span, rel=0.01)
    assert value_at_middle == pytest.approx(255 * (29.5 + 3) / span, abs=1.0)


@pytest.mark.parametrize(("interval", "flag"), [(40.0, "time_circular"), (35.0, "time_linear")])
def test_another_number_of_frames_is_resampled_and_flagged(interval, flag):
    found = 25
    result = clean(beating(found, 101, 101, 50, 50, 14), timing=Timing(list(range(found)), interval, 1000.0, []))
    reference = clean(beating(20, 101, 101, 50, 50, 14)).video
    assert result.flags == [flag] and result.video.shape == (20, 60, 60)
    error = np.abs(result.video.astype(float) - reference)[:, 10:50, 10:50].mean()
    assert error < 1 if flag == "time_circular" else error > 1
    whole = clean(beating(found, 101, 101, 50, 50, 14), geometry=GEOMETRY.model_copy(update={"frames": found})).video
    if flag == "time_linear":
        np.testing.assert_array_equal(result.video[[0, -1]], whole[[0, -1]])


def test_the_same_number_of_frames_is_never_resampled():
    result = clean(beating(20, 101, 101, 50, 50, 14), timing=Timing(list(range(20)), 20.0, 1000.0, []))
    assert result.flags == []


def test_what_has_no_contrast_or_no_motion_or_lies_outside_is_told():
    still = np.broadcast_to(beating(20, 101, 101)[:1], (20, 101, 101))
    result = clean(still)
    assert "no_motion" in result.flags and result.shift_mm == (0.0, 0.0) and result.motion_energy == 0
    assert np.isnan(result.snr)
    with pytest.raises(RejectedError, match="no_contrast"):
        clean(np.full((20, 101, 101), 7.0))
    assert "outside_picture" in clean(beating(20, 40, 40, 20, 20, 8)).flags


def test_snr_is_the_mean_over_white_noise_and_survives_the_beat():
    rng = np.random.default_rng(5)
    frames = beating(20, 121, 121, 60, 60, 14) + rng.normal(0, 8, (20, 121, 121))
    geometry = GEOMETRY.model_copy(update={"max_shift_mm": 0.0, "size_px": 61})
    result = clean(frames, geometry=geometry)
    mean = frames[:, 36:85, 36:85].mean()
    assert result.snr == pytest.approx(mean / 8, rel=0.2)


def test_motion_energy_grows_with_the_beat():
    strong = clean(beating(20, 101, 101, 50, 50, 14)).motion_energy
    weak = clean(0.3 * beating(20, 101, 101, 50, 50, 14) + 0.7 * beating(20, 101, 101, 50, 50, 14)[:1]).motion_energy
    assert 0 < weak < 0.5 * strong


def test_coarse_sampling_does_not_alias_and_fine_sampling_does_not_blur():
    stripes = np.tile(np.array([0, 100], np.float32), (1, 64, 32))
    coarse = _without_aliases(stripes, (1.0, 1.0), 4.0)
    assert coarse[0, :, 10:50].std() < 1
    assert _without_aliases(stripes, (1.0, 1.0), 1.05) is stripes
