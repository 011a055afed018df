"""From stored frames to batches: phases, downsampling, memory."""

import numpy as np
import pytest
import torch

from heart_assets.learning.clips import Clips, block_means, clip_shape, free_memory
from heart_assets.learning.models import LearningError
from heart_assets.settings import TrainingSettings
from heart_assets_tests.learning.conftest import Videos

CPU = torch.device("cpu")


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (70, 6, 18, 18), np.uint8)


def settings(**values) -> TrainingSettings:
    return TrainingSettings(**{"crop_px": 16, "frame_step": 3, **values})


@pytest.mark.parametrize("budget", [None, 0])
def test_a_batch_holds_every_nth_frame_from_its_phase_on(pixels, budget):
    indices = np.random.default_rng(0).permutation(70)
    clips = Clips(Videos(pixels), indices, settings(), CPU, budget)
    rows, phases = np.array([3, 69, 3]), np.array([0, 2, 1])
    batch = clips.batch(rows, phases).numpy()
    assert (clips.frames, clips.phases, clips.size) == (2, 3, 16)
    np.testing.assert_array_equal(batch, np.stack([pixels[indices[row], phase::3] for row, phase in zip(rows, phases, strict=True)]))


def test_videos_are_kept_only_if_they_fit(pixels):
    enough = 70 * 6 * 9 * 9
    kept = Clips(videos := Videos(pixels), np.arange(70), settings(downsample=2), CPU, enough)
    assert videos.reads == 2  # 64 and 6
    streamed = Clips(Videos(pixels), np.arange(70), settings(downsample=2), CPU, enough - 1)
    rows, phases = np.array([5, 66]), np.array([2, 0])
    assert streamed.kept is None and kept.kept is not None and kept.kept.numel() == enough
    assert torch.equal(kept.batch(rows, phases), streamed.batch(rows, phases))
    kept.batch(rows, phases)
    assert videos.reads == 2


@pytest.mark.parametrize("side", [1, 2, 3, 4, 16])
def test_block_means_round_halves_up(pixels, side):
    video = np.concatenate((pixels[0], np.full((1, 18, 18), 255, np.uint8)))
    length, cut = 18 // side, 18 % side // 2
    kept = video[:, cut : cut + length * side, cut : cut + length * side].reshape(7, length, side, length, side)
    np.testing.assert_array_equal(block_means(video, side), np.floor(kept.mean((2, 4)) + 0.5))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"crop_px": 20}, "crop_px is 20 px, but the stored videos measure only 18 px"),
        ({"frame_step": 4}, "frame_step is 4, which does not divide the 6 frames"),
        ({"downsample": 3}, r"crop_px \(16\) is not a multiple of training.downsample \(3\)"),
    ],
)
def test_settings_that_do_not_fit_the_videos_are_refused(pixels, values, sentence):
    with pytest.raises(LearningError, match=sentence):
        clip_shape(Videos(pixels), settings(**values))


def test_free_memory_is_in_bytes():
    assert 2**26 < free_memory() < 2**50
