"""Runs whose steps are jobs of a real Slurm with two pretend GPUs."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterRunStatus
from dagster._grpc.types import ExecuteRunArgs, ResumeRunArgs
from dagster._serdes import serialize_value

from heart_assets.executor import DirectRuns, RunResult, RunSpec, available_cores
from heart_assets.executor.dagster_internals import create_run, load_code_location
from heart_assets_tests.executor.conftest import Toy, alive, wait_until
from heart_assets_tests.executor.slurm_cluster import Cluster, slurm

__all__ = ["slurm"]  # a fixture
FOLDS = [f"Fold{fold}" for fold in range(6)]


@pytest.fixture(scope="module")
def on_slurm(toy: Toy, slurm: Cluster) -> Iterator[Toy]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOY_BACKEND", "slurm")
        for name, value in slurm.environment.items():
            patch.setenv(name, value)
        yield toy


@pytest.fixture(scope="module")
def slurm_runs(on_slurm: Toy) -> Iterator[DirectRuns]:
    with DirectRuns(on_slurm.instance, on_slurm.workspace, processes=3, log_file=on_slurm.folder / "slurm-workers.log") as runs:
        yield runs


def meanwhile(runs: DirectRuns, spec: RunSpec, act: Callable[[str], None]) -> RunResult:
    """Launch a run and, once it has begun, do something in another thread with its id."""
    threads: list[threading.Thread] = []

    def on_started(_: RunSpec, run_id: str) -> None:
        threads.append(threading.Thread(target=act, args=(run_id,)))
        threads[0].start()

    (result,) = runs.launch([spec], on_started=on_started)
    threads[0].join()
    return result


def event_types(toy: Toy, run_id: str | None) -> list[str]:
    assert run_id
    return [entry.dagster_event.event_type_value for entry in toy.instance.all_logs(run_id) if entry.dagster_event]


def one_fold(fold: str, seconds: float) -> RunSpec:
    return RunSpec("train", fold, {"seconds": str(seconds)})


def test_steps_end_as_they_do_on_one_machine(on_slurm: Toy, slurm_runs: DirectRuns) -> None:
    (result,) = slurm_runs.launch([RunSpec("kinds")])
    assert result.run_id
    outcomes = {stats.step_key: stats.status.value for stats in on_slurm.instance.get_run_step_stats(result.run_id) if stats.status}
    failed = {"raises", "is_killed", "falls_silent", "asks_for_too_many", "is_tagged_wrongly"}
    succeeded = {"on_cpu", "on_two_gpus", "ends_badly_after_success", "is_killed_once"}
    assert outcomes == {**dict.fromkeys(failed, "FAILURE"), **dict.fromkeys(succeeded, "SUCCESS")}
    too_many = on_slurm.failure(result.run_id, "asks_for_too_many")
    assert "Requested node configuration is not available. It was asked for --nodes=1 --ntasks=1 --gres=gpu:3." in too_many
    on_two_gpus, on_cpu = on_slurm.notes("on_two_gpus")[-1], on_slurm.notes("on_cpu")[-1]
    assert (on_two_gpus["visible"], on_two_gpus["cores"], on_two_gpus["threads"]) == ("0,1", 1, "1")  # Slurm's default is one CPU
    assert (on_cpu["visible"], on_cpu["cores"], on_cpu["threads"]) == ("", min(2, available_cores()), "2")
    events = on_slurm.events(result.run_id, "on_two_gpus")
    assert any(event.startswith("Submitted as Slurm job ") for event in events)


def test_six_partitions_on_two_devices_one_of_them_cancelled_from_outside(on_slurm: Toy, slurm_runs: DirectRuns) -> None:
    def scancel() -> None:
        victim = on_slurm.notes("trained", at_least=begin + 1)[begin]
        cancelled.append(victim["job"])
        subprocess.run(["scancel", victim["job"]], check=True)

    begin = len(on_slurm.notes("trained"))
    cancelled: list[str] = []
    thread = threading.Thread(target=scancel)
    thread.start()
    results = slurm_runs.launch([one_fold(fold, 2) for fold in FOLDS])
    thread.join()
    assert [result.status for result in results] == ["SUCCESS"] * 6

    notes = on_slurm.notes("trained")[begin:]
    ended = {note["job"]: note for note in notes if note["event"] == "end"}
    assert sorted(note["fold"] for note in ended.values()) == FOLDS
    assert len({note["job"] for note in notes}) == 7 and cancelled[0] not in ended
    retried = [result for result in results if "STEP_UP_FOR_RETRY" in event_types(on_slurm, result.run_id)]
    assert [result.spec.partition_key for result in retried] == [notes[0]["fold"]]
    for device in ("0", "1"):
        there = sorted((note["time"], note["event"], note["job"]) for note in notes if note["visible"] == device)
        assert len(there) >= 4
        for (_, event, job), (_, following, next_job) in pairwise(there):
            assert job == next_job if following == "end" else (event == "end" or job == cancelled[0])


def test_cancel_ends_the_job(on_slurm: Toy, slurm_runs: DirectRuns, slurm: Cluster) -> None:
    gone: list[float] = []

    def cancel(run_id: str) -> None:
        before = len(on_slurm.notes("holds_on"))
        holder = on_slurm.notes("holds_on", at_least=before + 1)[-1]
        begin = time.monotonic()
        on_slurm.instance.run_coordinator.cancel_run(run_id)  # as the web UI does
        wait_until(lambda: not alive(holder["pid"]) and not alive(holder["child"]), 30)
        gone.append(time.monotonic() - begin)

    assert meanwhile(slurm_runs, RunSpec("hold"), cancel).status == "CANCELED"
    assert gone[0] < 15
    wait_until(lambda: not slurm.active_jobs(), 15)


def test_a_job_ends_when_its_run_worker_was_killed(on_slurm: Toy, slurm_runs: DirectRuns, slurm: Cluster) -> None:
    def kill_worker(run_id: str) -> None:
        before = len(on_slurm.notes("holds_on"))
        holders.append(on_slurm.notes("holds_on", at_least=before + 1)[-1])
        os.kill(slurm_runs._workers[0]._process.pid, signal.SIGKILL)  # type: ignore[union-attr]

    holders: list[dict[str, Any]] = []
    assert meanwhile(slurm_runs, RunSpec("hold"), kill_worker).status == "FAILURE"
    wait_until(lambda: not alive(holders[0]["pid"]) and not alive(holders[0]["child"]), 30)
    wait_until(lambda: not slurm.active_jobs(), 15)


def test_a_job_that_loses_its_node_is_tried_again(on_slurm: Toy, slurm_runs: DirectRuns, slurm: Cluster) -> None:
    def lose(run_id: str) -> None:
        before = len(on_slurm.notes("trained"))
        on_slurm.notes("trained", at_least=before + 1)
        slurm.lose_node()

    result = meanwhile(slurm_runs, one_fold("Fold0", 2), lose)
    assert result.status == "SUCCESS"
    assert "STEP_UP_FOR_RETRY" in event_types(on_slurm, result.run_id)


def test_a_run_worker_that_was_started_again_adopts_the_job(on_slurm: Toy, slurm: Cluster, tmp_path: Path) -> None:
    location = load_code_location(on_slurm.workspace)
    run = create_run(on_slurm.instance, location, "train", "Fold1", {"seconds": "8"})
    origin = run.job_code_origin
    assert origin
    before = len(on_slurm.notes("trained"))

    def run_worker(command: str, arguments: Any) -> "subprocess.Popen[bytes]":
        log = (tmp_path / f"{command}.log").open("wb")
        return subprocess.Popen([sys.executable, "-m", "dagster", "api", command, serialize_value(arguments)], stdout=log, stderr=log)

    first = run_worker("execute_run", ExecuteRunArgs(origin, run.run_id, on_slurm.instance.get_ref()))
    on_slurm.notes("trained", at_least=before + 1)
    first.kill()
    first.wait()
    (job,) = slurm.active_jobs()
    second = run_worker("resume_run", ResumeRunArgs(origin, run.run_id, on_slurm.instance.get_ref()))
    assert second.wait(60) == 0
    ended = on_slurm.instance.get_run_by_id(run.run_id)
    assert ended and ended.status == DagsterRunStatus.SUCCESS
    notes = on_slurm.notes("trained")[before:]
    assert [(note["event"], note["job"]) for note in notes] == [("start", job), ("end", job)]
    assert f"Found as Slurm job {job}." in on_slurm.events(run.run_id, "trained")
