"""heart_videos, liver_images and phenotypes by direct call, on the phantom's zips; and what each says about bad input."""

import json
import shutil
import zipfile
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from heart_assets import artefacts
from heart_assets.ledger import Study
from heart_assets.store import VideoStore
from heart_assets.tables import read_table
from heart_assets_tests.conftest import Cohort
from heart_assets_tests.tiny import call, ids, make, newer, phenotype_table, record_of, tiny_study

FEW = 3


@pytest.fixture
def raw(tmp_path: Path, cohort: Cohort) -> list[str]:
    """A delivery `90` of three sound heart and liver studies below tmp_path/raw; their participants."""
    sound = [eid for eid in cohort.participants if all(cohort.outcome(eid, view) == "usable" for view in ("3ch", "4ch"))][:FEW]
    for kind, field in (("heart", 20208), ("liver", 20204)):
        (tmp_path / "raw" / kind / "90").mkdir(parents=True)
        for eid in sound:
            shutil.copy2(cohort.folder / kind / eid[:2] / f"{eid}_{field}_2_0.zip", tmp_path / "raw" / kind / "90")
    shutil.copy2(cohort.folder / "phenotypes.csv", tmp_path / "raw")
    return sound


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return tiny_study(
        tmp_path, {"raw.liver": "raw/liver", "liver.size_px": 64, "geometry.frames": 10, "geometry.size_px": 40, "training.crop_px": 32}
    )


def account(result: dg.MaterializeResult) -> tuple:
    return tuple(result.metadata[name] for name in ("found", "stored", "rejected", "unchanged", "removed", "gone"))


def test_videos_of_a_delivery(study, raw):
    (study.settings.raw.heart / "90" / "notes.txt").write_text("x")
    result = make(study, "heart_videos", "90")
    assert account(result) == (4, 3, 1, 0, 0, 0)
    assert result.metadata["reasons"] == {"not_a_study": 1}
    assert (result.metadata["videos_3ch"], result.metadata["videos_4ch"]) == (3, 3)
    stores = artefacts.read(study.layout, "heart_videos", ["90"])
    assert list(stores) == ["3ch", "4ch"]
    for store in stores.values():
        assert store.shape == (3, 10, 40, 40) and store.columns["participant_id"].tolist() == raw
        pixels = store.read(np.arange(3))
        assert pixels[:, :, 10:30, 10:30].mean() > 1.3 * pixels[:, :, :4].mean()  # the heart is in the middle, and bright
    rejected = read_table(study.layout.rejected_videos("90"))
    assert rejected.values.tolist() == [["notes.txt", "all", "not_a_study", "not a zip of field 20208 by its name"]]
    (check,) = result.check_results
    assert (check.passed, check.check_name, check.metadata["found"].value) == (True, "every_study_accounted_for", 4)
    assert list(record_of(result).inputs.upstream) == ["raw_heart_dicoms"]
    assert list(study.layout.scratch.rglob("*.h5")) == []


def test_a_delivery_that_holds_is_kept_and_a_changed_one_reads_only_what_changed(study, raw):
    first = make(study, "heart_videos", "90")
    kept = make(study, "heart_videos", "90")
    assert kept.metadata["kept"] is True and kept.data_version == first.data_version
    newer(study.settings.raw.heart / "90" / f"{raw[1]}_20208_2_0.zip")
    (study.settings.raw.heart / "90" / f"{raw[2]}_20208_2_0.zip").unlink()
    again = make(study, "heart_videos", "90")
    assert account(again) == (2, 1, 0, 1, 0, 1)
    assert VideoStore([study.layout.videos("4ch", "90")]).columns["participant_id"].tolist() == raw[:2]


def test_a_damaged_store_is_cleaned_again_though_its_record_stands(study, raw):
    first = make(study, "heart_videos", "90")
    study.layout.videos("4ch", "90").write_bytes(b"")
    again = make(study, "heart_videos", "90")
    assert account(again) == (3, 3, 0, 0, 0, 0) and again.data_version == first.data_version
    assert len(VideoStore([study.layout.videos("4ch", "90")])) == 3


def test_withdrawn_participants_are_removed(tmp_path, study, raw):
    (tmp_path / "withdrawn.txt").write_text(f"{raw[0]}\n")
    study = Study(
        study.settings.model_copy(update={"raw": study.settings.raw.model_copy(update={"withdrawn": tmp_path / "withdrawn.txt"})})
    )
    result = make(study, "heart_videos", "90")
    assert account(result) == (3, 2, 0, 0, 1, 0)
    assert VideoStore([study.layout.videos("3ch", "90")]).columns["participant_id"].tolist() == raw[1:]
    table = call(study, "phenotypes")
    assert raw[0] not in set(table.value["participant_id"]) and table.metadata["withdrawn"] == 1


@pytest.mark.parametrize("allowed", [False, True])
def test_pictures_of_people_enter_the_metadata_only_where_allowed(tmp_path, study, raw, allowed):
    privacy = study.settings.privacy.model_copy(update={"pictures_of_single_people": allowed})
    result = call(Study(study.settings.model_copy(update={"privacy": privacy})), "heart_videos", "90")
    for name, suffix, kind in (("montage", "png", "png"), ("cine", "gif", "gif")):
        for view in ("3ch", "4ch"):
            shown = result.metadata[f"{name}_{view}"]
            start = (
                f"![90.{view}](data:image/{kind};base64," if allowed else "a file under data_dir (privacy.pictures_of_single_people is off)"
            )
            assert (shown.md_str if allowed else shown.text).startswith(start)
            assert (study.settings.data_dir / "videos" / f"90.{view}.{suffix}").stat().st_size < 100_000


def test_nothing_that_the_asset_says_names_a_participant(study, raw, caplog):
    folder = study.settings.raw.heart / "90"
    (folder / f"{raw[0]}_20208_2_0.zip").write_bytes(b"PK\x03\x04 not really")
    result = call(study, "heart_videos", "90")
    assert account(result) == (3, 2, 1, 0, 0, 0)
    said = json.dumps({name: str(value) for name, value in result.metadata.items()}) + caplog.text
    assert [eid for eid in raw if eid in said] == []
    assert result.value.rejected["file_name"].tolist() == [f"{raw[0]}_20208_2_0.zip"]


def test_liver_maps_of_a_delivery(study, raw, cohort):
    result = make(study, "liver_images", "90")
    assert account(result) == (3, 3, 0, 0, 0, 0)
    store = artefacts.read(study.layout, "liver_images", ["90"])["liver"]
    assert store.shape == (3, 64, 64) and store.columns["participant_id"].tolist() == raw
    truth = pd.read_csv(cohort.folder / "ground_truth.csv", dtype={"participant_id": str}).set_index("participant_id")["liver_t1_ms"]
    middle = np.median(store.read(np.arange(3))[:, 28:36, 20:28].reshape(3, -1), axis=1)
    np.testing.assert_allclose(middle, truth[raw], rtol=0.1)
    assert make(study, "liver_images", "90").metadata["kept"] is True
    newer(study.settings.raw.liver / "90" / f"{raw[1]}_20204_2_0.zip")
    assert account(make(study, "liver_images", "90")) == (3, 1, 0, 2, 0, 0)


def test_phenotypes_from_a_table(study, raw, cohort):
    result = make(study, "phenotypes")
    table = result.value.set_index("participant_id")
    truth = pd.read_csv(cohort.folder / "ground_truth.csv", dtype={"participant_id": str}).set_index("participant_id")
    assert table.index.tolist() == cohort.participants and set(table["visit"]) == {2}
    np.testing.assert_allclose(table["age"], truth.loc[cohort.participants, "age"], atol=1e-6)  # never cut to whole years
    assert table["sex"].tolist() == truth.loc[cohort.participants, "sex"].tolist()
    assert list(result.value.columns[:5]) == ["participant_id", "visit", "age", "sex", "family_id"]
    assert {name: result.metadata[name] for name in ("rows", "participants", "from_dates", "from_field_21003", "without_age")} == {
        "rows": 15, "participants": 15, "from_dates": 15, "from_field_21003": 0, "without_age": 0,
    }  # fmt: skip
    (check,) = result.check_results
    assert check.passed and {name: value.value for name, value in check.metadata.items()} == {
        "looked_at": 15,
        "implausible_ages": 0,
        "repeated_rows": 0,
    }
    again = make(study, "phenotypes")
    assert again.metadata["kept"] is True
    pd.testing.assert_frame_equal(again.value, result.value, check_dtype=False)


def test_phenotypes_from_dicom_headers(tmp_path, raw, cohort):
    for eid in raw[:2]:
        folder = tmp_path / "folders" / f"{eid}_3"
        with zipfile.ZipFile(tmp_path / "raw" / "heart" / "90" / f"{eid}_20208_2_0.zip") as file:
            file.extract(next(name for name in file.namelist() if name.endswith(".dcm")), folder)
    study = tiny_study(tmp_path, {"raw.layout": "dicom_folders", "raw.heart": "folders", "raw.phenotypes": []})
    result = call(study, "phenotypes")
    truth = pd.read_csv(cohort.folder / "ground_truth.csv", dtype={"participant_id": str}).set_index("participant_id")
    expected = [[eid, 3, float(int(truth.loc[eid, "age"])), truth.loc[eid, "sex"]] for eid in raw[:2]]
    assert result.value[["participant_id", "visit", "age", "sex"]].values.tolist() == expected
    assert result.metadata["from_dicom_headers"] == 2


def failure_of(study: Study, asset: str, partition: str | None = None, **inputs) -> str:
    """The one sentence with which an asset fails."""
    with pytest.raises(dg.Failure) as failure:
        call(study, asset, partition, **inputs)
    assert failure.value.allow_retries is False
    sentence = failure.value.description
    assert "\n" not in sentence and "900000" not in sentence
    return sentence


def test_a_delivery_that_has_gone(study, raw):
    assert failure_of(study, "heart_videos", "91") == f"the delivery 91 is no longer in the raw folder {study.settings.raw.heart}"


def test_the_rejected_table_of_a_delivery_in_which_nothing_is_usable(study, tmp_path):
    folder = study.settings.raw.heart / "90"
    folder.mkdir(parents=True)
    for eid in ids(2):
        (folder / f"{eid}_20208_2_0.zip").write_bytes(b"")
    result = make(study, "heart_videos", "90")
    assert account(result) == (2, 0, 2, 0, 0, 0) and result.metadata["reasons"] == {"empty": 2}
    assert read_table(study.layout.rejected_videos("90"))["reason"].tolist() == ["empty", "empty"]
    stores = artefacts.read(study.layout, "heart_videos", ["90"])
    known = phenotype_table(ids(2))
    sentence = "no study has a usable 3ch video: see the rejected tables beside the videos, and views.3ch.series in the study file"
    assert failure_of(study, "fold_assignments", heart_videos=stores, phenotypes=known) == sentence
