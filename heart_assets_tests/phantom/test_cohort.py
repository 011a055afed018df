"""The cohort on disk: layout, tables, determinism."""

import hashlib
import json
import re
import zipfile
from datetime import date
from io import BytesIO

import numpy as np
import pandas as pd
import pydicom
import pytest

from heart_assets.phantom import generate_cohort, studies
from heart_assets.phantom.traits import NAMES, r_squared
from heart_assets_tests.phantom.conftest import REAL_MATRIX


def digests(folder):
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def test_layout(sound_cohort):
    names = sorted(str(path.relative_to(sound_cohort)) for path in sound_cohort.rglob("*") if path.is_file())
    zips = [name for name in names if name.endswith(".zip")]
    assert len(zips) == 12 and set(names) - set(zips) == {"cohort.json", "ground_truth.csv", "phenotypes.csv"}
    for name in zips:
        organ, delivery, file = name.split("/")
        assert re.fullmatch(rf"{delivery}\d{{5}}_{'20208' if organ == 'heart' else '20204'}_2_0\.zip", file)
    assert {name.split("/")[1] for name in zips} == {"90", "91", "92"}


def test_zips_are_flat_with_a_manifest_that_lists_every_file(sound_cohort):
    for path in (sound_cohort / "heart").glob("*/*.zip"):
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
            names = archive.namelist()
            (manifest,) = [name for name in names if not name.endswith(".dcm")]
            lines = archive.read(manifest).decode().splitlines()
        assert manifest in ("manifest.csv", "manifest.cvs") and not any("/" in name for name in names)
        assert {line.split(",")[0] for line in lines[1:]} == set(names) - {manifest}


def test_the_same_seed_gives_the_same_bytes_for_any_number_of_workers(tmp_path, sound_cohort):
    generate_cohort(tmp_path / "again", 6, 6, "benchmark", defect_rate=0.0)
    assert digests(tmp_path / "again") == digests(sound_cohort)
    generate_cohort(tmp_path / "other", 2, 7, "benchmark", defect_rate=0.0)
    generate_cohort(tmp_path / "one", 2, 8, "demo", defect_rate=0.0)
    assert set(digests(tmp_path / "other").values()).isdisjoint(digests(tmp_path / "one").values())


def test_workers_do_not_change_a_byte_and_progress_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(studies, "MATRIX", REAL_MATRIX)  # as worker processes see it
    seen = []
    for workers in (1, 2):
        progress = lambda done, total: seen.append((done, total))  # noqa: E731
        generate_cohort(tmp_path / str(workers), 3, 9, "demo", workers=workers, progress=progress)
    assert digests(tmp_path / "1") == digests(tmp_path / "2")
    assert seen == [(1, 3), (2, 3), (3, 3)] * 2


def test_ages_dates_and_sexes_agree_between_the_tables(sound_cohort):
    phenotypes = pd.read_csv(sound_cohort / "phenotypes.csv").sort_values("eid", ignore_index=True)
    truth = pd.read_csv(sound_cohort / "ground_truth.csv").sort_values("participant_id", ignore_index=True)
    assert {"eid", "31-0.0", "34-0.0", "52-0.0", "53-2.0", "21003-2.0", "54-2.0", "21002-2.0", "50-2.0"} == set(phenotypes)
    assert phenotypes["eid"].tolist() == truth["participant_id"].tolist()
    for row, age in zip(phenotypes.to_dict("records"), truth["age"], strict=True):
        born = date(row["34-0.0"], row["52-0.0"], 15)
        assert age == pytest.approx((date.fromisoformat(row["53-2.0"]) - born).days / 365.25, abs=1e-6)
        assert row["21003-2.0"] == int(age)
    assert phenotypes["31-0.0"].map({1: "M", 0: "F"}).tolist() == truth["sex"].tolist()
    assert (truth["visit"] == 2).all() and list(truth) == ["participant_id", "visit", "age", "sex", *NAMES, "liver_t1_ms", "oracle_age"]


def test_headers_agree_with_the_tables(sound_cohort):
    phenotypes = pd.read_csv(sound_cohort / "phenotypes.csv", dtype={"eid": str}).set_index("eid")
    for path in (sound_cohort / "heart").glob("*/*.zip"):
        row = phenotypes.loc[path.name.split("_")[0]]
        with zipfile.ZipFile(path) as archive:
            data = pydicom.dcmread(BytesIO(archive.read(next(name for name in archive.namelist() if name.endswith(".dcm")))))
        assert data.StudyDate == row["53-2.0"].replace("-", "")
        assert data.PatientAge == f"{row['21003-2.0']:03d}Y"


def test_the_record_holds_parameters_oracle_and_defects(damaged_cohort):
    record = json.loads((damaged_cohort / "cohort.json").read_text())
    truth = pd.read_csv(damaged_cohort / "ground_truth.csv")
    assert (record["participants"], record["seed"], record["difficulty"], record["defect_rate"]) == (len(truth), 5, "demo", 1.0)
    assert record["oracle_r2"] == pytest.approx(r_squared(truth["age"].to_numpy(), truth["oracle_age"].to_numpy()), abs=1e-4)
    assert record["oracle_r2_expected"] == pytest.approx(0.90, abs=0.01)
    assert record["oracle_r2_static_traits_expected"] == pytest.approx(0.70, abs=0.02)
    assert "Easy on purpose" in record["note"]
    assert {one["study_id"] for one in record["defects"]} == {f"{eid}_2_0" for eid in truth["participant_id"]}


def test_a_liver_study_holds_a_plausible_t1_map(sound_cohort):
    truth = pd.read_csv(sound_cohort / "ground_truth.csv", dtype={"participant_id": str}).set_index("participant_id")
    for path in (sound_cohort / "liver").glob("*/*.zip"):
        with zipfile.ZipFile(path) as archive:
            files = [pydicom.dcmread(BytesIO(archive.read(name))) for name in archive.namelist() if name.endswith(".dcm")]
        assert sorted(file.SeriesDescription for file in files) == ["ShMOLLI_192i"] * 7 + ["ShMOLLI_192i_FITPARAMMAP", "ShMOLLI_192i_T1MAP"]
        (t1,) = [file.pixel_array for file in files if file.SeriesDescription.endswith("T1MAP")]
        liver = t1[28:40, 24:38]
        assert np.median(liver) == pytest.approx(truth.loc[path.name.split("_")[0], "liver_t1_ms"], abs=8)
        assert 550 < np.median(liver) < 950


def test_one_person_has_no_oracle_score(tmp_path):
    generate_cohort(tmp_path, 1, 3, "demo", defect_rate=0.0)
    assert json.loads((tmp_path / "cohort.json").read_text())["oracle_r2"] is None


def test_unknown_difficulties_are_refused(tmp_path):
    with pytest.raises(ValueError, match="difficulty is one of demo, benchmark, not 'hard'"):
        generate_cohort(tmp_path, 1, 3, "hard")
    assert not list(tmp_path.iterdir())


def test_a_whole_cohort_is_left_as_it_is_and_an_interrupted_one_written_again(tmp_path):
    generate_cohort(tmp_path, 2, 3, "demo", defect_rate=0.0)
    first, zips = digests(tmp_path), sorted(tmp_path.glob("heart/*/*.zip"))
    times = {path: path.stat().st_mtime_ns for path in zips}
    told = []
    generate_cohort(tmp_path, 2, 3, "demo", defect_rate=0.0, progress=lambda done, total: told.append((done, total)))
    assert told == [(2, 2)] and {path: path.stat().st_mtime_ns for path in zips} == times
    zips[0].unlink()
    generate_cohort(tmp_path, 2, 3, "demo", defect_rate=0.0)
    assert digests(tmp_path) == first


def test_a_folder_with_something_else_in_it_is_refused(tmp_path):
    generate_cohort(tmp_path / "cohort", 1, 3, "demo", defect_rate=0.0)
    before = digests(tmp_path)
    with pytest.raises(ValueError, match="holds a cohort with another participants, seed"):
        generate_cohort(tmp_path / "cohort", 2, 4, "demo", defect_rate=0.0)
    with pytest.raises(ValueError, match="is not empty, and holds no cohort"):
        generate_cohort(tmp_path, 1, 3, "demo", defect_rate=0.0)
    (tmp_path / "cohort" / "cohort.json").write_text("{")
    with pytest.raises(ValueError, match="cannot be read"):
        generate_cohort(tmp_path / "cohort", 1, 3, "demo", defect_rate=0.0)
    (tmp_path / "cohort" / "cohort.json").unlink()
    assert set(digests(tmp_path)) == set(before) - {"cohort/cohort.json"}
