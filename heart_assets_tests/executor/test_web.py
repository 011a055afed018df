"""Together with Dagster's own web server and daemon: what they see of direct runs, and what they launch themselves."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any
from urllib.error import URLError

import pytest

from heart_assets.executor import DirectRuns, RunSpec, set_pool_limits
from heart_assets_tests.executor.conftest import Toy, alive, parent_of, wait_until
from heart_assets_tests.executor.test_backfill import FOLDS, assert_one_at_a_time_on_each_device

pytestmark = pytest.mark.slow
Ask = Callable[..., Any]

RUN = """query Run($id: ID!) {
  runOrError(runId: $id) { ... on Run { status tags { key value } repositoryOrigin { repositoryName repositoryLocationName } } }
}"""
STATUSES = """{
  assetNodeOrError(assetKey: {path: ["cell"]}) { ... on AssetNode { assetPartitionStatuses { ... on MultiPartitionStatuses {
    ranges { primaryDimStartKey secondaryDim { ... on DefaultPartitionStatuses { materializedPartitions } } }
  } } } }
}"""
REEXECUTE = """mutation Again($id: String!) {
  launchRunReexecution(reexecutionParams: {parentRunId: $id, strategy: ALL_STEPS, useParentRunTags: true}) {
    ... on LaunchRunSuccess { run { runId } }
  }
}"""
LAUNCH = """mutation Launch($job: String!) {
  launchRun(executionParams: {
    runConfigData: {}, selector: {repositoryName: "__repository__", repositoryLocationName: "toy", jobName: $job}
  }) { ... on LaunchRunSuccess { run { runId } } }
}"""
BACKFILL = """mutation Backfill($keys: [String!]!) {
  launchPartitionBackfill(backfillParams: {
    assetSelection: [{path: ["trained"]}], partitionNames: $keys, tags: [{key: "seconds", value: "2"}]
  }) { ... on LaunchBackfillSuccess { backfillId } }
}"""
RUNS_OF = """query Runs($tags: [ExecutionTag!]) {
  runsOrError(filter: {tags: $tags}) { ... on Runs { results { runId status tags { key value } } } }
}"""
TERMINATE = """mutation End($id: String!) { terminateRun(runId: $id) { __typename } }"""


@pytest.fixture(scope="module")
def ask(toy: Toy) -> Iterator[Ask]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (toy.folder / "web.log").open("w")
    command = [sys.executable, "-m", "dagster", "dev", "-w", str(toy.workspace), "-h", "127.0.0.1", "-p", str(port)]
    both = subprocess.Popen(command, stdout=log, stderr=log)

    def ask(query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{port}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            data = json.load(answer)
        assert "errors" not in data, data
        return data["data"]

    def up() -> bool:
        try:
            return bool(ask("{ version }"))
        except (URLError, ConnectionError):
            return False

    wait_until(up, 60)
    yield ask
    both.send_signal(signal.SIGINT)
    both.wait(30)
    log.close()


def status(ask: Ask, run_id: str) -> str:
    return ask(RUN, id=run_id)["runOrError"]["status"]


def test_a_direct_run_is_seen_with_its_partition_and_can_be_run_again(toy: Toy, runs: DirectRuns, ask: Ask) -> None:
    (result,) = runs.launch([RunSpec("cells", {"view": "3ch", "fold": "Fold1"})])
    assert result.success and result.run_id
    run = ask(RUN, id=result.run_id)["runOrError"]
    assert run["repositoryOrigin"] == {"repositoryName": "__repository__", "repositoryLocationName": "toy"}
    assert {"key": "dagster/partition", "value": "Fold1|3ch"} in run["tags"]
    ranges = ask(STATUSES)["assetNodeOrError"]["assetPartitionStatuses"]["ranges"]
    assert "3ch" in next(entry for entry in ranges if entry["primaryDimStartKey"] == "Fold1")["secondaryDim"]["materializedPartitions"]

    again = ask(REEXECUTE, id=result.run_id)["launchRunReexecution"]["run"]["runId"]
    wait_until(lambda: status(ask, again) in ("SUCCESS", "FAILURE"), 60)
    assert status(ask, again) == "SUCCESS"
    assert any("Starting execution with step handler gpu_executor" in message for message in toy.events(again))


def test_a_cancel_in_the_web_ui_reaches_the_step_of_a_queued_run(toy: Toy, ask: Ask) -> None:
    before = len(toy.notes("holds_on"))
    run_id = ask(LAUNCH, job="hold")["launchRun"]["run"]["runId"]
    holder = toy.notes("holds_on", at_least=before + 1, seconds=60)[-1]
    assert ask(TERMINATE, id=run_id)["terminateRun"]["__typename"] == "TerminateRunSuccess"
    wait_until(lambda: not alive(holder["pid"]) and not alive(holder["child"]), 15)
    wait_until(lambda: status(ask, run_id) == "CANCELED", 15)


def test_killing_a_queued_runs_worker_ends_its_step_and_fails_it(toy: Toy, ask: Ask) -> None:
    before = len(toy.notes("holds_on"))
    run_id = ask(LAUNCH, job="hold")["launchRun"]["run"]["runId"]
    holder = toy.notes("holds_on", at_least=before + 1, seconds=60)[-1]
    os.kill(parent_of(holder["pid"]), signal.SIGKILL)
    assert wait_until(lambda: not alive(holder["pid"]) and not alive(holder["child"]), 5) < 2
    wait_until(lambda: status(ask, run_id) == "FAILURE", 60)


def test_a_backfill_survives_the_death_of_a_run_worker(toy: Toy, ask: Ask) -> None:
    set_pool_limits(toy.instance, {"gpu": 2})
    before = len(toy.notes("trained"))
    backfill = ask(BACKFILL, keys=FOLDS)["launchPartitionBackfill"]["backfillId"]

    def runs_of_backfill() -> list[dict[str, Any]]:
        return ask(RUNS_OF, tags=[{"key": "dagster/backfill", "value": backfill}])["runsOrError"]["results"]

    victim = toy.notes("trained", at_least=before + 1, seconds=90)[before]
    os.kill(parent_of(victim["pid"]), signal.SIGKILL)
    assert wait_until(lambda: not alive(victim["pid"]), 20) < 1
    wait_until(lambda: sorted({run["status"] for run in runs_of_backfill()}) == ["FAILURE", "SUCCESS"], 120)
    (failed,) = [run for run in runs_of_backfill() if run["status"] == "FAILURE"]
    assert {"key": "dagster/partition", "value": victim["fold"]} in failed["tags"]
    again = ask(REEXECUTE, id=failed["runId"])["launchRunReexecution"]["run"]["runId"]
    wait_until(lambda: status(ask, again) == "SUCCESS", 60)
    notes = toy.notes("trained")[before:]
    assert sorted(note["fold"] for note in notes if note["event"] == "end") == FOLDS
    assert_one_at_a_time_on_each_device(notes)
    assert not any(alive(note["pid"]) for note in notes)
