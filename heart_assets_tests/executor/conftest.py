"""A real instance with the project's `dagster.yaml`, and workers for the toy code location."""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterInstance

from heart_assets.executor import DirectRuns, set_pool_limits

PROJECT = Path(__file__).parents[2]
WORKSPACE = """
load_from:
  - python_module:
      module_name: heart_assets_tests.executor.toy
      location_name: toy
"""


@dataclass
class Toy:
    """An instance, the toy code location's workspace file, and the folder where its steps leave notes."""

    folder: Path
    workspace: Path
    instance: DagsterInstance

    def notes(self, name: str, at_least: int = 0, seconds: float = 30.0) -> list[dict[str, Any]]:
        """The notes of an asset's steps, once there are enough of them."""
        path = self.folder / f"{name}.jsonl"
        wait_until(lambda: path.exists() and len(path.read_text().splitlines()) >= at_least, seconds) if at_least else None
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def events(self, run_id: str, step_key: str | None = None) -> list[str]:
        """The messages of a run's (or one step's) events."""
        entries = self.instance.all_logs(run_id)
        return [entry.message for entry in entries if step_key is None or entry.step_key == step_key]

    def failure(self, run_id: str, step_key: str) -> str:
        """The error message of the step's failure."""
        (event,) = [
            entry.dagster_event
            for entry in self.instance.all_logs(run_id)
            if entry.step_key == step_key and entry.dagster_event and entry.dagster_event.is_step_failure
        ]
        assert event.step_failure_data.error
        return event.step_failure_data.error.message


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toy]:
    with toy_in(tmp_path_factory.mktemp("toy"), PROJECT / "dagster.yaml") as toy:
        yield toy


@contextmanager
def toy_in(folder: Path, dagster_yaml: Path) -> Iterator[Toy]:
    """An instance with this configuration, and the environment in which its processes start, for the length of a block."""
    home = folder / "home"
    home.mkdir()
    shutil.copyfile(dagster_yaml, home / "dagster.yaml")
    workspace = folder / "workspace.yaml"
    workspace.write_text(WORKSPACE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(home))
        patch.setenv("TOY_FOLDER", str(folder))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep))
        with DagsterInstance.get() as instance:
            set_pool_limits(instance, {"gpu": 1, "heavy_cpu": 1})
            yield Toy(folder, workspace, instance)


@pytest.fixture(scope="session")
def runs(toy: Toy) -> Iterator[DirectRuns]:
    with DirectRuns(toy.instance, toy.workspace, processes=2, log_file=toy.folder / "workers.log") as runs:
        yield runs


def wait_until(condition: Callable[[], bool], seconds: float) -> float:
    """Wait for a condition; return how long it took, in seconds."""
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < seconds, f"not within {seconds} s"
        time.sleep(0.02)
    return time.monotonic() - begin


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def parent_of(pid: int) -> int:
    """A process's parent."""
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
