"""Who is in the study: videos and ages brought together, with one clear sentence where they do not fit.

What belongs here: the joins of video columns, phenotypes and splits. What does not: reading either, dealing the folds.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from heart_assets.errors import StudyError

_VISIT = ["participant_id", "visit"]


@dataclass(frozen=True)
class Cohort:
    """participants: ids with a video; counts: how videos and ages overlap (JSON-able, no ids)."""

    participants: frozenset[str]
    counts: dict[str, int]


def check_cohort(videos: Mapping[str, pd.DataFrame], phenotypes: pd.DataFrame) -> Cohort:
    """Bring videos and ages together.

    Args:
        videos: view -> study_id, participant_id, visit of the stored videos.
        phenotypes: participant_id, visit, age (years).

    Raises:
        StudyError: a view that nobody has, a study that is stored twice, or no participant with both a video and an age.
    """
    for view, columns in videos.items():
        if columns.empty:
            raise StudyError(
                f"no study has a usable {view} video: see the rejected tables beside the videos, and views.{view}.series in the study file"
            )
        twice = int(columns["study_id"].duplicated().sum())
        if twice:
            raise StudyError(
                f"{twice} study id(s) of view {view} are stored in more than one delivery: keep each study's zip in one delivery only"
            )
    visits = pd.concat([columns[_VISIT] for columns in videos.values()]).drop_duplicates()
    both = visits.merge(phenotypes[_VISIT], on=_VISIT)
    if both.empty:
        raise StudyError(
            f"none of the {len(visits)} participant visits with a video is among the {len(phenotypes)} in the phenotype tables: "
            "check that both use the same ids and visits"
        )
    counts = {
        "visits_with_video_and_age": len(both),
        "visits_with_video_without_age": len(visits) - len(both),
        "visits_with_age_without_video": len(phenotypes) - len(both),
    }
    return Cohort(frozenset(both["participant_id"]), counts)


def with_video_and_age(columns: pd.DataFrame, phenotypes: pd.DataFrame) -> set[str]:
    """Ids of the participants of one view who have both at the same visit."""
    return set(columns.merge(phenotypes[_VISIT], on=_VISIT)["participant_id"])


def split_with_ages(split: pd.DataFrame, phenotypes: pd.DataFrame, train_filter: str | None = None) -> pd.DataFrame:
    """One model's split with everything that its training needs of the phenotypes, so that other columns never outdate it.

    Args:
        split: participant_id, data_fold, split.
        phenotypes: participant_id, visit, age (years), sex, and what the filter asks for.
        train_filter: pandas query over the phenotype table; it only takes rows out of training.

    Returns:
        participant_id, visit, age, sex, data_fold, split, for_training (bool); one row per participant and visit, sorted.

    Raises:
        StudyError: the filter cannot be answered, or keeps no training row.
    """
    rows = phenotypes.assign(for_training=_passes(phenotypes, train_filter)).merge(split, on="participant_id", validate="many_to_one")
    rows["for_training"] &= rows["split"] == "train"
    if not rows["for_training"].any():
        raise StudyError("folds.train_filter leaves nobody to train on" if train_filter else "the training split is empty")
    columns = [*_VISIT, "age", "sex", "data_fold", "split", "for_training"]
    return rows[columns].sort_values(_VISIT, ignore_index=True)


def study_rows(videos: pd.DataFrame, split: pd.DataFrame) -> pd.DataFrame:
    """The stored videos that one model trains on and predicts, with their ages.

    Args:
        videos: the store's columns (study_id, participant_id, visit), in the order of the videos.
        split: from `split_with_ages`.

    Returns:
        index (int64, position in the store), study_id, participant_id, visit, age (years), split, for_training (bool); videos
        whose participant has no age at that visit, or no fold, are left out.
    """
    rows = videos[["study_id", *_VISIT]].assign(index=np.arange(len(videos)))
    rows = rows.merge(split[[*_VISIT, "age", "split", "for_training"]], on=_VISIT, validate="many_to_one")
    return rows.sort_values("index", ignore_index=True)[["index", "study_id", *_VISIT, "age", "split", "for_training"]]


def applied_rows(videos: pd.DataFrame, phenotypes: pd.DataFrame) -> pd.DataFrame:
    """Every stored video, with its age where one is known.

    Returns:
        index (int64, position in the store), study_id, participant_id, visit, age (years, NaN where unknown).
    """
    rows = videos[["study_id", *_VISIT]].assign(index=np.arange(len(videos)))
    return rows.merge(phenotypes[[*_VISIT, "age"]], on=_VISIT, how="left", validate="many_to_one")[["index", "study_id", *_VISIT, "age"]]


def _passes(phenotypes: pd.DataFrame, train_filter: str | None) -> pd.Series:
    if train_filter is None:
        return pd.Series(True, index=phenotypes.index)
    try:
        passes = phenotypes.eval(train_filter, engine="python")
    except Exception as error:  # pandas raises anything from KeyError to SyntaxError for a query of the user's
        raise StudyError(f"folds.train_filter cannot be answered by the phenotype table: {type(error).__name__}") from None
    if not (isinstance(passes, pd.Series) and passes.dtype == bool):
        raise StudyError("folds.train_filter must be a condition that is true or false for each row of the phenotype table")
    return passes
