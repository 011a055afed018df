"""Six partitions on two pretend devices, one of them losing its run worker on the way."""

import os
import signal
import threading
from collections import Counter
from typing import Any

from dagster import AssetKey

from heart_assets.executor import DirectRuns, RunSpec
from heart_assets_tests.executor.conftest import Toy, alive, parent_of, wait_until

FOLDS = [f"Fold{fold}" for fold in range(6)]
SECONDS = 1.0


def test_a_killed_run_worker_costs_one_partition_which_comes_back(toy: Toy) -> None:
    def kill_the_first_run_worker() -> None:
        victims.append(toy.notes("trained", at_least=begin + 1)[begin])
        os.kill(parent_of(victims[0]["pid"]), signal.SIGKILL)
        gone.append(wait_until(lambda: not alive(victims[0]["pid"]), 20))

    begin = len(toy.notes("trained"))
    victims: list[dict[str, Any]] = []
    gone: list[float] = []
    thread = threading.Thread(target=kill_the_first_run_worker)
    thread.start()
    with DirectRuns(toy.instance, toy.workspace, processes=3, log_file=toy.folder / "backfill.log") as runs:
        results = runs.launch([RunSpec("train", fold, {"seconds": str(SECONDS)}) for fold in FOLDS])
        thread.join()
        assert gone[0] < 1
        failed = [result for result in results if not result.success]
        assert [result.spec.partition_key for result in failed] == [victims[0]["fold"]]
        assert "ended with code -9" in failed[0].reason
        (again,) = runs.launch([failed[0].spec])
        assert again.success

    notes = toy.notes("trained")[begin:]
    assert_one_at_a_time_on_each_device(notes)
    assert sorted(note["fold"] for note in notes if note["event"] == "end") == FOLDS
    assert Counter(note["event"] for note in notes) == {"start": 7, "end": 6}
    assert not any(alive(note["pid"]) for note in notes)
    materialised = toy.instance.get_materialized_partitions(AssetKey("trained"))
    assert set(FOLDS) <= materialised


def assert_one_at_a_time_on_each_device(notes: list[dict[str, Any]]) -> None:
    """Between a step's start and its end (if it lived to see it) no other step starts on its device."""
    devices = {note["visible"] for note in notes}
    assert devices == {"pretend-0", "pretend-1"}
    unfinished = {note["pid"] for note in notes} - {note["pid"] for note in notes if note["event"] == "end"}
    for device in devices:
        holder = None
        for note in sorted((note for note in notes if note["visible"] == device), key=lambda note: note["time"]):
            if note["event"] == "start":
                assert holder is None, f"two steps on {device}"
                holder = None if note["pid"] in unfinished else note["pid"]
            else:
                assert note["pid"] == holder
                holder = None
