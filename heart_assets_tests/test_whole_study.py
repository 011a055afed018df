"""A whole tiny study through Dagster: raw DICOM zips to scores, by the project's own executor, launched as `make demo` launches it."""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from heart_assets.home import prepare_home, prepare_instance
from heart_assets.ledger import Study
from heart_assets.materialise import Summary, materialise, outdated_runs
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
class Made:
    """The study, the instance that it was made in, and what `materialise` said."""

    study: Study
    instance: dg.DagsterInstance
    home: Path
    summary: Summary


@pytest.fixture(scope="module")
def made(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
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
        settings = load_settings(path)
        home, study = prepare_home(settings, path), Study(settings)
        with dg.DagsterInstance.get() as instance:
            prepare_instance(instance, study)
            yield Made(study, instance, home, materialise(study, instance, processes=2))


def test_every_partition_is_made_in_a_run_of_its_own(made):
    assert made.summary == Summary(kept=0, made=sum(PIECES.values()), failures=())
    runs = made.instance.get_runs()
    assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS}
    assert pd.Series([run.job_name for run in runs]).value_counts().to_dict() == PIECES
    train = [run.tags["dagster/partition"] for run in runs if run.job_name == "train"]
    assert sorted(train) == ["0|3ch", "0|4ch", "1|3ch", "1|4ch", "2|3ch", "2|4ch"]
