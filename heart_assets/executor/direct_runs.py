"""Runs launched directly: from this process, without a daemon, a web server or a queue in between.

What belongs here: the parent's side: which run is next, worker processes, Ctrl-C. What does not: what a run is made of
(`run_worker`, `dagster_internals`), or anything that prints.

The runs are ordinary ones: created with the origin that the web server gives the same code location, with partition tags,
executed by their job's executor. Each worker process loads the code location once and executes runs one after another, so
a run costs its steps and some 0.2 s, instead of the seconds of a fresh process or the ticks of the daemon's queue.

Pools with granularity `run` gate the queue only, so these runs never wait for a slot; they are counted by the queue while
they are in progress. Devices are guarded by their leases, which hold for every run alike.
"""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus

from heart_assets.executor.dagster_internals import instance_to_text

POLL_SECONDS = 1.0
"""How often a cancel in the web UI is looked for."""

GRACE_SECONDS = 20.0
"""How long a worker may take to end its steps and its run after SIGTERM."""


@dataclass(frozen=True, eq=False)
class RunSpec:
    """A run to launch.

    `partition_key` is the key, or for a multi-partitioned job also a mapping from dimension to key; the run starts when
    every run in `after` has succeeded.
    """

    job_name: str
    partition_key: str | Mapping[str, str] | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    after: tuple["RunSpec", ...] = ()


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    `status` is Dagster's (`SUCCESS`, `FAILURE`, `CANCELED`), or without a run: `REFUSED` (it could not be created) or
    `SKIPPED` (a run before it did not succeed). `reason` is a sentence, empty after success. `seconds` is wall time.
    """

    spec: RunSpec
    run_id: str | None
    status: str
    reason: str
    seconds: float

    @property
    def success(self) -> bool:
        return self.status == DagsterRunStatus.SUCCESS.value


def launch_runs(
    specs: Sequence[RunSpec],
    instance: DagsterInstance,
    workspace_file: Path,
    *,
    location_name: str | None = None,
    processes: int = 2,
    log_file: Path | None = None,
    on_started: Callable[[RunSpec, str], None] | None = None,
    on_finished: Callable[[RunResult], None] | None = None,
) -> list[RunResult]:
    """Execute runs in fresh worker processes: see `DirectRuns`, which keeps its workers for several calls."""
    with DirectRuns(instance, workspace_file, location_name=location_name, processes=processes, log_file=log_file) as runs:
        return runs.launch(specs, on_started=on_started, on_finished=on_finished)


class DirectRuns:
    """Worker processes that execute runs of one code location; a context manager.

    When the block is left by an exception (Ctrl-C too), running runs are cancelled: their steps end, then the workers.
    Should this process be killed, the workers do the same by themselves. A worker that dies is replaced, and its run fails.

    Args:
        instance: a persistent instance, not an ephemeral one.
        workspace_file: the `workspace.yaml` that the web server uses.
        location_name: which of its code locations; may be left out if there is only one.
        processes: how many runs are executed at once.
        log_file: gets (appended) what the workers write to their standard output and error; dropped if None.
    """

    def __init__(
        self,
        instance: DagsterInstance,
        workspace_file: Path,
        *,
        location_name: str | None = None,
        processes: int = 2,
        log_file: Path | None = None,
    ):
        if processes < 1:
            raise ValueError(f"processes must be at least 1, found {processes}")
        self._instance = instance
        self._log_file = log_file
        self._setting = {"workspace_file": str(workspace_file), "location_name": location_name, "instance": instance_to_text(instance)}
        self._workers: list[_Worker | None] = [None] * processes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        workers = [worker for worker in self._workers if worker]
        for worker in workers:
            run = self._unfinished_run(worker)
            if run and run.status != DagsterRunStatus.CANCELING:
                self._instance.report_run_canceling(run)
            worker.stop()
        deadline = time.monotonic() + GRACE_SECONDS
        for worker in workers:
            worker.reap(deadline)
            if run := self._unfinished_run(worker):
                self._instance.report_run_canceled(run)

    def launch(
        self,
        specs: Sequence[RunSpec],
        *,
        on_started: Callable[[RunSpec, str], None] | None = None,
        on_finished: Callable[[RunResult], None] | None = None,
    ) -> list[RunResult]:
        """Execute runs and return their results in the order of `specs`, which is also the order of starting.

        Callbacks are called in this process as things happen: `on_started` with the spec and the run's id.

        Raises:
            ValueError: an `after` that is not among `specs`.
        """
        if any(before not in specs for spec in specs for before in spec.after):
            raise ValueError("a run waits for one that is not among those to launch")
        results: dict[RunSpec, RunResult] = {}

        def finish(result: RunResult) -> None:
            results[result.spec] = result
            if on_finished:
                on_finished(result)

        waiting = list(specs)
        while len(results) < len(specs):
            for spec in list(waiting):
                ended = [results[before] for before in spec.after if before in results]
                if not all(result.success for result in ended):
                    waiting.remove(spec)
                    finish(RunResult(spec, None, "SKIPPED", "a run before it did not succeed", 0.0))
                elif len(ended) == len(spec.after) and (worker := self._idle_worker()):
                    waiting.remove(spec)
                    worker.start(spec)
            for worker, running in self._workers_with_news():
                answer = self._answer(worker)
                if "status" in answer:
                    finish(RunResult(running, answer["run_id"], answer["status"], answer["reason"], worker.finish()))
                elif on_started:
                    on_started(running, answer["run_id"])
        return [results[spec] for spec in specs]

    def _idle_worker(self) -> "_Worker | None":
        for position, worker in enumerate(self._workers):
            if worker is None or (worker.spec is None and not worker.alive()):
                worker = self._workers[position] = _Worker(self._setting, self._log_file)
            if worker.spec is None:
                return worker
        return None

    def _workers_with_news(self) -> list[tuple["_Worker", RunSpec]]:
        """Wait for answers for a while, and meanwhile pass on cancels; return the workers that have answered, with what they execute."""
        busy = [(worker, worker.spec) for worker in self._workers if worker and worker.spec]
        ready = wait([worker.connection for worker, _ in busy], POLL_SECONDS)
        for worker, _ in busy:
            run = None if ready else self._unfinished_run(worker)
            if run and run.status == DagsterRunStatus.CANCELING:
                worker.stop()
        return [(worker, spec) for worker, spec in busy if worker.connection in ready]

    def _answer(self, worker: "_Worker") -> dict[str, Any]:
        try:
            return worker.receive()
        except (EOFError, ConnectionError):
            code = worker.reap(time.monotonic() + GRACE_SECONDS)
            reason = f"The process that executed the run ended with code {code}."
            if run := self._unfinished_run(worker):
                self._instance.report_run_failed(run, reason)
            return {"run_id": worker.run_id, "status": DagsterRunStatus.FAILURE.value, "reason": reason}

    def _unfinished_run(self, worker: "_Worker") -> DagsterRun | None:
        run = self._instance.get_run_by_id(worker.run_id) if worker.run_id else None
        return run if run and not run.is_finished else None


class _Worker:
    """One worker process, what it executes now, and the socket to it."""

    def __init__(self, setting: Mapping[str, Any], log_file: Path | None):
        self.spec: RunSpec | None = None
        self.run_id: str | None = None
        self._started = 0.0
        ours, theirs = socket.socketpair()
        self.connection = Connection(ours.detach())
        with theirs, open(log_file, "ab") if log_file else open("/dev/null", "wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"{__package__}.run_worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches this process alone, which then ends the workers in order
            )
        self._send(setting)

    def start(self, spec: RunSpec) -> None:
        self.spec, self.run_id, self._started = spec, None, time.monotonic()
        key = spec.partition_key if isinstance(spec.partition_key, str | None) else dict(spec.partition_key)
        self._send({"job_name": spec.job_name, "partition_key": key, "tags": dict(spec.tags)})

    def receive(self) -> dict[str, Any]:
        answer = json.loads(self.connection.recv_bytes())
        self.run_id = answer["run_id"]
        return answer

    def finish(self) -> float:
        """Forget the run that has ended; return how long it took, in seconds."""
        self.spec = self.run_id = None
        return time.monotonic() - self._started

    def alive(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        """Ask the process to cancel its run, if it has one."""
        if self.spec and self.alive():
            self._process.send_signal(signal.SIGTERM)

    def reap(self, deadline: float) -> int:
        """Close the socket, wait for the end until `deadline` (monotonic seconds), then kill; return the exit code."""
        self.connection.close()
        try:
            return self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _send(self, message: Mapping[str, Any]) -> None:
        with suppress(ConnectionError):  # the process has died: `receive` will tell
            self.connection.send_bytes(json.dumps(message).encode())
