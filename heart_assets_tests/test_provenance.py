"""Records, and whether they hold: each reason once, and which settings matter to which asset."""

import json
from dataclasses import replace

import pytest

from heart_assets.provenance import (
    CODE_VERSIONS,
    Inputs,
    Record,
    as_json,
    inputs_of,
    outdated,
    read_record,
    record_from_json,
    settings_that_matter,
    write_record,
)
from heart_assets_tests.tiny import tiny_study

INPUTS = Inputs({"a": "1", "b": "2"}, "settings", "1")
RECORD = Record("scores", "", INPUTS, {"table": "abc"})


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        (INPUTS, None),
        (Inputs({"b": "2", "a": "1"}, "settings", "1"), None),
        (Inputs(INPUTS.upstream, "settings", "2"), "the code that makes it has changed"),
        (Inputs(INPUTS.upstream, "others", "1"), "its settings have changed"),
        (Inputs({"a": "x", "b": "2"}, "settings", "1"), "changed upstream: a"),
        (Inputs({"b": "2"}, "settings", "1"), "changed upstream: a"),
        (Inputs({"a": "x", "b": "2", "c": "3"}, "settings", "1"), "changed upstream: a, c"),
        (Inputs({"a": "x", "b": "2"}, "others", "2"), "the code that makes it has changed"),
    ],
)
def test_each_reason(inputs, reason):
    assert outdated(RECORD, inputs) == reason
    assert outdated(None, inputs) == "never made"


def test_a_record_comes_back_and_is_readable(tmp_path):
    path = tmp_path / "scores.record.json"
    write_record(path, RECORD)
    assert read_record(path) == RECORD == record_from_json(as_json(RECORD))
    assert json.loads(path.read_text()) == {
        "asset": "scores",
        "partition": "",
        "inputs": {"upstream": {"a": "1", "b": "2"}, "settings": "settings", "code": "1"},
        "parts": {"table": "abc"},
        "check": "passed",
        "data_version": RECORD.data_version,
    }
    assert (
        RECORD.data_version
        == Record("x", "y", Inputs({}, "", ""), {"table": "abc"}).data_version
        != Record("scores", "", INPUTS, {}).data_version
    )


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"3", b'{"asset": "scores"}', b"\xff", None])
def test_a_damaged_or_missing_record_is_none(tmp_path, content):
    path = tmp_path / "record.json"
    if content is not None:
        path.write_bytes(content)
    assert read_record(path) is None


@pytest.mark.parametrize(
    "change", [{"inputs": {"upstream": {}}}, {"inputs": {"upstream": {}, "settings": "", "code": "", "more": 1}}, {"parts": 7}]
)
def test_a_record_of_another_shape_is_none(tmp_path, change):
    path = tmp_path / "record.json"
    path.write_text(json.dumps({**as_json(RECORD), **change}))
    assert read_record(path) is None


TRAINING = {"trained_model"}
CASES = {
    "data_dir": ("elsewhere", set()),
    "name": ("other", set()),
    "raw.heart": ("other", set()),
    "raw.ground_truth": ("truth.csv", set()),
    "compute.cpu_slots": (2, set()),
    "compute.ingest_workers": (2, set()),
    "compute.gpus_per_training": (2, set()),
    "schedule.may_retrain": (True, set()),
    "privacy.pictures_of_single_people": (True, set()),
    "raw.default_visit": (3, {"heart_videos", "liver_images"}),
    "views.3ch.series": (["3CH"], {"heart_videos"}),
    "series.skip": ([], {"heart_videos"}),
    "geometry.low_percentile": (2.0, {"heart_videos"}),
    "geometry.spacing_mm": (2.0, {"heart_videos", "trained_model"}),
    "liver.size_px": (64, {"liver_images"}),
    "folds.train_filter": ("age > 40", {"fold_split"}),
    "folds.seed": (1, {"fold_assignments", "fold_split"}),
    "training.epochs": (2, TRAINING),
    "training.augmentation.scale": (0.0, TRAINING),
    "prediction.shift_mm": (0.0, {"predictions", "applied_predictions"}),
    "statistics.seed": (1, {"scores"}),
}


@pytest.mark.parametrize("field", CASES)
def test_a_setting_matters_to_these_assets_and_to_no_other(tmp_path, field):
    value, expected = CASES[field]
    before, after = tiny_study(tmp_path / "a").settings, tiny_study(tmp_path / "b", {field: value}).settings
    changed = {asset for asset in CODE_VERSIONS if settings_that_matter(asset, before) != settings_that_matter(asset, after)}
    assert changed == expected


def test_inputs_are_sorted_and_carry_the_code_version(tmp_path):
    settings = tiny_study(tmp_path).settings
    inputs = inputs_of("scores", settings, {"z": "1", "a": "2"})
    assert list(inputs.upstream) == ["a", "z"]
    assert (inputs.settings, inputs.code) == (settings_that_matter("scores", settings), CODE_VERSIONS["scores"])


def test_code_versions_agree_with_those_that_the_rooms_keep_for_themselves() -> None:
    from heart_assets.dicom import delivery
    from heart_assets.learning import training

    assert CODE_VERSIONS["heart_videos"] == CODE_VERSIONS["liver_images"] == delivery.CODE_VERSION
    assert CODE_VERSIONS["trained_model"] == training.CODE_VERSION


def test_what_failed_a_blocking_check_does_not_hold_and_a_warning_does() -> None:
    assert outdated(replace(RECORD, check="failed"), INPUTS) == "its blocking check failed"
    assert outdated(replace(RECORD, check="warned"), INPUTS) is None
