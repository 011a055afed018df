"""The program that a Slurm job runs: it starts the step, passes on signals, writes down how the step ended, and ends orphans.

What belongs here: the job's own life on its node. What does not: submitting it (`slurm_steps`), Slurm's commands (`slurm`).

Started as `python -m ... <end file> <grace in seconds>`, with the variables in the environment that say to Dagster which step it is.
The end file, written atomically, holds the exit code of the step's process, negative for a signal. A job whose run has ended in
Dagster's database (its run worker was killed, say, and the run failed) has nobody to work for, and ends its step.
"""

import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from heart_assets.executor.lease import answer_to
from heart_assets.executor.step_process import LAST_WORDS_SECONDS

STEP_COMMAND = (sys.executable, "-m", "dagster", "api", "execute_step")
STEP_VARIABLE = "DAGSTER_COMPRESSED_EXECUTE_STEP_ARGS"
PASS_ON_SECONDS = 1.0
"""How long the step is left alone with a SIGTERM that it may have got itself: a second one at once would cut off its last event."""

CHECK_SECONDS = 5.0
"""How often the run is looked up in Dagster's database."""


def main(end_file: Path, grace_seconds: float) -> int:
    """Execute the step; return the exit code of the job."""
    if int(os.environ.get("SLURM_RESTART_COUNT", "0")):
        print("Slurm has requeued this job; the step is tried anew by Dagster instead.", flush=True)
        return 1
    me = os.getpid()
    asked_to_end = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked_to_end.set())
    step = subprocess.Popen(STEP_COMMAND, start_new_session=True, preexec_fn=lambda: answer_to(me))
    code = watch(step, asked_to_end, lambda: run_over(os.environ[STEP_VARIABLE]), grace_seconds)
    if code:
        time.sleep(LAST_WORDS_SECONDS)
    signal_group(step.pid, signal.SIGKILL)  # what it has left behind
    write_exit_code(end_file, code)
    return code if code >= 0 else 128 - code


def watch(step: "subprocess.Popen[bytes]", asked_to_end: threading.Event, is_orphan: Callable[[], bool], grace_seconds: float) -> int:
    """Wait for the step's process, and return its exit code.

    Cancelling a job sends SIGTERM to all its processes, but a warning of the time limit goes to this one alone: so it is passed on after
    a moment, if it seems to be needed. An orphan is asked to end in the same way, and after the grace killed.
    """
    next_check, pass_on_at, kill_at = time.monotonic() + CHECK_SECONDS, math.inf, math.inf
    while True:
        with suppress(subprocess.TimeoutExpired):
            return step.wait(PASS_ON_SECONDS)
        now = time.monotonic()
        if asked_to_end.is_set():
            asked_to_end.clear()
            pass_on_at = now + PASS_ON_SECONDS
        if now > next_check and math.isinf(kill_at):
            next_check = now + CHECK_SECONDS
            if is_orphan():
                print("The run has ended: so does this step.", flush=True)
                pass_on_at, kill_at = now, now + grace_seconds
        if now >= pass_on_at:
            signal_group(step.pid, signal.SIGTERM)
            pass_on_at = math.inf
        if now > kill_at:
            signal_group(step.pid, signal.SIGKILL)


def run_over(step: str) -> bool:
    """Whether the step's run has ended. A database that does not answer says nothing, and is asked again."""
    from heart_assets.executor import dagster_internals

    global _run_is_over
    try:
        _run_is_over = _run_is_over or dagster_internals.run_is_over(step)
        return _run_is_over()
    except Exception as error:
        print(f"Dagster's database cannot be asked whether the run goes on: {type(error).__name__}", flush=True)
        return False


_run_is_over: Callable[[], bool] | None = None


def signal_group(group: int, number: int) -> None:
    """Send a signal to a process group, if anybody is left in it."""
    with suppress(ProcessLookupError):
        os.killpg(group, number)


def write_exit_code(end_file: Path, code: int) -> None:
    """Write the end file, whole or not at all."""
    temporary = end_file.with_name(f".tmp-{end_file.name}")
    temporary.write_text(str(code))
    os.replace(temporary, end_file)


def exit_code_in(end_file: Path) -> int | None:
    """The exit code in an end file; None if there is none yet."""
    try:
        return int(end_file.read_text())
    except FileNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), float(sys.argv[2])))
