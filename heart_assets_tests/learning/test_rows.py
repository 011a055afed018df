"""Rows that cannot be learned from: one sentence each, without any id."""

import numpy as np
import pandas as pd
import pytest

from heart_assets.learning.models import LearningError
from heart_assets.learning.rows import check_rows, check_training_rows


def change(rows: pd.DataFrame, column: str, where: int, value) -> pd.DataFrame:
    changed = rows.copy()
    changed.loc[changed.index[where], column] = value
    return changed


def one_split_empty(rows, split):
    return rows[rows["split"] != split]


BAD = {
    "no column": (lambda rows: rows.drop(columns=["age", "visit"]), "lack the columns visit, age"),
    "no split": (lambda rows: rows.drop(columns="split"), "lack the column split"),
    "empty": (lambda rows: rows[:0], "there is no video to read"),
    "beyond the store": (lambda rows: change(rows, "index", 0, 36), "not among the 36 of the store"),
    "negative": (lambda rows: change(rows, "index", 0, -1), "not among the 36 of the store"),
    "fractions": (lambda rows: rows.astype({"index": float}), "not among the 36 of the store"),
    "one video twice": (lambda rows: change(rows, "index", 0, rows["index"].iloc[1]), "1 rows repeat the index"),
    "one study twice": (lambda rows: change(rows, "study_id", 0, rows["study_id"].iloc[1]), "1 rows repeat the study_id"),
    "unknown split": (lambda rows: change(rows, "split", 0, "holdout"), "1 other values than train, val, test"),
    "no training": (lambda rows: one_split_empty(rows, "train"), "split train has 0 usable videos; it needs at least 2"),
    "no validation": (lambda rows: one_split_empty(rows, "val"), "split val has 0 usable videos; it needs at least 1"),
    "no test": (lambda rows: one_split_empty(rows, "test"), "split test has 0 usable videos; it needs at least 1"),
    "a leak": (lambda rows: rows.assign(participant_id=rows["participant_id"].str[:6] + "0"), "1 participants are in more than one split"),
    "no age": (lambda rows: change(rows, "age", 5, np.nan), "1 of 36 rows have no age"),
    "endless age": (lambda rows: change(rows, "age", 5, np.inf), "1 of 36 rows have no age"),
    "equal ages": (
        lambda rows: rows.assign(age=np.where(rows["split"] == "train", 60.0, rows["age"])),
        "ages of the training split are equal",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_rows_are_refused_in_one_sentence(rows, name):
    spoil, sentence = BAD[name]
    with pytest.raises(LearningError, match=sentence) as caught:
        check_training_rows(spoil(rows), 36)
    assert "90000" not in str(caught.value) and "\n" not in str(caught.value)


def test_good_rows_pass_and_predictions_need_neither_ages_nor_splits(rows):
    check_training_rows(rows, 36)
    check_rows(rows.drop(columns="split").assign(age=np.nan), 36)
