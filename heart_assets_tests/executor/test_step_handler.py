"""The step handler without a run: how it reads what a place tells it, and what it does when something is missing."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dagster import DagsterInvalidConfigError, Definitions, job, op, validate_run_config

from heart_assets.executor import build_gpu_executor, default_lock_folder, local_steps, step_handler
from heart_assets.executor.declare import GPUS_TAG, SLURM_TAG
from heart_assets.executor.local_steps import LocalStep, LocalSteps, make_lock_folder
from heart_assets.executor.step_handler import Order, PlacingStepHandler
from heart_assets_tests.executor.conftest import wait_until


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The messages that would go to the event log."""
    messages: list[str] = []
    monkeypatch.setattr(step_handler, "engine_event", lambda _, message: messages.append(message))
    monkeypatch.setattr(step_handler, "has_final_event", lambda *_: False)
    monkeypatch.setattr(local_steps, "STEP_MODULE", ("heart_assets_tests.executor.a_step", "sys.exit(5)"))
    yield messages


def context(**tags: str) -> Any:
    arguments = SimpleNamespace(get_command_env=lambda: [{"name": "SAY", "value": "hello"}], known_state=None)
    return SimpleNamespace(
        step_tags={"a_step": tags},
        execute_step_args=arguments,
        dagster_run=SimpleNamespace(run_id="run"),
        instance=SimpleNamespace(root_directory="/"),
    )


def handler(folder: Path, cluster: Any = None) -> PlacingStepHandler:
    return PlacingStepHandler(LocalSteps(["x"], None, folder / "locks", warm_start=False), cluster, grace_seconds=20.0)


class Scripted:
    """A place, and its one step, that does what a test says."""

    def __init__(self) -> None:
        self.launched: list[Order] = []
        self.to_tell: list[str] = []
        self.how: str | None = None
        self.asked_to_end = self.waited_until = 0.0
        self.adopted = False

    def launch(self, order: Order) -> "Scripted":
        self.launched.append(order)
        return self

    def adopt(self, order: Order) -> "Scripted | None":
        return self if self.adopted else None

    def news(self) -> list[str]:
        news, self.to_tell = self.to_tell, []
        return news

    def end(self) -> str | None:
        return self.how

    def ask_to_end(self) -> None:
        self.asked_to_end = time.monotonic()

    def wait(self, deadline: float) -> None:
        self.waited_until = deadline

    def close(self) -> None:
        self.how = "closed"


def test_a_step_that_nobody_executes_is_ill(tmp_path: Path) -> None:
    health = handler(tmp_path).check_step_health(context())
    assert (health.is_healthy, health.unhealthy_reason) == (False, "nothing executes it.")


@pytest.mark.parametrize(("tags", "on_cluster"), [({GPUS_TAG: "1"}, True), ({SLURM_TAG: "{}"}, True), ({}, False)])
def test_gpus_and_slurms_resources_go_to_the_cluster(told: list[str], tags: dict[str, str], on_cluster: bool) -> None:
    here, cluster = Scripted(), Scripted()
    steps = PlacingStepHandler(here, cluster, 1.0)
    list(steps.launch_step(context(**tags)))
    assert [len(cluster.launched), len(here.launched)] == [on_cluster, not on_cluster]
    alone = PlacingStepHandler(here, None, 1.0)
    list(alone.launch_step(context(**tags)))
    assert here.launched[-1] == Order("run", "a_step", 0, tags, {"SAY": "hello"}, "/")


def test_news_are_told_and_an_end_without_last_event_is_ill(told: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    place = Scripted()
    steps, one = PlacingStepHandler(place, None, 1.0), context()
    place.to_tell = ["It waits."]
    list(steps.launch_step(one))
    assert steps.check_step_health(one).is_healthy and told == ["It waits."]
    place.to_tell, place.how = ["It runs."], "it fell over."
    assert steps.check_step_health(one).unhealthy_reason == "it fell over."
    assert told == ["It waits.", "It runs."]
    monkeypatch.setattr(step_handler, "has_final_event", lambda *_: True)
    assert steps.check_step_health(one).is_healthy


def test_a_step_of_an_earlier_run_worker_is_adopted(told: list[str]) -> None:
    place = Scripted()
    place.adopted, place.to_tell = True, ["Found."]
    steps = PlacingStepHandler(place, None, 1.0)
    assert steps.check_step_health(context()).is_healthy
    assert told == ["Found."] and not place.launched


def test_cancelling_asks_all_and_shares_one_grace(told: list[str]) -> None:
    place = Scripted()
    steps = PlacingStepHandler(place, None, 5.0)
    list(steps.launch_step(context()))
    list(steps.terminate_step(context()))
    assert told == ["Ending the step's processes."]
    assert 0 < place.asked_to_end <= place.waited_until - 4.9
    assert place.how == "closed"


def test_a_step_is_watched_and_ended(tmp_path: Path, told: list[str]) -> None:
    steps, one = handler(tmp_path), context(**{GPUS_TAG: "1"})
    list(steps.launch_step(one))
    assert told == ["The devices are those named in the executor's config."]
    assert steps.check_step_health(one).is_healthy
    list(steps.terminate_step(one))
    assert told[-1] == "Ending the step's processes."
    assert steps.name == "gpu_executor"


def test_a_step_that_dies_is_ill_and_forgotten_once_that_is_reported(
    tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, one = handler(tmp_path), context(**{GPUS_TAG: "1"})
    list(steps.launch_step(one))
    wait_until(lambda: not steps.check_step_health(one).is_healthy, 20)
    reason = steps.check_step_health(one).unhealthy_reason or ""
    assert reason.startswith("its process ended with exit code 5. Its last output:\nline 11\n")
    assert any(message.startswith("Leased x after ") for message in told)
    monkeypatch.setattr(step_handler, "has_final_event", lambda *_: True)
    assert steps.check_step_health(one).is_healthy
    steps._forget_ended(one)
    assert steps.check_step_health(one).unhealthy_reason == "nothing executes it."


def test_a_launch_that_fails_is_ill_health(tmp_path: Path, told: list[str]) -> None:
    steps, one = handler(tmp_path), context(**{GPUS_TAG: "9"})
    list(steps.launch_step(one))
    reason = steps.check_step_health(one).unhealthy_reason
    assert reason == "The step could not be launched: it asks for 9 GPUs, but there are only 1: x."
    steps.close()


def test_news_of_the_lease_are_told() -> None:
    process = SimpleNamespace(news=lambda: [{"waits_behind": 2}, {"waits_behind": 1}, {"waits_behind": 0}, {"leased": ["x"]}], started=0.0)
    step = LocalStep(process, 1, 2, ["Found 2 GPU(s)."])  # type: ignore[arg-type]
    told = step.news()
    assert told[:4] == [
        "Found 2 GPU(s).",
        "Waiting for 1 of 2 devices: behind 2 other steps.",
        "Waiting for 1 of 2 devices: behind 1 other step.",
        "Waiting for 1 of 2 devices: it is next.",
    ]
    assert told[4].startswith("Leased x after ")


def test_a_lock_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_lock_folder(tmp_path / "new" / "folder")
    assert (tmp_path / "new" / "folder").stat().st_mode & 0o7777 == 0o1777
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ValueError, match="cannot be written"):
        make_lock_folder(tmp_path)


def test_the_default_lock_folder_is_the_machines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert default_lock_folder() == Path("/tmp/gpu_executor")


def test_config_of_a_run_is_checked_and_may_replace_defaults() -> None:
    @op
    def nothing() -> None: ...

    @job
    def work() -> None:
        nothing()

    executor = build_gpu_executor(devices=["x", "y"], cpu_slots=3)
    schema = executor.config_schema.config_type.fields  # type: ignore[union-attr]
    assert schema["devices"].default_value == ["x", "y"]
    assert schema["cpu_slots"].default_value == 3
    assert all(field.description for field in schema.values())
    resolved = Definitions(jobs=[work], executor=executor).resolve_job_def("work")
    config = validate_run_config(resolved, {"execution": {"config": {"max_concurrent": 2, "slurm": {"partition": "gpu"}}}})
    assert config["execution"]["gpu_executor"]["max_concurrent"] == 2
    assert config["execution"]["gpu_executor"]["slurm"]["partition"] == "gpu"
    for wrong in ({"grace_seconds": "soon"}, {"backend": "kubernetes"}, {"slurm": {"cpus": "all"}}):
        with pytest.raises(DagsterInvalidConfigError):
            validate_run_config(resolved, {"execution": {"config": wrong}})
