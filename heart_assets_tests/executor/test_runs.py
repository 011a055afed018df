"""Steps through real runs: how each way to end is seen and told."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from dagster import DagsterEventType

from heart_assets.executor import DirectRuns, RunResult, RunSpec, launch_runs, lease
from heart_assets.executor.local_steps import make_lock_folder
from heart_assets_tests.executor.conftest import Toy, alive, parent_of, wait_until
from heart_assets_tests.executor.toy import GRACE_SECONDS

OUTCOMES = {
    "on_cpu": "SUCCESS",
    "on_two_gpus": "SUCCESS",
    "raises": "FAILURE",
    "is_killed": "FAILURE",
    "falls_silent": "FAILURE",
    "ends_badly_after_success": "SUCCESS",
    "asks_for_too_many": "FAILURE",
    "is_tagged_wrongly": "FAILURE",
    "is_killed_once": "SUCCESS",
}


@pytest.fixture(scope="module")
def kinds(runs: DirectRuns) -> RunResult:
    """One run of steps that end in every way, at most four at once."""
    (result,) = runs.launch([RunSpec("kinds")])
    return result


def test_the_run_fails_and_says_why(kinds: RunResult) -> None:
    assert kinds.status == "FAILURE"
    assert kinds.reason


def test_outcome_of_each_step(toy: Toy, kinds: RunResult) -> None:
    assert kinds.run_id
    outcomes = {stats.step_key: stats.status.value for stats in toy.instance.get_run_step_stats(kinds.run_id) if stats.status}
    assert outcomes == OUTCOMES


def test_devices_that_steps_see(toy: Toy, kinds: RunResult) -> None:
    assert [note["visible"] for note in toy.notes("on_cpu")] == [""]
    assert [note["visible"] for note in toy.notes("on_two_gpus")] == ["pretend-0,pretend-1"]
    assert kinds.run_id and any("Leased pretend-0, pretend-1 after" in message for message in toy.events(kinds.run_id, "on_two_gpus"))


def test_failures_in_words(toy: Toy, kinds: RunResult) -> None:
    assert kinds.run_id
    killed = toy.failure(kinds.run_id, "is_killed")
    assert "its process was killed by SIGKILL" in killed
    assert "last words" in killed
    assert "ended with exit code 0 without reporting an end of the step" in toy.failure(kinds.run_id, "falls_silent")
    assert "it asks for 3 GPUs, but there are only 2: pretend-0, pretend-1." in toy.failure(kinds.run_id, "asks_for_too_many")
    assert "must be a whole number up to 16, found 'many'" in toy.failure(kinds.run_id, "is_tagged_wrongly")
    assert toy.notes("asks_for_too_many") == toy.notes("is_tagged_wrongly") == []


def test_a_death_is_seen_within_seconds(toy: Toy, kinds: RunResult) -> None:
    assert kinds.run_id
    entries = [entry for entry in toy.instance.all_logs(kinds.run_id) if entry.step_key == "is_killed" and entry.dagster_event]
    times = {entry.dagster_event.event_type: entry.timestamp for entry in entries if entry.dagster_event}
    assert times[DagsterEventType.STEP_FAILURE] - times[DagsterEventType.STEP_START] < 5


def test_a_retried_step_is_two_processes(toy: Toy, kinds: RunResult) -> None:
    pids = [note["pid"] for note in toy.notes("is_killed_once")]
    assert len(pids) == len(set(pids)) == 2


def test_two_runs_at_once_never_share_a_device(toy: Toy, runs: DirectRuns) -> None:
    before = len(toy.notes("cell"))
    specs = [RunSpec("cells", {"view": view, "fold": "Fold0"}) for view in ("3ch", "4ch")]
    results = runs.launch(specs)
    assert [result.status for result in results] == ["SUCCESS", "SUCCESS"]
    notes = sorted(toy.notes("cell")[before:], key=lambda note: note["time"])
    assert [note["event"] for note in notes] == ["start", "end", "start", "end"]
    assert notes[0]["pid"] == notes[1]["pid"] != notes[2]["pid"]


def test_a_step_that_waits_says_so(toy: Toy, runs: DirectRuns) -> None:
    make_lock_folder(toy.folder / "locks")
    order = {"parent": os.getpid(), "tell": 1, "count": 1, "folder": str(toy.folder / "locks"), "devices": ["pretend-0"], "threads": 0}
    command = [sys.executable, "-I", "-S", lease.__file__, json.dumps({**order, "command": ["/bin/sleep", "60"]})]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert holder.stdout and b"leased" in holder.stdout.readline()
    ids: list[str] = []

    def free_the_device_once_somebody_waits() -> None:
        wait_until(lambda: bool(ids) and "Waiting for 2 of 2 devices: it is next." in toy.events(ids[0], "cell"), 30)
        holder.kill()

    thread = threading.Thread(target=free_the_device_once_somebody_waits)
    thread.start()
    (result,) = runs.launch([RunSpec("cells", "Fold0|3ch")], on_started=lambda _, run_id: ids.append(run_id))
    thread.join()
    holder.wait()
    assert result.success
    assert any("Leased pretend-0, pretend-1 after" in event for event in toy.events(ids[0], "cell"))


def test_cancel_ends_the_process_group(toy: Toy, runs: DirectRuns) -> None:
    before = len(toy.notes("holds_on"))
    gone: list[float] = []

    def cancel(run_id: str) -> None:
        holder = toy.notes("holds_on", at_least=before + 1)[-1]
        begin = time.monotonic()
        toy.instance.run_coordinator.cancel_run(run_id)  # as the web UI does
        wait_until(lambda: not alive(holder["pid"]) and not alive(holder["child"]), 20)
        gone.append(time.monotonic() - begin)

    def on_started(_: RunSpec, run_id: str) -> None:
        threads.append(threading.Thread(target=cancel, args=(run_id,)))
        threads[0].start()

    threads: list[threading.Thread] = []
    (result,) = runs.launch([RunSpec("hold")], on_started=on_started)
    threads[0].join()
    assert result.status == "CANCELED"
    assert GRACE_SECONDS <= gone[0] < 10


def test_a_step_and_its_children_die_with_their_run_worker_and_free_the_device(toy: Toy, runs: DirectRuns) -> None:
    before = len(toy.notes("holds_on"))
    gone: list[float] = []

    def kill_worker() -> None:
        holder = toy.notes("holds_on", at_least=before + 1)[-1]
        os.kill(parent_of(holder["pid"]), signal.SIGKILL)
        gone.append(wait_until(lambda: not alive(holder["pid"]) and not alive(holder["child"]), 20))

    thread = threading.Thread(target=kill_worker)
    hold = RunSpec("hold")
    thread.start()
    (result,) = runs.launch([hold])
    thread.join()
    assert (result.status, result.reason) == ("FAILURE", "The process that executed the run ended with code -9.")
    assert gone[0] < 1
    (after,) = runs.launch([RunSpec("cells", "Fold1|3ch")])
    assert after.success


@pytest.mark.slow
def test_new_interpreters_end_as_forked_ones_do(toy: Toy, kinds: RunResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_WARM_START", "no")
    (result,) = launch_runs([RunSpec("kinds")], toy.instance, toy.workspace)
    outcomes = [
        {stats.step_key: stats.status for stats in toy.instance.get_run_step_stats(run.run_id)} for run in (kinds, result) if run.run_id
    ]
    assert outcomes[0] == outcomes[1]
    assert len(outcomes[0]) == len(OUTCOMES)
