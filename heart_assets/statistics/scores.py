"""The score table: every model, per fold and pooled, with participant-level bootstrap errors.

What belongs here: which rows the table has and what stands in its cells. What does not: formulas (metrics.py), resampling
(bootstrap.py), reading prediction tables.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from heart_assets.errors import StudyError
from heart_assets.statistics.bootstrap import error_and_interval, resampled_sums
from heart_assets.statistics.metrics import FEWEST_PARTICIPANTS, MOMENTS, SCORES, participant_moments, scores_from_moments, why_undefined

POOLED = "pooled"


class ScoreError(StudyError):
    """Predictions that cannot be scored; one sentence with counts, never an id."""


def scores_table(tests: Mapping[tuple[str, str], pd.DataFrame], resamples: int, seed: int) -> pd.DataFrame:
    """Score the test predictions of every model.

    The same bootstrap samples of participants serve all models and folds, so their errors are comparable. A resample in which a
    score is undefined (a small fold, drawn without spread) is left out of that score's error.

    Args:
        tests: (model, view) -> participant_id, visit, age (years), prediction (years), fold (int, the model's), all folds in one table;
            for example ("3ch", "3ch"), ("ridge", "3ch"), ("ensemble", "all").
        resamples: bootstrap samples.
        seed: of the bootstrap.

    Returns:
        model, view, fold (str, a number or "pooled"; pooled first), n (rows), participants, then for r2, rmse, mae and pearson_r the
        score, `_se`, `_low` and `_high` (95 %), and `note`. A score that is not defined is an empty cell (NaN), and `note` says why.

    Raises:
        ScoreError: no predictions, a value that is not a number, or a participant tested in two folds, by one model or by two.
    """
    if not tests:
        raise ScoreError("there are no test predictions to score")
    ordered = {key: _checked(key, table) for key, table in tests.items()}
    fold_of = _fold_of_everybody(ordered)
    folds, groups = np.unique(fold_of.to_numpy(), return_inverse=True)
    moments = [_moments(table, fold_of.index) for table in ordered.values()]
    resampled = resampled_sums(np.concatenate(moments, axis=1), groups, resamples, seed)
    rows: list[dict[str, Any]] = []
    for k, (model, view) in enumerate(ordered):
        sums = resampled[:, :, k * MOMENTS : (k + 1) * MOMENTS]
        rows.append({"model": model, "view": view, "fold": POOLED, **_cells(moments[k], sums.sum(axis=1))})
        for group, fold in enumerate(folds):
            part = moments[k][groups == group]
            if part[:, 0].any():
                rows.append({"model": model, "view": view, "fold": str(fold), **_cells(part, sums[:, group])})
    return pd.DataFrame(rows)


def _checked(key: tuple[str, str], table: pd.DataFrame) -> pd.DataFrame:
    name = " ".join(key)
    if table.empty:
        raise ScoreError(f"{name}: there are no test predictions to score")
    values = table[["age", "prediction"]].to_numpy(dtype=float)
    bad = int((~np.isfinite(values).all(axis=1)).sum())
    if bad:
        raise ScoreError(f"{name}: {bad} test row(s) have an age or a prediction that is not a number")
    return table.astype({"participant_id": str, "fold": "int64"}).sort_values(["participant_id", "visit", "prediction"], ignore_index=True)


def _fold_of_everybody(tables: Mapping[tuple[str, str], pd.DataFrame]) -> pd.Series:
    """participant_id (sorted) -> the fold in which every model tests them."""
    pairs = pd.concat([table[["participant_id", "fold"]] for table in tables.values()]).drop_duplicates()
    repeated = int((pairs["participant_id"].value_counts() > 1).sum())
    if repeated:
        raise ScoreError(f"{repeated} participant(s) are tested in more than one fold")
    return pairs.set_index("participant_id")["fold"].sort_index()


def _moments(table: pd.DataFrame, everybody: pd.Index) -> np.ndarray:
    position = everybody.get_indexer(table["participant_id"])
    return participant_moments(position, table["age"].to_numpy(dtype=float), table["prediction"].to_numpy(dtype=float), len(everybody))


def _cells(moments: np.ndarray, resampled: np.ndarray) -> dict[str, Any]:
    participants = int((moments[:, 0] > 0).sum())
    scores = scores_from_moments(moments.sum(axis=0))
    resampled_scores = scores_from_moments(resampled)
    note = why_undefined(participants, scores)
    cells: dict[str, Any] = {"n": int(moments[:, 0].sum()), "participants": participants}
    for k, name in enumerate(SCORES):
        defined = participants >= FEWEST_PARTICIPANTS and np.isfinite(scores[k])
        values = (scores[k], *error_and_interval(resampled_scores[:, k])) if defined else (np.nan,) * 4
        cells |= {f"{name}{suffix}": float(value) for suffix, value in zip(("", "_se", "_low", "_high"), values, strict=True)}
    return cells | {"note": note}
