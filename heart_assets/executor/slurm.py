"""A front to Slurm's commands: submit a job, look jobs up, cancel them.

What belongs here: arguments, and the reading of answers. What does not: Dagster, or what a job does.

The commands are called as they are. Of the libraries, submitit sends pickled functions and results, which this project never
unpickles; simple_slurm formats arguments only; PySlurm has to be compiled against each cluster's version.

Facts that the design rests on, tried with Slurm 22.05: `scancel` sends SIGTERM to all processes of a job, and SIGKILL after KillWait;
a job with `--no-requeue` that loses its node ends as NODE_FAIL, and `scontrol requeue` refuses it; `squeue --states=all` knows an ended
job for MinJobAge (300 s by default), and leaves out ids that it does not know if it is asked for several.
"""

import json
import re
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Self

COMMAND_SECONDS = 60.0
SUBMISSIONS = 3
PAUSE_SECONDS = 2.0
WARNING_SECONDS = 120
"""How long before its time limit a job gets SIGTERM."""

ENDED_STATES = frozenset(
    ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT")
)
NO_ANSWER = re.compile("contact|connect|timed out|transmit|temporarily", re.IGNORECASE)
"""What sbatch says when the controller could not be reached; with any other failure it has refused the job."""

FORMS = {
    "time": (re.compile(r"\d+(:\d\d){0,2}|\d+-\d+(:\d\d){0,2}"), "a time such as 90 (minutes), 12:00:00 or 2-00:00:00"),
    "memory": (re.compile(r"\d+[KMGT]?"), "an amount such as 32G or 4000M"),
    "partition": (re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.,-]*"), "the name of a partition"),
    "constraint": (re.compile(r"[A-Za-z0-9_(\[][A-Za-z0-9_.,&|*()\[\]-]*"), "features such as a100|h100"),
}


class SlurmError(RuntimeError):
    """A command of Slurm failed or is absent; the message is a sentence with Slurm's own words."""


@dataclass(frozen=True)
class SlurmResources:
    """What one job asks for; None is the cluster's default.

    Raises:
        ValueError: a value that sbatch would not understand.
    """

    time: str | None = None
    memory: str | None = None
    cpus: int | None = None
    partition: str | None = None
    constraint: str | None = None

    def __post_init__(self) -> None:
        for name, (form, words) in FORMS.items():
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and form.fullmatch(value)):
                raise ValueError(f"{name} must be {words}, found {value!r}")
        if self.cpus is not None and (isinstance(self.cpus, bool) or not isinstance(self.cpus, int) or self.cpus < 1):
            raise ValueError(f"cpus must be a whole number from 1, found {self.cpus!r}")

    def over(self, defaults: "SlurmResources") -> "SlurmResources":
        """These, with what they leave open taken from `defaults`."""
        own = {name: value for name, value in asdict(self).items() if value is not None}
        return SlurmResources(**{**asdict(defaults), **own})

    def to_json(self) -> str:
        """As text, without what is left open."""
        return json.dumps({name: value for name, value in asdict(self).items() if value is not None})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` wrote.

        Raises:
            ValueError: it is something else.
        """
        values = json.loads(text)
        known = {field.name for field in fields(cls)}
        if not isinstance(values, dict) or not known >= set(values):
            raise ValueError(f"Slurm's resources are {', '.join(sorted(known))}, found {text}")
        return cls(**values)


@dataclass(frozen=True)
class Job:
    """What Slurm knows of a job.

    `state` is Slurm's long name; `reason` says why it waits; `restarts` counts requeues; `exit_code` is the accounting's, like "1:0"
    (code and signal), or empty.
    """

    job_id: str
    name: str
    state: str
    reason: str = ""
    restarts: int = 0
    exit_code: str = ""

    @property
    def active(self) -> bool:
        """Whether it waits, runs, or has not quite ended."""
        return self.state not in ENDED_STATES


class Slurm:
    """Slurm's commands on this machine, which must be one that may submit jobs."""

    def submit(
        self,
        name: str,
        script: str,
        resources: SlurmResources,
        *,
        gpus: int,
        output: Path,
        folder: Path,
        options: Sequence[str] = (),
    ) -> str:
        """Submit a batch job and return its id; if there is an active job of this name, return that one's instead.

        sbatch may fail after the controller has taken the job, so each new try begins with looking it up.

        Args:
            name: unique to the work.
            script: given to sbatch on its standard input.
            resources: what it asks for.
            gpus: how many GPUs.
            output: file that standard output and error are appended to.
            folder: working directory.
            options: further options of sbatch.

        Raises:
            SlurmError: Slurm does not take the job.
        """
        asked = [*resource_options(resources, gpus), *options]
        command = ["sbatch", *job_options(name, output, folder), *asked]
        for attempt in range(1, SUBMISSIONS + 1):
            try:
                if job := self.find(name):
                    return job.job_id
                return run(command, script).strip().split(";")[0]
            except SlurmError as error:
                if not NO_ANSWER.search(str(error)):
                    raise SlurmError(f"{error} It was asked for {' '.join(asked)}.") from None
                if attempt == SUBMISSIONS:
                    raise
                time.sleep(PAUSE_SECONDS)
        raise AssertionError("unreachable")

    def find(self, name: str) -> Job | None:
        """The newest active job of this user with this name.

        Raises:
            SlurmError: Slurm does not answer.
        """
        found = [job for job in parse_queue(run([*QUEUE, "--me", f"--name={name}"])) if job.active]
        return max(found, key=lambda job: int(job.job_id), default=None)

    def jobs(self, job_ids: Iterable[str]) -> dict[str, Job]:
        """What Slurm knows of jobs, by id: from its queue, and of those that the queue has forgotten from the accounting, if there is one.

        Raises:
            SlurmError: Slurm does not answer.
        """
        wanted = list(job_ids)
        known = {job.job_id: job for job in parse_queue(run([*QUEUE, "--me"])) if job.job_id in wanted}
        forgotten = [job_id for job_id in wanted if job_id not in known]
        return known | (accounted(forgotten) if forgotten else {})

    def cancel(self, job_ids: Sequence[str], kill: bool = False) -> None:
        """Cancel jobs: SIGTERM, then SIGKILL after the cluster's KillWait; with `kill`, SIGKILL at once. One that has ended is no error."""
        run(["scancel", "--quiet", *(["--signal=KILL", "--full"] if kill else []), *job_ids])


QUEUE = ("squeue", "--noheader", "--states=all", "--Format=JobID:|,Name:|,State:|,Reason:|,RestartCnt:|")


def job_options(name: str, output: Path, folder: Path) -> list[str]:
    """sbatch's options for a job that never starts a second time."""
    return [
        "--parsable",
        "--no-requeue",
        "--export=ALL",
        "--open-mode=append",
        f"--signal=B:TERM@{WARNING_SECONDS}",
        f"--job-name={name}",
        f"--output={output}",
        f"--chdir={folder}",
    ]


def resource_options(resources: SlurmResources, gpus: int) -> list[str]:
    """sbatch's options for what a job needs, on one node."""
    asked = {
        "gres": f"gpu:{gpus}" if gpus else None,
        "time": resources.time,
        "mem": resources.memory,
        "cpus-per-task": resources.cpus,
        "partition": resources.partition,
        "constraint": resources.constraint,
    }
    return ["--nodes=1", "--ntasks=1", *(f"--{option}={value}" for option, value in asked.items() if value is not None)]


def parse_queue(answer: str) -> list[Job]:
    """Jobs in squeue's answer."""
    jobs = []
    for line in answer.splitlines():
        job_id, name, state, reason, restarts = line.split("|")[:5]
        jobs.append(Job(job_id, name, state, "" if reason == "None" else reason, int(restarts)))
    return jobs


def accounted(job_ids: Sequence[str]) -> dict[str, Job]:
    """What the accounting knows of jobs, by id; nothing where there is none."""
    command = [
        "sacct",
        "--allocations",
        "--noheader",
        "--parsable2",
        "--format=JobIDRaw,JobName,State,ExitCode",
        f"--jobs={','.join(job_ids)}",
    ]
    try:
        answer = run(command)
    except SlurmError:
        return {}
    rows = [line.split("|") for line in answer.splitlines() if line]
    return {job_id: Job(job_id, name, state.split()[0], exit_code=code) for job_id, name, state, code in rows}


def run(command: Sequence[str], script: str | None = None) -> str:
    """Run one of Slurm's commands and return what it printed.

    Raises:
        SlurmError: it is not installed, fails, or takes longer than a minute.
    """
    try:
        ended = subprocess.run(command, input=script, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
    except FileNotFoundError:
        raise SlurmError(f"Slurm's command {command[0]} is not installed on this machine.") from None
    except subprocess.TimeoutExpired:
        raise SlurmError(f"Slurm's command {command[0]} timed out after {COMMAND_SECONDS:.0f} s.") from None
    if ended.returncode:
        words = " ".join(ended.stderr.replace(f"{command[0]}: ", "").replace("error: ", "").split()).rstrip(".")
        raise SlurmError(f"Slurm's command {command[0]} failed: {words or f'exit code {ended.returncode}'}.")
    return ended.stdout
