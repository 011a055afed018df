"""The study's Dagster home and the environment of its processes."""

import os

import dagster as dg
import pytest
import yaml

from heart_assets import home
from heart_assets.home import PROJECT, prepare_home, prepare_instance
from heart_assets_tests.tiny import add_raw, ids, tiny_study, write_study


@pytest.fixture(autouse=True)
def _environment(monkeypatch, tmp_path):
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.setenv("HEART_ASSETS_STUDY", "")
    monkeypatch.setattr(home, "PROJECT", tmp_path / "project")
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")


def test_each_study_has_a_home_of_its_own(tmp_path):
    study = tiny_study(tmp_path)
    found = prepare_home(study.settings, tmp_path / "study.toml")
    assert found == tmp_path / "project" / ".dagster_home" / "tiny"
    assert os.environ["DAGSTER_HOME"] == str(found) and os.environ["HEART_ASSETS_STUDY"] == str(tmp_path / "study.toml")
    assert (found / "dagster.yaml").read_text() == "telemetry: {enabled: false}\n"


def test_a_home_that_is_set_and_its_configuration_are_respected(tmp_path, monkeypatch):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "dagster.yaml").write_text("mine: true\n")
    monkeypatch.setenv("DAGSTER_HOME", str(mine))
    assert prepare_home(tiny_study(tmp_path).settings, tmp_path / "study.toml") == mine
    assert (mine / "dagster.yaml").read_text() == "mine: true\n"


def test_pools_and_deliveries_are_registered_once(tmp_path):
    study = tiny_study(tmp_path, {"compute.cpu_slots": 3, "raw.liver": "raw/heart"})
    add_raw(study, "90", ids(1))
    add_raw(study, "91", ids(1, 9_100_001))
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        for _ in range(2):
            prepare_instance(instance, study)
            assert sorted(instance.get_dynamic_partitions("heart_deliveries")) == ["90", "91"]
            assert sorted(instance.get_dynamic_partitions("liver_deliveries")) == ["90", "91"]
            limits = {pool.name: pool.limit for pool in instance.event_log_storage.get_pool_limits()}
            assert limits["heavy_cpu"] == 1
            assert limits["gpu"] == (3 if not os.path.exists("/dev/nvidia0") else limits["gpu"])


def test_the_projects_instance_gates_runs_by_pool_and_sends_nothing():
    settings = yaml.safe_load((PROJECT / "dagster.yaml").read_text())
    assert settings["concurrency"]["pools"] == {"granularity": "run"}  # no default_limit: it did not gate a first backfill
    assert settings["run_monitoring"]["max_resume_run_attempts"] == 0
    assert settings["telemetry"] == {"enabled": False}


def test_the_study_file_reaches_other_processes(tmp_path):
    from heart_assets.settings import load_settings

    path = write_study(tmp_path, {"name": "elsewhere"})
    prepare_home(load_settings(path), path)
    assert load_settings().name == "elsewhere"
