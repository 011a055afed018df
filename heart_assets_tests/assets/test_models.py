"""trained_model, predictions and baseline_predictions by direct call, on twelve videos of 16 pixels."""

import os
import signal
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from heart_assets import artefacts, learning
from heart_assets.assets.models import TrainingConfig
from heart_assets.definitions import build_definitions
from heart_assets.learning import TrainedModel, augment, model_digest
from heart_assets.ledger import Study
from heart_assets_tests.tiny import (
    call,
    ids,
    make,
    record_of,
    settle,
    settle_videos,
    split_table,
    stores,
    tiny_study,
    video_store,
)

PEOPLE = ids(12)
ONCE, AGAIN = TrainingConfig(), TrainingConfig(again=True)


@pytest.fixture
def study(tmp_path) -> Study:
    return tiny_study(tmp_path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Study, dg.MaterializeResult]:
    """A study whose model 1|4ch is trained and stored. Read only."""
    study = tiny_study(tmp_path_factory.mktemp("trained"), {"training.epochs": 2})
    return study, make(study, "trained_model", "1|4ch", config=ONCE, heart_videos=videos(study), fold_split=split_table(PEOPLE, 1))


def videos(study: Study, people: list[str] = PEOPLE) -> dict:
    return stores(study.settings.data_dir / "some videos", people)


def test_a_training_says_what_it_did(trained):
    study, result = trained
    history = result.value.history
    assert history["epoch"].tolist() == [1, 2]
    assert (result.metadata["trained_on"], result.value.card["n_train"], result.value.card["n_val"]) == (4, 4, 4)
    assert result.metadata["parameters"] == sum(result.value.weights[name].size for name in trainable(result.value))
    for name in ("train_loss", "val_loss", "val_r2", "val_rmse", "val_mae"):
        assert result.metadata[name] == history[name].iloc[-1]
    assert result.metadata["resumed_after_epoch"] == 0 and result.metadata["seconds"] > 0
    assert result.metadata["learning_curve"].md_str.startswith("![learning_curve](data:image/png;base64,")
    assert (study.settings.data_dir / "models/4ch/Fold1/learning_curve.png").read_bytes().startswith(b"\x89PNG")
    (check,) = result.check_results
    assert (check.check_name, check.severity) == ("better_than_the_mean", dg.AssetCheckSeverity.WARN)
    assert check.passed == (history["val_r2"].iloc[-1] > 0) and check.metadata["val_r2"].value == history["val_r2"].iloc[-1]
    assert not study.layout.checkpoint("4ch", "1").exists()
    ages = split_table(PEOPLE, 1).query("split == 'train'")["age"]
    assert result.value.card["target_mean"] == pytest.approx(ages.mean()) and result.value.card["target_sd"] == pytest.approx(
        ages.std(ddof=0)
    )


def trainable(model: TrainedModel) -> list[str]:
    return [name for name in model.weights if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))]


def train_by_dagster(root: Path) -> tuple[dg.ExecuteInProcessResult, dict[str, bytes]]:
    """The step as the job `train` has it, with what is upstream of it on disk; and the files it left."""
    study = tiny_study(root, {"training.epochs": 2, "training.batch_size": 2})
    settle_videos(study, "90", PEOPLE)
    settle(study, "fold_split", "1", split_table(PEOPLE, 1))
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("heart_deliveries", ["90"])
        job = build_definitions(study.settings).resolve_job_def("train")
        result = job.execute_in_process(partition_key="1|4ch", asset_selection=[dg.AssetKey("trained_model")], instance=instance)
    return result, {path.name: path.read_bytes() for path in study.layout.model("4ch", "1").iterdir()}


def test_a_step_that_is_terminated_is_retried_from_where_it_was_and_ends_with_the_same_files(tmp_path, monkeypatch):
    """SIGTERM comes in the third batch of four, and in the fourth, as at the end of a job's time or from `scancel`."""
    _, whole = train_by_dagster(tmp_path / "whole")
    batches = []

    def random_changes(*arguments):
        batches.append(None)
        if len(batches) in (3, 4):
            os.kill(os.getpid(), signal.SIGTERM)
        return augment.random_changes(*arguments)

    monkeypatch.setattr("heart_assets.learning.training.random_changes", random_changes)
    monkeypatch.setattr(dg.RetryPolicy, "calculate_delay", lambda policy, attempt: 0.01)
    result, files = train_by_dagster(tmp_path / "terminated")
    assert [event.event_type_value for event in result.all_events].count("STEP_UP_FOR_RETRY") == 2 and len(batches) == 4
    assert files.keys() == whole.keys() >= {"model.safetensors", "model.json", "history.csv", "record.json"}
    for name, content in whole.items():
        assert files[name] == content, name
    (made,) = result.asset_materializations_for_node("trained_model")
    assert made.metadata["resumed_after_epoch"].value == 1 and 0 < made.metadata["seconds"].value < 60


def test_view_and_fold_are_mixed_into_the_seed(study, monkeypatch):
    seeds = []

    def stop(videos, rows, training, spacing_mm, seed, checkpoint, on_epoch):
        seeds.append((seed, spacing_mm, checkpoint.relative_to(study.settings.data_dir).as_posix(), rows["split"].value_counts().to_dict()))
        raise learning.LearningError("enough seen")

    monkeypatch.setattr(learning, "train_model", stop, raising=False)
    for key in ("0|3ch", "2|4ch"):
        with pytest.raises(dg.Failure, match="enough seen"):
            call(study, "trained_model", key, config=ONCE, heart_videos=videos(study), fold_split=split_table(PEOPLE, int(key[0])))
    sizes = {"train": 4, "val": 4, "test": 4}
    assert seeds == [(2020, 4.0, "checkpoints/3ch/Fold0.pt", sizes), (3022, 4.0, "checkpoints/4ch/Fold2.pt", sizes)]


def test_a_held_model_is_kept_unless_training_is_asked_for_again(trained):
    study, first = trained
    files = sorted(study.layout.model("4ch", "1").iterdir())
    before = [path.stat().st_mtime_ns for path in files if path.suffix != ".png"]
    kept = make(study, "trained_model", "1|4ch", config=ONCE, heart_videos={}, fold_split=pd.DataFrame())
    assert kept.metadata["kept"] is True and model_digest(kept.value) == model_digest(first.value)
    assert [check.passed for check in kept.check_results] == [check.passed for check in first.check_results] == [False]
    again = make(study, "trained_model", "1|4ch", config=AGAIN, heart_videos=videos(study), fold_split=split_table(PEOPLE, 1))
    assert "kept" not in again.metadata and record_of(again) == record_of(first)  # the same seed: the same model
    assert [path.stat().st_mtime_ns for path in files if path.suffix != ".png"] == before
    assert not study.layout.checkpoint("4ch", "1").exists()


def test_ages_of_the_test_split_change_no_bit_of_the_model(trained, study):
    """The model that tests a data fold knows nothing of the ages in it; those that it trains on do matter."""
    source, first = trained
    study = Study(source.settings.model_copy(update={"data_dir": study.settings.data_dir}))
    digests = {}
    for changed in ("test", "train"):
        split = split_table(PEOPLE, 1)
        split.loc[split["split"] == changed, "age"] += 3.5
        model = call(study, "trained_model", "1|4ch", config=ONCE, heart_videos=videos(study), fold_split=split).value
        digests[changed] = model_digest(model)
        if changed == "test":
            assert all(model.weights[name].tobytes() == value.tobytes() for name, value in first.value.weights.items())
            made = call(study, "predictions", "1|4ch", heart_videos=videos(study), fold_split=split, trained_model=model).value
    assert digests["test"] == model_digest(first.value) != digests["train"]
    before = predict(trained).value
    for name, table in made.items():
        pd.testing.assert_frame_equal(table.drop(columns="age"), before[name].drop(columns="age"), check_exact=True)


def test_people_outside_the_filter_are_predicted_but_not_trained_on(study, monkeypatch):
    split = split_table(PEOPLE, 1)
    split.loc[split["participant_id"] == "9000003", "for_training"] = False  # in data fold 2
    split.loc[split["participant_id"] == "9000001", "for_training"] = False  # in data fold 0: would train
    seen = []

    def stop(videos, rows, *_):
        seen.extend(rows["participant_id"])
        raise learning.LearningError("enough seen")

    monkeypatch.setattr(learning, "train_model", stop, raising=False)
    with pytest.raises(dg.Failure, match="enough seen"):
        call(study, "trained_model", "1|4ch", config=ONCE, heart_videos=videos(study), fold_split=split)
    assert set(PEOPLE) - set(seen) == {"9000001"}


def predict(trained: tuple[Study, dg.MaterializeResult]) -> dg.MaterializeResult:
    study, model = trained
    return call(
        study_elsewhere(study),
        "predictions",
        "1|4ch",
        heart_videos=videos(study),
        fold_split=split_table(PEOPLE, 1),
        trained_model=model.value,
    )


def test_predictions_of_each_split(trained):
    result, split = predict(trained), split_table(PEOPLE, 1)
    assert list(result.value) == ["train", "val", "test"]
    for name, table in result.value.items():
        rows = split[split["split"] == name]
        assert list(table.columns) == ["study_id", "participant_id", "visit", "age", "prediction", "prediction_sd"]
        assert table["participant_id"].tolist() == rows["participant_id"].tolist() and table["age"].tolist() == rows["age"].tolist()
        assert table["study_id"].tolist() == [f"{eid}_2_0" for eid in rows["participant_id"]]
        assert result.metadata[f"{name}_rows"] == 4
        error = table["prediction"] - table["age"]
        assert result.metadata[f"{name}_rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-12)
    (check,) = result.check_results
    assert (check.passed, check.check_name, check.metadata["looked_at"].value) == (True, "complete", 12)
    assert result.metadata["test_predictions"].md_str.startswith("![test](data:image/png;base64,")


def test_predictions_are_stored_and_kept(trained, tmp_path):
    study, model = trained
    first = make(study, "predictions", "1|4ch", heart_videos=videos(study), fold_split=split_table(PEOPLE, 1), trained_model=model.value)
    found = artefacts.read(study.layout, "predictions", ["1|4ch"])["1|4ch"]
    for name, table in first.value.items():
        pd.testing.assert_frame_equal(found[name], table, check_exact=True, check_dtype=False)  # text is text
    again = make(study, "predictions", "1|4ch", heart_videos={}, fold_split=pd.DataFrame(), trained_model=model.value)
    assert again.metadata["kept"] is True and record_of(again) == record_of(first)


def test_a_prediction_that_is_missing_fails_the_check(trained, monkeypatch):
    """Whatever the reason: the check counts what the learning room returned against the split."""
    import heart_assets.learning.prediction as room

    real = room.predict
    monkeypatch.setattr(learning, "predict", lambda *arguments: real(*arguments).iloc[1:], raising=False)
    (check,) = predict(trained).check_results
    faults = {name: value.value for name, value in check.metadata.items()}
    assert not check.passed and faults == {"looked_at": 12, "missing": 1, "repeated": 0, "unexpected": 0, "not_finite": 0}


def test_a_model_for_other_videos_is_refused_with_one_sentence(trained, study):
    from heart_assets.store import VideoStore, VideoWriter
    from heart_assets_tests.tiny import video_row

    path = study.settings.data_dir / "4ch.h5"
    with VideoWriter(path, 8, 20, {"view": "4ch", "geometry": {}, "spacing_mm": 4.0}) as writer:
        for eid in PEOPLE:
            writer.append(np.zeros((8, 20, 20), np.uint8), video_row(eid))
    with pytest.raises(dg.Failure) as failure:
        _, model = trained
        call(
            study,
            "predictions",
            "1|4ch",
            heart_videos={"4ch": VideoStore([path])},
            fold_split=split_table(PEOPLE, 1),
            trained_model=of_other_clips(model.value),
        )
    assert (
        failure.value.description == "the model reads clips of 8 frames, 24 px and 4.0 mm a stored pixel, but the store gives 4, 16 and 4.0"
    )


def of_other_clips(model: TrainedModel) -> TrainedModel:
    """The same model, said to read other clips."""
    return TrainedModel(model.weights, {**model.card, "frames": 8, "size_px": 24}, model.history)


def test_too_few_videos_to_train_on(study):
    split = split_table(PEOPLE[:3], 1)
    with pytest.raises(dg.Failure) as failure:
        call(study, "trained_model", "1|4ch", config=ONCE, heart_videos=videos(study, PEOPLE[:3]), fold_split=split)
    assert failure.value.description == "the split train has 1 usable videos; it needs at least 2"
    assert not study.layout.model("4ch", "1").joinpath("model.safetensors").exists()


def test_the_ridge_sees_brightness_and_never_the_tested(study):
    """The videos' brightness follows age, so a ridge on simple features predicts well, in every fold and view."""
    splits = {fold: split_table(PEOPLE, int(fold)) for fold in study.folds}
    result = make(study, "baseline_predictions", heart_videos=videos(study), fold_split=splits)
    table = result.value
    assert set(table["split"]) == {"val", "test"} and result.metadata["rows"] == len(table) == 48
    for view in ("3ch", "4ch"):
        for name in ("val", "test"):
            assert sorted(table.loc[(table["view"] == view) & (table["split"] == name), "participant_id"]) == PEOPLE
    error = (table["prediction"] - table["age"]).abs()
    assert error.mean() < 0.4 * table["age"].std()
    shifted = {fold: split.assign(age=split["age"].where(split["split"] == "train", 99.0)) for fold, split in splits.items()}
    blind = call(study_elsewhere(study), "baseline_predictions", heart_videos=videos(study), fold_split=shifted).value
    assert blind["prediction"].equals(table["prediction"])
    again = make(study, "baseline_predictions", heart_videos={}, fold_split={})
    assert again.metadata["kept"] is True


def study_elsewhere(study: Study) -> Study:
    return Study(study.settings.model_copy(update={"data_dir": study.settings.data_dir / "elsewhere"}))


def test_a_view_in_which_somebody_has_no_video(study):
    """Rows follow the store of the view: whoever has no video of it is in no table of it."""
    store = {"4ch": video_store(study.settings.data_dir / "fewer", "4ch", PEOPLE[2:])}
    splits = {fold: split_table(PEOPLE, int(fold)) for fold in study.folds}
    table = call(study, "baseline_predictions", heart_videos=store, fold_split=splits).value
    assert sorted(table.loc[table["split"] == "test", "participant_id"]) == PEOPLE[2:]
