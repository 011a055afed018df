"""The executor: its config, and how it is built.

What belongs here: the definition that a code location uses. What does not: how steps are launched (`step_handler`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dagster import (
    Array,
    DagsterEvent,
    DagsterInstance,
    Enum,
    EnumValue,
    ExecutorDefinition,
    Field,
    InitExecutorContext,
    Int,
    Noneable,
    ScalarUnion,
    Shape,
    StringSource,
    executor,
)

from heart_assets.executor.dagster_internals import (
    RetryMode,
    StepDelegatingExecutor,
    events_appear_in_order,
    get_retries_config,
    multiple_process_executor_requirements,
)
from heart_assets.executor.declare import GPU_POOL, HEAVY_CPU_POOL, set_missing_pool_limits
from heart_assets.executor.devices import AUTO, available_cores, find_devices
from heart_assets.executor.local_steps import LocalSteps
from heart_assets.executor.slurm import SlurmResources
from heart_assets.executor.slurm_steps import SlurmSteps
from heart_assets.executor.step_handler import PlacingStepHandler

LOCAL, SLURM = "local", "slurm"
LATE_EVENTS = 200
"""How many events may become visible before one with a lower number does: on PostgreSQL those written at the same moment, by all runs."""


def build_gpu_executor(
    *,
    devices: str | Sequence[str] = AUTO,
    cpu_slots: int | None = None,
    lock_folder: str | Path | None = None,
    max_concurrent: int | None = None,
    grace_seconds: float = 10.0,
    interval_seconds: float = 0.1,
    warm_start: bool = True,
    backend: str = LOCAL,
    slurm: SlurmResources | None = None,
    slurm_options: Sequence[str] = (),
    slurm_folder: str | Path | None = None,
    slurm_poll_seconds: float = 5.0,
    pool_limits: Callable[[], Mapping[str, int]] | None = None,
) -> ExecutorDefinition:
    """An executor for `Definitions(executor=...)`, with these defaults for its config, which a run may override.

    Each step is a process. A step whose asset is declared with `gpus(n)` first leases n devices; others see none. With the backend
    "slurm", steps whose assets are declared with `gpus(n)` or with Slurm's resources are Slurm jobs instead; the others stay here.

    Args:
        devices: "auto", or names of devices (best UUIDs; any names serve where there is no GPU, to try things).
        cpu_slots: on a machine without GPU, how many steps with `gpus()` may run at once; default one per core, at most 8.
        lock_folder: see `default_lock_folder`.
        max_concurrent: how many steps of one run may be under way (those that wait for a device count); default the number of cores.
        grace_seconds: how long a step may take to end when its run is cancelled, before it is killed.
        interval_seconds: how often the run's events and the health of its steps are looked at.
        warm_start: fork steps from a process that has loaded the code location (see `template`); otherwise each is a new
            interpreter, which is slower, and needed where loading the code location starts threads or touches a GPU.
        backend: "local" or "slurm".
        slurm: what a job asks for where its asset leaves it open.
        slurm_options: further options of sbatch for every job, such as "--account=cardiac".
        slurm_folder: shared folder for the jobs' output; default `slurm` in the folder of the Dagster instance.
        slurm_poll_seconds: how often a run asks Slurm about its jobs; that a step has ended is seen sooner, by a file.
        pool_limits: called by a run that finds the pools `gpu` and `heavy_cpu` without limits, to give them these.
    """
    defaults = slurm or SlurmResources()
    schema = {
        "devices": Field(
            ScalarUnion(scalar_type=str, non_scalar_schema=Array(str)),
            default_value=devices if isinstance(devices, str) else list(devices),
            description="auto (the machine's GPUs by UUID, or CPU slots where there is none), or a list of names of devices.",
        ),
        "cpu_slots": optional(
            Int, cpu_slots, "Only without a GPU: how many steps that ask for one may run at once. Default: one per core, at most 8."
        ),
        "lock_folder": optional(
            StringSource,
            str(lock_folder) if lock_folder else None,
            "Folder on a local disk with the locks of the devices, one for all who share them. Default: /tmp/gpu_executor.",
        ),
        "max_concurrent": optional(Int, max_concurrent, "How many steps of one run may be under way. Default: the number of cores."),
        "grace_seconds": Field(float, default_value=grace_seconds, description="Time for a cancelled step to end before it is killed."),
        "interval_seconds": Field(
            float, default_value=interval_seconds, description="How often events and the health of steps are looked at."
        ),
        "warm_start": Field(bool, default_value=warm_start, description="Fork steps from a process that has loaded the code location."),
        "retries": get_retries_config(),
        "backend": Field(
            Enum("GpuExecutorBackend", [EnumValue(LOCAL), EnumValue(SLURM)]),
            default_value=backend,
            description="Where steps with gpus() or Slurm's resources are executed: by this machine, or as Slurm jobs.",
        ),
        "slurm": Field(
            Shape(
                {
                    "time": optional(str, defaults.time, "Time limit of a job, as sbatch takes it."),
                    "memory": optional(str, defaults.memory, "Memory of a job, such as 32G."),
                    "cpus": optional(Int, defaults.cpus, "CPUs of a job."),
                    "partition": optional(str, defaults.partition, "Slurm's partition for jobs."),
                    "constraint": optional(str, defaults.constraint, "Features that a job's node must have."),
                    "options": Field(Array(str), default_value=list(slurm_options), description="Further options of sbatch."),
                    "folder": optional(StringSource, str(slurm_folder) if slurm_folder else None, "Shared folder for the output of jobs."),
                    "poll_seconds": Field(float, default_value=slurm_poll_seconds, description="How often Slurm is asked about jobs."),
                }
            ),
            description="For the backend slurm: what a job asks for where its asset leaves it open, and how it is watched.",
        ),
    }

    @executor(name="gpu_executor", config_schema=schema, requirements=multiple_process_executor_requirements())
    def definition(init_context: InitExecutorContext) -> GpuExecutor:
        """Steps as processes on this machine, with leases on its GPUs, or as Slurm jobs."""
        config: Mapping[str, Any] = init_context.executor_config
        local = LocalSteps(
            devices=config["devices"],
            cpu_slots=config["cpu_slots"],
            lock_folder=Path(config["lock_folder"] or default_lock_folder()),
            warm_start=config["warm_start"],
        )
        cluster = slurm_steps(config["slurm"], config["grace_seconds"]) if config["backend"] == SLURM else None
        handler = PlacingStepHandler(local, cluster, config["grace_seconds"])
        return GpuExecutor(
            handler,
            retries=RetryMode.from_config(config["retries"]),
            sleep_seconds=config["interval_seconds"],
            check_step_health_interval_seconds=0,  # at each look: it costs a system call
            max_concurrent=config["max_concurrent"] or available_cores(),
            pool_limits=pool_limits,
        )

    return definition


def slurm_steps(config: Mapping[str, Any], grace_seconds: float) -> SlurmSteps:
    """The cluster as a place for steps.

    Raises:
        ValueError: a value that Slurm would not understand.
    """
    own = {name: config[name] for name in ("time", "memory", "cpus", "partition", "constraint")}
    folder = Path(config["folder"]) if config["folder"] else None
    return SlurmSteps(folder, SlurmResources(**own), config["options"], config["poll_seconds"], grace_seconds)


def optional(config_type: Any, default: Any, description: str) -> Field:
    """A field that may be left out or be null."""
    return Field(Noneable(config_type), default_value=default, is_required=False, description=description)


def default_lock_folder() -> Path:
    """One folder for the whole machine, whatever `TMPDIR` says: it keeps devices apart between all users' runs, of any code location."""
    return Path("/tmp/gpu_executor")


def count_devices(devices: str | Sequence[str] = AUTO, cpu_slots: int | None = None) -> int:
    """How many steps with `gpus(1)` can run at once on this machine: the limit that their pool should have."""
    return len(find_devices(devices, cpu_slots))


class GpuExecutor(StepDelegatingExecutor):
    """Dagster's executor of separate steps, with a handler that must be closed."""

    def __init__(self, handler: PlacingStepHandler, pool_limits: Callable[[], Mapping[str, int]] | None, **options: Any):
        super().__init__(handler, **options)
        self._handler, self._pool_limits = handler, pool_limits

    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[DagsterEvent]:
        """Execute the plan; then let the processes end that are still closing their resources after the step's last event."""
        if self._pool_limits:
            set_missing_pool_limits(plan_context.instance, self._pool_limits, (GPU_POOL, HEAVY_CPU_POOL))
        try:
            yield from super().execute(plan_context, execution_plan)
        finally:
            self._handler.close()

    def _get_pop_events_offset(self, instance: DagsterInstance) -> int:
        """By how many numbers each look at the event log begins before the newest event that was seen; seen ones are passed over."""
        return super()._get_pop_events_offset(instance) or (0 if events_appear_in_order(instance) else LATE_EVENTS)


gpu_executor = build_gpu_executor()
