"""The jobs: one per stage, since a job's assets share their partitions and cannot include an observed source."""

from functools import cache
from typing import Any

import dagster as dg

from heart_assets.settings import StudySettings

# job -> the assets that it makes
JOBS = {
    "observe": ("raw_heart_dicoms",),
    "observe_liver": ("raw_liver_dicoms",),
    "ingest": ("heart_videos",),
    "ingest_liver": ("liver_images",),
    "assign": ("phenotypes", "fold_assignments"),
    "split": ("fold_split",),
    "train": ("trained_model", "predictions"),
    "baseline": ("baseline_predictions",),
    "ensemble": ("ensemble_predictions",),
    "score": ("scores",),
}
JOBS_THAT_APPLY = {**{name: JOBS[name] for name in ("observe", "ingest")}, "apply": ("phenotypes", "applied_predictions")}

# jobs whose runs may go side by side, in the order in which the whole study is made
STAGES = (
    ("observe", "observe_liver", "ingest", "ingest_liver"),
    ("assign", "apply"),
    ("split",),
    ("train", "baseline"),
    ("ensemble",),
    ("score",),
)


def job_assets(settings: StudySettings) -> dict[str, tuple[str, ...]]:
    """Job name -> its assets, for a study that trains or for one that applies another's models."""
    jobs = JOBS if settings.models_from is None else JOBS_THAT_APPLY
    return {name: assets for name, assets in jobs.items() if settings.raw.liver or not name.endswith("_liver")}


@cache
def define_job(name: str) -> Any:
    """The job of that name: one object, since Dagster takes two equal ones for a conflict."""
    return dg.define_asset_job(name, selection=list({**JOBS, **JOBS_THAT_APPLY}[name]))


def declare(settings: StudySettings) -> list[Any]:
    """The study's jobs."""
    return [define_job(name) for name in job_assets(settings)]
