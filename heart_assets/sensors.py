"""Sensors: new deliveries become partitions and are cleaned; cheap downstream assets follow changed data."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime

import dagster as dg

from heart_assets.errors import StudyError
from heart_assets.files import digest
from heart_assets.jobs import define_job
from heart_assets.ledger import Study
from heart_assets.partitions import HEART_DELIVERIES, LIVER_DELIVERIES
from heart_assets.settings import StudySettings

SECONDS_BETWEEN_LOOKS = 300


def look_for_deliveries(study: Study, asset: str, found: list[str], known: set[str]) -> tuple[list[str], dict[str, str]]:
    """New deliveries, and those to be cleaned (new or changed) with the digest of what they would be made from."""
    changed = {name: digest(asdict(study.inputs(asset, name))) for name in found if study.why_outdated(asset, name)}
    return [name for name in found if name not in known], changed


def _delivery_sensor(
    asset: str, observe: str, ingest: str, partitions: dg.DynamicPartitionsDefinition, deliveries: Callable[[Study], list[str]]
) -> dg.SensorDefinition:
    @dg.sensor(
        name=f"new_{partitions.name}",
        jobs=[define_job(observe), define_job(ingest)],
        minimum_interval_seconds=SECONDS_BETWEEN_LOOKS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Adds new deliveries as partitions, observes them, and cleans those that are new or have changed ({asset}).",
    )
    def sensor(context: dg.SensorEvaluationContext, study: dg.ResourceParam[Study]) -> dg.SensorResult | dg.SkipReason:
        try:
            found = deliveries(study)
            new, changed = look_for_deliveries(study, asset, found, set(context.instance.get_dynamic_partitions(str(partitions.name))))
        except StudyError as error:
            return dg.SkipReason(str(error))
        if not new and not changed:
            return dg.SkipReason(f"All {len(found)} deliveries are cleaned and unchanged.")
        # one try a day for one state of a delivery, however often this looks
        day = datetime.now(UTC).date().isoformat()
        requests = [dg.RunRequest(run_key=f"{observe} {digest([new, changed])} {day}", job_name=observe)]
        requests += [
            dg.RunRequest(run_key=f"{ingest} {name} {state} {day}", job_name=ingest, partition_key=name) for name, state in changed.items()
        ]
        return dg.SensorResult(run_requests=requests, dynamic_partitions_requests=[partitions.build_add_request(new)] if new else [])

    return sensor


def declare(settings: StudySettings) -> list[dg.SensorDefinition]:
    """The delivery sensors and the automation sensor, all on: a study takes in what arrives and keeps its scores current."""
    sensors = [_delivery_sensor("heart_videos", "observe", "ingest", HEART_DELIVERIES, Study.heart_deliveries)]
    if settings.models_from is not None:
        return sensors
    if settings.raw.liver is not None:
        sensors.append(_delivery_sensor("liver_images", "observe_liver", "ingest_liver", LIVER_DELIVERIES, Study.liver_deliveries))
    automation = dg.AutomationConditionSensorDefinition(
        "automation", target=dg.AssetSelection.all(), default_status=dg.DefaultSensorStatus.RUNNING
    )
    return [*sensors, automation]
