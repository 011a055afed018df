"""The command line: one sentence and an exit code for whatever a user can put right."""

import os
import subprocess
import sys

import dagster as dg
import pandas as pd
import pytest

from heart_assets import cli
from heart_assets_tests.tiny import add_raw, ids, settle, tiny_study, write_study


@pytest.fixture(autouse=True)
def _environment(monkeypatch, tmp_path):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HEART_ASSETS_STUDY", "")


def test_a_bad_study_file_in_a_process_of_its_own(tmp_path):
    path = write_study(tmp_path, {"folds.count": 2})
    code = "import sys; from heart_assets.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "materialise", "--study", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"heart-assets: {path}: folds.count: found 2; allowed: input should be greater than or equal to 3\n"
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("command", ["materialise", "ui"])
def test_a_study_file_that_is_missing(tmp_path, capsys, command):
    assert cli.main([command, "--study", str(tmp_path / "none.toml")]) == 1
    assert capsys.readouterr().err == f"heart-assets: {tmp_path}/none.toml: there is no such study file\n"


def test_the_study_of_the_environment_is_the_default(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HEART_ASSETS_STUDY", str(tmp_path / "mine.toml"))
    assert cli.main(["materialise"]) == 1
    assert capsys.readouterr().err == f"heart-assets: {tmp_path}/mine.toml: there is no such study file\n"


def test_an_empty_raw_folder(tmp_path, capsys):
    path = write_study(tmp_path)
    (tmp_path / "raw" / "heart").mkdir(parents=True)
    assert cli.main(["materialise", "--study", str(path)]) == 1
    expected = "holds no study: expected zips named like {eid}_{field}_{visit}_{array}.zip\n"
    assert capsys.readouterr().err == f"heart-assets: the raw folder {tmp_path}/raw/heart {expected}"


def test_devices_that_cannot_be(tmp_path, capsys):
    path = write_study(tmp_path, {"compute.devices": ["GPU 7"]})
    add_raw(tiny_study(tmp_path, {"compute.devices": ["GPU 7"]}), "90", ids(1))
    assert cli.main(["materialise", "--study", str(path)]) == 1
    printed = capsys.readouterr().err
    assert (
        printed.startswith("heart-assets: compute.devices: devices must be 'auto' or a list of different names")
        and printed.count("\n") == 1
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["phantom", "--out", "x", "--difficulty", "hard"], "invalid choice: 'hard'"),
        (["phantom"], "the following arguments are required: --out"),
        (["phantom", "--out", "x", "--participants", "many"], "invalid int value: 'many'"),
        (["materialize"], "invalid choice: 'materialize'"),
        ([], "the following arguments are required: command"),
    ],
)
def test_wrong_arguments_exit_with_usage(capsys, arguments, words):
    with pytest.raises(SystemExit) as left:
        cli.main(arguments)
    assert left.value.code == 2
    printed = capsys.readouterr().err
    assert printed.startswith("usage: heart-assets") and words in printed


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--participants", "0"], "the phantom makes between 1 and 30,000 participants, not 0"),
        (["--participants", "2", "--defect-rate", "1.5"], "defect_rate is a share between 0 and 1, not 1.5"),
    ],
)
def test_a_phantom_that_cannot_be(tmp_path, capsys, arguments, sentence):
    assert cli.main(["phantom", "--out", str(tmp_path / "x"), *arguments]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == f"heart-assets: {sentence}"
    assert not (tmp_path / "x").exists()


def test_a_phantom(tmp_path, monkeypatch):
    monkeypatch.setattr("heart_assets.executor.available_cores", lambda: 1)
    assert cli.main(["phantom", "--out", str(tmp_path), "--participants", "1", "--seed", "3", "--defect-rate", "0"]) == 0
    (heart,) = (tmp_path / "heart").rglob("*.zip")
    assert heart.name.endswith("_20208_2_0.zip") and int(heart.name[:7]) >= 9_000_000
    assert {path.name for path in tmp_path.iterdir()} == {"heart", "liver", "phenotypes.csv", "ground_truth.csv", "cohort.json"}


def test_the_ui_listens_on_this_machine_only(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(os, "execv", lambda *command: started.append(command))
    path = write_study(tmp_path)
    cli.main(["ui", "--study", str(path), "--port", "3456"])
    ((program, arguments),) = started
    assert program == sys.executable
    assert arguments[arguments.index("-h") + 1] == "127.0.0.1" and arguments[arguments.index("-p") + 1] == "3456"
    assert os.environ["HEART_ASSETS_STUDY"] == str(path) and os.environ["DAGSTER_HOME"] == str(tmp_path / "home")
    with dg.DagsterInstance.get() as instance:
        assert {pool.name: pool.limit for pool in instance.event_log_storage.get_pool_limits()}["heavy_cpu"] == 1


def test_a_second_ui_of_the_same_study_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(os, "execv", lambda *_: None)
    path = write_study(tmp_path)
    cli.main(["ui", "--study", str(path)])
    assert cli.main(["ui", "--study", str(path)]) == 1
    assert capsys.readouterr().err == "heart-assets: this study's web UI is running already: use it, or stop it first\n"


def test_an_interrupt_says_that_finished_work_is_kept(tmp_path, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "load_settings", interrupted)
    assert cli.main(["materialise", "--study", str(tmp_path / "x.toml")]) == 130
    assert capsys.readouterr().err == "heart-assets: interrupted; what was finished is kept\n"


def test_failed_runs_are_printed_and_exit_1(made, capsys, monkeypatch):
    from heart_assets.materialise import Summary

    summary = Summary(kept=7, made=2, failures=("train of 0|3ch: failure: trained_model: training diverged",))
    monkeypatch.setattr("heart_assets.materialise.materialise", lambda *_, **__: summary)
    assert cli.main(["materialise", "--study", str(made.settings.data_dir.parent / "study.toml")]) == 1
    printed = capsys.readouterr()
    assert printed.err.splitlines()[-1] == "train of 0|3ch: failure: trained_model: training diverged"
    assert printed.out == "2 runs made, 7 partitions held already.\n"


def test_a_finished_study_prints_its_pooled_scores(made, capsys, monkeypatch):
    from heart_assets.materialise import Summary

    monkeypatch.setattr("heart_assets.materialise.materialise", lambda *_, **__: Summary(kept=0, made=19, failures=()))
    numbers = {"n": 6, "r2": 0.83449, "r2_se": 0.01, "rmse": 3.12, "mae": 2.5, "pearson_r": 0.91}
    row = {"model": "ensemble", "view": "all", "fold": "pooled", "participants": 6, **numbers}
    settle(made, "scores", "", pd.DataFrame([row, {**row, "fold": "0", "r2": 0.111}]))
    monkeypatch.chdir(made.settings.data_dir.parent)
    assert cli.main(["materialise", "--study", "study.toml"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("19 runs made, 0 partitions held already.\n\nTest scores, pooled over folds (study/scores/scores.csv):\n")
    header, scores, ui = printed.splitlines()[3:]
    assert header.split() == ["model", "view", "n", "r2", "r2_se", "rmse", "mae", "pearson_r"]
    assert scores.split() == ["ensemble", "all", "6", "0.834", "0.010", "3.120", "2.500", "0.910"]
    assert ui == "To see it all in the web UI: make ui STUDY=study.toml"


def test_a_study_that_applies_models_prints_where_its_predictions_are(tmp_path, capsys, monkeypatch):
    from heart_assets.materialise import Summary

    monkeypatch.setattr("heart_assets.materialise.materialise", lambda *_, **__: Summary(kept=0, made=3, failures=()))
    monkeypatch.chdir(tmp_path)
    changes = {"models_from": "other"}
    add_raw(tiny_study(tmp_path, changes), "90", ids(1))
    assert cli.main(["materialise", "--study", str(write_study(tmp_path, changes))]) == 0
    assert "Predictions: study/predictions/applied.csv\n" in capsys.readouterr().out
