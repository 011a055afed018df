"""What is outdated, and why: records written by hand, then one thing changed at a time."""

import dataclasses

import pandas as pd
import pytest

from heart_assets import artefacts, provenance
from heart_assets.errors import StudyError
from heart_assets.ledger import Study
from heart_assets.provenance import Inputs, Record, write_record
from heart_assets.settings import load_settings
from heart_assets_tests.tiny import (
    add_raw,
    delivery_of,
    ids,
    model,
    newer,
    phenotype_table,
    settle,
    settle_videos,
    split_table,
    tiny_study,
    write_phenotypes,
    write_study,
)

PARTITIONS = {
    "heart_videos": ["90"],
    "phenotypes": [""],
    "fold_assignments": [""],
    "fold_split": ["0", "1", "2"],
    "trained_model": ["0|3ch", "0|4ch", "1|3ch", "1|4ch", "2|3ch", "2|4ch"],
    "predictions": ["0|3ch", "0|4ch", "1|3ch", "1|4ch", "2|3ch", "2|4ch"],
    "baseline_predictions": [""],
    "ensemble_predictions": ["0", "1", "2"],
    "scores": [""],
}


def outdated(study: Study) -> dict[str, str]:
    """asset or asset[partition] -> why it is outdated."""
    reasons = {(asset, key): study.why_outdated(asset, key) for asset, keys in PARTITIONS.items() for key in keys}
    return {f"{asset}[{key}]" if key else asset: reason for (asset, key), reason in reasons.items() if reason}


def changed(study: Study, changes: dict) -> Study:
    """The same artefacts under another study file."""
    return Study(load_settings(write_study(study.settings.data_dir.parent, changes)))


@pytest.fixture
def study(made: Study) -> Study:
    return made


def test_partitions_of_the_study(study):
    assert (study.views, study.folds) == (["3ch", "4ch"], ["0", "1", "2"])
    assert sorted(study.view_folds) == PARTITIONS["trained_model"]
    assert (study.heart_deliveries(), study.liver_deliveries(), study.made_deliveries("heart_videos")) == (["90"], [], ["90"])
    assert study.withdrawn() == frozenset()


def test_what_was_just_made_holds(study):
    assert outdated(study) == {}


def test_before_anything_is_made_all_is_outdated_and_nothing_raises(tmp_path):
    study = tiny_study(tmp_path)
    add_raw(study, "90", ids(1))
    assert set(outdated(study).values()) == {"never made"} and len(outdated(study)) == 23
    assert study.inputs("scores").upstream == {}


@pytest.mark.parametrize(
    "change", [{"compute.cpu_slots": 4}, {"compute.devices": ["GPU-1"]}, {"schedule.may_retrain": True}, {"name": "renamed"}]
)
def test_settings_that_change_no_content_outdate_nothing(study, change):
    assert outdated(changed(study, change)) == {}


def test_moving_the_raw_folder_outdates_nothing(study):
    root = study.settings.data_dir.parent
    (root / "raw").rename(root / "moved")
    assert outdated(changed(study, {"raw.heart": "moved/heart", "raw.phenotypes": ["moved/phenotypes.csv"]})) == {}


def test_a_training_setting_outdates_the_models_and_then_what_depends_on_them(study):
    study = changed(study, {"training.learning_rate": 0.01})
    models = {f"trained_model[{key}]": "its settings have changed" for key in PARTITIONS["trained_model"]}
    assert outdated(study) == models
    settle(study, "trained_model", "1|4ch", model(-5.0))
    del models["trained_model[1|4ch]"]
    assert outdated(study) == {**models, "predictions[1|4ch]": "changed upstream: trained_model"}
    key = "1|4ch"
    settle(
        study,
        "predictions",
        key,
        {split: table.assign(prediction=60.0) for split, table in artefacts.read(study.layout, "predictions", [key])[key].items()},
    )
    after = {"ensemble_predictions[1]": "changed upstream: predictions", "scores": "changed upstream: predictions"}
    assert outdated(study) == {**models, **after}


def test_a_model_that_comes_out_the_same_leaves_the_rest_alone(study):
    study = changed(study, {"training.learning_rate": 0.01})
    for number, key in enumerate(study.view_folds):
        settle(study, "trained_model", key, model(number + 1.0))
    assert outdated(study) == {}


def test_an_added_phenotype_column_does_not_outdate_models(study):
    people = ids(6)
    write_phenotypes(study, people)
    path = study.settings.raw.phenotypes[0]
    table = pd.read_csv(path, dtype={"participant_id": str}).assign(smoker="no")
    table.to_csv(path, index=False)
    assert outdated(study) == {"phenotypes": "changed upstream: tables"}
    settle(study, "phenotypes", "", phenotype_table(people, smoker="no"))
    depending = {"fold_assignments": "changed upstream: phenotypes", **{f"fold_split[{k}]": "changed upstream: phenotypes" for k in "012"}}
    assert outdated(study) == depending
    settle(study, "fold_assignments", "", split_table(people, 0)[["participant_id", "data_fold"]])
    for fold in study.folds:
        settle(study, "fold_split", fold, split_table(people, int(fold)))
    assert outdated(study) == {}


def test_a_changed_age_outdates_the_models_that_see_it(study):
    settle(study, "fold_split", "1", split_table(ids(6), 1).assign(age=50.0))
    fold_1 = {f"{asset}[1|{view}]" for asset in ("trained_model", "predictions") for view in ("3ch", "4ch")}
    assert outdated(study) == dict.fromkeys([*fold_1, "baseline_predictions"], "changed upstream: fold_split")


def test_a_new_delivery_and_a_changed_raw_file(study):
    newer(add_raw(study, "90", ids(1))[0])
    assert outdated(study) == {"heart_videos[90]": "changed upstream: raw_heart_dicoms"}
    settle(study, "heart_videos", "90", delivery_of(study, ids(6)))  # the same videos come out
    assert outdated(study) == {}
    settle_videos(study, "91", ids(3, 9_000_101))
    assert study.made_deliveries("heart_videos") == ["90", "91"]
    depending = ["fold_assignments", "baseline_predictions"]
    depending += [f"{asset}[{key}]" for asset in ("trained_model", "predictions") for key in PARTITIONS[asset]]
    assert outdated(study) == dict.fromkeys(depending, "changed upstream: heart_videos")


def test_one_views_videos_do_not_outdate_the_other_views_models(study):
    record = study.record("heart_videos", "90")
    write_record(study.layout.record("heart_videos", "90"), dataclasses.replace(record, parts={**record.parts, "4ch": "changed"}))
    of_4ch = {f"{asset}[{fold}|4ch]" for asset in ("trained_model", "predictions") for fold in "012"}
    assert outdated(study) == dict.fromkeys([*of_4ch, "fold_assignments", "baseline_predictions"], "changed upstream: heart_videos")


def test_a_list_of_withdrawn_participants_outdates_what_holds_people(study):
    root = study.settings.data_dir.parent
    (root / "withdrawn.txt").write_text("9000001\n")
    study = changed(study, {"raw.withdrawn": "withdrawn.txt"})
    assert study.withdrawn() == frozenset({"9000001"})
    assert outdated(study) == {"heart_videos[90]": "changed upstream: withdrawn", "phenotypes": "changed upstream: withdrawn"}


def test_raised_code_versions_outdate_their_asset_alone(study, monkeypatch):
    monkeypatch.setitem(provenance.CODE_VERSIONS, "ensemble_predictions", "next")
    assert outdated(study) == {f"ensemble_predictions[{k}]": "the code that makes it has changed" for k in "012"}


FILES = {
    "heart_videos[90]": ["videos/3ch/90.h5", "videos/90.rejected.csv"],
    "phenotypes": ["phenotypes.parquet"],
    "fold_assignments": ["folds/assignments.csv"],
    "fold_split[2]": ["folds/Fold2.csv"],
    "trained_model[2|3ch]": [f"models/3ch/Fold2/{name}" for name in ("model.safetensors", "model.json", "history.csv")],
    "predictions[0|4ch]": [f"predictions/4ch/Fold0/{split}predictions_augmented.csv" for split in ("train", "val", "test")],
    "baseline_predictions": ["predictions/ridge/predictions.csv"],
    "ensemble_predictions[1]": ["ensembles/Fold1/valpredictions.csv", "ensembles/Fold1/testpredictions.csv", "ensembles/Fold1/weights.csv"],
    "scores": ["scores/scores.csv"],
}


@pytest.mark.parametrize(("artefact", "name"), [(artefact, name) for artefact, names in FILES.items() for name in names])
def test_an_artefact_with_a_deleted_file_was_never_made(study, artefact, name):
    (study.settings.data_dir / name).unlink()
    assert outdated(study)[artefact] == "never made"


@pytest.mark.parametrize("artefact", FILES)
def test_an_artefact_with_a_damaged_record_is_made_again(study, artefact):
    asset, _, partition = artefact.rstrip("]").partition("[")
    study.layout.record(asset, partition).write_text('{"asset": "sc')
    assert outdated(study)[artefact] == "never made"


def test_study_files_that_are_not_there_are_absent_inputs(study):
    study.settings.raw.phenotypes[0].unlink()
    assert study.inputs("phenotypes").upstream == {}
    assert outdated(study) == {"phenotypes": "changed upstream: tables"}


def test_phenotypes_without_tables_come_from_the_dicoms(tmp_path):
    study = tiny_study(tmp_path, {"raw.layout": "dicom_folders", "raw.phenotypes": []})
    folder = study.settings.raw.heart / "9000001_2"
    folder.mkdir(parents=True)
    (folder / "1.dcm").write_bytes(b"x")
    before = study.inputs("phenotypes")
    assert list(before.upstream) == ["raw_heart_dicoms"]
    (folder / "2.dcm").write_bytes(b"x")
    assert provenance.outdated(Record("phenotypes", "", before), study.inputs("phenotypes")) == "changed upstream: raw_heart_dicoms"


def test_applied_predictions_follow_the_models_of_the_other_study(study, tmp_path):
    source, study = study, tiny_study(tmp_path / "here", {"models_from": str(study.settings.data_dir)})
    add_raw(study, "90", ids(2))
    settle(study, "heart_videos", "90", delivery_of(study, ids(2)))
    settle(study, "phenotypes", "", phenotype_table(ids(2)))
    settle(study, "applied_predictions", "", phenotype_table(ids(2)))
    assert study.model_source().settings.data_dir == source.settings.data_dir
    assert source.model_source() == source
    assert list(study.inputs("applied_predictions").upstream) == ["heart_videos", "phenotypes", "trained_model"]
    assert study.why_outdated("applied_predictions") is None
    settle(source, "trained_model", "0|3ch", model(77.0))
    assert study.why_outdated("applied_predictions") == "changed upstream: trained_model"


def test_missing_deliveries_are_an_error_with_a_sentence(tmp_path):
    study = tiny_study(tmp_path)
    with pytest.raises(StudyError, match=rf"^the raw folder {tmp_path}/raw/heart does not exist$"):
        study.heart_deliveries()
    assert study.record("scores") is None
    assert study.inputs("ensemble_predictions", "0") == Inputs({}, study.inputs("ensemble_predictions", "1").settings, "1")
