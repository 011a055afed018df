"""What assets declare, and the limits of pools."""

from typing import Any

import pytest
from dagster import AssetKey, DagsterInstance, asset

from heart_assets.executor import GPU_POOL, HEAVY_CPU_POOL, SlurmResources, count_devices, cpu, gpus, heavy_cpu, set_pool_limits
from heart_assets.executor.declare import GPUS_TAG, IMPORTS_TAG, SLURM_TAG, gpus_of, imports_of, set_missing_pool_limits, slurm_of


def test_gpus_gives_tag_and_pool_to_the_step() -> None:
    @asset(**gpus(2))
    def model() -> None: ...

    @asset(**heavy_cpu())
    def ingest() -> None: ...

    assert gpus_of(model.op.tags) == 2
    assert model.op.pool == GPU_POOL
    assert (gpus_of(ingest.op.tags), ingest.op.pool) == (0, HEAVY_CPU_POOL)
    assert gpus(1, pool="big") == {"op_tags": {GPUS_TAG: "1"}, "pool": "big"}
    assert model.key == AssetKey("model")


@pytest.mark.parametrize("wrong", [0, -1, 17, True, 1.0, "1", None])
def test_wrong_numbers_are_refused_at_definition(wrong: Any) -> None:
    with pytest.raises(ValueError, match="whole number from 1 to 16, found"):
        gpus(wrong)


def test_a_pool_needs_a_name() -> None:
    with pytest.raises(ValueError, match="name of a pool"):
        gpus(1, pool="")


def test_modules_to_share() -> None:
    assert gpus(1, imports=["torch"])["op_tags"] == {GPUS_TAG: "1", IMPORTS_TAG: "torch"}
    assert heavy_cpu(imports=["pydicom"]) == {"op_tags": {IMPORTS_TAG: "pydicom"}, "pool": HEAVY_CPU_POOL}
    tags = cpu(imports=["sklearn.linear_model", "matplotlib"])["op_tags"]
    assert imports_of(tags) == ["sklearn.linear_model", "matplotlib"]
    assert imports_of(cpu()["op_tags"]) == []
    for wrong in ("torch", ["a b"], [""], ["a..b"]):
        with pytest.raises(ValueError, match="list of names of modules"):
            cpu(imports=wrong)


def test_slurms_resources_are_a_tag() -> None:
    asked = SlurmResources(time="12:00:00", memory="32G", cpus=8, partition="gpu", constraint="a100|h100")
    for declared in (gpus(1, slurm=asked), heavy_cpu(slurm=asked), cpu(slurm=asked)):
        assert slurm_of(declared["op_tags"]) == asked

    @asset(**cpu(slurm=SlurmResources()))
    def anywhere_on_the_cluster() -> None: ...

    assert slurm_of(anywhere_on_the_cluster.op.tags) == SlurmResources()
    assert slurm_of(gpus(1)["op_tags"]) is None
    for wrong in ("", "{", '{"nodes": 2}', '{"cpus": "8"}', '["12:00:00"]'):
        with pytest.raises(ValueError):
            slurm_of({SLURM_TAG: wrong})


@pytest.mark.parametrize("wrong", ["many", "-1", "17", "1.0", ""])
def test_wrong_tags_are_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="must be a whole number up to 16"):
        gpus_of({GPUS_TAG: wrong})


def test_pool_limits_are_set_and_changed() -> None:
    with DagsterInstance.local_temp() as instance:
        set_pool_limits(instance, {"gpu": 2, "heavy_cpu": 1})
        set_pool_limits(instance, {"gpu": 3})
        assert {pool.name: pool.limit for pool in instance.event_log_storage.get_pool_limits()} == {"gpu": 3, "heavy_cpu": 1}


def test_limits_that_are_missing_are_set_and_others_left() -> None:
    asked: list[int] = []

    def limits() -> dict[str, int]:
        asked.append(1)
        return {"gpu": 4, "heavy_cpu": 1}

    with DagsterInstance.local_temp() as instance:
        set_pool_limits(instance, {"gpu": 2})
        for _ in range(2):
            set_missing_pool_limits(instance, limits, ["gpu", "heavy_cpu"])
        assert {pool.name: pool.limit for pool in instance.event_log_storage.get_pool_limits()} == {"gpu": 2, "heavy_cpu": 1}
    assert len(asked) == 1


def test_count_devices() -> None:
    assert count_devices(["a", "b", "c"]) == 3
