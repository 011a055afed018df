"""Predictions for this study's videos by the models of another study, for those who train nothing themselves."""

import dagster as dg
import pandas as pd

from heart_assets import artefacts, learning
from heart_assets.asset_results import Work, study_asset, user_errors
from heart_assets.compute import learning_needs
from heart_assets.errors import StudyError
from heart_assets.ledger import Study
from heart_assets.partitions import everything
from heart_assets.settings import StudySettings
from heart_assets.statistics.cohort import applied_rows
from heart_assets.store import VideoStore


@user_errors()
def applied_predictions(
    context: dg.AssetExecutionContext,
    heart_videos: dict[str, VideoStore],
    phenotypes: pd.DataFrame,
    study: dg.ResourceParam[Study],
) -> dg.MaterializeResult:
    """The mean of all of the other study's models for each video, per view and study; ages are shown where they are known."""
    work = Work(context, study)
    if work.holds:
        return work.kept()
    source, tables = study.model_source(), []
    with_videos = {view: store for view, store in heart_videos.items() if len(store)}
    if not with_videos:
        raise StudyError("no study has a usable video of any view: see the rejected tables beside the videos")
    for view, store in with_videos.items():
        keys = [key for key in source.view_folds if key.endswith(f"|{view}") and source.record("trained_model", key)]
        if not keys:
            raise StudyError(f"models_from: {source.settings.data_dir.name} has no trained model for view {view}")
        rows = applied_rows(store.columns, phenotypes)
        models = artefacts.read(source.layout, "trained_model", keys)
        made = [learning.predict(model, store, rows, study.settings.prediction)["prediction"] for model in models.values()]
        spread = pd.concat(made, axis=1)
        columns = ["study_id", "participant_id", "visit", "age"]
        tables.append(rows[columns].assign(view=view, models=len(keys), prediction=spread.mean(axis=1), sd_over_models=spread.std(axis=1)))
    table = pd.concat(tables, ignore_index=True)
    return work.made(table, {"videos": len(table), **{f"videos_{view}": len(store) for view, store in heart_videos.items()}})


def declare(settings: StudySettings) -> list[dg.AssetsDefinition]:
    """applied_predictions over all deliveries."""
    return [study_asset(applied_predictions, "application", ins={"heart_videos": everything()}, **learning_needs(settings.compute))]
