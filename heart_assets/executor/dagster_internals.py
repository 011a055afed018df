"""Everything that this package takes from Dagster's private modules, in one place.

What belongs here: imports of `dagster._*` names, and the few lines that need several of them together. What does not: any
logic of the executor. A test imports this module and calls what it wraps, so an upgrade of Dagster that moves a name fails
there and not in somebody's run.

Written against Dagster 1.13.
"""

import base64
import os
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dagster import DagsterEvent, DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus, MultiPartitionKey, RepositoryDefinition
from dagster._core.definitions.executor_definition import multiple_process_executor_requirements
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.events import EngineEventData
from dagster._core.execution.retries import RetryMode, get_retries_config
from dagster._core.executor.step_delegating import CheckStepHealthResult, StepDelegatingExecutor, StepHandler, StepHandlerContext
from dagster._core.instance import InstanceRef
from dagster._core.remote_origin import CodeLocationOrigin
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._grpc.types import ExecuteStepArgs
from dagster._serdes import deserialize_value, serialize_value
from dagster._utils.interrupts import capture_interrupts

__all__ = [
    "CheckStepHealthResult",
    "CodeLocation",
    "RetryMode",
    "StepDelegatingExecutor",
    "StepHandler",
    "StepHandlerContext",
    "attempt_number",
    "capture_interrupts",
    "create_run",
    "engine_event",
    "events_appear_in_order",
    "execute_run",
    "failure_sentence",
    "get_retries_config",
    "has_final_event",
    "instance_from_text",
    "instance_to_text",
    "load_code_location",
    "multiple_process_executor_requirements",
    "run_is_over",
    "warm_up",
]

FINAL_EVENTS = {
    DagsterEventType.STEP_SUCCESS,
    DagsterEventType.STEP_FAILURE,
    DagsterEventType.STEP_UP_FOR_RETRY,
    DagsterEventType.STEP_SKIPPED,
}


def engine_event(context: StepHandlerContext, message: str) -> None:
    """Write a line about the handler's step to the run's event log."""
    (key,) = context.step_tags
    DagsterEvent.engine_event(context.get_step_context(key), message, EngineEventData())


def attempt_number(context: StepHandlerContext, step_key: str) -> int:
    """Which attempt at a step this is: 0 for the first."""
    state = context.execute_step_args.known_state
    return state.get_retry_state().get_attempt_count(step_key) if state else 0


def has_final_event(context: StepHandlerContext, step_key: str, attempt: int) -> bool:
    """Whether the run's event log says how this attempt at a step ended."""
    records = context.instance.get_records_for_run(context.dagster_run.run_id, of_type=FINAL_EVENTS).records
    events = [record.event_log_entry.dagster_event for record in records]
    types = [event.event_type for event in events if event is not None and event.step_key == step_key]
    retries = types.count(DagsterEventType.STEP_UP_FOR_RETRY)
    return retries > attempt or len(types) > retries


def events_appear_in_order(instance: DagsterInstance) -> bool:
    """Whether a run's events become visible in the order of their numbers, as in SQLite, where one is written at a time.

    Elsewhere an event is numbered when it is written and visible when its transaction ends: a reader may see a later one first.
    """
    return isinstance(instance.event_log_storage, SqliteEventLogStorage)


def warm_up(step: str) -> None:
    """Import and cache what executing a step takes. `step` is the value of `get_command_env`: which instance, which code location."""
    import dagster._cli  # noqa: F401  what `python -m dagster` imports
    from dagster._utils.hosted_user_process import recon_job_from_origin

    arguments = deserialize_value(zlib.decompress(base64.b64decode(step)).decode(), ExecuteStepArgs)
    assert arguments.instance_ref
    with DagsterInstance.from_ref(arguments.instance_ref):
        recon_job_from_origin(arguments.job_origin).get_definition()


def run_is_over(step: str) -> Callable[[], bool]:
    """A function that looks up whether the run of a step has ended, or is being cancelled. `step` is the value of `get_command_env`."""
    arguments = deserialize_value(zlib.decompress(base64.b64decode(step)).decode(), ExecuteStepArgs)
    assert arguments.instance_ref
    instance = DagsterInstance.from_ref(arguments.instance_ref)

    def over() -> bool:
        run = instance.get_run_by_id(arguments.run_id)
        return run is None or run.is_finished or run.status == DagsterRunStatus.CANCELING

    return over


def instance_to_text(instance: DagsterInstance) -> str:
    """A persistent instance as text that another process turns back into the same instance."""
    return serialize_value(instance.get_ref())


def instance_from_text(text: str) -> DagsterInstance:
    """The instance that `instance_to_text` described."""
    return DagsterInstance.from_ref(deserialize_value(text, InstanceRef))


class CodeLocation:
    """One code location loaded into this process, under the origin that the web server gives it."""

    def __init__(self, origin: CodeLocationOrigin, repository: ReconstructableRepository):
        self.origin = origin
        self.repository = repository
        self.definition: RepositoryDefinition = repository.get_definition()


def load_code_location(workspace_file: Path, location_name: str | None = None) -> CodeLocation:
    """Load the (named, or only) code location of a `workspace.yaml` into this process, without a code server.

    Raises:
        ValueError: the file holds no such location, or several and none was named.
    """
    from dagster._core.origin import get_python_environment_entry_point
    from dagster._core.workspace.load import location_origins_from_yaml_paths
    from dagster._grpc.server import LoadedRepositories

    origins = {origin.location_name: origin for origin in location_origins_from_yaml_paths([str(workspace_file)])}
    if location_name is None and len(origins) == 1:
        location_name = next(iter(origins))
    if location_name not in origins:
        raise ValueError(f"{workspace_file}: code location {location_name!r} asked for, found {', '.join(origins) or 'none'}")
    origin = origins[location_name]
    target = origin.loadable_target_origin
    loaded = LoadedRepositories(
        target._replace(working_directory=target.working_directory or os.getcwd()),  # as a code server does
        container_image=None,
        entry_point=get_python_environment_entry_point(target.executable_path or sys.executable),
        container_context=None,
        code_location_name=location_name,
    )
    (repository,) = loaded.reconstructables_by_name.values()
    return CodeLocation(origin, repository)


def create_run(
    instance: DagsterInstance, location: CodeLocation, job_name: str, partition_key: str | Mapping[str, str] | None, tags: Mapping[str, str]
) -> DagsterRun:
    """Create a run as the web server would: with snapshots, origins and partition tags, not yet started.

    `partition_key` is the key, or for a multi-partitioned job also a mapping from dimension to key.
    """
    from dagster._core.definitions.partitions.context import partition_loading_context
    from dagster._core.execution.api import create_execution_plan
    from dagster._core.remote_representation.handle import RepositoryHandle
    from dagster._core.snap.execution_plan_snapshot import snapshot_from_execution_plan
    from dagster._utils.hosted_user_process import remote_job_from_recon_job

    job = location.definition.get_job(job_name)
    run_config: Mapping[str, Any] = {}
    if partition_key is not None:
        key = partition_key if isinstance(partition_key, str) else MultiPartitionKey(partition_key)
        with partition_loading_context(dynamic_partitions_store=instance) as loading:
            job.validate_partition_key(key, None, loading)
        run_config = job.get_run_config_for_partition_key(key)
        tags = {**job.get_tags_for_partition_key(key, None), **tags}

    reconstructable = location.repository.get_reconstructable_job(job_name)
    handle = RepositoryHandle(
        repository_name=location.definition.name,
        code_location_origin=location.origin,
        repository_python_origin=location.repository.get_python_origin(),
        display_metadata={},
    )
    remote_job = remote_job_from_recon_job(reconstructable, None, handle)
    load_data = location.definition.repository_load_data
    plan = create_execution_plan(reconstructable, run_config, instance_ref=instance.get_ref(), repository_load_data=load_data)
    return instance.create_run(
        job_name=job_name,
        run_id=None,
        run_config=run_config,
        status=None,
        tags={**remote_job.tags, **tags},
        root_run_id=None,
        parent_run_id=None,
        step_keys_to_execute=None,
        execution_plan_snapshot=snapshot_from_execution_plan(plan, remote_job.identifying_job_snapshot_id),
        job_snapshot=remote_job.job_snapshot,
        parent_job_snapshot=remote_job.parent_job_snapshot,
        asset_selection=None,
        asset_check_selection=None,
        resolved_op_selection=None,
        op_selection=None,
        remote_job_origin=remote_job.get_remote_origin(),
        job_code_origin=remote_job.get_python_origin(),
        asset_graph=location.definition.asset_graph,
    )


def execute_run(instance: DagsterInstance, location: CodeLocation, run: DagsterRun) -> Iterator[DagsterEvent]:
    """Execute a created run in this process, as a run worker does: with the executor of its job."""
    from dagster._grpc.impl import core_execute_run

    yield from core_execute_run(location.repository.get_reconstructable_job(run.job_name), run, instance, inject_env_vars=False)


def failure_sentence(event: DagsterEvent) -> str:
    """Why a step failed, in one line: the message of the exception (or `Failure`) that the user's code raised."""
    data = event.step_failure_data
    if data.user_failure_data and data.user_failure_data.description:
        return data.user_failure_data.description
    if data.error is None:
        return event.message or ""
    return (data.error.cause or data.error).message.strip()
