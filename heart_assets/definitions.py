"""The code location: the one place where settings, assets, jobs, the schedule, sensors and the executor come together.

`build_definitions` serves production and tests alike; nothing is decided here that a setting or an override could not.
"""

import warnings
from typing import Any

import dagster as dg

from heart_assets import jobs, schedules, sensors
from heart_assets.assets import application, cleaning, ensembles, folds, models, raw
from heart_assets.compute import study_executor
from heart_assets.io_managers import StudyIOManager
from heart_assets.ledger import Study
from heart_assets.settings import StudySettings, load_settings

TRAINING_STAGES = (raw, cleaning, folds, models, ensembles)
APPLYING_STAGES = (raw, cleaning, application)


def build_definitions(settings: StudySettings, **overrides: Any) -> dg.Definitions:
    """Everything that Dagster needs to know of a study.

    Args:
        settings: the study.
        overrides: arguments of `dagster.Definitions` that replace the study's own, such as `executor` in a test.
    """
    with warnings.catch_warnings():  # observed sources and partition mappings are "beta" in this minor release, which is pinned
        warnings.simplefilter("ignore", dg.BetaWarning)
        warnings.simplefilter("ignore", dg.PreviewWarning)  # so are checks with partitions
        return _build(settings, overrides)


def _build(settings: StudySettings, overrides: dict[str, Any]) -> dg.Definitions:
    study = Study(settings)
    stages = TRAINING_STAGES if settings.models_from is None else APPLYING_STAGES
    parts: dict[str, Any] = {
        "assets": [asset for stage in stages for asset in stage.declare(settings)],
        "jobs": jobs.declare(settings),
        "schedules": schedules.declare(settings),
        "sensors": sensors.declare(settings),
        "resources": {"study": study, "io_manager": dg.IOManagerDefinition.hardcoded_io_manager(StudyIOManager(study))},
        "executor": study_executor(settings.compute),
    }
    return dg.Definitions(**{**parts, **overrides})


defs = build_definitions(load_settings())
