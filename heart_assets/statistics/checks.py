"""What must hold between tables, as counts of what does not: pure functions behind the assets' checks.

What belongs here: counting faults; everything is in order if every count in `faults` is 0. What does not: deciding what a fault
stops, and leaks within a split (splits.check_no_leak).
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from heart_assets.statistics.phenotypes import PLAUSIBLE_AGES


@dataclass(frozen=True)
class CheckCounts:
    """total: things looked at; faults: number of each kind of fault (JSON-able, no ids)."""

    total: int
    faults: dict[str, int]

    @property
    def passed(self) -> bool:
        """Whether there is no fault."""
        return not any(self.faults.values())


def phenotypes_plausible(table: pd.DataFrame) -> CheckCounts:
    """Ages between 18 and 110 years, one row per participant and visit."""
    faults = {
        "implausible_ages": int((~table["age"].between(*PLAUSIBLE_AGES)).sum()),
        "repeated_rows": int(table.duplicated(["participant_id", "visit"]).sum()),
    }
    return CheckCounts(len(table), faults)


def folds_stable(assignments: pd.DataFrame, previous: pd.DataFrame | None, count: int) -> CheckCounts:
    """Everybody in exactly one data fold of 0..count-1, and nobody in another one than in `previous`."""
    moved = 0
    if previous is not None:
        both = assignments.merge(previous, on="participant_id", suffixes=("", "_before"))
        moved = int((both["data_fold"] != both["data_fold_before"]).sum())
    faults = {
        "repeated_participants": int(assignments["participant_id"].duplicated().sum()),
        "no_such_fold": int((~assignments["data_fold"].isin(range(count))).sum()),
        "empty_folds": len(set(range(count)) - set(assignments["data_fold"])),
        "moved_participants": moved,
    }
    return CheckCounts(len(assignments), faults)


def study_once_per_split(tables: Mapping[str, pd.DataFrame], rows: pd.DataFrame) -> CheckCounts:
    """Every study of each split predicted exactly once, in that split's table, with a finite number.

    Args:
        tables: split -> study_id, prediction.
        rows: study_id, split: the studies that must be there.
    """
    found = [(split, study) for split, table in tables.items() for study in table["study_id"]]
    faults = _tally(found, zip(rows["split"], rows["study_id"], strict=True))
    values = [table["prediction"].to_numpy(dtype=float) for table in tables.values()]
    faults["not_finite"] = int(sum((~np.isfinite(column)).sum() for column in values))
    return CheckCounts(len(rows), faults)


def ensemble_complete(ensemble: pd.DataFrame, views: Mapping[str, pd.DataFrame]) -> CheckCounts:
    """Every participant and visit that any view predicts, exactly once, with a finite number."""
    expected = {pair for table in views.values() for pair in zip(table["participant_id"], table["visit"], strict=True)}
    faults = _tally(zip(ensemble["participant_id"], ensemble["visit"], strict=True), expected)
    faults["not_finite"] = int((~np.isfinite(ensemble["prediction"].to_numpy(dtype=float))).sum())
    return CheckCounts(len(expected), faults)


def every_participant_tested_once(tests: Mapping[str, pd.DataFrame], expected: Mapping[str, Iterable[str]]) -> CheckCounts:
    """Every participant with a usable video in exactly one fold's test table, for each view.

    Args:
        tests: view -> participant_id, fold: the test tables of all folds.
        expected: view -> ids of the participants with a usable video and an age.
    """
    total, faults = 0, {"missing": 0, "repeated": 0, "unexpected": 0}
    for view in sorted(set(tests) | set(expected)):
        wanted = set(expected.get(view, ()))
        pairs = tests[view][["participant_id", "fold"]].drop_duplicates() if view in tests else pd.DataFrame({"participant_id": []})
        total += len(wanted)
        for kind, number in _tally(pairs["participant_id"], wanted).items():
            faults[kind] += number
    return CheckCounts(total, faults)


def _tally(found: Iterable[Hashable], expected: Iterable[Hashable]) -> dict[str, int]:
    """missing: expected but not found; repeated: found again; unexpected: found but not expected."""
    found, wanted = list(found), set(expected)
    seen = set(found)
    return {"missing": len(wanted - seen), "repeated": len(found) - len(seen), "unexpected": len(seen - wanted)}
