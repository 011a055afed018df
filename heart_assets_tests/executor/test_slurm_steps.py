"""Steps as Slurm jobs: their story told from what Slurm says (by script), and through real runs on a real Slurm."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from heart_assets.executor import SlurmResources, slurm_job, slurm_steps
from heart_assets.executor.declare import GPUS_TAG, SLURM_TAG
from heart_assets.executor.slurm import Job, SlurmError
from heart_assets.executor.slurm_steps import SlurmStep, SlurmSteps, job_name, job_script
from heart_assets.executor.step_handler import Order


def order(folder: Path | str = "/", attempt: int = 0, step_key: str = "a_step", **tags: str) -> Order:
    return Order("run", step_key, attempt, tags, {"SAY": "it's"}, str(folder))


class ScriptedSlurm:
    """Slurm's commands as a test wants them."""

    def __init__(self) -> None:
        self.submitted: list[dict[str, Any]] = []
        self.cancelled: list[tuple[str, bool]] = []
        self.job: Job | None = Job("7", "", "PENDING", "Resources")
        self.answers = True

    def submit(self, name: str, script: str, resources: SlurmResources, **options: Any) -> str:
        self.submitted.append({"name": name, "script": script, "resources": resources, **options})
        return "7"

    def find(self, name: str) -> Job | None:
        return self.job

    def jobs(self, job_ids: Sequence[str]) -> dict[str, Job]:
        if not self.answers:
            raise SlurmError("Slurm's command squeue failed: no answer.")
        return {"7": self.job} if self.job else {}

    def cancel(self, job_ids: Sequence[str], kill: bool = False) -> None:
        self.cancelled += [(job_id, kill) for job_id in job_ids]


@pytest.fixture
def place(tmp_path: Path) -> SlurmSteps:
    steps = SlurmSteps(tmp_path, SlurmResources(time="60", partition="gpu"), ["--account=cardiac"], 0.0, 5.0)
    steps.slurm = ScriptedSlurm()  # type: ignore[assignment]
    return steps


@pytest.fixture
def scripted(place: SlurmSteps) -> ScriptedSlurm:
    assert isinstance(place.slurm, ScriptedSlurm)
    return place.slurm


@pytest.fixture
def step(place: SlurmSteps, scripted: ScriptedSlurm) -> SlurmStep:
    return place.launch(order(**{GPUS_TAG: "2"}))


def end_file(tmp_path: Path) -> Path:
    return tmp_path / f"{job_name(order())}.end"


def test_what_is_submitted(place: SlurmSteps, scripted: ScriptedSlurm, tmp_path: Path) -> None:
    place.launch(order(**{GPUS_TAG: "2", SLURM_TAG: '{"time": "90", "cpus": 4}'}))
    (job,) = scripted.submitted
    assert job["name"] == "dagster-run-a_step-0"
    assert job["resources"] == SlurmResources(time="90", cpus=4, partition="gpu")
    assert (job["gpus"], job["options"], job["output"]) == (2, ("--account=cardiac",), tmp_path / "dagster-run-a_step-0.log")
    assert job["script"].splitlines() == [
        "#!/bin/sh",
        """export SAY='it'"'"'s'""",
        'export OMP_NUM_THREADS="$SLURM_CPUS_ON_NODE"',
        f"exec {sys.executable} -m heart_assets.executor.slurm_job {end_file(tmp_path)} 5.0",
    ]


def test_a_job_without_gpus_sees_none() -> None:
    assert "export CUDA_VISIBLE_DEVICES=''" in job_script(order(), (), 0)


def test_names_tell_runs_steps_and_attempts_apart() -> None:
    keys = ["a_step", "a step", "a/step", "a.step", "a[x]", "a[y]"]
    names = {job_name(order(attempt=attempt, step_key=key)) for key in keys for attempt in range(2)}
    assert len(names) == 12
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_.-") for name in names)


def test_the_story_of_a_job(step: SlurmStep, scripted: ScriptedSlurm, tmp_path: Path) -> None:
    assert step.news() == ["Submitted as Slurm job 7.", "Slurm job 7 waits (Resources)."]
    scripted.job = Job("7", "", "PENDING", "Priority")
    assert step.news() == ["Slurm job 7 waits (Priority)."]
    scripted.job = Job("7", "", "RUNNING")
    assert step.news() == ["Slurm job 7 has started."]
    assert step.news() == [] and step.end() is None
    (tmp_path / "dagster-run-a_step-0.log").write_text("last words\n")
    scripted.job = Job("7", "", "NODE_FAIL")
    assert step.end() == f"Slurm job 7 lost its node (NODE_FAIL). Its last output:{os.linesep}last words"


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (Job("7", "", "PREEMPTED"), "Slurm job 7 was preempted (PREEMPTED)."),
        (Job("7", "", "TIMEOUT"), "Slurm job 7 reached its time limit (TIMEOUT)."),
        (Job("7", "", "OUT_OF_MEMORY", exit_code="0:125"), "Slurm job 7 used more memory than it may (OUT_OF_MEMORY, exit code 0:125)."),
        (Job("7", "", "COMPLETED"), "Slurm job 7 ended without reporting an end of the step (COMPLETED)."),
        (None, "Slurm job 7 is no longer known to Slurm, and has not said how it ended."),
    ],
)
def test_ends_that_only_slurm_knows_of(step: SlurmStep, scripted: ScriptedSlurm, job: Job | None, words: str) -> None:
    scripted.job = job
    assert step.end() == words
    assert step.ended


@pytest.mark.parametrize(
    ("code", "state", "words"),
    [
        (-9, "FAILED", "its process was killed by SIGKILL (by hand, or by the kernel for want of memory)."),
        (3, "FAILED", "its process ended with exit code 3."),
        (0, "COMPLETED", "its process ended with exit code 0 without reporting an end of the step."),
        (-15, "CANCELLED", "Slurm job 7 was cancelled (CANCELLED): its process was killed by SIGTERM."),
    ],
)
def test_ends_that_the_job_has_written_down(
    step: SlurmStep, scripted: ScriptedSlurm, tmp_path: Path, code: int, state: str, words: str
) -> None:
    slurm_job.write_exit_code(end_file(tmp_path), code)
    scripted.job = Job("7", "", "COMPLETING")
    assert step.end() is None  # Slurm has not made up its mind
    scripted.job = Job("7", "", state)
    assert step.end() == words


def test_a_job_that_does_not_settle_is_not_waited_for(
    step: SlurmStep, scripted: ScriptedSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm_steps, "SETTLE_SECONDS", 0.0)
    slurm_job.write_exit_code(end_file(tmp_path), 1)
    scripted.answers = False
    assert step.end() == "its process ended with exit code 1."


def test_silence_of_slurm_is_not_an_end(step: SlurmStep, scripted: ScriptedSlurm) -> None:
    step.news()
    scripted.answers = False
    assert step.end() is None
    assert step.news() == ["Slurm's command squeue failed: no answer. Slurm job 7 is taken to go on."]
    assert step.news() == []
    scripted.answers = True
    assert step.end() is None


def test_a_requeued_job_is_given_up_for_a_new_attempt(step: SlurmStep, scripted: ScriptedSlurm) -> None:
    scripted.job = Job("7", "", "PENDING", "BeginTime", restarts=1)
    step.news()
    assert step.end() == "Slurm job 7 was requeued, and is tried anew as another job."
    assert scripted.cancelled == [("7", False)]


def test_a_job_that_does_not_end_when_asked_is_killed(step: SlurmStep, scripted: ScriptedSlurm) -> None:
    step.ask_to_end()
    step.wait(time.monotonic() + 0.1)
    assert scripted.cancelled == [("7", False), ("7", True)]


def test_output_stays_only_where_something_went_wrong(step: SlurmStep, tmp_path: Path) -> None:
    log = tmp_path / "dagster-run-a_step-0.log"
    for code, stays in ((1, True), (0, False)):
        log.write_text("words")
        slurm_job.write_exit_code(end_file(tmp_path), code)
        step.close()
        assert log.exists() is stays
        assert not end_file(tmp_path).exists()


def test_an_earlier_run_workers_job_is_adopted_and_another_attempts_is_not(place: SlurmSteps, scripted: ScriptedSlurm) -> None:
    adopted = place.adopt(order())
    assert adopted and adopted.job_id == "7"
    assert adopted.news()[0] == "Found as Slurm job 7."
    scripted.job = None
    assert place.adopt(order()) is None


IGNORES = "import signal, sys, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
ENDS = "import time; print('ready', flush=True); time.sleep(60)"


@pytest.fixture
def child() -> Iterator[list["subprocess.Popen[bytes]"]]:
    children: list[subprocess.Popen[bytes]] = []
    yield children
    for process in children:
        process.kill()
        process.wait()


def start(children: list["subprocess.Popen[bytes]"], code: str) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
    children.append(process)
    assert process.stdout and process.stdout.readline() == b"ready\n"
    return process


@pytest.mark.parametrize(("code", "ends_by"), [(ENDS, -signal.SIGTERM), (IGNORES, -signal.SIGKILL)])
def test_an_orphan_is_asked_to_end_and_then_killed(
    child: list["subprocess.Popen[bytes]"], monkeypatch: pytest.MonkeyPatch, code: str, ends_by: int
) -> None:
    monkeypatch.setattr(slurm_job, "CHECK_SECONDS", 0.1)
    monkeypatch.setattr(slurm_job, "PASS_ON_SECONDS", 0.1)
    process = start(child, code)
    assert slurm_job.watch(process, threading.Event(), lambda: True, 0.5) == ends_by


def test_a_signal_to_the_job_alone_reaches_the_step(child: list["subprocess.Popen[bytes]"]) -> None:
    asked = threading.Event()
    asked.set()
    assert slurm_job.watch(start(child, ENDS), asked, lambda: False, 5.0) == -signal.SIGTERM


def test_a_requeued_job_does_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert slurm_job.main(tmp_path / "end", 1.0) == 1
    assert "requeued" in capfd.readouterr().out
    assert not (tmp_path / "end").exists()


def test_a_database_that_does_not_answer_ends_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    assert slurm_job.run_over("not a step") is False
    assert "cannot be asked" in capfd.readouterr().out
