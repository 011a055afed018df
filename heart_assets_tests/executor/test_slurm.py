"""Slurm's commands: what is asked of them, and how their answers are read; on a real Slurm, and with commands that misbehave."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from heart_assets.executor import slurm as slurm_module
from heart_assets.executor.slurm import Job, Slurm, SlurmError, SlurmResources
from heart_assets_tests.executor.conftest import wait_until
from heart_assets_tests.executor.slurm_cluster import Cluster, slurm

__all__ = ["slurm"]  # a fixture
SLEEPS = "#!/bin/sh\necho $CUDA_VISIBLE_DEVICES\nexec sleep 60\n"
Submit = Callable[..., str]
Program = Callable[[str, str], None]


@pytest.fixture
def submit(slurm: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Submit]:
    for name, value in slurm.environment.items():
        monkeypatch.setenv(name, value)

    def submit(name: str, script: str = SLEEPS, gpus: int = 0, resources: SlurmResources | None = None) -> str:
        output = tmp_path / f"{name}.log"
        return Slurm().submit(name, script, resources or SlurmResources(), gpus=gpus, output=output, folder=tmp_path)

    yield submit
    for job in slurm.active_jobs():
        slurm.command("scancel", "--signal=KILL", "--full", job)
    wait_until(lambda: not slurm.active_jobs(), 20)


def state(job_id: str) -> str:
    return Slurm().jobs([job_id])[job_id].state


def test_a_name_has_one_job_as_long_as_it_lives(submit: Submit) -> None:
    first = submit("one")
    assert submit("one") == first != submit("another")
    found = Slurm().find("one")
    assert found and (found.job_id, found.name, found.active, found.restarts) == (first, "one", True, 0)
    Slurm().cancel([first])
    wait_until(lambda: Slurm().find("one") is None, 20)
    assert state(first) == "CANCELLED"
    assert submit("one") != first
    Slurm().cancel([first])  # it has ended: no error


def test_states_of_jobs_and_their_devices(submit: Submit, tmp_path: Path) -> None:
    jobs = [submit(f"gpu-{number}", gpus=1) for number in range(3)]
    wait_until(lambda: [state(job) for job in jobs[:2]] == ["RUNNING", "RUNNING"], 20)
    waiting = Slurm().jobs(jobs)[jobs[2]]
    assert waiting.state == "PENDING"
    wait_until(lambda: Slurm().jobs(jobs)[jobs[2]].reason in ("Resources", "Priority"), 20)
    wait_until(lambda: all((tmp_path / f"gpu-{number}.log").exists() for number in range(2)), 20)
    assert sorted((tmp_path / f"gpu-{number}.log").read_text() for number in range(2)) == ["0\n", "1\n"]
    Slurm().cancel(jobs[2:])  # it would hold the others up
    well, badly = submit("well", "#!/bin/sh\n"), submit("badly", "#!/bin/sh\nexit 3\n")
    wait_until(lambda: (state(well), state(badly)) == ("COMPLETED", "FAILED"), 20)
    assert "99999999" not in Slurm().jobs(["99999999", jobs[0]])
    refused = subprocess.run(["scontrol", "requeue", jobs[0]], capture_output=True, check=False)
    assert refused.returncode and state(jobs[0]) == "RUNNING"


def test_what_cannot_be_had_is_refused_in_slurms_words(submit: Submit) -> None:
    with pytest.raises(
        SlurmError, match=r"sbatch failed: .*Requested node configuration is not available.* It was asked for .*--gres=gpu:9"
    ):
        submit("greedy", gpus=9)
    with pytest.raises(SlurmError, match="invalid partition specified: nowhere"):
        submit("lost", resources=SlurmResources(partition="nowhere"))


def test_a_controller_that_does_not_answer_is_an_error_and_no_job_is_lost(submit: Submit, slurm: Cluster) -> None:
    job = submit("patient")
    slurm.stop_controller()
    try:
        with pytest.raises(SlurmError, match="squeue failed: .*Unable to contact slurm controller"):
            Slurm().jobs([job])
    finally:
        slurm.start_controller()
    wait_until(lambda: slurm.active_jobs() == [job], 30)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Write a command of Slurm's, in Python, that is found before the real one; it may keep notes in the current folder."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(slurm_module, "PAUSE_SECONDS", 0.0)

    def write(name: str, code: str) -> None:
        path = tmp_path / name
        path.write_text(f"#!{sys.executable} -S\nimport os, sys\n{code}\n")
        path.chmod(0o755)

    return write


def submit_to_fakes() -> str:
    return Slurm().submit("x", "", SlurmResources(), gpus=0, output=Path("o"), folder=Path("/"))


def test_a_submission_whose_answer_was_lost_is_not_repeated(program: Program, tmp_path: Path) -> None:
    program("squeue", "if os.path.exists('taken'): print('5|x|PENDING|None|0|')")
    program("sbatch", "assert not os.path.exists('taken'); open('taken', 'w'); sys.exit('sbatch: error: Socket timed out on send/recv')")
    assert submit_to_fakes() == "5"


def test_a_controller_out_of_reach_is_tried_three_times_and_a_refusal_once(program: Program, tmp_path: Path) -> None:
    program("squeue", "")
    for words, tries in (("Unable to contact slurm controller", 3), ("Invalid account", 1)):
        program("sbatch", f"open('tries', 'a').write('x'); sys.exit('sbatch: error: {words}')")
        with pytest.raises(SlurmError, match=f"Slurm's command sbatch failed: {words}"):
            submit_to_fakes()
        assert len((tmp_path / "tries").read_text()) == tries
        (tmp_path / "tries").unlink()


def test_the_accounting_knows_what_the_queue_has_forgotten(program: Program) -> None:
    program("squeue", "print('1|a|RUNNING|None|0|')")
    program("sacct", "print('2|b|CANCELLED by 0|0:15'); print('3|c|OUT_OF_MEMORY|0:125'); print('4|d|NODE_FAIL|1:0')")
    assert Slurm().jobs(["1", "2", "4", "5"]) == {
        "1": Job("1", "a", "RUNNING"),
        "2": Job("2", "b", "CANCELLED", exit_code="0:15"),
        "3": Job("3", "c", "OUT_OF_MEMORY", exit_code="0:125"),
        "4": Job("4", "d", "NODE_FAIL", exit_code="1:0"),
    }
    program("sacct", "sys.exit('Slurm accounting storage is disabled')")
    assert set(Slurm().jobs(["1", "2"])) == {"1"}


def test_commands_that_are_absent_or_hang(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SlurmError, match="Slurm's command squeue is not installed on this machine"):
        Slurm().find("x")
    program("squeue", "import time; time.sleep(60)")
    monkeypatch.setattr(slurm_module, "COMMAND_SECONDS", 0.2)
    with pytest.raises(SlurmError, match="Slurm's command squeue timed out"):
        Slurm().find("x")


@pytest.mark.parametrize("time", ["90", "90:30", "12:00:00", "2-00", "2-12:00", "2-12:00:00"])
@pytest.mark.parametrize("memory", ["0", "4000", "32G", "4000M", "1T"])
def test_resources_that_slurm_understands(time: str, memory: str) -> None:
    asked = SlurmResources(time=time, memory=memory, cpus=8, partition="gpu,long", constraint="[a100|h100]&ib")
    assert SlurmResources.from_json(asked.to_json()) == asked
    assert SlurmResources(cpus=2).over(asked) == SlurmResources(time, memory, 2, "gpu,long", "[a100|h100]&ib")
    assert asked.over(SlurmResources(cpus=2)) == asked


@pytest.mark.parametrize(
    "wrong",
    [
        {"time": "soon"},
        {"time": 90},
        {"time": "1:2:3"},
        {"memory": "32 G"},
        {"memory": "32GB"},
        {"cpus": 0},
        {"cpus": True},
        {"cpus": "8"},
        {"partition": "--wrap=x"},
        {"partition": "gpu\n"},
        {"partition": ""},
        {"constraint": "a b"},
        {"constraint": "-x"},
    ],
)
def test_resources_that_it_would_not(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))} must be .*, found "):
        SlurmResources(**wrong)  # type: ignore[arg-type]
