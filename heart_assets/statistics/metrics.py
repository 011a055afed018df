"""Scores of predicted against true ages, from sums alone, so that thousands of resamples cost one matrix product.

What belongs here: the sums per participant and the scores from them. What does not: resampling (bootstrap.py), tables (scores.py).

Scores are those of scikit-learn and SciPy: R2 = 1 - SSE / SST, RMSE = sqrt(SSE / n), MAE, Pearson r. A score that is not defined (no
spread in age or in the predictions) is NaN, never a warning; `why_undefined` says why.
"""

import numpy as np

SCORES = ("r2", "rmse", "mae", "pearson_r")
FEWEST_PARTICIPANTS = 3
MOMENTS = 8  # n, y, y2, p, p2, y p, error2, |error|
_FLAT = 1e-9  # a standard deviation below this many years is none


def participant_moments(participants: np.ndarray, age: np.ndarray, prediction: np.ndarray, number: int) -> np.ndarray:
    """Sums over each participant's rows, all visits together.

    Args:
        participants: (rows,) int, 0..number-1.
        age, prediction: (rows,) float64, years.
        number: participants in all, those without rows included (their sums are 0).

    Returns:
        (number, 8) float64: n, sum y, sum y^2, sum p, sum p^2, sum y p, sum error^2, sum |error|, with y and p centred on their
        means over all rows (keeps the differences of sums exact to about 1e-13).
    """
    error = prediction - age
    y, p = age - age.mean(), prediction - prediction.mean()
    columns = (np.ones_like(y), y, y * y, p, p * p, y * p, error * error, np.abs(error))
    return np.stack([np.bincount(participants, weights=column, minlength=number) for column in columns], axis=1)


def scores_from_moments(sums: np.ndarray) -> np.ndarray:
    """Scores from summed moments.

    Args:
        sums: (..., 8) float64, sums of participant_moments over any multiset of participants.

    Returns:
        (..., 4) float64 in the order of SCORES; NaN where undefined.
    """
    n, y, yy, p, pp, yp, squared, absolute = np.moveaxis(np.asarray(sums, dtype=float), -1, 0)
    some = n > 0
    n = np.where(some, n, 1.0)
    spread_y, spread_p, shared = yy - y * y / n, pp - p * p / n, yp - y * p / n
    has_y, has_p = spread_y > n * _FLAT**2, spread_p > n * _FLAT**2
    r2 = 1.0 - squared / np.where(has_y, spread_y, 1.0)
    r = shared / np.sqrt(np.where(has_y & has_p, spread_y * spread_p, 1.0))
    scores = (
        np.where(has_y, r2, np.nan),
        np.where(some, np.sqrt(squared / n), np.nan),
        np.where(some, absolute / n, np.nan),
        np.where(has_y & has_p, np.clip(r, -1.0, 1.0), np.nan),
    )
    return np.stack(scores, axis=-1)


def regression_scores(age: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
    """r2, rmse (years), mae (years) and pearson_r of one set of rows; NaN where undefined (all of them without any row).

    Raises:
        ValueError: lengths differ, or a value is not finite.
    """
    age, prediction = np.asarray(age, dtype=float), np.asarray(prediction, dtype=float)
    if age.shape != prediction.shape or age.ndim != 1:
        raise ValueError(f"ages {age.shape} and predictions {prediction.shape} must be two equally long lists")
    if not (np.isfinite(age).all() and np.isfinite(prediction).all()):
        raise ValueError("ages and predictions must be finite numbers")
    if not age.size:
        return dict.fromkeys(SCORES, np.nan)
    moments = participant_moments(np.zeros(age.size, dtype=np.int64), age, prediction, 1)
    return dict(zip(SCORES, scores_from_moments(moments[0]).tolist(), strict=True))


def why_undefined(participants: int, scores: np.ndarray) -> str:
    """The reason for an empty cell: "" if there is none. scores: (4,) in the order of SCORES."""
    if participants < FEWEST_PARTICIPANTS:
        return f"fewer than {FEWEST_PARTICIPANTS} participants: no scores"
    if np.isnan(scores[SCORES.index("r2")]):
        return "all ages are equal: no R2, no correlation"
    return "all predictions are equal: no correlation" if np.isnan(scores[SCORES.index("pearson_r")]) else ""
