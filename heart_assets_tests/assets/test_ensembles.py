"""ensemble_predictions and scores by direct call, with numbers that can be computed by hand."""

import numpy as np
import pandas as pd
import pytest

from heart_assets import artefacts
from heart_assets.assets import ensembles
from heart_assets_tests.tiny import age_of, call, ids, make, phenotype_table, prediction_table, tiny_study

VAL, TEST = ids(4), ids(3, 9_000_011)


def predicted(participants: list[str], errors: list[float]) -> pd.DataFrame:
    table = prediction_table(participants)
    return table.assign(prediction=table["age"] + errors)


def fold_1() -> dict[str, dict[str, pd.DataFrame]]:
    """Validation errors that are uncorrelated, with twice the size in 3ch; one tested person has 3ch alone, one 4ch alone."""
    return {
        "1|3ch": {"train": predicted([], []), "val": predicted(VAL, [2, 2, -2, -2]), "test": predicted(TEST[:2], [1, -1])},
        "1|4ch": {"train": predicted([], []), "val": predicted(VAL, [1, -1, 1, -1]), "test": predicted([TEST[0], TEST[2]], [3, 5])},
    }


@pytest.fixture
def study(tmp_path):
    return tiny_study(tmp_path)


def test_views_are_averaged_and_single_ones_are_kept_and_marked(study):
    result = call(study, "ensemble_predictions", "1", predictions=fold_1())
    table = result.value["test"].set_index("participant_id")
    both, only_3ch, only_4ch = (age_of(eid) for eid in TEST)
    np.testing.assert_allclose(table.loc[TEST, "prediction"], [both + 2, only_3ch - 1, only_4ch + 5], rtol=1e-14)
    assert table["prediction"].equals(table["prediction_mean"].rename("prediction"))
    assert table["views"].tolist() == ["3ch+4ch", "3ch", "4ch"] and table["single_view"].tolist() == [False, True, True]
    assert table["age"].tolist() == [both, only_3ch, only_4ch]
    assert np.isnan(table.loc[TEST[1], "4ch"]) and table.loc[TEST[1], "3ch"] == only_3ch - 1
    assert (result.metadata["test_rows"], result.metadata["single_view"]) == (3, 2)
    (check,) = result.check_results
    assert (check.passed, check.check_name, check.metadata["looked_at"].value) == (True, "complete", 3)


def test_weights_come_from_the_validation_errors(study):
    """Error variances 4 and 1 at mean level 2.5, shrunk with 4 people against a prior of 20: diag(1.1, 0.9)."""
    result = call(study, "ensemble_predictions", "1", predictions=fold_1())
    weights = result.value["weights"].set_index(["views", "view"])
    assert list(weights.index) == [("3ch", "3ch"), ("4ch", "4ch"), ("3ch+4ch", "3ch"), ("3ch+4ch", "4ch")]
    np.testing.assert_allclose(weights["weight"], [1, 1, 0.45, 0.55], rtol=1e-9)
    assert weights["people"].tolist() == [4, 4, 4, 4]
    val = result.value["val"]
    np.testing.assert_allclose(val["prediction_weighted"] - val["age"], [1.45, 0.35, -0.35, -1.45], rtol=1e-9)
    np.testing.assert_allclose(val["prediction"] - val["age"], [1.5, 0.5, -0.5, -1.5], rtol=1e-9)


def fold_tables(people: list[str], fold: int, noise: int, age_shift: dict[str, float]) -> dict[str, pd.DataFrame]:
    """Predictions of one model, which do not depend on the shifted ages of those whom it does not train on."""
    rng = np.random.default_rng([fold, noise])
    tables = {}
    for split, data_fold in (("val", fold), ("test", (fold + 1) % 3), ("train", (fold + 2) % 3)):
        table = prediction_table(people[data_fold::3])
        table["prediction"] = table["age"] + rng.normal(size=len(table)) * (3 + noise)
        tables[split] = table.assign(age=table["age"] + table["participant_id"].map(age_shift).fillna(0.0))
    return tables


@pytest.mark.parametrize("data_fold", range(3))
def test_the_ages_of_a_data_fold_move_nothing_about_its_test_predictions(tmp_path, data_fold):
    """Nothing that a fold's ensemble fits may come from those whom it tests (design, section 4)."""
    people = ids(30)
    shift = {eid: 20.0 * (-1) ** k + k for k, eid in enumerate(people[data_fold::3])}
    results = {}
    for name, age_shift in (("before", {}), ("after", shift)):
        study = tiny_study(tmp_path / name)
        for fold in range(3):
            predictions = {f"{fold}|{view}": fold_tables(people, fold, noise, age_shift) for noise, view in enumerate(("3ch", "4ch"))}
            results[name, fold] = call(study, "ensemble_predictions", str(fold), predictions=predictions).value
    tests_it, validates_it = (data_fold - 1) % 3, data_fold
    before, after = results["before", tests_it], results["after", tests_it]
    assert set(before["test"]["participant_id"]) == set(people[data_fold::3])
    pd.testing.assert_frame_equal(after["weights"], before["weights"], check_exact=True)
    pd.testing.assert_frame_equal(after["test"].drop(columns="age"), before["test"].drop(columns="age"), check_exact=True)
    assert not after["test"]["age"].equals(before["test"]["age"])
    # the same change does move the weights of the fold that validates on it: the test above can fail
    assert not results["after", validates_it]["weights"].equals(results["before", validates_it]["weights"])


ERRORS = {"3ch": [2.0, -2.0], "4ch": [0.0, 4.0]}


def study_with_tests(made, ridge_error: float = 5.0) -> dict:
    """The inputs of `scores` for six people in three folds: constant errors per view, whose mean the ensemble takes."""
    people, predictions, ensemble, ridge = ids(6), {}, {}, []
    for fold in range(3):
        tested = people[(fold + 1) % 3 :: 3]
        by_view = {view: predicted(tested, errors) for view, errors in ERRORS.items()}
        for view, table in by_view.items():
            predictions[f"{fold}|{view}"] = {"train": table, "val": table, "test": table}
            ridge.append(predicted(tested, [ridge_error, -ridge_error]).assign(split="test", view=view, fold=fold))
            ridge.append(predicted(tested, [99.0, 99.0]).assign(split="val", view=view, fold=fold))
        ensemble[str(fold)] = {"test": predicted(tested, [1.0, 1.0])}
    return {"predictions": predictions, "ensemble_predictions": ensemble, "baseline_predictions": pd.concat(ridge)}


def forget_scores(made):
    made.layout.record("scores", "").unlink()
    return made


def test_scores_by_hand(made):
    result = call(forget_scores(made), "scores", **study_with_tests(made))
    spread = sum((age_of(eid) - np.mean([age_of(one) for one in ids(6)])) ** 2 for eid in ids(6))
    pooled = result.value[result.value["fold"] == "pooled"].set_index(["model", "view"])
    squares = {
        ("3ch", "3ch"): 24,
        ("4ch", "4ch"): 48,
        ("ensemble", "all"): 6,
        ("ridge", "3ch"): 150,
        ("ridge", "4ch"): 150,
        ("ridge", "all"): 150,
    }
    assert sorted(pooled.index) == sorted(squares)
    for key, square in squares.items():
        assert pooled.loc[key, "r2"] == pytest.approx(1 - square / spread, rel=1e-12)
        assert pooled.loc[key, "rmse"] == pytest.approx(np.sqrt(square / 6), rel=1e-12)
        assert pooled.loc[key, ["n", "participants"]].tolist() == [6, 6]
    assert pooled.loc[("3ch", "3ch"), "mae"] == pytest.approx(2) and pooled.loc[("4ch", "4ch"), "mae"] == pytest.approx(2)
    folds = result.value[(result.value["model"] == "4ch") & (result.value["fold"] != "pooled")]
    assert folds["fold"].tolist() == ["0", "1", "2"] and folds["n"].tolist() == [2, 2, 2]
    shown = result.metadata
    assert shown["r2_ensemble"] == pytest.approx(1 - 6 / spread) and shown["rmse_ensemble"] == pytest.approx(1)
    assert shown["r2_3ch_3ch"] == pytest.approx(1 - 24 / spread) and shown["participants"] == 6
    assert [name for name in shown if name.startswith("r2_")] == [
        "r2_3ch_3ch",
        "r2_4ch_4ch",
        "r2_ensemble",
        "r2_ridge_3ch",
        "r2_ridge_4ch",
        "r2_ridge",
    ]
    for name in ("score_plot", "age_against_prediction"):
        assert shown[name].md_str.startswith("![") and len(shown[name].md_str) < 140_000
    assert (made.settings.data_dir / "scores/scores.png").read_bytes().startswith(b"\x89PNG")
    assert "participant_id" not in shown["table"].md_str
    (check,) = result.check_results
    assert (check.passed, check.check_name, check.metadata["looked_at"].value) == (True, "everyone_tested_once", 12)


def test_somebody_who_was_not_tested_fails_the_check(made):
    inputs = study_with_tests(made)
    of_4ch = inputs["predictions"]["2|4ch"]
    of_4ch["test"] = of_4ch["test"].iloc[1:]
    result = call(forget_scores(made), "scores", **inputs)
    (check,) = result.check_results
    faults = {name: value.value for name, value in check.metadata.items()}
    assert not check.passed and faults == {"looked_at": 12, "missing": 1, "repeated": 0, "unexpected": 0}


def test_the_oracle_stands_beside_for_a_phantom(tmp_path, made):
    truth = phenotype_table(ids(6))[["participant_id", "visit"]].assign(oracle_age=[age_of(eid) + 3 for eid in ids(6)])
    truth.to_csv(tmp_path / "truth.csv", index=False)
    study = tiny_study(tmp_path, {"raw.ground_truth": "truth.csv"})
    result = call(study, "scores", **study_with_tests(made))
    pooled = result.value[result.value["fold"] == "pooled"].set_index("model")
    assert pooled.loc["oracle", ["view", "n", "mae"]].tolist() == ["all", 6, pytest.approx(3)]
    assert study.inputs("scores").upstream.keys() == {"predictions", "ensemble_predictions", "baseline_predictions", "ground_truth"}


def test_what_holds_is_kept(made):
    for asset, partition in (("ensemble_predictions", "1"), ("scores", None)):
        # empty inputs: they are not even looked at
        inputs = (
            {"predictions": {}, "ensemble_predictions": {}, "baseline_predictions": pd.DataFrame()}
            if asset == "scores"
            else {"predictions": {}}
        )
        before = [path.stat().st_mtime_ns for path in sorted(made.settings.data_dir.rglob("*")) if path.is_file()]
        result = make(made, asset, partition, **inputs)
        assert result.metadata["kept"] is True
        assert [path.stat().st_mtime_ns for path in sorted(made.settings.data_dir.rglob("*")) if path.is_file()] == before
        assert result.data_version.value == made.record(asset, partition or "").data_version


def test_what_is_stored_of_an_ensemble_comes_back(study):
    value = make(study, "ensemble_predictions", "1", predictions=fold_1()).value
    found = artefacts.read(study.layout, "ensemble_predictions", ["1"])["1"]
    for part, table in value.items():
        pd.testing.assert_frame_equal(found[part], table, check_exact=True)


def test_people_without_an_oracle_are_left_out_of_its_row():
    ensemble = prediction_table(ids(3))
    truth = pd.DataFrame({"participant_id": ids(2), "visit": 2, "oracle_age": [50.0, 60.0], "age": [1.0, 2.0]})
    table = ensembles._oracle(truth, ensemble)
    assert table["participant_id"].tolist() == ids(2) and table["prediction"].tolist() == [50.0, 60.0]
    assert table["age"].tolist() == [age_of(eid) for eid in ids(2)]
