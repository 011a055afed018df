"""A whole tiny study through Dagster: raw DICOM zips to scores, by the project's own executor, launched as `make demo` launches it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from heart_assets.home import prepare_home, prepare_instance
from heart_assets.layout import SPLITS
from heart_assets.ledger import Study
from heart_assets.materialise import Summary, materialise
from heart_assets.settings import load_settings
from heart_assets.store import VideoStore
from heart_assets.tables import read_table
from heart_assets_tests.conftest import Cohort
from heart_assets_tests.tiny import write_study

PIECES = {
    "observe": 1,
    "ingest": 3,
    "assign": 1,
    "split": 3,
    "train": 6,
    "baseline": 1,
    "ensemble": 3,
    "score": 1,
}


@dataclass(frozen=True)
class Whole:
    """The study, the instance that it was made in, and what `materialise` said."""

    study: Study
    instance: dg.DagsterInstance
    home: Path
    summary: Summary


@pytest.fixture(scope="module")
def whole(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    root = tmp_path_factory.mktemp("whole")
    raw = cohort.folder
    changes = {
        "raw.heart": str(raw / "heart"),
        "raw.phenotypes": [str(raw / "phenotypes.csv")],
        "raw.ground_truth": str(raw / "ground_truth.csv"),
        "geometry.frames": 10,
        "geometry.size_px": 40,
        "training.crop_px": 32,
    }
    path = write_study(root, changes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(root / "home"))
        patch.setenv("HEART_ASSETS_STUDY", "")
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("TMPDIR", str(root))  # no lease is shared with whatever else runs on this machine
        settings = load_settings(path)
        home, study = prepare_home(settings, path), Study(settings)
        with dg.DagsterInstance.get() as instance:
            prepare_instance(instance, study)
            yield Whole(study, instance, home, materialise(study, instance, processes=2))


def test_every_partition_is_made_in_a_run_of_its_own(whole):
    assert whole.summary == Summary(kept=0, made=sum(PIECES.values()), failures=())
    runs = whole.instance.get_runs()
    assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS}
    assert pd.Series([run.job_name for run in runs]).value_counts().to_dict() == PIECES
    train = [run.tags["dagster/partition"] for run in runs if run.job_name == "train"]
    assert sorted(train) == ["0|3ch", "0|4ch", "1|3ch", "1|4ch", "2|3ch", "2|4ch"]


def test_each_step_is_a_process_of_the_projects_executor(whole):
    run = whole.instance.get_runs(dg.RunsFilter(job_name="train"), limit=1)[0]
    starts = [event for event in events(whole, run.run_id) if event.event_type == dg.DagsterEventType.STEP_WORKER_STARTED]
    assert sorted(event.step_key for event in starts) == ["predictions", "trained_model"]


def events(whole: Whole, run_id: str) -> list[dg.DagsterEvent]:
    """The events of a run."""
    return [entry.dagster_event for entry in whole.instance.all_logs(run_id) if entry.dagster_event]


def materialisations(whole: Whole, asset: str) -> dict[str, dg.AssetMaterialization]:
    """Partition -> newest materialisation."""
    records = whole.instance.fetch_materializations(dg.AssetKey(asset), limit=100, ascending=True).records
    return {record.partition_key or "": record.asset_materialization for record in records}


def stored(whole: Whole, view: str) -> list[str]:
    """Ids of the participants with a stored video of a view, sorted."""
    paths = [whole.study.layout.videos(view, delivery) for delivery in ("90", "91", "92")]
    return sorted(VideoStore(paths).columns["participant_id"])


def test_materialisations_carry_the_partition_and_the_record_on_disk(whole):
    study = whole.study
    keys = {
        "heart_videos": ["90", "91", "92"],
        "phenotypes": [""],
        "fold_assignments": [""],
        "fold_split": ["0", "1", "2"],
        "trained_model": study.view_folds,
        "predictions": study.view_folds,
        "baseline_predictions": [""],
        "ensemble_predictions": ["0", "1", "2"],
        "scores": [""],
    }
    for asset, partitions in keys.items():
        found = materialisations(whole, asset)
        assert sorted(found) == sorted(partitions), asset
        for partition, materialisation in found.items():
            record = study.record(asset, partition)
            assert materialisation.metadata["provenance"].data["parts"] == record.parts
            assert materialisation.tags["dagster/data_version"] == record.data_version
            assert study.why_outdated(asset, partition) is None


def test_every_check_was_evaluated_in_its_assets_step_and_blocking_ones_passed(whole):
    blocking = {
        "heart_videos": "every_study_accounted_for",
        "phenotypes": "plausible",
        "fold_assignments": "complete_and_stable",
        "fold_split": "no_leak",
        "predictions": "complete",
        "ensemble_predictions": "complete",
        "scores": "everyone_tested_once",
    }
    for run in whole.instance.get_runs():
        for event in events(whole, run.run_id):
            if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
                evaluation = event.asset_check_evaluation_data
                name = evaluation.asset_key.path[-1]
                assert evaluation.passed or name == "trained_model", name
                assert blocking.get(name, "better_than_the_mean") == evaluation.check_name
    for asset, check in blocking.items():
        history = whole.instance.event_log_storage.get_asset_check_execution_history(dg.AssetCheckKey(dg.AssetKey(asset), check), limit=50)
        assert len(history) == len(materialisations(whole, asset)), asset


def test_studies_found_are_stored_or_rejected_as_planted(whole, cohort):
    accounts = [materialisation.metadata for materialisation in materialisations(whole, "heart_videos").values()]
    found, kept, rejected = (sum(account[name].value for account in accounts) for name in ("found", "stored", "rejected"))
    assert (found, kept + rejected) == (15, 15)
    for view in ("3ch", "4ch"):
        usable = [eid for eid in cohort.participants if cohort.outcome(eid, view) == "usable"]
        either = [eid for eid in cohort.participants if cohort.outcome(eid, view) == "either"]
        assert set(usable) <= set(stored(whole, view)) <= set(usable) | set(either)
        assert sum(account["per_view"].data[view]["stored"] for account in accounts) == len(stored(whole, view))
    without = set(cohort.participants) - set(stored(whole, "3ch")) - set(stored(whole, "4ch"))
    assert len(without) == rejected


def test_every_rejection_has_a_row(whole, cohort):
    tables = pd.concat([read_table(whole.study.layout.rejected_videos(delivery)) for delivery in ("90", "91", "92")])
    for view in ("3ch", "4ch"):
        rejected = set(tables.loc[tables["view"].isin([view, "all"]), "file_name"])
        assert rejected == {f"{eid}_20208_2_0.zip" for eid in set(cohort.participants) - set(stored(whole, view))}


def test_everybody_is_tested_once_and_validated_once_per_view(whole):
    layout = whole.study.layout
    for view in ("3ch", "4ch"):
        tables = {name: [read_table(layout.predictions(view, fold, name)) for fold in whole.study.folds] for name in SPLITS}
        for name in ("val", "test"):
            assert sorted(pd.concat(tables[name])["participant_id"]) == stored(whole, view)
        for k in range(3):
            assert set(tables["val"][(k + 1) % 3]["participant_id"]) == set(tables["test"][k]["participant_id"])
            everybody = pd.concat([tables[name][k] for name in SPLITS])
            assert sorted(everybody["participant_id"]) == stored(whole, view)
            assert np.isfinite(everybody["prediction"]).all()


def test_scores_have_every_model_and_follow_from_the_tables(whole, cohort):
    layout = whole.study.layout
    pooled = read_table(layout.scores).query("fold == 'pooled'").set_index(["model", "view"])
    models = [("3ch", "3ch"), ("4ch", "4ch"), ("ensemble", "all"), ("ridge", "3ch"), ("ridge", "4ch"), ("ridge", "all"), ("oracle", "all")]
    assert sorted(pooled.index) == sorted(models)
    everybody = set(stored(whole, "3ch")) | set(stored(whole, "4ch"))
    for key in [("ensemble", "all"), ("ridge", "all"), ("oracle", "all")]:
        assert pooled.loc[key, "participants"] == len(everybody)
    tests = pd.concat([read_table(layout.predictions("4ch", fold, "test")) for fold in whole.study.folds])
    error = tests["prediction"] - tests["age"]
    assert pooled.loc[("4ch", "4ch"), "rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-12)
    assert pooled.loc[("4ch", "4ch"), "r2"] == pytest.approx(
        1 - (error**2).sum() / ((tests["age"] - tests["age"].mean()) ** 2).sum(), rel=1e-9
    )
    truth = (
        pd.read_csv(cohort.folder / "ground_truth.csv", dtype={"participant_id": str}).set_index("participant_id").loc[sorted(everybody)]
    )
    # the phenotypes give dates, so ages agree with the truth to the rounding of its file
    assert pooled.loc[("oracle", "all"), "mae"] == pytest.approx((truth["oracle_age"] - truth["age"]).abs().mean(), abs=1e-4)


def test_no_participant_is_named_in_dagsters_database_or_in_a_log(whole, cohort):
    named = re.compile("|".join(rf"(?<![\d.]){eid}(?!\d)" for eid in cohort.participants).encode())
    logs = [path for path in (whole.study.settings.data_dir / "logs").rglob("*") if path.is_file()]
    kept_by_dagster = [path for path in whole.home.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in kept_by_dagster) > 1_000_000
    assert [path.name for path in [*logs, *kept_by_dagster] if named.search(path.read_bytes())] == []
    texts = [entry.to_json() for run in whole.instance.get_runs() for entry in whole.instance.all_logs(run.run_id)]
    assert sum('ASSET_MATERIALIZATION"' in text for text in texts) == 25
    assert [text[:200] for text in texts if named.search(text.encode())] == []
    assert named.search(whole.study.layout.fold_assignments.read_bytes())  # the search does find what is there


def test_a_second_time_launches_nothing(whole):
    before = whole.instance.get_runs_count()
    again = materialise(whole.study, whole.instance, processes=1)
    assert again == Summary(kept=sum(PIECES.values()), made=0, failures=())
    assert whole.instance.get_runs_count() == before


def test_a_deleted_model_is_trained_again_alone_and_comes_back_the_same(whole):
    """The same inputs and seed give the same model, so nothing downstream has changed."""
    study, key = whole.study, "1|4ch"
    path = study.layout.model("4ch", "1") / "model.safetensors"
    content, before = path.read_bytes(), whole.instance.get_runs_count()
    path.unlink()
    again = materialise(study, whole.instance, processes=1)
    assert again == Summary(kept=sum(PIECES.values()) - 1, made=1, failures=())
    newest = whole.instance.get_runs(limit=whole.instance.get_runs_count() - before)
    assert [(run.job_name, run.tags["dagster/partition"]) for run in newest] == [("train", key)]
    assert path.read_bytes() == content
    assert materialisations(whole, "predictions")[key].metadata["kept"].value is True


REPOSITORY = Path(__file__).resolve().parent.parent
REAL_CINES = REPOSITORY.parent / "shared" / "data" / "siemens_lax_cine"


@pytest.mark.skipif(not REAL_CINES.is_dir(), reason="the real cines are not beside the repository")
def test_real_cines_become_both_views_and_are_predicted_by_models_of_the_synthetic_study(whole, tmp_path, monkeypatch):
    theirs = load_settings(REPOSITORY / "studies" / "siemens_lax_cine.toml")
    ((series, view),) = theirs.series.overrides.items()
    ours = whole.study.settings
    path = write_study(
        tmp_path,
        {
            "name": theirs.name,
            "models_from": str(ours.data_dir),
            "raw.layout": theirs.raw.layout,
            "raw.heart": str(REAL_CINES),
            "raw.phenotypes": None,
            f'series.overrides."{series}"': view,
            **{f"views.{name}.series": list(rule.series) for name, rule in theirs.views.items()},
            "geometry.frames": ours.geometry.frames,
            "geometry.size_px": ours.geometry.size_px,
            "training.crop_px": ours.training.crop_px,
        },
    )
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HEART_ASSETS_STUDY", "")
    study = Study(load_settings(path))
    prepare_home(study.settings, path)
    with dg.DagsterInstance.get() as instance:
        prepare_instance(instance, study)
        assert materialise(study, instance, processes=1) == Summary(kept=0, made=3, failures=())
    table = read_table(study.layout.applied_predictions)
    assert table[["participant_id", "view", "models"]].to_numpy().tolist() == [["patient1", "3ch", 3], ["patient1", "4ch", 3]]
    assert table["age"].isna().all() and np.isfinite(table["prediction"]).all()
    for view in study.views:
        (flags,) = VideoStore([study.layout.videos(view, "all")]).columns["flags"]
        assert ("override" in flags.split(",")) == (view == "3ch")
