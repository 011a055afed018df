"""A process that executes runs one after another, for `direct_runs`.

What belongs here: the child's side: load the code location once, then create a run for each request, execute it and say how
it ended. What does not: choosing which run comes next, or starting processes (`direct_runs`).

It is started as `python -m ... <descriptor>`, a socket on which messages are JSON objects. First comes the setting of the
process, `{"workspace_file", "location_name", "instance"}`, then requests `{"job_name", "partition_key", "tags"}`. Answers:
`{"run_id"}` when a run was created, then `{"run_id", "status", "reason"}`. The process ends when the socket is closed.
"""

import json
import signal
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from dagster import DagsterInstance

from heart_assets.executor import dagster_internals as internals
from heart_assets.executor.lease import die_with_parent


def main(descriptor: int) -> None:
    """Answer requests until the other side closes the socket."""
    die_with_parent(signal.SIGTERM)
    with Connection(descriptor) as connection:
        setting = json.loads(connection.recv_bytes())
        with internals.instance_from_text(setting["instance"]) as instance:
            try:
                location = internals.load_code_location(Path(setting["workspace_file"]), setting["location_name"])
            except Exception as error:
                connection.send_bytes(json.dumps(refusal(error)).encode())
                raise
            with suppress(EOFError, ConnectionError):  # the other side has closed, or died
                while True:
                    request = json.loads(connection.recv_bytes())
                    with internals.capture_interrupts():
                        connection.send_bytes(json.dumps(execute(instance, location, request, connection)).encode())


def execute(instance: DagsterInstance, location: internals.CodeLocation, request: dict[str, Any], connection: Connection) -> dict[str, Any]:
    """Create and execute one run; return the final answer."""
    try:
        run = internals.create_run(instance, location, request["job_name"], request["partition_key"], request["tags"])
    except Exception as error:  # an unknown job or partition: the asker is told, and the next request served
        return refusal(error)
    connection.send_bytes(json.dumps({"run_id": run.run_id}).encode())
    reasons = []
    try:
        for event in internals.execute_run(instance, location, run):
            if event.is_step_failure:
                reasons.append(f"{event.step_key}: {internals.failure_sentence(event)}")
            elif event.is_run_failure:
                reasons.append(event.message or "")
    except (Exception, KeyboardInterrupt) as error:  # Dagster has written it to the event log before raising
        reasons.append(f"{type(error).__name__}: {error}")
    ended = instance.get_run_by_id(run.run_id)
    return {"run_id": run.run_id, "status": ended.status.value if ended else "DELETED", "reason": reasons[0] if reasons else ""}


def refusal(error: Exception) -> dict[str, Any]:
    """The answer when there is no run."""
    return {"run_id": None, "status": "REFUSED", "reason": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    main(int(sys.argv[1]))
