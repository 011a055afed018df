"""Checks: every planted fault is counted once, and a sound study has none."""

import numpy as np
import pandas as pd

from heart_assets.statistics import (
    ensemble_complete,
    every_participant_tested_once,
    folds_stable,
    phenotypes_plausible,
    study_once_per_split,
)


def test_phenotypes():
    table = pd.DataFrame({"participant_id": ["a", "a", "b"], "visit": [2, 3, 2], "age": [50.0, 53.0, 18.0]})
    assert phenotypes_plausible(table).passed
    bad = phenotypes_plausible(table.assign(visit=2, age=[17.0, np.nan, 111.0]))
    assert (bad.total, bad.faults, bad.passed) == (3, {"implausible_ages": 3, "repeated_rows": 1}, False)


def test_folds():
    now = pd.DataFrame({"participant_id": list("abc"), "data_fold": [0, 1, 2]})
    assert folds_stable(now, None, 3).passed
    assert folds_stable(now, now.head(2), 3).passed
    faults = folds_stable(pd.concat([now, now.head(1)]).assign(data_fold=[0, 2, 7, 0]), now, 3).faults
    assert faults == {"repeated_participants": 1, "no_such_fold": 1, "empty_folds": 1, "moved_participants": 2}


def test_study_once_per_split():
    rows = pd.DataFrame({"study_id": ["s1", "s2", "s3"], "split": ["train", "val", "test"]})
    tables = {split: pd.DataFrame({"study_id": [study], "prediction": [60.0]}) for study, split in rows.values}
    counts = study_once_per_split(tables, rows)
    assert (counts.total, counts.faults, counts.passed) == (3, {"missing": 0, "repeated": 0, "unexpected": 0, "not_finite": 0}, True)
    tables["train"] = pd.DataFrame({"study_id": ["s1", "s1", "s2"], "prediction": [60.0, np.nan, 61.0]})
    tables["test"] = tables["test"].head(0)
    assert study_once_per_split(tables, rows).faults == {"missing": 1, "repeated": 1, "unexpected": 1, "not_finite": 1}


def test_ensemble_complete():
    views = {
        "3ch": pd.DataFrame({"participant_id": ["a", "a", "b"], "visit": [2, 2, 2]}),
        "4ch": pd.DataFrame({"participant_id": ["b", "c"], "visit": [2, 3]}),
    }
    good = pd.DataFrame({"participant_id": list("abc"), "visit": [2, 2, 3], "prediction": 60.0})
    assert ensemble_complete(good, views).passed and ensemble_complete(good, views).total == 3
    bad = ensemble_complete(good.assign(visit=[2, 2, 2], prediction=[np.nan, 1, 2]), views)
    assert bad.faults == {"missing": 1, "repeated": 0, "unexpected": 1, "not_finite": 1}


def test_every_participant_tested_once():
    tests = {
        "3ch": pd.DataFrame({"participant_id": ["a", "a", "b"], "fold": [0, 0, 1]}),  # two visits in one fold
        "4ch": pd.DataFrame({"participant_id": ["a", "b"], "fold": [0, 1]}),
    }
    assert every_participant_tested_once(tests, {"3ch": ["a", "b"], "4ch": ["b", "a"]}).passed
    bad = every_participant_tested_once(
        {"3ch": pd.DataFrame({"participant_id": ["a", "a", "x"], "fold": [0, 1, 1]})}, {"3ch": ["a", "b"], "4ch": ["c"]}
    )
    assert (bad.total, bad.faults) == (3, {"missing": 2, "repeated": 1, "unexpected": 1})
