"""Every kind of value reaches disk and comes back; nothing half written ever counts."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from heart_assets import artefacts
from heart_assets.errors import StudyError
from heart_assets.learning import TrainedModel
from heart_assets.ledger import Study
from heart_assets.provenance import Inputs, Record, read_record
from heart_assets.store import ImageStore, VideoStore
from heart_assets_tests.tiny import (
    delivery_of,
    ids,
    liver_of,
    model,
    phenotype_table,
    prediction_table,
    rejected_table,
    settle_videos,
    split_table,
    tiny_study,
    video_of,
    video_row,
)

PREDICTIONS = {"train": prediction_table(ids(3)), "val": prediction_table(ids(2), 1 / 3), "test": prediction_table([])}
WEIGHTS = pd.DataFrame({"views": ["3ch", "3ch+4ch"], "people": [2, 2], "view": ["3ch", "4ch"], "weight": [1.0, 1 / 3]})
TABLES = {
    ("phenotypes", ""): (phenotype_table(ids(3), p50_i2=[170.5, np.nan, 181.0]), ["phenotypes.parquet"]),
    ("fold_assignments", ""): (split_table(ids(4), 0)[["participant_id", "data_fold"]], ["folds/assignments.csv"]),
    ("fold_split", "1"): (split_table(ids(4), 1), ["folds/Fold1.csv"]),
    ("predictions", "1|4ch"): (
        PREDICTIONS,
        [f"predictions/4ch/Fold1/{split}predictions_augmented.csv" for split in ("train", "val", "test")],
    ),
    ("baseline_predictions", ""): (
        prediction_table(ids(2)).assign(split="test", view="3ch", fold="0"),
        ["predictions/ridge/predictions.csv"],
    ),
    ("ensemble_predictions", "2"): (
        {"val": PREDICTIONS["val"], "test": PREDICTIONS["train"], "weights": WEIGHTS},
        ["ensembles/Fold2/valpredictions.csv", "ensembles/Fold2/testpredictions.csv", "ensembles/Fold2/weights.csv"],
    ),
    ("scores", ""): (
        pd.DataFrame({"model": ["3ch"], "view": ["3ch"], "fold": ["pooled"], "r2": [0.1 + 0.2], "note": [np.nan]}),
        ["scores/scores.csv"],
    ),
    ("applied_predictions", ""): (prediction_table(ids(2)).assign(view="4ch"), ["predictions/applied.csv"]),
}


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return tiny_study(tmp_path)


def record(asset: str, partition: str, value: object, code: str = "1") -> Record:
    return Record(asset, partition, Inputs({"up": "stream"}, "settings", code), artefacts.parts_of(asset, value))


def files(study: Study) -> dict[str, int]:
    """Every file under data_dir with the time of its last change."""
    folder = study.settings.data_dir
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("case", TABLES, ids=lambda case: case[0])
def test_tables_come_back_from_where_they_belong(study, case):
    (asset, partition), (value, names) = case, TABLES[case]
    artefacts.write(study.layout, record(asset, partition, value), value)
    record_name = str(study.layout.record(asset, partition).relative_to(study.settings.data_dir))
    assert sorted(files(study)) == sorted([*names, record_name])
    assert read_record(study.layout.record(asset, partition)) == record(asset, partition, value)
    found = artefacts.read(study.layout, asset, [partition])[partition]
    tables = {"": value} if isinstance(value, pd.DataFrame) else value
    for part, table in tables.items():
        # a column of an empty table has no type that a CSV could keep
        pd.testing.assert_frame_equal(found[part] if part else found, table, check_exact=True, check_dtype=len(table) > 0)
    assert artefacts.parts_of(asset, found) == artefacts.parts_of(asset, value)


def test_a_model_comes_back(study):
    value = model(0.1)
    study.layout.checkpoint("4ch", "2").parent.mkdir(parents=True)
    study.layout.checkpoint("4ch", "2").write_bytes(b"a checkpoint, of no use with the model safe")
    artefacts.write(study.layout, record("trained_model", "2|4ch", value), value)
    assert sorted(files(study)) == [
        f"models/4ch/Fold2/{name}" for name in ("history.csv", "model.json", "model.safetensors", "record.json")
    ]
    found = artefacts.read(study.layout, "trained_model", ["2|4ch"])["2|4ch"]
    assert isinstance(found, TrainedModel) and found.card == value.card
    assert found.weights["w"].tobytes() == value.weights["w"].tobytes()
    pd.testing.assert_frame_equal(found.history, value.history, check_exact=True)
    assert artefacts.parts_of("trained_model", found) == artefacts.parts_of("trained_model", value)


def test_videos_of_several_deliveries_come_back_as_one_store_per_view(study):
    settle_videos(study, "91", ids(2, 9_000_101))
    settle_videos(study, "90", ids(3))
    found = artefacts.read(study.layout, "heart_videos", ["91", "90"])
    assert list(found) == ["3ch", "4ch"]
    for view, store in found.items():
        assert isinstance(store, VideoStore) and store.shape == (5, 8, 16, 16)
        assert store.paths == [study.layout.videos(view, "90"), study.layout.videos(view, "91")]
        assert store.columns["participant_id"].tolist() == [*ids(3), *ids(2, 9_000_101)]
        assert store.columns.iloc[4].to_dict() == video_row("9000102")
        np.testing.assert_array_equal(store.read(np.array([4, 0])), [video_of("9000102"), video_of("9000001")])
    assert artefacts.read_table(study.layout.rejected_videos("90")).equals(rejected_table())
    assert not study.layout.scratch.joinpath("3ch.h5").exists()


def test_liver_maps_come_back(study):
    value = liver_of(study, ids(2))
    artefacts.write(study.layout, record("liver_images", "90", value), value)
    assert sorted(files(study)) == ["liver/90.h5", "liver/90.record.json", "liver/90.rejected.csv"]
    found = artefacts.read(study.layout, "liver_images", ["90"])
    assert list(found) == ["liver"] and isinstance(found["liver"], ImageStore)
    assert found["liver"].read(np.array([1]))[0, 0, 0] == 2 and found["liver"].columns["t1_median_ms"].tolist() == [800.0, 800.0]


def test_several_partitions_arrive_sorted_whatever_the_order_asked(made):
    for asset, keys in {
        "fold_split": ["2", "0", "1"],
        "predictions": ["1|4ch", "0|4ch", "1|3ch"],
        "trained_model": ["2|3ch", "0|4ch"],
    }.items():
        assert list(artefacts.read(made.layout, asset, keys)) == sorted(keys)


def test_what_is_missing_is_refused_with_one_sentence(study):
    cases = {
        ("heart_videos", ("91", "90")): "the heart_videos of delivery 90, 91 are not there: materialise heart_videos for it first",
        ("heart_videos", ()): "the heart_videos of any delivery are not there: materialise heart_videos for it first",
        ("fold_split", ("0",)): "Fold0.csv is missing from folds/: materialise the asset that makes it",
        ("predictions", ("0|3ch",)): "trainpredictions_augmented.csv is missing from Fold0/: materialise the asset that makes it",
    }
    for (asset, partitions), sentence in cases.items():
        with pytest.raises(StudyError) as refused:
            artefacts.read(study.layout, asset, partitions)
        assert str(refused.value) == sentence
    with pytest.raises(StudyError, match=r"^there is no trained model in .*/models/3ch/Fold0: model.safetensors is missing$"):
        artefacts.read(study.layout, "trained_model", ["0|3ch"])
    settle_videos(study, "90", ids(1))
    study.layout.videos("4ch", "90").unlink()
    with pytest.raises(StudyError, match=r"^there is no store file 90.h5$"):
        artefacts.read(study.layout, "heart_videos", ["90"])


def all_values(study: Study) -> dict[tuple[str, str], object]:
    return {
        **{case: value for case, (value, _) in TABLES.items()},
        ("trained_model", "0|3ch"): model(),
        ("heart_videos", "90"): delivery_of(study, ids(2)),
    }


def test_nothing_is_written_again_under_the_same_record(study):
    values = all_values(study)
    records = {case: record(*case, value) for case, value in values.items()}
    for case, value in values.items():
        artefacts.write(study.layout, records[case], value)
    before = files(study)
    for case, value in values.items():
        artefacts.write(study.layout, records[case], value)
    assert files(study) == before
    other = record("scores", "", values["scores", ""], code="2")
    artefacts.write(study.layout, other, values["scores", ""])
    assert {name for name, time in files(study).items() if time != before[name]} == {"scores/scores.csv", "scores/scores.record.json"}


DAMAGE = {
    ("fold_split", "1"): "folds/Fold1.csv",
    ("phenotypes", ""): "phenotypes.parquet",
    ("trained_model", "0|3ch"): "models/3ch/Fold0/model.safetensors",
}


@pytest.mark.parametrize("how", ["deleted", "damaged"])
@pytest.mark.parametrize("case", DAMAGE, ids=lambda case: case[0])
def test_a_deleted_or_damaged_artefact_is_written_again_under_the_same_record(study, case, how):
    value, path = all_values(study)[case], study.settings.data_dir / DAMAGE[case]
    artefacts.write(study.layout, record(*case, value), value)
    content = path.read_bytes()
    assert artefacts.readable(study.layout, *case) and artefacts.present(study.layout, *case)
    path.unlink() if how == "deleted" else path.write_bytes(b"")
    assert not artefacts.readable(study.layout, *case)
    artefacts.write(study.layout, record(*case, value), value)
    assert path.read_bytes() == content


@pytest.mark.parametrize("case", [("predictions", "1|4ch"), ("heart_videos", "90"), ("trained_model", "0|3ch")], ids=lambda case: case[0])
def test_killed_in_the_middle_leaves_no_record(study, case, monkeypatch):
    asset, partition = case
    first = all_values(study)[case]
    artefacts.write(study.layout, record(asset, partition, first), first)
    second = all_values(study)[case]
    renames, replace = [], os.replace

    def dies_at_the_second(source, target):
        renames.append(target)
        if len(renames) == 2:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        artefacts.write(study.layout, record(asset, partition, second, code="2"), second)
    assert not study.layout.record(asset, partition).exists()
    assert study.record(asset, partition) is None
    monkeypatch.undo()
    third = all_values(study)[case]
    artefacts.write(study.layout, record(asset, partition, third, code="2"), third)
    assert (
        study.record(asset, partition) == record(asset, partition, third, code="2")
        if asset != "heart_videos"
        else artefacts.readable(study.layout, *case)
    )


def test_a_value_of_no_known_kind_is_a_programming_error():
    with pytest.raises(TypeError, match="^scores has no way to store a list$"):
        artefacts.parts_of("scores", [1])


def test_parts_tell_views_apart(study):
    first = artefacts.parts_of("heart_videos", delivery_of(study, ids(2)))
    assert list(first) == ["3ch", "4ch", "rejected"] and first["3ch"] != first["4ch"]
    assert artefacts.parts_of("heart_videos", delivery_of(study, ids(2))) == first
    assert artefacts.parts_of("heart_videos", delivery_of(study, ids(3))) != first
