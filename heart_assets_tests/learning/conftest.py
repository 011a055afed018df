"""A tiny view in memory whose videos show their age, and settings that train on it in a second."""

import io
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from heart_assets.learning import TrainedModel
from heart_assets.learning.checkpoint import SEAL_BYTES
from heart_assets.settings import AugmentationSettings, TrainingSettings

SPACING_MM = 2.0
BATCH, VALIDATION = "heart_assets.learning.training.random_changes", "heart_assets.learning.training.no_changes"  # called in each
STILL = AugmentationSettings(rotation_deg=0, shift_mm=0, scale=0, intensity=0, random_phase=False)


@dataclass
class Videos:
    """What the learning room uses of a VideoStore, over an array (N, T, H, W) uint8."""

    pixels: np.ndarray
    attributes: dict[str, Any] = field(default_factory=lambda: {"spacing_mm": SPACING_MM})
    digest: str = "0123456789abcdef"
    reads: int = 0

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.pixels.shape

    def read(self, indices: np.ndarray) -> np.ndarray:
        self.reads += 1
        return self.pixels[indices]


def ageing_videos(ages: np.ndarray, frames: int = 18, size: int = 24) -> Videos:
    """A bright square on noise that pulses the less, the older: age is in the motion, not in the first frame."""
    rng = np.random.default_rng(5)
    pixels = rng.integers(0, 40, (len(ages), frames, size, size)).astype(float)
    pulse = np.sin(2 * np.pi * np.arange(frames) / frames)
    middle = slice(size // 4, size - size // 4)
    pixels[:, :, middle, middle] += 120 + (90 - ages)[:, None, None, None] * 2 * pulse[None, :, None, None]
    return Videos(pixels.clip(0, 255).astype(np.uint8))


def some_rows() -> pd.DataFrame:
    """24 for training, 6 for validation, 6 for testing, shuffled; `index` is not the row's number."""
    ages = np.random.default_rng(3).uniform(45, 80, 36)
    numbers = np.random.default_rng(4).permutation(36)
    split = np.array(["train"] * 24 + ["val"] * 6 + ["test"] * 6)
    table = pd.DataFrame(
        {"index": range(36), "study_id": [f"{9_000_000 + n}_2_0" for n in range(36)], "visit": 2, "age": ages, "split": split}
    )
    table.insert(2, "participant_id", [str(9_000_000 + n) for n in range(36)])
    return table.iloc[numbers].reset_index(drop=True)


def videos_of(rows: pd.DataFrame) -> Videos:
    """The videos that the rows name."""
    return ageing_videos(rows.sort_values("index")["age"].to_numpy())


def tiny_training(**changes: Any) -> TrainingSettings:
    """Clips of 9 frames and 20 x 20 pixels (the smallest for bf16); `compact` of width 4; fp32."""
    settings = TrainingSettings(width=4, crop_px=20, frame_step=2, epochs=3, batch_size=8, precision="fp32", learning_rate=1e-2)
    return settings.model_copy(update=changes)


def assert_same(one: TrainedModel, other: TrainedModel) -> None:
    """Weights, card and history equal to the bit."""
    assert one.weights.keys() == other.weights.keys()
    for name in one.weights:
        np.testing.assert_array_equal(one.weights[name], other.weights[name], err_msg=name)
    assert one.card == other.card
    pd.testing.assert_frame_equal(one.history, other.history, check_exact=True)


def saved_state(checkpoint: Path) -> dict[str, Any]:
    """What a checkpoint holds, whatever its key."""
    return torch.load(io.BytesIO(checkpoint.read_bytes()[:-SEAL_BYTES]), weights_only=True)["state"]


class Interrupted(BaseException):
    """What the caller's own handling of a signal raises, as Dagster's does in a step."""


@contextmanager
def signal_at(target: str, call: int = 1, number: int = signal.SIGTERM) -> Iterator[None]:
    """Send this process a signal at the n-th call of a function (its dotted name); the caller handles it by `Interrupted`."""
    owner, _, name = target.rpartition(".")
    real, calls = getattr(import_module(owner), name), []

    def signalling(*arguments: Any, **options: Any) -> Any:
        calls.append(None)
        if len(calls) == call:
            os.kill(os.getpid(), number)
        return real(*arguments, **options)

    def interrupt(*_: object) -> None:
        raise Interrupted

    before = signal.signal(number, interrupt)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(target, signalling)
            yield
    finally:
        assert signal.signal(number, before) is interrupt


@pytest.fixture
def rows() -> pd.DataFrame:
    return some_rows()


@pytest.fixture
def videos(rows: pd.DataFrame) -> Videos:
    return videos_of(rows)


@pytest.fixture
def training() -> TrainingSettings:
    return tiny_training()
