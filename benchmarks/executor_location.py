"""The code location of `benchmarks/executor.py`: twenty trivial partitions that ask for a GPU, and a step that holds one.

`BENCHMARK_EXECUTOR` chooses between this project's executor and Dagster's own; notes go to `BENCHMARK_FOLDER`.
"""

import json
import os
import time
from pathlib import Path

from dagster import AssetSelection, Definitions, StaticPartitionsDefinition, asset, define_asset_job, multiprocess_executor

from heart_assets.executor import build_gpu_executor, gpus

FOLDER = Path(os.environ["BENCHMARK_FOLDER"])
DEVICES = ("pretend-0", "pretend-1")
PARTITIONS = [f"{number:02d}" for number in range(20)]


def note(name: str) -> None:
    with (FOLDER / f"{name}.jsonl").open("a") as file:
        file.write(json.dumps({"pid": os.getpid(), "time": time.time()}) + "\n")


@asset(partitions_def=StaticPartitionsDefinition(PARTITIONS), **gpus(1))
def trivial() -> None:
    note("trivial")


@asset(**gpus(1))
def holds() -> None:
    note("holds")
    time.sleep(60)


executors = {
    "gpu": build_gpu_executor(devices=DEVICES, lock_folder=FOLDER / "locks", grace_seconds=5.0),
    "multiprocess": multiprocess_executor.configured({"max_concurrent": len(DEVICES)}),
}
defs = Definitions(
    assets=[trivial, holds],
    jobs=[define_asset_job("hold", AssetSelection.assets("holds"))],
    executor=executors[os.environ["BENCHMARK_EXECUTOR"]],
)
