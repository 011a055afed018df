"""What the study's steps ask of machines: `[compute]` of the study file in the executor's terms.

What belongs here: which steps need what, the executor with the study's defaults, the limits of its pools. What does not: how a step is
placed (`executor`), or what it does (`assets`).
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import dagster as dg

from heart_assets.errors import StudyError
from heart_assets.executor import (
    GPU_POOL,
    HEAVY_CPU_POOL,
    DeviceError,
    SlurmResources,
    available_cores,
    build_gpu_executor,
    count_devices,
    gpus,
    heavy_cpu,
)
from heart_assets.settings import ComputeSettings

HEAVY_STEPS_AT_ONCE = 1
GRACE_SECONDS = 30.0
"""For a cancelled step to end itself: the checkpoint of the largest network (3.7 GB) is on disk in half of that."""
RETRIES = dg.RetryPolicy(max_retries=2, delay=5)
"""For steps that may end by no fault of their own: a GPU that fails, a job that is preempted. Errors of the study are not retried."""


def learning_needs(compute: ComputeSettings, imports: Sequence[str] = ()) -> dict[str, Any]:
    """Arguments for an asset that trains or predicts: its GPUs, on a cluster with what the study allows such a job."""
    return {**gpus(compute.gpus_per_training, imports=imports, slurm=slurm_resources(compute, "training")), "retry_policy": RETRIES}


def ingest_needs(compute: ComputeSettings) -> dict[str, Any]:
    """Arguments for an asset that cleans a delivery: a pool of its own, on a cluster a job of its own."""
    return {**heavy_cpu(imports=["heart_assets.dicom.delivery"], slurm=slurm_resources(compute, "ingest")), "retry_policy": RETRIES}


def slurm_resources(compute: ComputeSettings, kind: Literal["training", "ingest"]) -> SlurmResources | None:
    """What a kind of job asks of Slurm; None where the study does not use it.

    Raises:
        StudyError: a value that Slurm would not understand.
    """
    if compute.backend != "slurm":
        return None
    try:
        return SlurmResources(**getattr(compute.slurm, kind).model_dump())
    except ValueError as error:
        raise StudyError(f"compute.slurm.{kind}: {error}") from None


def study_executor(compute: ComputeSettings) -> dg.ExecutorDefinition:
    """The executor of the code location."""
    return build_gpu_executor(
        devices=compute.devices,
        cpu_slots=compute.cpu_slots,
        backend=compute.backend,
        grace_seconds=GRACE_SECONDS,
        interval_seconds=0.5 if compute.backend == "slurm" else 0.1,  # there many runs share one database
        slurm_options=compute.slurm.options,
        pool_limits=partial(pool_limits, compute),
    )


def runs_at_once(compute: ComputeSettings) -> int:
    """How many runs one process may keep going: as many as there are cores, or jobs on the cluster."""
    return max(available_cores(), compute.slurm.max_jobs if compute.backend == "slurm" else 1)


def pool_limits(compute: ComputeSettings) -> dict[str, int]:
    """How many runs of each pool the queue may let go at once.

    Raises:
        StudyError: `compute.devices` names what this machine does not have.
    """
    if compute.backend == "slurm":
        return {GPU_POOL: compute.slurm.max_jobs, HEAVY_CPU_POOL: compute.slurm.max_jobs}
    try:
        return {GPU_POOL: count_devices(compute.devices, compute.cpu_slots), HEAVY_CPU_POOL: HEAVY_STEPS_AT_ONCE}
    except DeviceError as error:
        raise StudyError(f"compute.devices: {error}") from None
