"""Batches of stored videos for the device: reading, keeping them in memory where they fit, and frame phases.

What belongs here: getting uint8 frames from the store to the device. What does not: changing them (augment.py), or
deciding which rows make a batch (training.py, prediction.py).
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from heart_assets.learning.models import LearningError
from heart_assets.settings import TrainingSettings
from heart_assets.store import VideoStore

READ_AT_ONCE = 64  # videos
SHARE_OF_FREE_MEMORY = 0.25  # what one training may keep of its videos; several run side by side


class Clips:
    """The videos at some positions of a store, ready to be asked for in batches.

    Pixels are averaged over `downsample` x `downsample` when they are read, and stay uint8. They are kept in memory if
    they take at most `budget` bytes (a quarter of the free memory by default); if not, each batch is read anew.
    """

    def __init__(
        self, videos: VideoStore, indices: np.ndarray, training: TrainingSettings, device: torch.device, budget: int | None = None
    ):
        self.videos = videos
        self.indices = np.asarray(indices, dtype=np.int64)
        self.device = device
        self.phases = training.frame_step
        self.downsample = training.downsample
        self.frames, self.size = clip_shape(videos, training)
        height, width = (side // self.downsample for side in videos.shape[2:])
        needed = len(self.indices) * videos.shape[1] * height * width
        self.kept = self._read_all() if needed <= (free_memory() * SHARE_OF_FREE_MEMORY if budget is None else budget) else None

    def batch(self, rows: np.ndarray, phases: np.ndarray) -> Tensor:
        """The clips of some rows (positions in `indices`), each from its frame phase on.

        Returns:
            (len(rows), frames, H, W) uint8 on the device; every `frame_step`-th frame of the downsampled whole video.
        """
        if self.kept is None:
            videos, rows = self._read(self.indices[rows]), np.arange(len(rows))
        else:
            videos = self.kept
        return videos[torch.from_numpy(rows), torch.from_numpy(phases)].to(self.device)

    def _read(self, indices: np.ndarray) -> Tensor:
        """(n, phases, frames, H, W) uint8: a phase's frames lie side by side."""
        videos = self.videos.read(indices)
        if self.downsample > 1:
            videos = np.stack([block_means(video, self.downsample) for video in videos])
        return torch.from_numpy(videos).unflatten(1, (self.frames, self.phases)).transpose(1, 2).contiguous()

    def _read_all(self) -> Tensor:
        blocks = [self._read(self.indices[start : start + READ_AT_ONCE]) for start in range(0, len(self.indices), READ_AT_ONCE)]
        return torch.cat(blocks)


def block_means(video: np.ndarray, side: int) -> np.ndarray:
    """Means of `side` x `side` pixels, rounded (halves up); rows and columns beyond a multiple of `side` are cut evenly.

    Args:
        video: (T, H, W) uint8.
        side: 1 to 16, so that the sums fit into 16 bits.

    Returns:
        (T, H // side, W // side) uint8.
    """
    height, width = (length // side * side for length in video.shape[1:])
    top, left = (video.shape[1] - height) // 2, (video.shape[2] - width) // 2
    video = video[:, top : top + height, left : left + width]
    rows = video[:, ::side].astype(np.uint16)
    for offset in range(1, side):
        rows += video[:, offset::side]
    sums = rows[:, :, ::side].copy()
    for offset in range(1, side):
        sums += rows[:, :, offset::side]
    sums += side**2 // 2
    sums //= side**2
    return sums.astype(np.uint8)


def clip_shape(videos: VideoStore, training: TrainingSettings) -> tuple[int, int]:
    """Frames and side (pixels) of the clips that the settings make of stored videos.

    Raises:
        LearningError: settings that do not fit the videos.
    """
    frames, side = videos.shape[1], min(videos.shape[2:])
    if training.crop_px > side:
        raise LearningError(f"training.crop_px is {training.crop_px} px, but the stored videos measure only {side} px")
    if frames % training.frame_step:
        raise LearningError(f"training.frame_step is {training.frame_step}, which does not divide the {frames} frames of the stored videos")
    if training.crop_px % training.downsample:
        raise LearningError(f"training.crop_px ({training.crop_px}) is not a multiple of training.downsample ({training.downsample})")
    return frames // training.frame_step, training.crop_px // training.downsample


def free_memory() -> int:
    """Bytes of memory that Linux can still give to processes (MemAvailable)."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
