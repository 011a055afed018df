"""Scores against scikit-learn and SciPy, the bootstrap against a plain loop, and cells that are empty for a reason."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from heart_assets.statistics import ScoreError, regression_scores, scores_table
from heart_assets.statistics import bootstrap as bootstrap_module
from heart_assets.statistics.bootstrap import error_and_interval, resampled_sums
from heart_assets.statistics.metrics import SCORES, participant_moments, scores_from_moments


@pytest.fixture(autouse=True)
def _no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def reference(age, prediction) -> dict[str, float]:
    return {
        "r2": r2_score(age, prediction),
        "rmse": root_mean_squared_error(age, prediction),
        "mae": mean_absolute_error(age, prediction),
        "pearson_r": pearsonr(age, prediction).statistic,
    }


def predictions_of(number: int, seed: int, folds: int = 5, sd: float = 4.0, visits: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    people = np.repeat(np.arange(number), visits)
    age = np.random.default_rng(99).uniform(45, 80, number)[people] + np.tile(np.arange(visits) * 2.5, number)
    return pd.DataFrame(
        {
            "participant_id": [str(9_000_000 + k) for k in people],
            "visit": np.tile(np.arange(visits) + 2, number),
            "age": age,
            "prediction": 62 + 0.9 * (age - 62) + rng.normal(size=len(age)) * sd,
            "fold": people % folds,
        }
    )


@pytest.mark.parametrize(
    ("number", "scale", "offset"), [(3, 1, 0), (20, 1, 0), (5000, 1, 0), (50, 1e-3, 60), (50, 1, 1e5), (50, 1e4, -3e5)]
)
def test_point_scores_are_those_of_the_references(number, scale, offset):
    rng = np.random.default_rng(number)
    age = rng.uniform(45, 80, number) * scale + offset
    prediction = age + rng.normal(size=number) * 4 * scale + 0.5 * scale
    expected = reference(age, prediction)
    for name, value in regression_scores(age, prediction).items():
        assert value == pytest.approx(expected[name], rel=1e-10, abs=1e-10), name


def test_ties_and_perfect_predictions():
    age = np.array([50.0, 50.0, 60.0, 60.0])
    assert regression_scores(age, age) == {"r2": 1.0, "rmse": 0.0, "mae": 0.0, "pearson_r": 1.0}
    assert regression_scores(age, 110 - age) == pytest.approx({"r2": -3.0, "rmse": 10.0, "mae": 10.0, "pearson_r": -1.0})


def test_undefined_scores_are_nan_without_a_warning():
    constant = regression_scores(np.array([50.0, 60.0, 70.1]), np.full(3, 60.1))
    assert np.isnan(constant["pearson_r"]) and constant["r2"] == pytest.approx(0.0, abs=1e-4)
    assert np.isnan(list(regression_scores(np.full(3, 0.1), np.array([1.0, 2.0, 3.0])).values())).tolist() == [True, False, False, True]
    assert np.isnan(scores_from_moments(np.zeros(8))).all()
    assert np.isnan(list(regression_scores(np.array([]), np.array([])).values())).all()
    for age, prediction, sentence in (
        ([50.0], [50.0, 51.0], "two equally long lists"),
        ([[50.0]], [[51.0]], "two equally long lists"),
        ([np.nan], [1.0], "finite"),
        ([1.0], [np.inf], "finite"),
    ):
        with pytest.raises(ValueError, match=sentence):
            regression_scores(age, prediction)


def test_resampled_scores_equal_scikit_learn_on_the_same_people():
    frame = predictions_of(40, 1, visits=3)
    person = frame["participant_id"].astype(int).to_numpy() - 9_000_000
    age, prediction = frame["age"].to_numpy(), frame["prediction"].to_numpy()
    moments = participant_moments(person, age, prediction, 40)
    scores = scores_from_moments(resampled_sums(moments, np.zeros(40, dtype=int), 25, seed=4)[:, 0])
    drawn = np.random.default_rng(4).integers(40, size=(25, 40), dtype=np.int64)
    for sample, row in zip(drawn, scores, strict=True):
        rows = np.concatenate([np.flatnonzero(person == k) for k in sample])
        expected = reference(age[rows], prediction[rows])
        np.testing.assert_allclose(row, [expected[name] for name in SCORES], rtol=1e-10)


def test_the_samples_do_not_depend_on_the_block_size(monkeypatch):
    moments = np.random.default_rng(0).normal(size=(31, 3))
    groups = np.arange(31) % 4
    whole = resampled_sums(moments, groups, 50, seed=1)
    monkeypatch.setattr(bootstrap_module, "BLOCK_CELLS", 31 * 7)
    np.testing.assert_allclose(resampled_sums(moments, groups, 50, seed=1), whole, atol=1e-13)
    assert not np.allclose(resampled_sums(moments, groups, 50, seed=2), whole)
    np.testing.assert_allclose(whole.sum(axis=1), resampled_sums(moments, np.zeros(31, dtype=int), 50, seed=1)[:, 0], atol=1e-12)


def test_error_and_interval():
    values = np.arange(101.0)
    assert error_and_interval(values) == (pytest.approx(values.std(ddof=1)), 2.5, 97.5)
    assert error_and_interval(np.append(values, [np.nan, np.inf])) == error_and_interval(values)
    assert np.isnan(error_and_interval(np.array([1.0, np.nan]))).all()


def test_the_table_has_every_model_pooled_and_per_fold():
    tests = {
        ("3ch", "3ch"): predictions_of(60, 1),
        ("ridge", "3ch"): predictions_of(60, 2, sd=8),
        ("ensemble", "all"): predictions_of(60, 3, sd=3),
    }
    table = scores_table(tests, 200, seed=1)
    columns = ["model", "view", "fold", "n", "participants"]
    assert list(table) == columns + [f"{name}{suffix}" for name in SCORES for suffix in ("", "_se", "_low", "_high")] + ["note"]
    assert table["fold"].tolist() == ["pooled", "0", "1", "2", "3", "4"] * 3
    assert table["model"].drop_duplicates().tolist() == ["3ch", "ridge", "ensemble"]
    assert table["n"].tolist() == [60, 12, 12, 12, 12, 12] * 3
    for (model, view), frame in tests.items():
        for row in table[(table["model"] == model) & (table["view"] == view)].itertuples():
            part = frame if row.fold == "pooled" else frame[frame["fold"] == int(row.fold)]
            expected = reference(part["age"], part["prediction"])
            for name in SCORES:
                assert getattr(row, name) == pytest.approx(expected[name], rel=1e-10)
                assert getattr(row, f"{name}_low") <= getattr(row, name) <= getattr(row, f"{name}_high")
    assert (table["note"] == "").all()


def test_the_table_depends_on_content_only():
    frame = predictions_of(40, 1, visits=2)
    shuffled = frame.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(scores_table({("a", "a"): frame}, 50, 3), scores_table({("a", "a"): shuffled}, 50, 3), check_exact=True)
    assert not scores_table({("a", "a"): frame}, 50, 4)["r2_se"].equals(scores_table({("a", "a"): frame}, 50, 3)["r2_se"])


def test_errors_are_over_participants_not_rows():
    once = predictions_of(150, 1, folds=3)
    four_times = pd.concat([once.assign(visit=visit) for visit in (2, 3, 4, 5)])
    single, repeated = (scores_table({("a", "a"): frame}, 400, 1).iloc[0] for frame in (once, four_times))
    assert repeated["n"] == 600 and repeated["participants"] == 150
    assert repeated["r2"] == pytest.approx(single["r2"], rel=1e-12)
    assert repeated["r2_se"] == pytest.approx(single["r2_se"], rel=1e-9)  # a bootstrap over rows would halve it


def test_the_standard_error_is_that_of_theory():
    rng = np.random.default_rng(8)
    error = rng.normal(size=400)
    frame = pd.DataFrame({"participant_id": [str(9_000_000 + k) for k in range(400)], "visit": 2, "age": np.arange(400.0), "fold": 0})
    row = scores_table({("a", "a"): frame.assign(prediction=frame["age"] + error)}, 4000, 1).iloc[0]
    assert row["mae_se"] == pytest.approx(np.abs(error).std() / 20, rel=0.05)


def test_cells_that_cannot_be_filled_are_empty_and_say_why():
    frame = predictions_of(40, 1, folds=4)
    frame.loc[frame["fold"] == 0, "prediction"] = 61.3
    frame.loc[frame["fold"] == 1, "age"] = 55.7
    frame = frame[(frame["fold"] != 2) | frame["participant_id"].isin(["9000002", "9000006"])]
    table = scores_table({("3ch", "3ch"): frame}, 100, seed=1).set_index("fold")
    assert table["note"].to_dict() == {
        "pooled": "",
        "0": "all predictions are equal: no correlation",
        "1": "all ages are equal: no R2, no correlation",
        "2": "fewer than 3 participants: no scores",
        "3": "",
    }
    of = {name: [name, f"{name}_se", f"{name}_low", f"{name}_high"] for name in SCORES}
    assert table.loc["0", of["pearson_r"]].isna().all() and table.loc["0", of["r2"] + of["rmse"] + of["mae"]].notna().all()
    assert table.loc["1", of["r2"] + of["pearson_r"]].isna().all() and table.loc["1", of["rmse"] + of["mae"]].notna().all()
    assert table.loc["2", [cell for cells in of.values() for cell in cells]].isna().all()
    assert table.loc["2", ["n", "participants"]].tolist() == [2, 2]
    assert table.loc[["pooled", "3"], [cell for cells in of.values() for cell in cells]].notna().all(axis=None)


def test_a_model_may_lack_people_and_folds():
    short = predictions_of(40, 2, folds=4)
    short = short[short["fold"] != 3]
    table = scores_table({("3ch", "3ch"): predictions_of(40, 1, folds=4), ("4ch", "4ch"): short}, 50, seed=1)
    assert table.loc[table["model"] == "4ch", "fold"].tolist() == ["pooled", "0", "1", "2"]
    assert table.loc[table["model"] == "4ch", "n"].tolist() == [30, 10, 10, 10]


def test_refusals_are_sentences_with_counts():
    frame = predictions_of(20, 1)
    twice = pd.concat([frame, frame.head(2).assign(fold=4, visit=3)])
    for tests, sentence in (
        ({}, "there are no test predictions to score"),
        ({("3ch", "3ch"): frame.head(0)}, "3ch 3ch: there are no test predictions"),
        ({("3ch", "3ch"): frame.assign(prediction=np.nan)}, r"3ch 3ch: 20 test row\(s\) have an age or a prediction that is not a number"),
        ({("3ch", "3ch"): twice}, r"2 participant\(s\) are tested in more than one fold"),
        ({("3ch", "3ch"): frame, ("4ch", "4ch"): frame.assign(fold=0)}, r"16 participant\(s\) are tested in more than one fold"),
    ):
        with pytest.raises(ScoreError, match=sentence) as caught:
            scores_table(tests, 50, 1)
        assert "900000" not in str(caught.value)
