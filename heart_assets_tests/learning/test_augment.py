"""Geometry to the pixel, tones to the float, and random numbers that belong to the generator alone."""

import numpy as np
import pytest
import torch

from heart_assets.learning.augment import Changes, network_input, no_changes, pass_changes, random_changes
from heart_assets.settings import AugmentationSettings, PredictionSettings

PIXEL_MM = 2.0


@pytest.fixture
def video() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 20, 20), np.uint8))


def clips(video: torch.Tensor, size: int, **changes) -> torch.Tensor:
    """Grey values 0..255 of the clips after some changes."""
    values = {name: torch.tensor(value, dtype=torch.float32) for name, value in changes.items()}
    out = network_input(video, Changes(**{**vars(no_changes(len(video))), **values}), size, PIXEL_MM)
    assert out.shape == (len(video), 1, video.shape[1], size, size) and out.dtype == torch.float32
    return (out.squeeze(1) + 1) * 127.5


def test_unchanged_clips_are_the_centre_of_the_video(video):
    torch.testing.assert_close(clips(video, 16), video[:, :, 2:18, 2:18].float(), atol=1e-3, rtol=0)
    torch.testing.assert_close(clips(video, 20), video.float(), atol=1e-3, rtol=0)


def test_an_odd_margin_is_cut_between_pixels(video):
    between = video[:, :, 2:18, 2:18].float()
    between = (video[:, :, 2:17, 2:17].float() + video[:, :, 2:17, 3:18] + video[:, :, 3:18, 2:17] + video[:, :, 3:18, 3:18]) / 4
    torch.testing.assert_close(clips(video, 15), between, atol=1e-3, rtol=0)


def test_a_shift_moves_each_clip_right_and_down_by_its_millimetres(video):
    moved = clips(video, 16, shift=[[2 * PIXEL_MM, 0.0], [0.0, -1 * PIXEL_MM]])
    torch.testing.assert_close(moved[0], video[0, :, 2:18, 0:16].float(), atol=1e-3, rtol=0)
    torch.testing.assert_close(moved[1], video[1, :, 3:19, 2:18].float(), atol=1e-3, rtol=0)


def test_beyond_the_video_is_black(video):
    moved = clips(video, 20, shift=[[5 * PIXEL_MM, 0.0], [0.0, 0.0]])
    assert moved[0, :, :, :5].abs().max() < 1e-3
    torch.testing.assert_close(moved[0, :, :, 5:], video[0, :, :, :15].float(), atol=1e-3, rtol=0)


def test_a_quarter_turn_goes_clockwise_about_the_centre(video):
    turned = clips(video, 16, rotation=[np.pi / 2, -np.pi / 2])
    torch.testing.assert_close(turned[0], torch.rot90(video[0, :, 2:18, 2:18].float(), -1, (1, 2)), atol=0.05, rtol=0)
    torch.testing.assert_close(turned[1], torch.rot90(video[1, :, 2:18, 2:18].float(), 1, (1, 2)), atol=0.05, rtol=0)


def test_a_shift_is_not_turned_by_a_rotation(video):
    turned = clips(video, 16, rotation=[np.pi / 2] * 2, shift=[[PIXEL_MM, 0.0]] * 2)
    expected = torch.rot90(video.float(), -1, (2, 3))[:, :, 2:18, 1:17]
    torch.testing.assert_close(turned, expected, atol=0.05, rtol=0)


def test_a_scale_of_two_shows_half_the_width():
    ramp = torch.arange(20, dtype=torch.uint8).repeat(1, 1, 20, 1) * 10
    row = clips(ramp, 8, scale=[2.0])[0, 0, 3]
    torch.testing.assert_close(row, 95 + 5 * (torch.arange(8) - 3.5), atol=1e-3, rtol=0)


def test_gain_and_curve_are_as_documented(video):
    x = video[:, :, 2:18, 2:18] / 255
    gain, curve = torch.tensor([1.1, 0.9]), torch.tensor([0.2, -0.1])
    expected = 255 * gain[:, None, None, None] * (x + curve[:, None, None, None] * x * (1 - x))
    torch.testing.assert_close(clips(video, 16, gain=gain.tolist(), curve=curve.tolist()), expected, atol=2e-3, rtol=0)


def test_random_changes_fill_their_limits_and_repeat_with_the_seed():
    limits = AugmentationSettings(rotation_deg=30, shift_mm=6, scale=0.2, intensity=0.1)
    drawn = random_changes(4000, limits, torch.Generator().manual_seed(1))
    again = random_changes(4000, limits, torch.Generator().manual_seed(1))
    for name, centre, limit in [("rotation", 0, np.pi / 6), ("shift", 0, 6), ("scale", 1, 0.2), ("gain", 1, 0.1), ("curve", 0, 0.1)]:
        values = getattr(drawn, name)
        assert torch.equal(values, getattr(again, name))
        assert limit * 0.99 < (values - centre).abs().max() <= limit * 1.0001
        assert abs(float(values.mean()) - centre) < limit * 0.05


def test_limits_of_zero_change_nothing():
    limits = AugmentationSettings(rotation_deg=0, shift_mm=0, scale=0, intensity=0)
    drawn = random_changes(5, limits, torch.Generator().manual_seed(1))
    for name, value in vars(no_changes(5)).items():
        assert torch.equal(getattr(drawn, name), value)


def test_a_pass_depends_on_its_number_alone():
    limits = PredictionSettings(geometric_passes=3, rotation_deg=3, shift_mm=4)
    assert all(torch.equal(value, getattr(pass_changes(0, 4, limits), name)) for name, value in vars(no_changes(4)).items())
    first, second, alone = pass_changes(1, 4, limits), pass_changes(2, 4, limits), pass_changes(1, 1, limits)
    assert torch.equal(first.rotation, alone.rotation.expand(4)) and torch.equal(first.shift, alone.shift.expand(4, 2))
    assert not torch.equal(first.rotation, second.rotation)
    assert first.rotation.abs().max() <= np.deg2rad(3) and first.shift.abs().max() <= 4
    assert torch.equal(first.scale, torch.ones(4)) and torch.equal(first.gain, torch.ones(4))
