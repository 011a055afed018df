"""Steps as Slurm jobs, one job each.

What belongs here: a job's name and script, and its story in sentences. What does not: Slurm's commands (`slurm`), what happens inside
the job (`slurm_job`), or what Dagster wants to know of a step (`step_handler`).

A job's name says which attempt at which step of which run it is, and is looked up before anything is submitted: a run worker that
was started again finds the jobs of the one before it. A job never starts a second time (`--no-requeue`): one that is preempted or
loses its node is the failure of this attempt, and Dagster makes the next attempt if the step's retry policy allows it.

The job's folder must be shared between the nodes, and so must the code, its environment, the data, and Dagster's database.
"""

import hashlib
import re
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from heart_assets.executor.declare import gpus_of, slurm_of
from heart_assets.executor.local_steps import last_output, process_end
from heart_assets.executor.slurm import Job, Slurm, SlurmError, SlurmResources
from heart_assets.executor.slurm_job import exit_code_in
from heart_assets.executor.step_handler import Order
from heart_assets.executor.step_process import tail_of

JOB_MODULE = "heart_assets.executor.slurm_job"
SETTLE_SECONDS = 3.0
"""How long after a step's end its job may take to reach its own final state."""

FATES = {
    "BOOT_FAIL": "lost its node",
    "CANCELLED": "was cancelled",
    "DEADLINE": "missed its deadline",
    "NODE_FAIL": "lost its node",
    "OUT_OF_MEMORY": "used more memory than it may",
    "PREEMPTED": "was preempted",
    "REVOKED": "was revoked",
    "TIMEOUT": "reached its time limit",
}


class SlurmSteps:
    """A `Place`: each step a job.

    Args:
        folder: where jobs write their output; None: below the Dagster instance's folder.
        defaults: what a job asks for where its asset leaves it open.
        options: further options of sbatch for every job.
        poll_seconds: how often Slurm is asked; the end of a step is seen sooner.
        grace_seconds: how long a step that nobody waits for any more may take to end.
    """

    def __init__(self, folder: Path | None, defaults: SlurmResources, options: Sequence[str], poll_seconds: float, grace_seconds: float):
        self.slurm = Slurm()
        self._folder, self._defaults, self._options = folder, defaults, tuple(options)
        self._poll_seconds, self._grace_seconds = poll_seconds, grace_seconds
        self._asked = time.monotonic()
        self._steps: dict[str, SlurmStep] = {}

    def launch(self, order: Order) -> "SlurmStep":
        """Submit the step's job, unless there is one already.

        Raises:
            ValueError: the step's tags cannot be understood.
            SlurmError: Slurm does not take the job.
        """
        resources = (slurm_of(order.tags) or SlurmResources()).over(self._defaults)
        gpus, files = gpus_of(order.tags), self._files(order)
        files.folder.mkdir(parents=True, exist_ok=True)
        files.end.unlink(missing_ok=True)
        job_id = self.slurm.submit(
            files.name,
            job_script(order, (str(files.end), str(self._grace_seconds)), gpus),
            resources,
            gpus=gpus,
            output=files.output,
            folder=Path.cwd(),
            options=self._options,
        )
        return self._watched(SlurmStep(self, job_id, files, f"Submitted as Slurm job {job_id}."))

    def adopt(self, order: Order) -> "SlurmStep | None":
        """The step's job that an earlier run worker has submitted, if it is still waiting or running.

        Raises:
            SlurmError: Slurm does not answer.
        """
        files = self._files(order)
        job = self.slurm.find(files.name)
        return self._watched(SlurmStep(self, job.job_id, files, f"Found as Slurm job {job.job_id}.")) if job else None

    def refresh(self, now: bool = False) -> None:
        """Ask Slurm about all jobs under way, if it is time to. When Slurm does not answer, what was known before goes on to hold."""
        if not now and time.monotonic() - self._asked < self._poll_seconds:
            return
        self._steps = {job_id: step for job_id, step in self._steps.items() if not step.ended}
        try:
            jobs = self.slurm.jobs(list(self._steps)) if self._steps else {}
        except SlurmError as error:
            for step in self._steps.values():
                step.not_told(str(error))
        else:
            for job_id, step in self._steps.items():
                step.told(jobs.get(job_id))
        self._asked = time.monotonic()

    def _watched(self, step: "SlurmStep") -> "SlurmStep":
        self._steps[step.job_id] = step
        return step

    def _files(self, order: Order) -> "JobFiles":
        return JobFiles(self._folder or Path(order.folder) / "slurm", job_name(order))


@dataclass(frozen=True)
class JobFiles:
    """A job's name, and its files in the shared folder."""

    folder: Path
    name: str

    @property
    def output(self) -> Path:
        """What the job writes to its standard output and error."""
        return self.folder / f"{self.name}.log"

    def output_tail(self) -> str:
        """The last 20 lines of the output; nothing if the job never began to write."""
        try:
            with self.output.open("rb") as file:
                return tail_of(file)
        except FileNotFoundError:
            return ""

    @property
    def end(self) -> Path:
        """How the step's process ended: see `slurm_job`."""
        return self.folder / f"{self.name}.end"


class SlurmStep:
    """A `Step`: one job."""

    def __init__(self, place: SlurmSteps, job_id: str, files: JobFiles, news: str):
        self.job_id = job_id
        self._place, self._files = place, files
        self._news = [news]
        self._job: Job | None = None
        self._forgotten = False
        self._silence = ""
        self._exit_seen: float | None = None
        self._how: str | None = None

    @property
    def ended(self) -> bool:
        """Whether its end has been seen."""
        return self._how is not None

    def news(self) -> list[str]:
        """What Slurm has told of the job."""
        self._place.refresh()
        sentences, self._news = self._news, []
        return sentences

    def told(self, job: Job | None) -> None:
        """Take what Slurm knows of the job; None if it knows nothing any more."""
        self._silence = ""
        before, self._job = self._job, job
        self._forgotten = job is None
        if job and job.state == "PENDING" and (before is None or before.reason != job.reason) and job.reason:
            self._news.append(f"Slurm job {self.job_id} waits ({job.reason}).")
        if job and job.state == "RUNNING" and (before is None or before.state != job.state):
            self._news.append(f"Slurm job {self.job_id} has started.")

    def not_told(self, why: str) -> None:
        """Note that Slurm did not answer."""
        if not self._silence:
            self._news.append(f"{why} Slurm job {self.job_id} is taken to go on.")
        self._silence = why

    def end(self) -> str | None:
        """How the job ended, with its last output."""
        if self._how is None:
            self._how = self._look()
        return self._how

    def _look(self) -> str | None:
        if self._job and self._job.active and self._job.restarts:
            self._place.slurm.cancel([self.job_id])
            return f"Slurm job {self.job_id} was requeued, and is tried anew as another job.{self._last_output()}"
        code = exit_code_in(self._files.end)
        if code is None:
            self._place.refresh()
            return None if self._under_way() else f"Slurm job {self.job_id} {self._fate()}.{self._last_output()}"
        if self._exit_seen is None:
            self._exit_seen = time.monotonic()
        self._place.refresh(now=True)
        if self._under_way() and time.monotonic() - self._exit_seen < SETTLE_SECONDS:
            return None
        fate = f"Slurm job {self.job_id} {self._fate()}: " if self._job and self._job.state in FATES else ""
        return fate + process_end(code, self._files.output_tail())

    def _under_way(self) -> bool:
        return not self._forgotten and (self._job is None or self._job.active)

    def _fate(self) -> str:
        if self._job is None:
            return "is no longer known to Slurm, and has not said how it ended"
        code = f", exit code {self._job.exit_code}" if self._job.exit_code else ""
        return f"{FATES.get(self._job.state, 'ended without reporting an end of the step')} ({self._job.state}{code})"

    def _last_output(self) -> str:
        return last_output(self._files.output_tail())

    def ask_to_end(self) -> None:
        """Cancel the job: Slurm sends SIGTERM, and after its own grace (KillWait) SIGKILL."""
        self._place.slurm.cancel([self.job_id])

    def wait(self, deadline: float) -> None:
        """Wait until the job has ended; after the deadline have Slurm kill it."""
        while self.end() is None:
            if time.monotonic() > deadline:
                self._place.slurm.cancel([self.job_id], kill=True)
                return
            time.sleep(0.2)

    def close(self) -> None:
        """Remove the files of a job that ended well; the output of others stays."""
        if exit_code_in(self._files.end) == 0:
            self._files.output.unlink(missing_ok=True)
        self._files.end.unlink(missing_ok=True)


def job_name(order: Order) -> str:
    """The name of an attempt's job: the same for whoever asks, and different for every other attempt."""
    safe = re.sub(r"[^A-Za-z0-9_.-]", "_", order.step_key)
    if safe != order.step_key:
        safe += "-" + hashlib.sha256(order.step_key.encode()).hexdigest()[:8]
    return f"dagster-{order.run_id}-{safe}-{order.attempt}"


def job_script(order: Order, arguments: Sequence[str], gpus: int) -> str:
    """The batch script: the step's variables, what it may see and use, and the program that watches over it."""
    variables = dict(order.environment)
    if not gpus:
        variables["CUDA_VISIBLE_DEVICES"] = ""
    exports = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    exports.append('export OMP_NUM_THREADS="$SLURM_CPUS_ON_NODE"')
    return "\n".join(["#!/bin/sh", *exports, f"exec {shlex.join([sys.executable, '-m', JOB_MODULE, *arguments])}", ""])
