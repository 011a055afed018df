"""Which runs are due, stage by stage, and what is said of those that fail; launching them is in test_whole_study."""

from heart_assets.executor import RunResult, RunSpec
from heart_assets.ledger import Study
from heart_assets.materialise import _sentence, outdated_runs, partitions_of, stages
from heart_assets.settings import load_settings
from heart_assets_tests.tiny import add_raw, ids, newer, tiny_study, write_study


def due(study: Study) -> list[tuple[str, str | None]]:
    return [(spec.job_name, spec.partition_key) for jobs in stages(study) for job in jobs for spec in outdated_runs(study, job)]


def test_nothing_is_due_when_all_holds(made):
    assert due(made) == []


def test_everything_is_due_in_the_order_of_the_stages(tmp_path):
    study = tiny_study(tmp_path, {"raw.liver": "raw/liver"})
    add_raw(study, "90", ids(1))
    add_raw(study, "91", ids(1, 9_100_001))
    (tmp_path / "raw" / "liver" / "92").mkdir(parents=True)
    (tmp_path / "raw" / "liver" / "92" / "9200001_20204_2_0.zip").touch()
    folds = ["0", "1", "2"]
    expected = [("observe", None), ("observe_liver", None), ("ingest", "90"), ("ingest", "91"), ("ingest_liver", "92"), ("assign", None)]
    expected += [("split", fold) for fold in folds]
    expected += [("train", f"{fold}|{view}") for view in ("3ch", "4ch") for fold in folds] + [("baseline", None)]
    expected += [("ensemble", fold) for fold in folds] + [("score", None)]
    assert due(study) == expected
    assert sum(len(partitions_of(study, job)) for jobs in stages(study) for job in jobs) == len(expected)


def test_a_deleted_model_is_due_alone_and_its_predictions_go_with_it(made):
    (made.layout.model("4ch", "1") / "model.safetensors").unlink()
    # downstream is looked at only when the stage before has been made: the model may come out the same
    assert due(made)[0] == ("train", "1|4ch") and [job for job, _ in due(made)].count("train") == 1


def test_raw_material_is_observed_when_some_of_it_is_to_be_cleaned(made):
    newer(add_raw(made, "90", ids(1))[0])
    assert due(made) == [("observe", None), ("ingest", "90")]


def test_changed_settings_make_their_jobs_due(made):
    study = Study(load_settings(write_study(made.settings.data_dir.parent, {"statistics.seed": 1, "prediction.shift_mm": 1.0})))
    assert due(study) == [("train", key) for key in study.view_folds] + [("score", None)]


def test_a_study_that_applies_models_has_three_stages(tmp_path, made):
    study = tiny_study(tmp_path / "new", {"models_from": str(made.settings.data_dir)})
    add_raw(study, "90", ids(1))
    assert list(stages(study)) == [["observe", "ingest"], ["apply"]]
    assert due(study) == [("observe", None), ("ingest", "90"), ("apply", None)]


def test_a_failed_run_in_a_sentence():
    failed = RunResult(RunSpec("train", "0|3ch"), "an id", "FAILURE", "trained_model: training diverged", 1.0)
    skipped = RunResult(RunSpec("score"), None, "SKIPPED", "a run before it did not succeed", 0.0)
    assert _sentence(failed) == "train of 0|3ch: failure: trained_model: training diverged"
    assert _sentence(skipped) == "score: skipped: a run before it did not succeed"
