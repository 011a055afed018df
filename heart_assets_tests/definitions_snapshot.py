"""Everything that Dagster is told of the demo's study, as readable JSON.

To renew the file after a deliberate change: python -m heart_assets_tests.definitions_snapshot
"""

import json
from pathlib import Path
from typing import Any

import dagster as dg

from heart_assets.definitions import build_definitions
from heart_assets.settings import DEFAULT_STUDY_FILE, StudySettings, load_settings

PATH = Path(__file__).with_suffix(".json")


def snapshot(settings: StudySettings) -> dict[str, Any]:
    """Assets, jobs, schedules and sensors of a study."""
    repository = build_definitions(settings).get_repository_def()
    graph = repository.asset_graph
    jobs = [job for job in repository.get_all_jobs() if not job.name.startswith("__")]
    return {
        "assets": {key.to_user_string(): asset_of(graph, key) for key in sorted(graph.get_all_asset_keys())},
        "jobs": {job.name: job_of(job) for job in sorted(jobs, key=lambda job: job.name)},
        "implicit_job": {name: repository.get_job(name).executor_def.name for name in repository.get_implicit_asset_job_names()},
        "schedules": {one.name: schedule_of(one) for one in repository.schedule_defs},
        "sensors": {one.name: sensor_of(one) for one in sorted(repository.sensor_defs, key=lambda one: one.name)},
        "executor": repository.get_job("train").executor_def.name if repository.has_job("train") else None,
    }


def asset_of(graph: Any, key: dg.AssetKey) -> dict[str, Any]:
    node = graph.get(key)
    checks = {check.name: graph.get(check) for check in sorted(node.check_keys)}
    condition = node.automation_condition
    return {
        "group": node.group_name,
        "kind": "observed" if node.is_observable else "materialised",
        "partitions": partitions_of(node.partitions_def),
        "dependencies": {parent.to_user_string(): mapping_of(graph, key, parent) for parent in sorted(node.parent_keys)},
        "op_tags": dict(node.assets_def.op.tags),
        "pools": sorted(node.pools or []),
        "code_version": node.code_version,
        "checks": {name: check_of(check) for name, check in checks.items()},
        "automation": condition.get_label() if condition else None,
    }


def partitions_of(definition: Any) -> Any:
    match definition:
        case None:
            return None
        case dg.MultiPartitionsDefinition():
            return {dimension.name: partitions_of(dimension.partitions_def) for dimension in definition.partitions_defs}
        case dg.DynamicPartitionsDefinition():
            return f"dynamic: {definition.name}"
        case _:
            return definition.get_partition_keys()


def mapping_of(graph: Any, key: dg.AssetKey, parent: dg.AssetKey) -> str:
    mapping = graph.get(key).partition_mappings.get(parent)
    if isinstance(mapping, dg.MultiToSingleDimensionPartitionMapping):
        return f"same {mapping.partition_dimension_name}"
    return "default" if mapping is None else type(mapping).__name__


def check_of(node: Any) -> dict[str, Any]:
    return {"blocking": node.blocking, "partitions": partitions_of(node.partitions_def)}


def job_of(job: dg.JobDefinition) -> dict[str, Any]:
    layer = job.asset_layer
    return {
        "assets": sorted(key.to_user_string() for key in layer.executable_asset_keys),
        "partitions": partitions_of(job.partitions_def),
        "executor": job.executor_def.name,
        "tags": dict(job.tags),
    }


def schedule_of(schedule: dg.ScheduleDefinition) -> dict[str, Any]:
    return {
        "cron": schedule.cron_schedule,
        "job": schedule.job_name,
        "status": schedule.default_status.value,
        "timezone": schedule.execution_timezone,
    }


def sensor_of(sensor: dg.SensorDefinition) -> dict[str, Any]:
    return {
        "jobs": [] if isinstance(sensor, dg.AutomationConditionSensorDefinition) else sorted(target.job_name for target in sensor.targets),
        "status": sensor.default_status.value,
        "type": sensor.sensor_type.value,
        "seconds": sensor.minimum_interval_seconds,
    }


def as_text() -> str:
    """The snapshot of the demo's study as it stands in the file."""
    return json.dumps(snapshot(load_settings(DEFAULT_STUDY_FILE)), indent=1) + "\n"


if __name__ == "__main__":
    PATH.write_text(as_text())
