"""What the package takes from Dagster's private modules exists, and `dagster.yaml` is understood."""

import re
import shutil
from pathlib import Path

import pytest
from dagster import DagsterInstance

from heart_assets.executor import dagster_internals
from heart_assets_tests.executor.conftest import PROJECT


def test_private_names_exist_in_this_version() -> None:
    for name in dagster_internals.__all__:
        assert callable(getattr(dagster_internals, name))
    assert {"CANCELING", "CANCELED"} <= set(__import__("dagster").DagsterRunStatus.__members__)


def test_nothing_private_is_imported_elsewhere() -> None:
    folder = Path(dagster_internals.__file__).parent
    private = re.compile(r"(from|import) dagster\._")
    assert [path.name for path in folder.glob("*.py") if private.search(path.read_text())] == ["dagster_internals.py"]


def test_the_package_imports_nothing_else_of_the_project() -> None:
    folder = Path(dagster_internals.__file__).parent
    other = re.compile(r"^\s*(from|import) heart_assets(?!\.executor\b)", re.MULTILINE)
    assert [path.name for path in folder.glob("*.py") if other.search(path.read_text())] == []


def test_dagster_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(PROJECT / "dagster.yaml", tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with DagsterInstance.get() as instance:
        concurrency = instance.get_concurrency_config()
        assert concurrency.pool_config.pool_granularity and concurrency.pool_config.pool_granularity.value == "run"
        assert concurrency.pool_config.default_pool_limit is None
        assert concurrency.run_queue_config and concurrency.run_queue_config.max_concurrent_runs == 24
        assert instance.run_coordinator.dequeue_interval_seconds == 1  # type: ignore[attr-defined]
        assert instance.run_coordinator.dequeue_use_threads  # type: ignore[attr-defined]
        assert instance.run_monitoring_enabled
        assert instance.run_monitoring_max_resume_run_attempts == 0
        assert not instance.telemetry_enabled
