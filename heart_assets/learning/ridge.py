"""The baseline that a network must beat: ridge regression on simple features of a video. No torch in here.

Features of a video scaled to 0..1: its mean image, its standard deviation over time and the amplitude of its first
temporal harmonic, each block-averaged to 16 x 16, and the first three harmonics of its mean grey value over time.
"""

import numpy as np
import pandas as pd

from heart_assets.learning.models import LearningError
from heart_assets.learning.rows import check_training_rows
from heart_assets.store import VideoStore

SIDE = 16
HARMONICS = 3
READ_AT_ONCE = 64  # videos
LARGEST_SCORE = 4.0  # standard deviations; a block that is black in nearly all videos would else predict any age where it is not
ALPHAS = np.logspace(-1, 6, 15)


def ridge_features(videos: VideoStore, indices: np.ndarray) -> np.ndarray:
    """Features of some videos of a store.

    Args:
        videos: uint8 videos, at least 16 x 16 pixels.
        indices: positions in the store.

    Returns:
        (len(indices), 3 * 256 + 6) float32.

    Raises:
        LearningError: no indices, or videos smaller than 16 px.
    """
    indices = np.asarray(indices, dtype=np.int64)
    if min(videos.shape[2:]) < SIDE or not len(indices):
        raise LearningError(f"the ridge baseline needs at least one video, of at least {SIDE} x {SIDE} pixels")
    blocks = [_features(videos.read(indices[start : start + READ_AT_ONCE])) for start in range(0, len(indices), READ_AT_ONCE)]
    return np.concatenate(blocks)


def ridge_predictions(features: np.ndarray, rows: pd.DataFrame) -> pd.DataFrame:
    """Fit on the rows whose split is `train` (the penalty by leave-one-out inside them) and predict all rows.

    Args:
        features: (n, k), of the rows in their order.
        rows: as for `train_model`.

    Returns:
        study_id, participant_id, visit, age, split, prediction (years), in the order of `rows`.

    Raises:
        LearningError: rows that cannot be trained on, or another number of features than of rows.
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    check_training_rows(rows, int(rows["index"].max()) + 1 if len(rows) else 0)
    if len(features) != len(rows):
        raise LearningError(f"there are {len(features)} rows of features, but {len(rows)} rows to predict")
    train = (rows["split"] == "train").to_numpy()
    bounded = FunctionTransformer(np.clip, kw_args={"a_min": -LARGEST_SCORE, "a_max": LARGEST_SCORE})
    model = make_pipeline(StandardScaler(), bounded, RidgeCV(ALPHAS)).fit(features[train], rows["age"].to_numpy(float)[train])
    table = rows[["study_id", "participant_id", "visit", "age", "split"]].reset_index(drop=True)
    return table.assign(prediction=model.predict(features).astype(float))


def _features(videos: np.ndarray) -> np.ndarray:
    small = _block_mean(videos)  # (n, T, 16, 16)
    spectrum = np.fft.rfft(small, axis=1) / small.shape[1]
    images = np.stack((small.mean(1), small.std(1), np.abs(spectrum[:, 1])), axis=1)
    curve = spectrum[:, 1 : 1 + HARMONICS].mean((2, 3))
    return np.concatenate((images.reshape(len(videos), -1), curve.real, curve.imag), axis=1).astype(np.float32)


def _block_mean(videos: np.ndarray) -> np.ndarray:
    """(n, T, H, W) uint8 -> (n, T, 16, 16) float32 in 0..1; rows and columns beyond a multiple of 16 are cut evenly."""
    height, width = (side // SIDE for side in videos.shape[2:])
    top, left = ((side % SIDE) // 2 for side in videos.shape[2:])
    cut = videos[:, :, top : top + SIDE * height, left : left + SIDE * width]
    blocks = cut.reshape(*cut.shape[:2], SIDE, height, SIDE, width)
    return blocks.mean((3, 5), dtype=np.float32) / 255
