"""Trained models and their predictions, by view and fold, and the ridge baseline."""

from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from heart_assets import checks, learning, pictures
from heart_assets.artefacts import view_and_fold
from heart_assets.asset_results import Work, study_asset, user_errors
from heart_assets.compute import learning_needs
from heart_assets.layout import SPLITS
from heart_assets.learning import TrainedModel, ridge_features, ridge_predictions
from heart_assets.ledger import Study
from heart_assets.metadata import picture
from heart_assets.partitions import everything, same_fold, view_by_fold
from heart_assets.settings import StudySettings
from heart_assets.statistics import regression_scores, study_once_per_split
from heart_assets.statistics.cohort import study_rows
from heart_assets.store import VideoStore

TORCH = ("heart_assets.learning.training", "heart_assets.learning.prediction")


class TrainingConfig(dg.Config):
    """What can be asked of one training in the launchpad; everything else is in study.toml."""

    again: bool = False
    """Train even if the model on disk was made from just these inputs."""


@user_errors()
def trained_model(
    context: dg.AssetExecutionContext,
    config: TrainingConfig,
    heart_videos: dict[str, VideoStore],
    fold_split: pd.DataFrame,
    study: dg.ResourceParam[Study],
) -> dg.MaterializeResult:
    """One view's model for one fold, trained on that fold's training split."""
    work, settings = Work(context, study), study.settings
    if work.holds and not config.again:
        return work.kept()
    view, fold = view_and_fold(work.partition)
    rows = study_rows(heart_videos[view].columns, fold_split)
    epochs: list[dict[str, Any]] = []

    def on_epoch(epoch: dict[str, Any]) -> None:
        epochs.append(epoch)
        context.log.debug(f"epoch {epoch['epoch']}: {epoch}")

    model = learning.train_model(
        heart_videos[view],
        rows[rows["for_training"] | (rows["split"] != "train")],
        settings.training,
        settings.geometry.spacing_mm,
        settings.training.seed + 1000 * study.views.index(view) + int(fold),
        study.layout.checkpoint(view, fold),
        on_epoch,
    )
    last = model.history.iloc[-1]
    curve = picture(
        pictures.learning_curve(model.history), study.layout.picture(f"models/{view}/Fold{fold}/learning_curve.png"), single_people=False
    )
    metadata = {
        "trained_on": int(rows["for_training"].sum()),
        "parameters": int(model.card["parameters"]),
        **{name: float(last[name]) for name in ("train_loss", "val_loss", "val_r2", "val_rmse", "val_mae")},
        "resumed_after_epoch": len(model.history) - len(epochs),
        "seconds": float(sum(epoch["seconds"] for epoch in epochs)),
        "learning_curve": curve,
    }
    return work.made(model, metadata, [checks.result(work.asset, bool(last["val_r2"] > 0), {"val_r2": float(last["val_r2"])})])


@user_errors()
def predictions(
    context: dg.AssetExecutionContext,
    heart_videos: dict[str, VideoStore],
    fold_split: pd.DataFrame,
    trained_model: TrainedModel,
    study: dg.ResourceParam[Study],
) -> dg.MaterializeResult:
    """One model's predictions for its train, validation and test split, averaged over augmented passes."""
    work = Work(context, study)
    if work.holds:
        return work.kept()
    view, fold = view_and_fold(work.partition)
    rows = study_rows(heart_videos[view].columns, fold_split)
    table = learning.predict(trained_model, heart_videos[view], rows, study.settings.prediction)
    split_of = rows.set_index("study_id")["split"]
    tables = {split: table[table["study_id"].map(split_of) == split].reset_index(drop=True) for split in SPLITS}
    scores = {
        f"{split}_{name}": value
        for split, part in tables.items()
        for name, value in regression_scores(part["age"].to_numpy(), part["prediction"].to_numpy()).items()
        if np.isfinite(value)
    }
    scatter = pictures.scatter(tables["test"]["age"], tables["test"]["prediction"], f"{view}, fold {fold}, test")
    plot = picture(scatter, study.layout.picture(f"predictions/{view}/Fold{fold}/test.png"), single_people=False)
    metadata = {**{f"{split}_rows": len(part) for split, part in tables.items()}, **scores, "test_predictions": plot}
    return work.made(tables, metadata, [checks.counted(work.asset, study_once_per_split(tables, rows))])


@user_errors()
def baseline_predictions(
    context: dg.AssetExecutionContext,
    heart_videos: dict[str, VideoStore],
    fold_split: dict[str, pd.DataFrame],
    study: dg.ResourceParam[Study],
) -> dg.MaterializeResult:
    """What a ridge regression on simple image features predicts for every view and fold: the least a network must beat."""
    work = Work(context, study)
    if work.holds:
        return work.kept()
    tables = []
    for view, store in heart_videos.items():
        features = None
        for fold, split in fold_split.items():
            rows = study_rows(store.columns, split)
            if features is None:
                features = ridge_features(store, np.arange(len(store)))
            made = ridge_predictions(features[rows["index"].to_numpy()], rows)
            tables.append(made.assign(view=view, fold=int(fold)))
    table = pd.concat(tables)
    table = table[table["split"] != "train"].reset_index(drop=True)
    return work.made(table, {"rows": len(table)})


def declare(settings: StudySettings) -> list[dg.AssetsDefinition]:
    """trained_model and predictions by view and fold, on a GPU each; baseline_predictions over everything."""
    common = {
        "partitions_def": view_by_fold(settings),
        "ins": {"heart_videos": everything(), "fold_split": same_fold()},
        **learning_needs(settings.compute, imports=[*TORCH, *pictures.IMPORTS]),
    }
    return [
        study_asset(trained_model, "learning", **common),
        study_asset(predictions, "learning", **common),
        study_asset(baseline_predictions, "learning", ins={"heart_videos": everything(), "fold_split": everything(by_partition=True)}),
    ]
