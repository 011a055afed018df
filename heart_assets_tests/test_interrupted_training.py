"""A training as Dagster runs it, ended from outside: the retry is another process, or another Slurm job, and no byte of the end differs."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from heart_assets.executor import DirectRuns, RunSpec
from heart_assets.home import WORKSPACE, prepare_home, prepare_instance
from heart_assets.ledger import Study
from heart_assets_tests.executor.conftest import wait_until
from heart_assets_tests.executor.slurm_cluster import Cluster, slurm
from heart_assets_tests.tiny import made_study

__all__ = ["slurm"]  # a fixture
VIEW, FOLD, STEP = "3ch", "0", "trained_model"
EPOCHS = 150


@dataclass(frozen=True)
class Home:
    """A study in which all but one model is made, its instance, and workers for its runs."""

    study: Study
    instance: dg.DagsterInstance
    runs: DirectRuns

    @property
    def checkpoint(self) -> Path:
        return self.study.layout.checkpoint(VIEW, FOLD)

    def train(self, interrupt: Callable[[str], None] | None = None) -> tuple[dict[str, bytes], list[str], int]:
        """Train the model anew; once there is a checkpoint, `interrupt` is called with the run's id, in another thread.

        Returns the model's files, the types of the step's events, and after which epoch its last attempt went on.
        """
        folder = self.study.layout.model(VIEW, FOLD)
        for file in [*folder.glob("*"), *self.checkpoint.parent.glob(f"{self.checkpoint.name}*")]:
            file.unlink()
        threads: list[threading.Thread] = []

        def when_there_is_a_checkpoint(run_id: str) -> None:
            wait_until(self.checkpoint.exists, 60)
            if interrupt:
                interrupt(run_id)

        def on_started(_: RunSpec, run_id: str) -> None:
            threads.append(threading.Thread(target=when_there_is_a_checkpoint, args=(run_id,)))
            threads[0].start()

        (result,) = self.runs.launch([RunSpec("train", f"{FOLD}|{VIEW}")], on_started=on_started)
        threads[0].join()
        assert result.success and result.run_id, result.reason
        events = self.events(result.run_id)
        (made,) = [
            entry.asset_materialization
            for entry in self.instance.all_logs(result.run_id, dg.DagsterEventType.ASSET_MATERIALIZATION)
            if entry.step_key == STEP
        ]
        files = {path.name: path.read_bytes() for path in folder.glob("[!.]*")}
        return files, [event.event_type_value for event in events], made.metadata["resumed_after_epoch"].value

    def events(self, run_id: str) -> list[dg.DagsterEvent]:
        """The step's events."""
        entries = self.instance.all_logs(run_id)
        return [entry.dagster_event for entry in entries if entry.dagster_event and entry.step_key == STEP]

    def kill(self, run_id: str) -> None:
        """SIGKILL to the step's process."""
        (pid,) = [
            event.engine_event_data.metadata["pid"].value
            for event in self.events(run_id)
            if event.event_type_value == "STEP_WORKER_STARTED"
        ]
        os.kill(int(pid), signal.SIGKILL)


@pytest.fixture
def home(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """The study's home, with the backend that the test asks for."""
    if request.param == "slurm":
        for name, value in request.getfixturevalue("slurm").environment.items():
            monkeypatch.setenv(name, value)
    changes = {"training.epochs": EPOCHS, "compute.backend": request.param, "compute.slurm.training.cpus": 1}
    study = made_study(tmp_path, changes=changes)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HEART_ASSETS_STUDY", "")
    prepare_home(study.settings, tmp_path / "study.toml")
    with dg.DagsterInstance.get() as instance:
        prepare_instance(instance, study)
        with DirectRuns(instance, WORKSPACE, processes=1, log_file=tmp_path / "runs.log") as runs:
            yield Home(study, instance, runs)


@pytest.mark.parametrize("home", ["local"], indirect=True)
def test_a_training_that_is_killed_on_this_machine(home: Home) -> None:
    ends_as_if_nothing_had_happened(home, home.kill)


@pytest.mark.parametrize("home", ["slurm"], indirect=True)
def test_a_training_whose_job_is_cancelled_from_outside(home: Home, slurm: Cluster) -> None:
    def scancel(_: str) -> None:
        (job,) = slurm.active_jobs()
        subprocess.run(["scancel", job], check=True)

    ends_as_if_nothing_had_happened(home, scancel)


def ends_as_if_nothing_had_happened(home: Home, interrupt: Callable[[str], None]) -> None:
    interrupted, events, resumed_after = home.train(interrupt)
    assert events.count("STEP_UP_FOR_RETRY") == 1 and 1 <= resumed_after < EPOCHS
    whole, events, resumed_after = home.train()
    assert "STEP_UP_FOR_RETRY" not in events and resumed_after == 0
    assert set(whole) >= {"model.safetensors", "history.csv"} and interrupted == whole
