"""Who trains, validates and tests which model: data folds by participant, and the split of each fold.

What belongs here: the assignment (stratified, families together, stable), its splits, and the refusal of leaks. What does
not: reading phenotypes, bringing them and the videos together (cohort.py), models, scores.
"""

import hashlib
from collections.abc import Collection, Iterator

import numpy as np
import pandas as pd

from heart_assets.errors import StudyError
from heart_assets.settings import FoldSettings

SPLITS = ("train", "val", "test")


class SplitError(StudyError):
    """Folds that cannot be made as asked; one sentence with counts, never an id."""


class LeakError(StudyError):
    """A split that lets a model see whom it is judged on; one sentence with counts, never an id."""


def assign_folds(
    phenotypes: pd.DataFrame, participants_with_videos: Collection[str], folds: FoldSettings, previous: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Give every participant with a video and an age one data fold.

    Participants are dealt one family at a time, largest families first, then stratum by stratum (age decile x sex), each to
    the data fold that has the fewest participants, and among those the fewest of the stratum. So fold sizes differ by at most 1 where
    families allow it, and strata too in a cohort dealt at once. The order of dealing comes from the seed and a hash of the
    ids, never from the order of rows. A participant's age is the one at the first visit.

    Whoever has a fold in `previous` keeps it, as long as the phenotype table still holds them (even if their video is
    missing for the moment: a model may have been trained with them). Newcomers join their family, or fill the smaller folds.

    Args:
        phenotypes: participant_id (str), visit, age (years), sex, and family_id if known ("" = none).
        participants_with_videos: ids of those with at least one stored video.
        folds: number of folds and seed.
        previous: the last assignment (participant_id, data_fold), if there is one.

    Returns:
        participant_id (str), data_fold (int64, 0..count-1), sorted by participant_id.

    Raises:
        SplitError: fewer participants (or families) than folds, or a previous assignment that does not fit.
    """
    people = phenotypes.sort_values(["participant_id", "visit"]).drop_duplicates("participant_id").set_index("participant_id")
    kept = _kept_folds(previous, people.index, folds.count)
    cohort = people[people.index.isin(set(participants_with_videos)) | people.index.isin(kept.index)]
    if len(cohort) < folds.count:
        raise SplitError(
            f"{len(cohort)} participant(s) have both a video and an age ({len(set(participants_with_videos))} have a video, "
            f"{len(people)} have an age), but the study asks for {folds.count} folds: it needs at least one participant per fold"
        )
    strata = _strata(cohort)
    sizes = [0] * folds.count
    counts = [[0] * folds.count for _ in range(strata.max() + 1)]
    chosen = np.full(len(cohort), -1)
    for members, fold in _fixed_first(cohort, kept, strata, folds.seed):
        rows = [counts[stratum] for stratum in strata[members].tolist()]
        if fold < 0:
            fold = min((size, sum(row[k] for row in rows), k) for k, size in enumerate(sizes))[-1]
        chosen[members] = fold
        sizes[fold] += len(members)
        for row in rows:
            row[fold] += 1
    if min(sizes) == 0:
        raise SplitError(f"{sizes.count(0)} of {folds.count} folds would be empty, because there are too few families")
    table = pd.DataFrame({"participant_id": cohort.index.astype(str), "data_fold": chosen.astype("int64")})
    return table.sort_values("participant_id", ignore_index=True)


def split_of_fold(assignments: pd.DataFrame, fold: int, count: int) -> pd.DataFrame:
    """The split of model `fold`: it validates on data fold `fold`, tests on (fold + 1) mod count, trains on the others.

    Returns:
        participant_id, data_fold, split ("train", "val" or "test"), in the order of `assignments`.

    Raises:
        SplitError: there is no such fold.
    """
    if not 0 <= fold < count:
        raise SplitError(f"fold {fold} does not exist: the study has folds 0 to {count - 1}")
    data_fold = assignments["data_fold"]
    split = np.select([data_fold == fold, data_fold == (fold + 1) % count], ["val", "test"], "train")
    return assignments[["participant_id", "data_fold"]].assign(split=split).reset_index(drop=True)


def check_no_leak(split: pd.DataFrame, phenotypes: pd.DataFrame | None = None) -> None:
    """Refuse a split that is not one: somebody twice, a data fold or a family on two sides, an unknown or an empty split.

    Args:
        split: participant_id, data_fold, split.
        phenotypes: participant_id, family_id; with it families are checked too.

    Raises:
        LeakError: with the number of offenders of every kind.
    """
    per_person = split.groupby("participant_id")["split"].agg(["nunique", "size"])
    faults = {
        "participant(s) in more than one split": int((per_person["nunique"] > 1).sum()),
        "participant(s) with more than one row": int((per_person["size"] > 1).sum()),
        "data fold(s) in more than one split": int((split.groupby("data_fold")["split"].nunique() > 1).sum()),
        "row(s) in no known split": int((~split["split"].isin(SPLITS)).sum()),
        "split(s) without participants": len(set(SPLITS) - set(split["split"])),
    }
    if phenotypes is not None and "family_id" in phenotypes:
        families = phenotypes.loc[phenotypes["family_id"].fillna("") != "", ["participant_id", "family_id"]].merge(
            split, on="participant_id"
        )
        faults["family(ies) in more than one split"] = int((families.groupby("family_id")["split"].nunique() > 1).sum())
    found = [f"{number} {fault}" for fault, number in faults.items() if number]
    if found:
        raise LeakError(f"the split leaks: {'; '.join(found)}")


def _kept_folds(previous: pd.DataFrame | None, known: pd.Index, count: int) -> pd.Series:
    """participant_id -> data fold of those who keep theirs."""
    if previous is None or previous.empty:
        return pd.Series(dtype="int64", index=pd.Index([], dtype=known.dtype))
    if previous["participant_id"].duplicated().any():
        raise SplitError(
            f"{int(previous['participant_id'].duplicated().sum())} participant(s) are in the stored fold assignment more than once"
        )
    if sorted(previous["data_fold"].unique()) != list(range(count)):
        raise SplitError(
            f"the stored fold assignment does not have the {count} folds that the study asks for; nobody changes folds once given, so "
            "set folds.count back, or delete the assignment and everything trained on it"
        )
    folds = previous.set_index("participant_id")["data_fold"].astype("int64")
    return folds[folds.index.isin(known)]


def _strata(cohort: pd.DataFrame) -> np.ndarray:
    """Age decile x sex of every participant, as a small integer."""
    age = cohort["age"].to_numpy(dtype=float)
    decile = np.searchsorted(np.quantile(age, np.linspace(0.1, 0.9, 9)), age, side="right")
    sex = cohort["sex"].map({"F": 0, "M": 1}).fillna(2).to_numpy(dtype=np.int64)
    return sex * 10 + decile


def _fixed_first(cohort: pd.DataFrame, kept: pd.Series, strata: np.ndarray, seed: int) -> Iterator[tuple[np.ndarray, int]]:
    """Families as positions in the cohort, with their fold (-1 = to be chosen): those who have one first, then in dealing order."""
    ids = cohort.index.to_numpy(dtype=object)
    family = cohort["family_id"].fillna("").to_numpy(dtype=object) if "family_id" in cohort else np.full(len(cohort), "", dtype=object)
    # a lone participant is a family of one; the prefixes keep family ids and participant ids apart
    unit = np.where(family == "", "p:" + ids, "f:" + family)
    fold_of = kept.reindex(cohort.index).fillna(-1).to_numpy(dtype=np.int64)
    placed = pd.DataFrame({"unit": unit, "fold": fold_of})
    torn = int((placed[placed["fold"] >= 0].groupby("unit")["fold"].nunique() > 1).sum())
    if torn:
        raise SplitError(
            f"{torn} family(ies) already lie in more than one fold; nobody changes folds once given, so correct the family ids, or "
            "delete the assignment and everything trained on it"
        )
    units = []
    for name, members in placed.groupby("unit").indices.items():
        shuffled = hashlib.sha256(f"{seed}:{name}".encode()).digest()
        fold = int(fold_of[members].max())
        units.append(((fold < 0, -len(members), int(strata[members].min()), shuffled), members, fold))
    for _, members, fold in sorted(units, key=lambda entry: entry[0]):
        yield members, fold
