"""Participant-level bootstrap: draw participants with replacement, all their rows together.

What belongs here: resampled sums, and the standard error and interval of a resampled score. What does not: which scores (metrics.py).

A resample is a row of counts, so all resamples of all models and folds are one product, counts (resamples x participants) times moments
(participants x columns), made in blocks of bounded memory (Efron and Tibshirani 1993, chapters 6 and 13).
"""

import numpy as np

BLOCK_CELLS = 4_000_000


def resampled_sums(moments: np.ndarray, groups: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Sums of the moments over bootstrap samples of all participants, apart for each group of them.

    Args:
        moments: (participants, columns) float64, at least one participant.
        groups: (participants,) int, 0..groups-1; the sum over groups is that of everybody.
        resamples: number of samples, each of as many participants as there are.
        seed: the same seed gives the same samples, whatever the block size.

    Returns:
        (resamples, groups, columns) float64.
    """
    participants = len(moments)
    members = [np.flatnonzero(groups == group) for group in range(int(groups.max()) + 1)]
    generator = np.random.default_rng(seed)
    block = max(1, BLOCK_CELLS // participants)
    sums = np.empty((resamples, len(members), moments.shape[1]))
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = generator.integers(participants, size=(rows, participants), dtype=np.int64)
        drawn += participants * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * participants).reshape(rows, participants).astype(np.float64)
        for group, indices in enumerate(members):
            sums[start : start + rows, group] = counts[:, indices] @ moments[indices]
    return sums


def error_and_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Standard deviation, 2.5th and 97.5th percentile of the finite values of (resamples,); NaN with fewer than two."""
    finite = values[np.isfinite(values)]
    if len(finite) < 2:
        return np.nan, np.nan, np.nan
    low, high = np.percentile(finite, [2.5, 97.5])
    return float(finite.std(ddof=1)), float(low), float(high)
