"""The step handler without a run: what it does when something is missing."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dagster import DagsterInvalidConfigError, Definitions, job, op, validate_run_config

from heart_assets.executor import build_gpu_executor, default_lock_folder, step_handler
from heart_assets.executor.declare import GPUS_TAG
from heart_assets.executor.step_handler import LocalStepHandler, make_lock_folder
from heart_assets_tests.executor.conftest import wait_until


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The messages that would go to the event log."""
    messages: list[str] = []
    monkeypatch.setattr(step_handler, "engine_event", lambda _, message: messages.append(message))
    monkeypatch.setattr(step_handler, "last_event", lambda _: None)
    monkeypatch.setattr(step_handler, "has_final_event", lambda *_: False)
    monkeypatch.setattr(step_handler, "STEP_MODULE", ("heart_assets_tests.executor.a_step", "sys.exit(5)"))
    yield messages


def context(**tags: str) -> Any:
    arguments = SimpleNamespace(get_command_env=lambda: [{"name": "SAY", "value": "hello"}])
    return SimpleNamespace(step_tags={"a_step": tags}, execute_step_args=arguments)


def handler(folder: Path, devices: list[str] | None = None) -> LocalStepHandler:
    return LocalStepHandler(devices or ["x"], None, folder / "locks", grace_seconds=20.0, warm_start=False)


def test_a_step_that_nobody_executes_is_ill(tmp_path: Path) -> None:
    health = handler(tmp_path).check_step_health(context())
    assert (health.is_healthy, health.unhealthy_reason) == (False, "no process of this run worker executes it.")


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
    steps._sweep(one)
    assert steps.check_step_health(one).unhealthy_reason == "no process of this run worker executes it."


def test_a_launch_that_fails_is_ill_health(tmp_path: Path, told: list[str]) -> None:
    steps, one = handler(tmp_path), context(**{GPUS_TAG: "9"})
    list(steps.launch_step(one))
    reason = steps.check_step_health(one).unhealthy_reason
    assert reason == "The step could not be launched: it asks for 9 GPUs, but there are only 1: x."
    steps.close()


def test_news_of_the_lease_are_told(tmp_path: Path, told: list[str]) -> None:
    process = SimpleNamespace(news=lambda: [{"waits_behind": 2}, {"waits_behind": 1}, {"waits_behind": 0}, {"leased": ["x"]}], started=0.0)
    steps = handler(tmp_path)
    steps._report_news(context(), step_handler._Launched(None, count=1), process)  # type: ignore[arg-type]
    assert told[:3] == [
        "Waiting for 1 of 0 devices: behind 2 other steps.",
        "Waiting for 1 of 0 devices: behind 1 other step.",
        "Waiting for 1 of 0 devices: it is next.",
    ]
    assert told[3].startswith("Leased x after ")


def test_a_lock_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_lock_folder(tmp_path / "new" / "folder")
    assert (tmp_path / "new" / "folder").stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ValueError, match="cannot be written"):
        make_lock_folder(tmp_path)


def test_the_default_lock_folder_is_this_users() -> None:
    assert default_lock_folder().name == f"gpu_executor-{os.getuid()}"


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
    config = validate_run_config(resolved, {"execution": {"config": {"max_concurrent": 2}}})
    assert config["execution"]["gpu_executor"]["max_concurrent"] == 2
    with pytest.raises(DagsterInvalidConfigError):
        validate_run_config(resolved, {"execution": {"config": {"grace_seconds": "soon"}}})
