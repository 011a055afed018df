"""What the study file says about machines, in the executor's terms."""

import dagster as dg
import pytest
import yaml

from heart_assets.compute import ingest_needs, learning_needs, pool_limits, runs_at_once, study_executor
from heart_assets.definitions import build_definitions
from heart_assets.errors import StudyError
from heart_assets.executor import SlurmResources, available_cores
from heart_assets.executor.declare import gpus_of, slurm_of
from heart_assets.home import PROJECT
from heart_assets.settings import ComputeSettings, load_settings
from heart_assets_tests.tiny import tiny_study, write_study

CLUSTER = {
    "compute.backend": "slurm",
    "compute.slurm.max_jobs": 12,
    "compute.slurm.options": ["--account=cardiac"],
    "compute.slurm.training.partition": "gpu",
    "compute.slurm.training.time": "2-00:00:00",
    "compute.slurm.training.memory": "48G",
    "compute.slurm.training.cpus": 8,
    "compute.slurm.ingest.partition": "cpu",
}
LEARNING = ("trained_model", "predictions")
CLEANING = ("heart_videos", "liver_images")


def test_on_one_machine_nothing_is_asked_of_slurm():
    compute = ComputeSettings(devices=("x", "y"), gpus_per_training=2)
    needs = learning_needs(compute, imports=["torch"])
    assert (gpus_of(needs["op_tags"]), slurm_of(needs["op_tags"]), needs["pool"]) == (2, None, "gpu")
    assert slurm_of(ingest_needs(compute)["op_tags"]) is None
    assert pool_limits(compute) == {"gpu": 2, "heavy_cpu": 1}
    assert study_executor(compute).config_schema.config_type.fields["backend"].default_value == "local"


def test_on_a_cluster_learning_and_cleaning_are_jobs_and_the_rest_is_not(tmp_path):
    settings = tiny_study(tmp_path, {**CLUSTER, "raw.liver": "raw/heart"}).settings
    nodes = {
        asset.key.to_user_string(): asset.op
        for asset in build_definitions(settings).get_repository_def().assets_defs_by_key.values()
        if asset.is_executable
    }
    asked = {name: slurm_of(op.tags) for name, op in nodes.items() if slurm_of(op.tags) is not None}
    training = SlurmResources(partition="gpu", time="2-00:00:00", memory="48G", cpus=8)
    assert asked == {**dict.fromkeys(LEARNING, training), **dict.fromkeys(CLEANING, SlurmResources(partition="cpu"))}
    assert {name for name, op in nodes.items() if gpus_of(op.tags)} == set(LEARNING)
    assert pool_limits(settings.compute) == {"gpu": 12, "heavy_cpu": 12}
    assert runs_at_once(settings.compute) == max(12, available_cores())
    fields = study_executor(settings.compute).config_schema.config_type.fields
    assert fields["backend"].default_value == "slurm"
    assert fields["slurm"].config_type.fields["options"].default_value == ["--account=cardiac"]


def test_every_job_uses_the_executor_the_implicit_one_included(tmp_path):
    repository = build_definitions(tiny_study(tmp_path).settings).get_repository_def()
    jobs = [*repository.get_all_jobs(), *(repository.get_job(name) for name in repository.get_implicit_asset_job_names())]
    assert len(jobs) > 5 and {job.executor_def.name for job in jobs} == {"gpu_executor"}
    other = build_definitions(tiny_study(tmp_path).settings, executor=dg.in_process_executor).get_repository_def()
    assert {job.executor_def.name for job in other.get_all_jobs()} == {"in_process"}


def test_the_example_for_a_cluster_is_understood(tmp_path):
    path = write_study(tmp_path, {"compute.ingest_workers": None, "compute.cpu_slots": None})
    path.write_text(path.read_text() + "\n" + (PROJECT / "deploy" / "slurm" / "compute.toml").read_text())
    settings = load_settings(path)
    build_definitions(settings)
    queue = yaml.safe_load((PROJECT / "dagster.yaml").read_text())["concurrency"]["runs"]["max_concurrent_runs"]
    assert settings.compute.slurm.max_jobs < queue


@pytest.mark.parametrize("wrong", [{"time": "an hour"}, {"memory": "a lot"}, {"partition": "--wrap=rm"}, {"constraint": "a b"}])
def test_what_slurm_would_not_understand_is_refused_when_the_definitions_load(tmp_path, wrong):
    (name, value) = next(iter(wrong.items()))
    settings = tiny_study(tmp_path, {"compute.backend": "slurm", f"compute.slurm.training.{name}": value}).settings
    with pytest.raises(StudyError, match=r"^compute\.slurm\.training: .*" + name):
        build_definitions(settings)
