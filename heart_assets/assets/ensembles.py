"""One prediction per participant from all views of a fold, and the scores of everything."""

from dataclasses import asdict

import dagster as dg
import pandas as pd

from heart_assets import artefacts, checks, pictures
from heart_assets.artefacts import view_and_fold
from heart_assets.asset_results import Work, study_asset, user_errors
from heart_assets.automation import WHEN_INPUTS_CHANGE
from heart_assets.errors import StudyError
from heart_assets.executor import cpu
from heart_assets.ledger import Study
from heart_assets.metadata import picture
from heart_assets.partitions import everything, folds, same_fold
from heart_assets.settings import StudySettings
from heart_assets.statistics import (
    EnsembleWeights,
    apply_ensemble,
    ensemble_complete,
    every_participant_tested_once,
    fit_ensemble,
    scores_table,
)
from heart_assets.statistics.cohort import with_video_and_age
from heart_assets.statistics.scores import POOLED
from heart_assets.tables import read_table

Predictions = dict[str, pd.DataFrame]


@user_errors()
def ensemble_predictions(
    context: dg.AssetExecutionContext, predictions: dict[str, Predictions], study: dg.ResourceParam[Study]
) -> dg.MaterializeResult:
    """The views' predictions of one fold combined; weights are fitted on this fold's validation predictions alone."""
    work = Work(context, study)
    if work.holds:
        return work.kept()
    by_view = {view_and_fold(key)[0]: tables for key, tables in predictions.items()}
    validation = {view: tables["val"] for view, tables in by_view.items()}
    test = {view: tables["test"] for view, tables in by_view.items()}
    weights = fit_ensemble(validation)
    tables = {"val": apply_ensemble(weights, validation), "test": apply_ensemble(weights, test), "weights": _weights_table(weights)}
    metadata = {
        "test_rows": len(tables["test"]),
        "single_view": int(tables["test"]["single_view"].sum()),
        "weights": dg.MetadataValue.json(asdict(weights)),
    }
    return work.made(tables, metadata, [checks.counted(work.asset, ensemble_complete(tables["test"], test))])


@user_errors()
def scores(
    context: dg.AssetExecutionContext,
    predictions: dict[str, Predictions],
    ensemble_predictions: dict[str, Predictions],
    baseline_predictions: pd.DataFrame,
    study: dg.ResourceParam[Study],
) -> dg.MaterializeResult:
    """R2, RMSE, MAE and Pearson r of every view, the ensemble, the ridge baseline and, for a phantom, the oracle."""
    work, settings = Work(context, study), study.settings
    if work.holds:
        return work.kept()
    tests = _tests(predictions, ensemble_predictions, baseline_predictions)
    if settings.raw.ground_truth is not None:
        tests["oracle", "all"] = _oracle(read_table(settings.raw.ground_truth), tests["ensemble", "all"])
    table = scores_table(tests, settings.statistics.bootstrap_resamples, settings.statistics.seed)
    pooled = table[table["fold"] == POOLED].set_index(["model", "view"])
    ensemble, layout = tests["ensemble", "all"], study.layout
    metadata = {
        **{f"r2_{model}_{view}".removesuffix("_all"): float(row["r2"]) for (model, view), row in pooled.iterrows()},
        "rmse_ensemble": float(pooled.loc[("ensemble", "all"), "rmse"]),
        "participants": int(pooled.loc[("ensemble", "all"), "participants"]),
        "table": dg.MetadataValue.md(
            pooled.reset_index()[["model", "view", "n", "r2", "r2_se", "rmse", "mae", "pearson_r"]].to_markdown(index=False)
        ),
        "score_plot": picture(pictures.score_plot(table), layout.picture("scores/scores.png"), single_people=False),
        "age_against_prediction": picture(
            pictures.scatter(ensemble["age"], ensemble["prediction"], "ensemble, test"),
            layout.picture("scores/ensemble.png"),
            single_people=False,
        ),
    }
    return work.made(table, metadata, [checks.counted(work.asset, every_participant_tested_once(_by_view(tests), _expected(study)))])


def _weights_table(weights: EnsembleWeights) -> pd.DataFrame:
    """One row per pattern of available views and view."""
    rows = [
        {"views": pattern, "people": fitted.people, "view": view, "weight": weight}
        for pattern, fitted in weights.patterns.items()
        for view, weight in fitted.weights.items()
    ]
    return pd.DataFrame(rows)


def _tests(
    predictions: dict[str, Predictions], ensembles: dict[str, Predictions], baseline: pd.DataFrame
) -> dict[tuple[str, str], pd.DataFrame]:
    """(model, view) -> the test predictions of all folds in one table, with a column `fold`."""
    views = sorted({view_and_fold(key)[0] for key in predictions})
    tests: dict[tuple[str, str], pd.DataFrame] = {}
    for view in views:
        of_view = {fold: tables["test"] for key, tables in predictions.items() for name, fold in [view_and_fold(key)] if name == view}
        tests[view, view] = pd.concat([table.assign(fold=int(fold)) for fold, table in of_view.items()])
    tests["ensemble", "all"] = pd.concat([tables["test"].assign(fold=int(fold)) for fold, tables in ensembles.items()])
    ridge = baseline[baseline["split"] == "test"]
    for view in views:
        tests["ridge", view] = ridge[ridge["view"] == view]
    # the ridge's ensemble: the mean of the views, as the networks'
    tests["ridge", "all"] = ridge.groupby(["participant_id", "visit", "fold"], as_index=False)[["age", "prediction"]].mean()
    return tests


def _oracle(truth: pd.DataFrame, ensemble: pd.DataFrame) -> pd.DataFrame:
    """The phantom's best possible estimate for the people whom the ensemble predicts."""
    key = ["participant_id", "visit"]
    if lacking := sorted({*key, "oracle_age"} - set(truth)):
        raise StudyError(f"ground_truth lacks the column(s) {', '.join(lacking)}")
    if repeated := int(truth.duplicated(key).sum()):
        raise StudyError(f"{repeated} row(s) of ground_truth repeat the participant and visit of another")
    best = truth[[*key, "oracle_age"]].rename(columns={"oracle_age": "prediction"})
    return ensemble.drop(columns="prediction").merge(best, on=key)


def _by_view(tests: dict[tuple[str, str], pd.DataFrame]) -> dict[str, pd.DataFrame]:
    return {view: table for (model, view), table in tests.items() if model == view}


def _expected(study: Study) -> dict[str, set[str]]:
    """view -> participants with a stored video and an age: they must all have been tested."""
    layout = study.layout
    stores = artefacts.read(layout, "heart_videos", study.made_deliveries("heart_videos"))
    ages = read_table(layout.phenotypes)
    return {view: with_video_and_age(store.columns, ages) for view, store in stores.items()}


def declare(settings: StudySettings) -> list[dg.AssetsDefinition]:
    """ensemble_predictions by fold, waiting for all views of that fold only; scores over everything. Both run by themselves."""
    by_fold = {"predictions": same_fold(by_partition=True)}
    over_all = {name: everything(by_partition=True) for name in ("predictions", "ensemble_predictions")}
    return [
        study_asset(
            ensemble_predictions,
            "scores",
            partitions_def=folds(settings),
            ins=by_fold,
            automation_condition=WHEN_INPUTS_CHANGE,
            **cpu(["scipy.optimize"]),
        ),
        study_asset(scores, "scores", ins=over_all, automation_condition=WHEN_INPUTS_CHANGE),
    ]
