"""A code location whose steps end in every way that a step can.

Steps leave notes as JSON lines in the folder `TOY_FOLDER`.
"""

import atexit
import json
import os
import signal
import subprocess
import time
from pathlib import Path

from dagster import (
    AssetExecutionContext,
    AssetSelection,
    Definitions,
    MultiPartitionsDefinition,
    RetryPolicy,
    StaticPartitionsDefinition,
    asset,
    define_asset_job,
)

from heart_assets.executor import SlurmResources, available_cores, build_gpu_executor, gpus, heavy_cpu
from heart_assets.executor.declare import GPUS_TAG

FOLDER = Path(os.environ.get("TOY_FOLDER", "not-set"))
DEVICES = ["pretend-0", "pretend-1"]
GRACE_SECONDS = 1.0
views, folds = StaticPartitionsDefinition(["3ch", "4ch"]), StaticPartitionsDefinition(["Fold0", "Fold1"])
cells = MultiPartitionsDefinition({"view": views, "fold": folds})


def note(name: str, **facts: object) -> None:
    with (FOLDER / f"{name}.jsonl").open("a") as file:
        facts |= {"pid": os.getpid(), "visible": os.environ.get("CUDA_VISIBLE_DEVICES"), "time": time.time()}
        file.write(json.dumps(facts) + "\n")


@asset(**heavy_cpu(slurm=SlurmResources(cpus=2)))
def on_cpu() -> None:
    note("on_cpu", cores=available_cores(), threads=os.environ.get("OMP_NUM_THREADS"))


@asset(**gpus(2))
def on_two_gpus() -> None:
    note("on_two_gpus", cores=available_cores(), threads=os.environ.get("OMP_NUM_THREADS"))


@asset
def raises() -> None:
    raise ValueError("a sentence for the user")


@asset
def is_killed() -> None:
    print("last words", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


@asset
def falls_silent() -> None:
    os._exit(0)


@asset
def ends_badly_after_success() -> None:
    atexit.register(os._exit, 7)


@asset(**gpus(3))
def asks_for_too_many() -> None:
    note("asks_for_too_many")


@asset(op_tags={GPUS_TAG: "many"})
def is_tagged_wrongly() -> None:
    note("is_tagged_wrongly")


@asset(retry_policy=RetryPolicy(max_retries=1))
def is_killed_once(context: AssetExecutionContext) -> None:
    note("is_killed_once")
    if context.retry_number == 0:
        os.kill(os.getpid(), signal.SIGKILL)


@asset(partitions_def=cells, **gpus(2))
def cell(context: AssetExecutionContext) -> None:
    note("cell", event="start")
    time.sleep(0.3)
    note("cell", event="end")


@asset(**gpus(1))
def holds_on() -> None:
    """Ignores SIGTERM, has a child that does too, and holds a device for a minute."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen(["sleep", "60"])
    note("holds_on", child=child.pid)
    time.sleep(60)


@asset(
    partitions_def=StaticPartitionsDefinition([f"Fold{fold}" for fold in range(6)]),
    retry_policy=RetryPolicy(max_retries=1),
    **gpus(1, slurm=SlurmResources(time="10", cpus=1)),
)
def trained(context: AssetExecutionContext) -> None:
    """Holds a device for as long as the run's tag `seconds` says."""
    facts = {"fold": context.partition_key, "job": os.environ.get("SLURM_JOB_ID")}
    note("trained", event="start", **facts)
    time.sleep(float(context.run.tags["seconds"]))
    note("trained", event="end", **facts)


KINDS = AssetSelection.all() - AssetSelection.assets("cell", "holds_on", "trained")

defs = Definitions(
    assets=[
        on_cpu,
        on_two_gpus,
        raises,
        is_killed,
        falls_silent,
        ends_badly_after_success,
        asks_for_too_many,
        is_tagged_wrongly,
        is_killed_once,
        cell,
        holds_on,
        trained,
    ],
    jobs=[
        define_asset_job("kinds", KINDS),
        define_asset_job("cells", AssetSelection.assets("cell"), tags={"stage": "cells"}),
        define_asset_job("hold", AssetSelection.assets("holds_on")),
        define_asset_job("train", AssetSelection.assets("trained")),
    ],
    executor=build_gpu_executor(
        devices=DEVICES,
        lock_folder=FOLDER / "locks",
        grace_seconds=GRACE_SECONDS,
        max_concurrent=4,
        warm_start=os.environ.get("TOY_WARM_START") != "no",
        backend=os.environ.get("TOY_BACKEND", "local"),
        slurm_poll_seconds=0.5,
    ),
)
