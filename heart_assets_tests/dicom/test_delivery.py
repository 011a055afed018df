"""A delivery's accounting: every study is stored, rejected, unchanged or removed, and unchanged ones are not read."""

import os

import numpy as np
import pandas as pd
import pytest

from heart_assets.dicom import AccountingError, clean_delivery, delivery, list_studies
from heart_assets.dicom import study as study_module
from heart_assets.settings import RawSettings, SeriesSettings, StudySettings
from heart_assets.store import VideoStore
from heart_assets_tests.dicom.builder import FRAMES, GEOMETRY, VIEWS, beating, cine, study, write_zip

SOUND = [9000001, 9000002, 9000004]


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "raw"
    for place, eid in enumerate(SOUND):
        write_zip(folder / f"{eid}_20208_2_0.zip", study(pixels=beating(row=18.0 + place)))
    (folder / "9000003_20208_2_0.zip").write_bytes(b"<html>")
    write_zip(folder / "9000005_20208_2_0.zip", cine())
    (folder / "notes.txt").write_bytes(b"x")
    return folder


@pytest.fixture
def settings(raw):
    return StudySettings(
        name="test",
        data_dir=raw,
        raw=RawSettings(heart=raw),
        views=VIEWS,
        geometry=GEOMETRY,
        training={"crop_px": 32, "frame_step": 2},
    )


def run(raw, settings, scratch, **options):
    studies, rejections = list_studies(raw, "all", "ukb_zips", "20208", 2)
    return clean_delivery(studies, settings, scratch, listing_rejections=rejections, **options)


def numbers(accounting):
    return tuple(accounting[name] for name in ("found", "stored", "rejected", "unchanged", "removed"))


def reads(monkeypatch):
    opened = []
    original = study_module.open_study
    monkeypatch.setattr(study_module, "open_study", lambda path: (opened.append(path.name), original(path))[1])
    return opened


def test_everything_is_accounted_for(raw, settings, tmp_path):
    progress = []
    result = run(raw, settings, tmp_path / "new", progress=lambda *step: progress.append(step))
    assert numbers(result.accounting) == (6, 4, 2, 0, 0)
    assert numbers(result.accounting["per_view"]["4ch"]) == (6, 4, 2, 0, 0)
    assert numbers(result.accounting["per_view"]["3ch"]) == (6, 3, 3, 0, 0)
    assert result.accounting["reasons"] == {"no_series": 1, "not_a_study": 1, "not_a_zip": 1} and result.accounting["gone"] == 0
    assert progress[-1] == (5, 5, 2) and len(progress) == 5
    pd.testing.assert_frame_equal(
        result.rejected[["file_name", "view", "reason"]],
        pd.DataFrame(
            [
                ("notes.txt", "all", "not_a_study"),
                ("9000003_20208_2_0.zip", "all", "not_a_zip"),
                ("9000005_20208_2_0.zip", "3ch", "no_series"),
            ],
            columns=["file_name", "view", "reason"],
            dtype=object,
        ),
    )
    store = VideoStore([result.stores["4ch"]])
    assert store.columns["participant_id"].tolist() == ["9000001", "9000002", "9000004", "9000005"]
    assert store.shape == (4, FRAMES, 32, 32)
    assert store.attributes["view"] == "4ch" and store.attributes["spacing_mm"] == 4.0
    assert store.attributes["geometry"] == GEOMETRY.model_dump(mode="json")
    assert sorted(os.listdir(tmp_path / "new")) == ["3ch.h5", "4ch.h5"]


def test_unchanged_studies_are_copied_and_not_read(raw, settings, tmp_path, monkeypatch):
    first = run(raw, settings, tmp_path / "a")
    opened = reads(monkeypatch)
    second = run(raw, settings, tmp_path / "b", previous=first.stores)
    assert opened == []
    assert numbers(second.accounting) == (6, 0, 2, 4, 0)
    assert numbers(second.accounting["per_view"]["3ch"]) == (6, 0, 3, 3, 0)
    pd.testing.assert_frame_equal(first.rejected, second.rejected)
    for view in VIEWS:
        old, new = VideoStore([first.stores[view]]), VideoStore([second.stores[view]])
        assert old.digest == new.digest
        pd.testing.assert_frame_equal(old.columns, new.columns)
        np.testing.assert_array_equal(old.read(np.arange(len(old))), new.read(np.arange(len(new))))


def test_only_changed_new_and_passing_ones_are_read_again(raw, settings, tmp_path, monkeypatch):
    first = run(raw, settings, tmp_path / "a")
    write_zip(raw / "9000002_20208_2_0.zip", study(pixels=beating(radius=6.0)))
    write_zip(raw / "9000009_20208_2_0.zip", study())
    (raw / "9000004_20208_2_0.zip").unlink()
    opened = reads(monkeypatch)
    second = run(raw, settings, tmp_path / "b", previous=first.stores)
    assert opened == ["9000002_20208_2_0.zip", "9000009_20208_2_0.zip"]
    assert numbers(second.accounting) == (6, 2, 2, 2, 0) and second.accounting["gone"] == 1
    store = VideoStore([second.stores["4ch"]])
    assert store.columns["participant_id"].tolist() == ["9000001", "9000002", "9000005", "9000009"]


def test_a_rejection_that_may_pass_is_tried_again(raw, settings, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(study_module, "split_planes", lambda *_: 1 / 0)
        first = run(raw, settings, tmp_path / "a")
    assert first.accounting["reasons"]["internal_error"] == 4
    assert numbers(run(raw, settings, tmp_path / "b", previous=first.stores).accounting) == (6, 4, 2, 0, 0)


@pytest.mark.parametrize("change", ["series", "geometry", "code"])
def test_other_settings_or_code_read_everything_again(raw, settings, tmp_path, monkeypatch, change):
    first = run(raw, settings, tmp_path / "a")
    if change == "series":
        settings = settings.model_copy(update={"series": SeriesSettings(overrides={"1.2.3.4.5.6": "none"})})
    elif change == "geometry":
        settings = settings.model_copy(update={"geometry": GEOMETRY.model_copy(update={"crop_mm": 80.0})})
    else:
        monkeypatch.setattr(delivery, "CODE_VERSION", "next")
    second = run(raw, settings, tmp_path / "b", previous=first.stores)
    assert second.accounting["unchanged"] == 0 and second.accounting["stored"] >= 3


def test_damaged_or_missing_previous_stores_read_everything_again(raw, settings, tmp_path):
    first = run(raw, settings, tmp_path / "a")
    first.stores["3ch"].write_bytes(b"junk")
    assert run(raw, settings, tmp_path / "b", previous=first.stores).accounting["stored"] == 4
    only = {"4ch": first.stores["4ch"]}
    assert run(raw, settings, tmp_path / "c", previous=only).accounting["stored"] == 4


def test_withdrawn_participants_are_purged(raw, settings, tmp_path, monkeypatch):
    first = run(raw, settings, tmp_path / "a")
    opened = reads(monkeypatch)
    second = run(raw, settings, tmp_path / "b", previous=first.stores, withdrawn=frozenset({"9000001", "9000003"}))
    assert opened == [] and numbers(second.accounting) == (6, 0, 1, 3, 2)
    assert numbers(second.accounting["per_view"]["3ch"]) == (6, 0, 2, 2, 2)
    for path in second.stores.values():
        assert b"9000001" not in path.read_bytes() and b"9000003" not in path.read_bytes()
    assert not second.rejected["file_name"].str.contains("9000003").any()


def test_several_processes_give_the_same_stores(raw, settings, tmp_path):
    one, two = run(raw, settings, tmp_path / "a"), run(raw, settings, tmp_path / "b", workers=2)
    assert one.accounting == two.accounting
    for view in VIEWS:
        assert one.stores[view].read_bytes() == two.stores[view].read_bytes()


def test_a_process_that_dies_is_a_rejection(raw, settings, tmp_path, monkeypatch):
    monkeypatch.setattr(delivery, "ordered_results", lambda clean, items, workers: (None for _ in items))
    result = run(raw, settings, tmp_path / "a")
    assert set(result.rejected["reason"]) == {"not_a_study", "worker_died"} and numbers(result.accounting) == (6, 0, 6, 0, 0)
    assert VideoStore([result.stores["4ch"]]).shape == (0, FRAMES, 32, 32)


def test_lost_studies_are_noticed(raw, settings, tmp_path, monkeypatch):
    monkeypatch.setattr(delivery, "_outcomes", lambda *_: iter([]))
    with pytest.raises(AccountingError, match="6 studies listed"):
        run(raw, settings, tmp_path / "a")


def test_nothing_of_a_header_reaches_the_store_but_what_is_named(settings, tmp_path):
    private = {
        "PatientName": "Doe^Jane",
        "PatientBirthDate": "19511231",
        "PatientAddress": "Elm Street",
        "InstitutionName": "St Mary",
        "ReferringPhysicianName": "Dr^House",
        "StudyID": "SECRET1",
        "ImageComments": "SECRET2",
    }
    raw = tmp_path / "private"
    write_zip(raw / "9000001_20208_2_0.zip", study(**private))
    result = run(raw, settings, tmp_path / "out")
    assert numbers(result.accounting) == (1, 1, 0, 0, 0)
    for path in result.stores.values():
        data = path.read_bytes()
        assert b"9000001" in data and b"STATION7" in data
        for value in private.values():
            for part in value.split("^"):
                assert part.encode() not in data
