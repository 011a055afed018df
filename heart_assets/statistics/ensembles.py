"""One prediction per participant and visit from the views' predictions: the plain mean, and fitted weights.

What belongs here: fitting weights on validation predictions and applying them. What does not: reading tables, scores.

Everybody is validation data of one model and test data of another, so a fold's weights come from the validation predictions
of that fold's own models only: `fit_ensemble` never sees a test prediction, and `apply_ensemble` never reads an age.

Weights. Let E be the errors of the views (people x views). The weights of a pattern of available views minimise |E w|^2 / n over all
validation people who have those views, with w >= 0 and sum w = 1: a weighted mean, which keeps every view's scale and needs no
intercept. The error covariance E'E/n is shrunk towards equal and uncorrelated errors as if PRIOR_PEOPLE more had been seen with
those (Ledoit and Wolf 2004 with a fixed intensity): with 20 validation people and errors correlated at 0.8 the weights move about a
sixth of the way from the mean to the fitted ones, with 4,000 people nearly all of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from typing import Literal

import numpy as np
import pandas as pd

from heart_assets.errors import StudyError

PRIOR_PEOPLE = 20
MOST_VIEWS = 10
_KEY = ["participant_id", "visit"]


class EnsembleError(StudyError):
    """Predictions that cannot be combined; one sentence with counts, never an id."""


@dataclass(frozen=True)
class PatternWeights:
    """Weights of the views that a person has: `weights` sum to 1; `people` is the number of validation people behind them."""

    people: int
    weights: dict[str, float]


@dataclass(frozen=True)
class EnsembleWeights:
    """All weights of one fold; `patterns` by names such as "3ch+4ch". `dataclasses.asdict` gives plain JSON."""

    views: tuple[str, ...]
    patterns: dict[str, PatternWeights]


def fit_ensemble(val_tables: Mapping[str, pd.DataFrame]) -> EnsembleWeights:
    """Fit the weights of every pattern of views on one fold's validation predictions.

    Args:
        val_tables: view -> participant_id, visit, age (years), prediction (years). A view nobody has may be an empty table.

    Returns:
        Weights for every non-empty subset of the views. Rows without an age are not used; with nobody to fit on, the weights are equal.

    Raises:
        EnsembleError: no or too many views, predictions that are not numbers, or views that disagree about an age.
    """
    views = tuple(sorted(val_tables))
    if not 1 <= len(views) <= MOST_VIEWS:
        raise EnsembleError(f"an ensemble needs 1 to {MOST_VIEWS} views, not {len(views)}")
    people = _side_by_side(val_tables)
    people = people[people["age"].notna()]
    patterns = {}
    for size in range(1, len(views) + 1):
        for pattern in combinations(views, size):
            rows = people.dropna(subset=list(pattern))
            errors = rows[list(pattern)].to_numpy() - rows[["age"]].to_numpy()
            number = rows["participant_id"].nunique()
            weights = _convex_weights(errors, number)
            patterns["+".join(pattern)] = PatternWeights(number, dict(zip(pattern, weights.tolist(), strict=True)))
    return EnsembleWeights(views, patterns)


def apply_ensemble(
    weights: EnsembleWeights, tables: Mapping[str, pd.DataFrame], method: Literal["mean", "weighted"] = "mean"
) -> pd.DataFrame:
    """Combine the views' predictions; whoever has one view keeps that view's prediction and is marked.

    The method is fixed beforehand (the mean of two views took R2 from 0.808 to 0.834 in 2020, and cannot overfit), so no
    choice is made on test data.

    Args:
        weights: of this fold.
        tables: view -> participant_id, visit, age (may be missing), prediction; several studies of one visit are averaged.

    Returns:
        participant_id, visit, age, one column per view (NaN where missing), prediction_mean, prediction_weighted, prediction (the
        method's), views ("3ch+4ch"), single_view (bool); sorted by participant and visit.

    Raises:
        EnsembleError: as fit_ensemble, or a view that the weights do not know.
    """
    unknown = sorted(set(tables) - set(weights.views))
    if unknown:
        raise EnsembleError(f"no ensemble weights were fitted for view(s) {', '.join(unknown)}")
    table = _side_by_side(tables).reindex(columns=[*_KEY, "age", *weights.views])
    predictions = table[list(weights.views)].to_numpy(dtype=float)
    present = np.isfinite(predictions)
    names = ["+".join(np.array(weights.views)[row]) for row in present]
    shares = np.array([[weights.patterns[name].weights.get(view, 0.0) for view in weights.views] for name in names])
    values = np.where(present, predictions, 0.0)
    table["prediction_mean"] = values.sum(axis=1) / present.sum(axis=1)
    table["prediction_weighted"] = (values * shares).sum(axis=1)
    table["prediction"] = table[f"prediction_{method}"]
    return table.assign(views=names, single_view=present.sum(axis=1) == 1)


def _side_by_side(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """participant_id, visit, age and one column of predictions per view; one row per participant and visit."""
    if not tables:
        raise EnsembleError("no view has any prediction to combine")
    wide = reduce(lambda left, right: left.join(right, how="outer"), [_one_view(view, tables[view]) for view in sorted(tables)])
    if wide.empty:
        raise EnsembleError("no view has any prediction to combine")
    ages = wide[[name for name in wide if name.startswith("age of ")]]
    clashes = int(((ages.max(axis=1) - ages.min(axis=1)) > 1e-6).sum())
    if clashes:
        raise EnsembleError(f"the views disagree about the age of {clashes} participant(s)")
    table = wide.drop(columns=ages.columns).assign(age=ages.bfill(axis=1).iloc[:, 0])
    return table.sort_index().reset_index()[[*_KEY, "age", *sorted(tables)]]


def _one_view(view: str, table: pd.DataFrame) -> pd.DataFrame:
    bad = int((~np.isfinite(table["prediction"].to_numpy(dtype=float))).sum())
    if bad:
        raise EnsembleError(f"view {view} has {bad} prediction(s) that are not numbers")
    ordered = table.sort_values([*_KEY, "prediction"]).astype({"participant_id": str, "visit": "int64", "age": float, "prediction": float})
    means = ordered.groupby(_KEY)[["age", "prediction"]].mean()
    return means.set_axis([f"age of {view}", view], axis=1)


def _convex_weights(errors: np.ndarray, people: int) -> np.ndarray:
    """argmin over w >= 0, sum w = 1 of w' C w, with C the shrunken error covariance; errors (rows, views), float64.

    For w = s v with sum v = 1, |A w|^2 + (sum w - 1)^2 is least over s at q / (1 + q), q = |A v|^2, which grows with q. So the
    non-negative least-squares solution of [A; 1'] w = [0; 1], divided by its sum, is exactly the constrained minimum.
    """
    from scipy.optimize import nnls

    views = errors.shape[1]
    equal = np.full(views, 1.0 / views)
    covariance = errors.T @ errors / max(len(errors), 1)
    level = np.trace(covariance) / views
    if level == 0.0:
        return equal
    share = people / (people + PRIOR_PEOPLE)
    shrunk = share * covariance / level + (1 - share) * np.eye(views)
    root = np.linalg.cholesky(shrunk).T
    solution, _ = nnls(np.vstack([root, np.ones(views)]), np.append(np.zeros(views), 1.0))
    return solution / solution.sum()
