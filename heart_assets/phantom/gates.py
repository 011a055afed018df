"""What cheap methods reach on the phantom: the gates that keep the `benchmark` difficulty worth its name.

What belongs here: ridge regression on simple image features, on one frame, on the nuisances, always by cross-validation.
What does not: networks, and the limits themselves, which the tests hold.
"""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from heart_assets.phantom.people import Person
from heart_assets.phantom.scanner import render_clips
from heart_assets.phantom.traits import Difficulty, oracle_age, r_squared

_ALPHAS = np.logspace(-1, 6, 15)


def cheap_baselines(
    people: Sequence[Person], difficulty: Difficulty, frames: int = 12, size_px: int = 40, spacing_mm: float = 5.0
) -> dict[str, float]:
    """R2 on age, over 5 folds, of methods that take no effort; the oracle's beside them.

    Args:
        people: from `draw_people`, at least some dozens.
        difficulty: theirs.
        frames, size_px, spacing_mm: of the clips that are rendered, both views.

    Returns:
        `oracle`; `simple_features`: ridge on the mean over time, SD over time and first harmonic of 16 x 16 blocks;
        `single_frame`: ridge on the pixels of the first (end-diastolic) frame; both averaged over the views;
        `nuisances`: ridge on everything of the scan that is no trait.
    """
    ages = np.array([person.age for person in people])
    male, scores = np.array([person.male for person in people]), np.stack([person.scores for person in people])
    clips = [render_clips(people, view, frames, size_px, spacing_mm) for view in ("3ch", "4ch")]
    return {
        "oracle": r_squared(ages, oracle_age(scores, male, difficulty)),
        "simple_features": r_squared(ages, np.mean([_predicted(_simple_features(clip), ages) for clip in clips], axis=0)),
        "single_frame": r_squared(ages, np.mean([_predicted(clip[:, 0].reshape(len(clip), -1), ages) for clip in clips], axis=0)),
        "nuisances": r_squared(ages, _predicted(np.array([_numbers(asdict(person.scan)) for person in people]), ages)),
    }


def _predicted(features: np.ndarray, ages: np.ndarray) -> np.ndarray:
    folds = KFold(5, shuffle=True, random_state=0)
    return cross_val_predict(make_pipeline(StandardScaler(), RidgeCV(_ALPHAS)), features.astype(np.float64), ages, cv=folds)


def _simple_features(clips: np.ndarray) -> np.ndarray:
    """(n, T, H, W) uint8 -> (n, k): mean, SD and first harmonic of the images, coarsely, and the mean grey value's harmonics."""
    edges = np.linspace(0, clips.shape[2], 17).astype(int)[:-1]
    small = np.add.reduceat(np.add.reduceat(clips.astype(np.float32), edges, axis=2), edges, axis=3)
    spectrum = np.fft.rfft(small, axis=1)
    images = np.stack([small.mean(axis=1), small.std(axis=1), np.abs(spectrum[:, 1])], axis=1)
    curve = spectrum[:, 1:4].mean(axis=(2, 3))
    return np.concatenate([images.reshape(len(clips), -1), curve.real, curve.imag], axis=1)


def _numbers(scan: dict) -> list[float]:
    """Every number in the nuisances, nested ones included; the texture's seed is a name, not a number."""
    numbers: list[float] = []
    for key, value in scan.items():
        if isinstance(value, dict):
            numbers += _numbers(value)
        elif key != "texture_seed":
            numbers += [float(v) for v in (value if isinstance(value, tuple) else (value,))]
    return numbers
