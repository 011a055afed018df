"""What a table of training rows must be, checked before any time is spent. No torch, no pixels."""

import numpy as np
import pandas as pd

from heart_assets.learning.models import LearningError

SPLITS = ("train", "val", "test")
COLUMNS = ("index", "study_id", "participant_id", "visit", "age")


def check_rows(rows: pd.DataFrame, videos: int) -> None:
    """Refuse rows that do not name videos.

    Args:
        rows: with `COLUMNS`; `index` is the position of the row's video in the store.
        videos: number of videos in the store.

    Raises:
        LearningError: one sentence.
    """
    missing = [column for column in COLUMNS if column not in rows]
    if missing:
        raise LearningError(f"the rows lack the columns {', '.join(missing)}")
    if rows.empty:
        raise LearningError("there is no video to read: the table of rows is empty")
    if not pd.api.types.is_integer_dtype(rows["index"]) or rows["index"].min() < 0 or rows["index"].max() >= videos:
        raise LearningError(f"the rows name videos that are not among the {videos} of the store")
    for column in ("index", "study_id"):
        if repeated := int(rows[column].duplicated().sum()):
            raise LearningError(f"{repeated} rows repeat the {column} of another row")


def check_training_rows(rows: pd.DataFrame, videos: int) -> None:
    """Refuse rows that a model cannot be trained on and assessed with: those of `check_rows`, and what touches ages and splits.

    Raises:
        LearningError: one sentence.
    """
    check_rows(rows, videos)
    if "split" not in rows:
        raise LearningError("the rows lack the column split")
    if unknown := set(rows["split"]) - set(SPLITS):
        raise LearningError(f"the column split holds {len(unknown)} other values than {', '.join(SPLITS)}")
    for split, least in zip(SPLITS, (2, 1, 1), strict=True):
        if (found := int((rows["split"] == split).sum())) < least:
            raise LearningError(f"the split {split} has {found} usable videos; it needs at least {least}")
    if leaked := int((rows.groupby("participant_id")["split"].nunique() > 1).sum()):
        raise LearningError(f"{leaked} participants are in more than one split")
    ages = rows["age"].to_numpy(float)
    if bad := int((~np.isfinite(ages)).sum()):
        raise LearningError(f"{bad} of {len(rows)} rows have no age")
    if np.ptp(ages[rows["split"] == "train"]) == 0:
        raise LearningError("all ages of the training split are equal: there is nothing to learn")
