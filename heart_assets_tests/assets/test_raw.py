"""The observed raw folders: what their data version follows."""

import dagster as dg
import pytest

from heart_assets.assets import raw
from heart_assets_tests.tiny import add_raw, ids, newer, tiny_study


@pytest.fixture
def study(tmp_path):
    study = tiny_study(tmp_path, {"raw.liver": "raw/liver"})
    add_raw(study, "90", ids(2))
    add_raw(study, "91", ids(1, 9_100_001))
    folder = tmp_path / "raw" / "liver" / "90"
    folder.mkdir(parents=True)
    (folder / "9000001_20204_2_0.zip").touch()
    return study


def versions(study) -> dict[str, str]:
    return {name: version.value for name, version in raw.raw_heart_dicoms(study).data_versions_by_partition.items()}


def test_one_version_per_delivery_which_follows_names_sizes_and_times(study):
    before = versions(study)
    assert sorted(before) == ["90", "91"] and versions(study) == before
    path = study.settings.raw.heart / "90" / "9000001_20208_2_0.zip"
    seen = {before["90"]}
    for change in (lambda: newer(path), lambda: path.write_bytes(b"x"), lambda: path.rename(path.with_name("9000009_20208_2_0.zip"))):
        change()
        seen.add(versions(study)["90"])
        assert versions(study)["91"] == before["91"]
    assert len(seen) == 4


def test_the_version_is_what_the_ledger_records(study):
    assert study.inputs("heart_videos", "90").upstream == {"raw_heart_dicoms": versions(study)["90"]}
    liver = raw.raw_liver_dicoms(study).data_versions_by_partition
    assert {name: version.value for name, version in liver.items()} == {
        "90": study.inputs("liver_images", "90").upstream["raw_liver_dicoms"]
    }


@pytest.mark.parametrize(
    ("prepare", "sentence"),
    [
        (lambda folder: None, "the raw folder {} does not exist"),
        (
            lambda folder: folder.mkdir(parents=True),
            "the raw folder {} holds no study: expected zips named like {{eid}}_{{field}}_{{visit}}_{{array}}.zip",
        ),
        (
            lambda folder: (folder / "90").mkdir(parents=True) or (folder / "90" / "readme.txt").touch(),
            "the raw folder {} holds no study: expected zips named like {{eid}}_{{field}}_{{visit}}_{{array}}.zip",
        ),
    ],
    ids=["missing", "empty", "without studies"],
)
def test_a_raw_folder_that_holds_nothing(tmp_path, prepare, sentence):
    study = tiny_study(tmp_path)
    prepare(study.settings.raw.heart)
    with pytest.raises(dg.Failure) as failure:
        raw.raw_heart_dicoms(study)
    assert failure.value.description == sentence.format(study.settings.raw.heart)
