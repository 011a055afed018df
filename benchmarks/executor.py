"""What the executor costs: a backfill of 20 trivial partitions on two pretend devices, beside Dagster's multiprocess executor.

Both run under the project's `dagster.yaml`, with daemon, queue and web server, in the order A B B A. Then, with this project's executor,
how long things take that a user waits for. The last line is a JSON object.

    make bench-executor
"""

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.error import URLError

from dagster import DagsterEventType, DagsterInstance

from heart_assets.executor import lease, set_pool_limits

PROJECT = Path(__file__).resolve().parent.parent
LOCATION = PROJECT / "benchmarks" / "executor_location.py"
PARTITIONS, DEVICES = 20, 2
BACKFILL = """mutation Backfill($keys: [String!]!) {
  launchPartitionBackfill(backfillParams: {assetSelection: [{path: ["trivial"]}], partitionNames: $keys}) {
    ... on LaunchBackfillSuccess { backfillId }
  }
}"""
LAUNCH = """mutation Launch {
  launchRun(executionParams: {
    runConfigData: {}, selector: {repositoryName: "__repository__", repositoryLocationName: "benchmark", jobName: "hold"}
  }) { ... on LaunchRunSuccess { run { runId } } }
}"""
TERMINATE = """mutation End($id: String!) { terminateRun(runId: $id) { __typename } }"""


class Dagster:
    """A running `dagster dev` with one executor, and its instance."""

    def __init__(self, folder: Path, port: int, instance: DagsterInstance):
        self.folder, self.port, self.instance = folder, port, instance

    def ask(self, query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["data"]

    def up(self) -> bool:
        try:
            return bool(
                self.ask("{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }")["repositoriesOrError"]["nodes"]
            )
        except (URLError, ConnectionError):
            return False

    def notes(self, name: str) -> list[dict[str, Any]]:
        path = self.folder / f"{name}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def time_of(self, run_id: str, kind: DagsterEventType) -> float:
        """When a run's event of this type was written; waits for it."""
        found: list[float] = []

        def look() -> bool:
            found[:] = [entry.timestamp for entry in self.instance.all_logs(run_id, of_type=kind)]
            return bool(found)

        wait_until(look)
        return found[0]

    def hold(self) -> tuple[str, dict[str, Any]]:
        """Launch the run whose step holds a device; return its id and the step's first note."""
        before = len(self.notes("holds"))
        run_id = self.ask(LAUNCH)["launchRun"]["run"]["runId"]
        wait_until(lambda: len(self.notes("holds")) > before)
        return run_id, self.notes("holds")[-1]


@contextmanager
def dagster_dev(executor: str) -> Iterator[Dagster]:
    """Start everything in a fresh home, and end all of it."""
    folder = Path(tempfile.mkdtemp(prefix="bench-executor-"))
    home = folder / "home"
    home.mkdir()
    shutil.copyfile(PROJECT / "dagster.yaml", home / "dagster.yaml")
    (folder / "workspace.yaml").write_text(f"load_from:\n  - python_file: {{relative_path: {LOCATION}, location_name: benchmark}}\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {"DAGSTER_HOME": str(home), "BENCHMARK_FOLDER": str(folder), "BENCHMARK_EXECUTOR": executor}
    command = [sys.executable, "-m", "dagster", "dev", "-w", str(folder / "workspace.yaml"), "-h", "127.0.0.1", "-p", str(port)]
    with (folder / "log").open("wb") as log, DagsterInstance.get() as instance:
        set_pool_limits(instance, {"gpu": DEVICES})
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            running = Dagster(folder, port, instance)
            wait_until(running.up)
            yield running
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
    shutil.rmtree(folder)


def backfill_seconds(running: Dagster) -> float:
    """From the request of the backfill to the end of its last run."""
    begin = time.time()
    running.ask(BACKFILL, keys=[f"{number:02d}" for number in range(PARTITIONS)])
    wait_until(lambda: len([run for run in running.instance.get_run_records() if run.end_time]) == PARTITIONS, pause=0.5)
    records = running.instance.get_run_records()
    failed = [record for record in records if not record.dagster_run.is_success]
    assert not failed and len(running.notes("trivial")) == PARTITIONS
    return max(record.end_time or 0.0 for record in records) - begin


def latencies(running: Dagster) -> dict[str, float]:
    """Seconds that a user waits for, through queued runs of a step that holds a device."""
    run_id, holder = running.hold()
    launched = running.time_of(run_id, DagsterEventType.RUN_START)
    killed = time.time()
    os.kill(holder["pid"], signal.SIGKILL)
    failed = running.time_of(run_id, DagsterEventType.STEP_FAILURE)

    run_id, cancelled_holder = running.hold()
    cancelled = time.time()
    running.ask(TERMINATE, id=run_id)
    wait_until(lambda: not alive(cancelled_holder["pid"]))
    gone = time.time()

    _, orphan = running.hold()
    order = {"tell": 1, "folder": str(running.folder / "locks"), "devices": ["pretend-0", "pretend-1"], "count": 2, "threads": 0}
    order |= {"parent": os.getpid(), "command": ["/bin/true"]}
    waiter = subprocess.Popen([sys.executable, "-I", "-S", lease.__file__, json.dumps(order)], stdout=subprocess.PIPE)
    assert waiter.stdout and b"waits_behind" in waiter.stdout.readline()
    worker_killed = time.time()
    os.kill(parent_of(orphan["pid"]), signal.SIGKILL)
    assert b"leased" in waiter.stdout.readline()
    free = time.time()
    waiter.wait()
    return {
        "run_start_to_step_code": holder["time"] - launched,
        "kill_to_failure": failed - killed,
        "cancel_to_process_gone": gone - cancelled,
        "run_worker_killed_to_device_free": free - worker_killed,
    }


def wait_until(condition: Callable[[], bool], seconds: float = 600.0, pause: float = 0.02) -> None:
    """Wait for a condition.

    Raises:
        TimeoutError: it did not come true.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the benchmark waits in vain")
        time.sleep(pause)


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def parent_of(pid: int) -> int:
    """A process's parent."""
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=1, help="how often A B B A is gone through")
    seconds: dict[str, list[float]] = {"gpu": [], "multiprocess": []}
    for executor in ["gpu", "multiprocess", "multiprocess", "gpu"] * parser.parse_args().rounds:
        with dagster_dev(executor) as running:
            seconds[executor].append(backfill_seconds(running))
            print(f"{executor}: {PARTITIONS} partitions on {DEVICES} devices in {seconds[executor][-1]:.1f} s", flush=True)
    with dagster_dev("gpu") as running:
        waits = latencies(running)
    for name, value in waits.items():
        print(f"{name.replace('_', ' ')}: {value:.2f} s")
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ratio = medians["gpu"] / medians["multiprocess"]
    print(
        json.dumps(
            {
                "vs_multiprocess": round(ratio, 3),
                "seconds": {name: [round(value, 1) for value in values] for name, values in seconds.items()},
                "latency_seconds": {name: round(value, 2) for name, value in waits.items()},
                "cores": os.cpu_count(),
            }
        )
    )


if __name__ == "__main__":
    main()
