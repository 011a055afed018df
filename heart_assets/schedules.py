"""The weekly rerun of predictions that are outdated or failed; automation carries the rest downstream."""

from collections.abc import Iterator

import dagster as dg

from heart_assets.ledger import Study
from heart_assets.settings import StudySettings


def outdated_predictions(study: Study) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """(partition, assets to make, reason) of every prediction that does not hold, or whose model must be trained first.

    A missing or outdated model is trained only if `schedule.may_retrain` says so; otherwise the models that exist predict
    again, and partitions without a model are left to a backfill.
    """
    for key in study.view_folds:
        model = study.why_outdated("trained_model", key)
        if model and study.settings.schedule.may_retrain:
            yield key, ("trained_model", "predictions"), f"trained_model: {model}"
        elif study.record("trained_model", key) and (reason := study.why_outdated("predictions", key)):
            yield key, ("predictions",), f"predictions: {reason}"


def declare(settings: StudySettings) -> list[dg.ScheduleDefinition]:
    """`weekly_predictions`, if this study trains models of its own."""
    if settings.models_from is not None:
        return []

    @dg.schedule(name="weekly_predictions", job_name="train", cron_schedule=settings.schedule.cron)
    def weekly_predictions(context: dg.ScheduleEvaluationContext, study: dg.ResourceParam[Study]) -> list[dg.RunRequest] | dg.SkipReason:
        day = context.scheduled_execution_time.date().isoformat()
        requests = [
            dg.RunRequest(
                run_key=f"{key} {day}", partition_key=key, asset_selection=[dg.AssetKey(name) for name in assets], tags={"reason": reason}
            )
            for key, assets, reason in outdated_predictions(study)
        ]
        return requests or dg.SkipReason("Every prediction whose model exists still holds.")

    return [weekly_predictions]
