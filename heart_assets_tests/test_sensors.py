"""The delivery sensors: new deliveries become partitions, changed ones are cleaned once a day for one state of them."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg
import pytest

from heart_assets import sensors
from heart_assets.ledger import Study
from heart_assets_tests.tiny import add_raw, delivery_of, ids, newer, settle, tiny_study


@pytest.fixture
def study(tmp_path) -> Study:
    study = tiny_study(tmp_path)
    add_raw(study, "90", ids(2))
    add_raw(study, "91", ids(1, 9_100_001))
    return study


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def tick(study: Study, instance: dg.DagsterInstance, name: str = "new_heart_deliveries") -> dg.SensorResult | dg.SkipReason:
    (sensor,) = [one for one in sensors.declare(study.settings) if one.name == name]
    return sensor(dg.build_sensor_context(instance, resources={"study": study}))


def requests(result: dg.SensorResult) -> list[tuple[str, str | None]]:
    return [(request.job_name, request.partition_key) for request in result.run_requests]


def clean(study: Study, instance: dg.DagsterInstance, *deliveries: str) -> None:
    """What the requested runs would do."""
    instance.add_dynamic_partitions("heart_deliveries", list(deliveries))
    for delivery in deliveries:
        settle(study, "heart_videos", delivery, delivery_of(study, ids(1, int(f"9{delivery}0001"))))


def test_new_deliveries_are_added_observed_and_cleaned(study, instance):
    result = tick(study, instance)
    (added,) = result.dynamic_partitions_requests
    assert (added.partitions_def_name, added.partition_keys) == ("heart_deliveries", ["90", "91"])
    assert requests(result) == [("observe", None), ("ingest", "90"), ("ingest", "91")]


def test_run_keys_hold_the_date_and_the_state_of_the_delivery(study, instance):
    day = datetime.now(UTC).date().isoformat()
    first = [request.run_key for request in tick(study, instance).run_requests]
    assert all(key.endswith(f" {day}") for key in first) and len(set(first)) == 3
    assert [request.run_key for request in tick(study, instance).run_requests] == first  # the same state: Dagster skips known keys
    newer(study.settings.raw.heart / "90" / "9000001_20208_2_0.zip")
    after = [request.run_key for request in tick(study, instance).run_requests]
    assert [one == other for one, other in zip(first, after, strict=True)] == [False, False, True]


def test_a_setting_that_changes_the_videos_is_another_state(study, instance, tmp_path):
    first = [request.run_key for request in tick(study, instance).run_requests]
    changed = tiny_study(tmp_path, {"geometry.low_percentile": 2.0})
    assert not set(first) & {request.run_key for request in tick(changed, instance).run_requests}


def test_when_all_hold_nothing_is_requested(study, instance):
    clean(study, instance, "90", "91")
    result = tick(study, instance)
    assert isinstance(result, dg.SkipReason) and result.skip_message == "All 2 deliveries are cleaned and unchanged."


def test_only_what_is_new_or_changed_is_cleaned(study, instance):
    clean(study, instance, "90", "91")
    newer(study.settings.raw.heart / "91" / "9100001_20208_2_0.zip")
    result = tick(study, instance)
    assert requests(result) == [("observe", None), ("ingest", "91")] and not result.dynamic_partitions_requests
    add_raw(study, "92", ids(1, 9_200_001))
    result = tick(study, instance)
    assert requests(result) == [("observe", None), ("ingest", "91"), ("ingest", "92")]
    assert result.dynamic_partitions_requests[0].partition_keys == ["92"]


def test_a_partition_that_the_instance_does_not_know_is_added_though_its_videos_hold(study, instance):
    clean(study, instance, "90", "91")
    instance.delete_dynamic_partition("heart_deliveries", "91")
    result = tick(study, instance)
    assert result.dynamic_partitions_requests[0].partition_keys == ["91"] and requests(result) == [("observe", None)]


@pytest.mark.parametrize("folder_exists", [True, False])
def test_an_empty_or_missing_raw_folder_skips_with_its_sentence(study, instance, folder_exists):
    folder = study.settings.raw.heart
    shutil.rmtree(folder)
    if folder_exists:
        folder.mkdir()
    expected = "holds no study: expected zips named like {eid}_{field}_{visit}_{array}.zip" if folder_exists else "does not exist"
    result = tick(study, instance)
    assert isinstance(result, dg.SkipReason) and result.skip_message == f"the raw folder {folder} {expected}"


def test_a_withdrawal_list_that_is_missing_skips_with_its_sentence_or_cleans_without_it(tmp_path, instance):
    study = tiny_study(tmp_path, {"raw.withdrawn": "withdrawn.txt"})
    add_raw(study, "90", ids(1))
    assert requests(tick(study, instance)) == [("observe", None), ("ingest", "90")]  # the run then says that the list is missing


def test_liver_deliveries_have_their_own_sensor_jobs_and_partitions(tmp_path, instance):
    study = tiny_study(tmp_path, {"raw.liver": "raw/liver"})
    folder = tmp_path / "raw" / "liver" / "90"
    folder.mkdir(parents=True)
    (folder / "9000001_20204_2_0.zip").touch()
    result = tick(study, instance, "new_liver_deliveries")
    assert requests(result) == [("observe_liver", None), ("ingest_liver", "90")]
    assert result.dynamic_partitions_requests[0].partitions_def_name == "liver_deliveries"


def test_all_sensors_are_on(tmp_path):
    declared = sensors.declare(tiny_study(tmp_path, {"raw.liver": "raw/liver"}).settings)
    assert [one.name for one in declared] == ["new_heart_deliveries", "new_liver_deliveries", "automation"]
    assert {one.default_status for one in declared} == {dg.DefaultSensorStatus.RUNNING}
