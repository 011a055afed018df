"""A Dagster executor that leases GPUs: each step a process, with devices that no other step has.

Knows nothing of hearts, and imports nothing of the project outside this folder.

    @asset(**gpus(1))
    def trained_model(...): ...

    Definitions(assets=[trained_model], executor=gpu_executor)

`gpu_executor` (or `build_gpu_executor`) goes into the definitions; `gpus`, `heavy_cpu` and `cpu` declare what an asset needs;
`set_pool_limits` with `count_devices` gives the queue its limits; `DirectRuns` launches runs without daemon and queue.
"""

from heart_assets.executor.declare import GPU_POOL, HEAVY_CPU_POOL, cpu, gpus, heavy_cpu, set_pool_limits
from heart_assets.executor.definition import build_gpu_executor, count_devices, default_lock_folder, gpu_executor
from heart_assets.executor.devices import DeviceError, available_cores
from heart_assets.executor.direct_runs import DirectRuns, RunResult, RunSpec, launch_runs
from heart_assets.executor.slurm import SlurmResources

__all__ = [
    "GPU_POOL",
    "HEAVY_CPU_POOL",
    "DeviceError",
    "DirectRuns",
    "RunResult",
    "RunSpec",
    "SlurmResources",
    "available_cores",
    "build_gpu_executor",
    "count_devices",
    "cpu",
    "default_lock_folder",
    "gpu_executor",
    "gpus",
    "heavy_cpu",
    "launch_runs",
    "set_pool_limits",
]
