"""What an asset says about its needs: `@asset(**gpus(1))`.

What belongs here: helpers for definitions, and the tags that carry the needs to the executor. What does not: anything that needs a run.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dagster import DagsterInstance

from heart_assets.executor.slurm import SlurmResources

GPUS_TAG = "gpu_executor/gpus"
SLURM_TAG = "gpu_executor/slurm"
IMPORTS_TAG = "gpu_executor/imports"
MAX_GPUS = 16
GPU_POOL = "gpu"
HEAVY_CPU_POOL = "heavy_cpu"


def gpus(count: int = 1, pool: str = GPU_POOL, imports: Sequence[str] = (), slurm: SlurmResources | None = None) -> dict[str, Any]:
    """Arguments for `@asset`, `@multi_asset`, `@op` or `@asset_check` whose step needs `count` GPUs.

    The tag makes the executor lease the devices, or ask Slurm for them; the pool makes the need visible in the queue. `imports` and
    `slurm`: see `cpu`.

    Raises:
        ValueError: `count` is not a whole number from 1 to 16, `pool` is empty, or `imports` holds what is no name of a module.
    """
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MAX_GPUS:
        raise ValueError(f"gpus() takes a whole number from 1 to {MAX_GPUS}, found {count!r}")
    if not pool:
        raise ValueError("gpus() needs the name of a pool")
    return {"op_tags": {GPUS_TAG: str(count), **cpu(imports, slurm)["op_tags"]}, "pool": pool}


def heavy_cpu(pool: str = HEAVY_CPU_POOL, imports: Sequence[str] = (), slurm: SlurmResources | None = None) -> dict[str, Any]:
    """Arguments for a step without GPU that fills cores or memory by itself: a pool of its own, so that few run at once."""
    return {**cpu(imports, slurm), "pool": pool}


def cpu(imports: Sequence[str] = (), slurm: SlurmResources | None = None) -> dict[str, Any]:
    """Arguments for any other step, if it imports modules that take long, such as `cpu(imports=["sklearn"])`, or belongs on a cluster.

    The first step of a run worker that names `imports` has them imported where the others can share them (see `template`). They must
    be safe to fork: no threads and no GPU in use after the import, which holds for torch, scikit-learn, pandas and matplotlib.

    A step with `slurm` becomes a Slurm job where the executor's backend is Slurm, with or without GPUs; what it leaves open is filled
    in from the executor's config. On one machine it has no effect.

    Raises:
        ValueError: `imports` holds what is no name of a module.
    """
    return {"op_tags": imports_tag(imports) | ({SLURM_TAG: slurm.to_json()} if slurm is not None else {})}


def imports_tag(imports: Sequence[str]) -> dict[str, str]:
    """The tag for modules to import, or nothing for none."""
    wrong = [name for name in imports if not all(part.isidentifier() for part in name.split("."))]
    if isinstance(imports, str) or wrong:
        raise ValueError(f"imports takes a list of names of modules, found {imports!r}")
    return {IMPORTS_TAG: ",".join(imports)} if imports else {}


def imports_of(tags: Mapping[str, str]) -> list[str]:
    """The modules that a step's tags name."""
    return [name for name in tags.get(IMPORTS_TAG, "").split(",") if name]


def gpus_of(tags: Mapping[str, str]) -> int:
    """The number of GPUs that a step's tags ask for; 0 without the tag.

    Raises:
        ValueError: the tag was written by hand, and wrongly.
    """
    text = tags.get(GPUS_TAG, "0")
    if not text.isdecimal() or int(text) > MAX_GPUS:
        raise ValueError(f"the tag {GPUS_TAG} must be a whole number up to {MAX_GPUS}, found {text!r}")
    return int(text)


def slurm_of(tags: Mapping[str, str]) -> SlurmResources | None:
    """What a step's tags ask of Slurm; None without the tag.

    Raises:
        ValueError: the tag was written by hand, and wrongly.
    """
    return SlurmResources.from_json(tags[SLURM_TAG]) if SLURM_TAG in tags else None


def set_pool_limits(instance: DagsterInstance, limits: Mapping[str, int]) -> None:
    """Give pools their limits, so that the queue starts no more runs of a pool than it has room for.

    Writes only what differs. Needs an instance whose event log has concurrency limits (SQLite, PostgreSQL).
    """
    known = limits_of(instance)
    for pool, limit in limits.items():
        if known.get(pool) != limit:
            instance.event_log_storage.set_concurrency_slots(pool, limit)


def set_missing_pool_limits(instance: DagsterInstance, limits: Callable[[], Mapping[str, int]], pools: Sequence[str]) -> None:
    """The same for those of `pools` that have no limit yet; `limits` is called only if there is one."""
    if instance.event_log_storage.supports_global_concurrency_limits and not limits_of(instance).keys() >= set(pools):
        set_pool_limits(instance, {**limits(), **limits_of(instance)})


def limits_of(instance: DagsterInstance) -> dict[str, int]:
    """The limits that somebody has set."""
    return {
        pool.name: pool.limit for pool in instance.event_log_storage.get_pool_limits() if not pool.from_default and pool.limit is not None
    }
