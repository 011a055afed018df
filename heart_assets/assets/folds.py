"""Who trains, validates and tests which model."""

import dagster as dg
import pandas as pd

from heart_assets import checks
from heart_assets.asset_results import Work, study_asset, user_errors
from heart_assets.ledger import Study
from heart_assets.partitions import everything, folds
from heart_assets.settings import StudySettings
from heart_assets.statistics import assign_folds, check_no_leak, folds_stable, split_of_fold
from heart_assets.statistics.cohort import check_cohort, split_with_ages
from heart_assets.store import VideoStore
from heart_assets.tables import read_table


@user_errors()
def fold_assignments(
    context: dg.AssetExecutionContext, phenotypes: pd.DataFrame, heart_videos: dict[str, VideoStore], study: dg.ResourceParam[Study]
) -> dg.MaterializeResult:
    """The data fold of every participant with a video and an age; whoever has one keeps it when the cohort grows."""
    work = Work(context, study)
    cohort = check_cohort({view: store.columns for view, store in heart_videos.items()}, phenotypes)
    path = study.layout.fold_assignments
    previous = read_table(path) if path.exists() else None
    table = assign_folds(phenotypes, cohort.participants, study.settings.folds, previous)
    sizes = table["data_fold"].value_counts().sort_index()
    metadata = {**cohort.counts, "assigned": len(table), "smallest_fold": int(sizes.min()), "largest_fold": int(sizes.max())}
    return work.made(table, metadata, [checks.counted(work.asset, folds_stable(table, previous, study.settings.folds.count))])


@user_errors()
def fold_split(
    context: dg.AssetExecutionContext, fold_assignments: pd.DataFrame, phenotypes: pd.DataFrame, study: dg.ResourceParam[Study]
) -> dg.MaterializeResult:
    """Train, validation and test of one model, with the ages: data fold k validates, k + 1 tests, the others train."""
    work, settings = Work(context, study), study.settings.folds
    split = split_of_fold(fold_assignments, int(work.partition), settings.count)
    check_no_leak(split, phenotypes)
    table = split_with_ages(split, phenotypes, settings.train_filter)
    sizes = {name: int(n) for name, n in split["split"].value_counts().items()}
    return work.made(table, {**sizes, "for_training": int(table["for_training"].sum())}, [checks.result(work.asset, True, sizes)])


def declare(settings: StudySettings) -> list[dg.AssetsDefinition]:
    """fold_assignments over all deliveries, fold_split by fold."""
    return [
        study_asset(fold_assignments, "folds", ins={"heart_videos": everything()}),
        study_asset(fold_split, "folds", partitions_def=folds(settings)),
    ]
