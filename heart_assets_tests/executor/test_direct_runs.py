"""Runs without a daemon: what they are, their order, and what happens when things go wrong in between."""

import signal
import subprocess
import sys

import pytest
from dagster import AssetKey, RunsFilter

from heart_assets.executor import DirectRuns, RunResult, RunSpec, launch_runs
from heart_assets_tests.executor.conftest import Toy, alive, wait_until


def test_a_run_is_like_one_of_the_web_server(toy: Toy, runs: DirectRuns) -> None:
    started: list[tuple[RunSpec, str]] = []
    finished: list[RunResult] = []
    spec = RunSpec("cells", {"view": "4ch", "fold": "Fold1"}, tags={"why": "test"})
    results = runs.launch([spec], on_started=lambda *what: started.append(what), on_finished=finished.append)
    assert results == finished
    assert started == [(spec, results[0].run_id)]
    assert (results[0].status, results[0].reason) == ("SUCCESS", "")
    assert results[0].seconds > 0

    assert results[0].run_id
    run = toy.instance.get_run_by_id(results[0].run_id)
    assert run and run.remote_job_origin
    origin = run.remote_job_origin.repository_origin
    assert (origin.code_location_origin.location_name, origin.repository_name) == ("toy", "__repository__")
    assert run.tags == {
        "dagster/code_location": "toy",
        "dagster/partition": "Fold1|4ch",
        "dagster/partition/fold": "Fold1",
        "dagster/partition/view": "4ch",
        "dagster/partition_set": "cells_partition_set",
        "stage": "cells",
        "why": "test",
    }
    assert "Fold1|4ch" in toy.instance.get_materialized_partitions(AssetKey("cell"))


def test_order_skips_and_refusals(runs: DirectRuns) -> None:
    first = RunSpec("cells", "Fold0|3ch")
    unknown_key, unknown_job = RunSpec("cells", "Fold9|3ch"), RunSpec("no_such_job")
    then = RunSpec("cells", "Fold0|4ch", after=(first,))
    never = RunSpec("cells", "Fold1|3ch", after=(first, unknown_key))
    nor_this = RunSpec("cells", "Fold1|4ch", after=(never,))
    order: list[RunSpec] = []
    results = runs.launch([nor_this, never, then, first, unknown_key, unknown_job], on_finished=lambda result: order.append(result.spec))
    assert [result.status for result in results] == ["SKIPPED", "SKIPPED", "SUCCESS", "SUCCESS", "REFUSED", "REFUSED"]
    assert "Fold9|3ch" in results[4].reason
    assert "no_such_job" in results[5].reason
    assert all(result.run_id is None for result in results if result.status in ("SKIPPED", "REFUSED"))
    assert order.index(first) < order.index(then)


def test_nothing_to_do(runs: DirectRuns) -> None:
    assert runs.launch([]) == []


def test_wrong_arguments_are_refused(toy: Toy, runs: DirectRuns) -> None:
    with pytest.raises(ValueError, match="not among those to launch"):
        runs.launch([RunSpec("cells", after=(RunSpec("cells"),))])
    with pytest.raises(ValueError, match="at least 1, found 0"):
        DirectRuns(toy.instance, toy.workspace, processes=0)


@pytest.mark.parametrize(("name", "message"), [("elsewhere", "code location 'elsewhere' asked for, found toy")])
def test_a_code_location_that_cannot_be_loaded_refuses_each_run(toy: Toy, name: str, message: str) -> None:
    (result,) = launch_runs([RunSpec("cells")], toy.instance, toy.workspace, location_name=name)
    assert result.status == "REFUSED"
    assert message in result.reason


def test_an_exception_in_a_callback_cancels_what_runs(toy: Toy) -> None:
    before = len(toy.notes("holds_on"))

    class Stop(Exception):
        pass

    def stop(_: RunSpec, __: str) -> None:
        toy.notes("holds_on", at_least=before + 1)
        raise Stop

    with pytest.raises(Stop):
        launch_runs([RunSpec("hold")], toy.instance, toy.workspace, on_started=stop)
    holder = toy.notes("holds_on")[-1]
    assert not alive(holder["pid"])
    assert not alive(holder["child"])
    (run,) = toy.instance.get_runs(RunsFilter(job_name="hold"), limit=1)
    assert run.status.value == "CANCELED"


MAIN = """
import sys
from pathlib import Path
from dagster import DagsterInstance
from heart_assets.executor import RunSpec, launch_runs
launch_runs([RunSpec("hold")], DagsterInstance.get(), Path(sys.argv[1]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_when_the_launching_process_ends_all_end(toy: Toy, end: signal.Signals) -> None:
    before = len(toy.notes("holds_on"))
    process = subprocess.Popen([sys.executable, "-c", MAIN, str(toy.workspace)], stderr=subprocess.DEVNULL)
    holder = toy.notes("holds_on", at_least=before + 1)[-1]
    process.send_signal(end)
    assert process.wait(30) != 0
    wait_until(lambda: not alive(holder["pid"]), 10)
    (run,) = toy.instance.get_runs(RunsFilter(job_name="hold"), limit=1)
    wait_until(lambda: toy.instance.get_run_by_id(run.run_id).is_finished, 10)  # type: ignore[union-attr]
