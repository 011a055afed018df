"""Ensembles: exact weights, patterns of views, and no test age anywhere near a test prediction."""

import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

from heart_assets.statistics import EnsembleError, apply_ensemble, fit_ensemble
from heart_assets.statistics.ensembles import PRIOR_PEOPLE, _convex_weights


def table(ids, age, prediction, visit=2) -> pd.DataFrame:
    ids = [str(9_000_000 + k) for k in ids]
    return pd.DataFrame(
        {"study_id": [f"{i}_2_0" for i in ids], "participant_id": ids, "visit": visit, "age": age, "prediction": prediction}
    )


def noisy(number: int, spreads: dict[str, float], seed: int = 0, shared: float = 0.0) -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    age, common = rng.uniform(45, 80, number), rng.normal(size=number) * shared
    return {view: table(range(number), age, age + common + rng.normal(size=number) * sd) for view, sd in spreads.items()}


@pytest.mark.parametrize("views", [2, 3, 5])
def test_weights_are_the_constrained_minimum(views):
    rng = np.random.default_rng(views)
    errors = rng.normal(size=(60, views)) @ rng.normal(size=(views, views)) + 0.3
    share = 60 / (60 + PRIOR_PEOPLE)
    covariance = errors.T @ errors / 60
    shrunk = share * covariance + (1 - share) * np.trace(covariance) / views * np.eye(views)
    reference = minimize(
        lambda w: w @ shrunk @ w,
        np.full(views, 1 / views),
        jac=lambda w: 2 * shrunk @ w,
        bounds=[(0, 1)] * views,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    weights = _convex_weights(errors, 60)
    assert weights.sum() == pytest.approx(1, abs=1e-14) and (weights >= 0).all()
    assert weights @ shrunk @ weights <= reference.fun * (1 + 1e-10)
    np.testing.assert_allclose(weights, reference.x, atol=1e-5)


def test_two_views_have_the_closed_form():
    errors = np.array([[2.0, 1.0], [-2.0, 1.0], [2.0, -1.0], [-2.0, -1.0]])  # covariance diag(4, 1), mean 2.5
    share = 4 / (4 + PRIOR_PEOPLE)
    a, b = share * 4 + (1 - share) * 2.5, share * 1 + (1 - share) * 2.5
    np.testing.assert_allclose(_convex_weights(errors, 4), [b / (a + b), a / (a + b)], rtol=1e-12)


def test_few_people_stay_near_the_mean_many_do_not():
    few = fit_ensemble(noisy(20, {"3ch": 1.5, "4ch": 3.0}, shared=3)).patterns["3ch+4ch"]
    many = fit_ensemble(noisy(5000, {"3ch": 1.5, "4ch": 3.0}, shared=3)).patterns["3ch+4ch"]
    assert (few.people, many.people) == (20, 5000)
    assert 0.5 < few.weights["3ch"] < 0.7
    assert many.weights["3ch"] == pytest.approx(0.8, abs=0.03)  # 9 / (9 + 2.25)


def test_patterns_are_fitted_on_everybody_who_has_those_views():
    tables = noisy(40, {"2ch": 4, "3ch": 2, "4ch": 3})
    tables["2ch"] = tables["2ch"].head(10)
    weights = fit_ensemble(tables)
    assert {name: pattern.people for name, pattern in weights.patterns.items()} == {
        "2ch": 10,
        "3ch": 40,
        "4ch": 40,
        "2ch+3ch": 10,
        "2ch+4ch": 10,
        "3ch+4ch": 40,
        "2ch+3ch+4ch": 10,
    }
    pair = fit_ensemble({view: tables[view] for view in ("3ch", "4ch")})
    assert weights.patterns["3ch+4ch"] == pair.patterns["3ch+4ch"]
    assert weights.patterns["4ch"].weights == {"4ch": 1.0}
    assert json.loads(json.dumps(asdict(weights)))["patterns"]["3ch"] == {"people": 40, "weights": {"3ch": 1.0}}


def test_order_of_rows_and_repeated_visits_do_not_matter_to_the_bit():
    tables = noisy(30, {"3ch": 2, "4ch": 3})
    shuffled = {view: frame.sample(frac=1, random_state=3) for view, frame in tables.items()}
    assert fit_ensemble(tables) == fit_ensemble(shuffled)
    pd.testing.assert_frame_equal(
        apply_ensemble(fit_ensemble(tables), tables), apply_ensemble(fit_ensemble(tables), shuffled), check_exact=True
    )


def test_applying_gives_mean_weighted_and_marks_single_views():
    weights = fit_ensemble(noisy(50, {"3ch": 1, "4ch": 4}))
    share = weights.patterns["3ch+4ch"].weights["3ch"]
    tests = {"4ch": table([2, 1], [61, 50], [70.0, 55.0]), "3ch": table([1, 3], [50, 70], [51.0, 66.5])}
    result = apply_ensemble(weights, tests)
    assert list(result) == [
        *("participant_id", "visit", "age", "3ch", "4ch", "prediction_mean", "prediction_weighted", "prediction", "views", "single_view")
    ]
    assert result["participant_id"].tolist() == ["9000001", "9000002", "9000003"]
    assert result["age"].tolist() == [50.0, 61.0, 70.0]
    assert result["prediction_mean"].tolist() == [53.0, 70.0, 66.5]
    np.testing.assert_allclose(result["prediction_weighted"], [51 * share + 55 * (1 - share), 70.0, 66.5], rtol=1e-14)
    assert result["views"].tolist() == ["3ch+4ch", "4ch", "3ch"]
    assert result["single_view"].tolist() == [False, True, True]
    assert result["prediction"].equals(result["prediction_mean"].rename("prediction"))
    weighted = apply_ensemble(weights, tests, method="weighted")
    assert weighted["prediction"].tolist() == result["prediction_weighted"].tolist()


def test_visits_stay_apart_and_two_studies_of_one_are_averaged():
    both = pd.concat([table([1, 1], [50, 50], [52.0, 56.0]), table([1], [53], [60.0], visit=3)])
    result = apply_ensemble(fit_ensemble({"3ch": both}), {"3ch": both})
    assert result[["visit", "age", "prediction"]].values.tolist() == [[2, 50.0, 54.0], [3, 53.0, 60.0]]
    assert fit_ensemble({"3ch": both}).patterns["3ch"].people == 1


def test_a_view_that_nobody_has_gets_equal_weights():
    empty = table([], [], []).astype({"prediction": float})
    weights = fit_ensemble({"3ch": noisy(20, {"3ch": 2})["3ch"], "4ch": empty})
    assert weights.patterns["3ch+4ch"].people == 0
    assert weights.patterns["3ch+4ch"].weights == {"3ch": 0.5, "4ch": 0.5}
    result = apply_ensemble(weights, {"3ch": table([1], [50], [51.0])})
    assert result["4ch"].isna().all() and result["prediction"].tolist() == [51.0] and result["single_view"].tolist() == [True]


def test_ages_may_be_unknown():
    weights = fit_ensemble({"3ch": table([1], [np.nan], [51.0]), "4ch": table([1, 2], [np.nan, 60], [53.0, 61.0])})
    assert (weights.patterns["3ch+4ch"].people, weights.patterns["4ch"].people) == (0, 1)
    result = apply_ensemble(weights, {"3ch": table([1], [np.nan], [51.0])})
    assert result["prediction"].tolist() == [51.0] and result["age"].isna().all()


def test_identical_or_perfect_views():
    same = noisy(20, {"3ch": 2})["3ch"]
    np.testing.assert_allclose(list(fit_ensemble({"a": same, "b": same}).patterns["a+b"].weights.values()), [0.5, 0.5], atol=1e-12)
    perfect = same.assign(prediction=same["age"])
    assert fit_ensemble({"a": perfect, "b": perfect}).patterns["a+b"].weights == {"a": 0.5, "b": 0.5}


def test_refusals_are_sentences_with_counts():
    one = table([1, 2], [50, 60], [51.0, 61.0])
    for call, sentence in (
        (lambda: fit_ensemble({}), "an ensemble needs 1 to 10 views, not 0"),
        (lambda: fit_ensemble({"3ch": one.assign(prediction=[np.nan, 1.0])}), r"view 3ch has 1 prediction\(s\) that are not numbers"),
        (lambda: fit_ensemble({"3ch": one, "4ch": one.assign(age=[50, 62.0])}), r"the views disagree about the age of 1 participant\(s\)"),
        (lambda: fit_ensemble({"3ch": one.head(0)}), "no view has any prediction to combine"),
        (lambda: apply_ensemble(fit_ensemble({"3ch": one}), {}), "no view has any prediction to combine"),
        (lambda: apply_ensemble(fit_ensemble({"3ch": one}), {"4ch": one}), r"no ensemble weights were fitted for view\(s\) 4ch"),
    ):
        with pytest.raises(EnsembleError, match=sentence) as caught:
            call()
        assert "900000" not in str(caught.value)


@pytest.mark.parametrize("method", ["mean", "weighted"])
def test_the_ages_of_a_test_fold_do_not_move_its_predictions_by_a_bit(method):
    """Design, section 4: whole nested loop, three folds, two views; data fold j's ages are replaced, its test predictions are not."""
    rng = np.random.default_rng(5)
    people, count = 90, 3
    age, data_fold = rng.uniform(45, 80, people), np.arange(people) % 3
    noise = rng.normal(size=(count, 2, people)) * np.array([2.0, 3.0])[:, None]  # model, view, person
    outputs = 62 + 0.8 * (rng.uniform(45, 80, people) - 62) + noise  # what the networks said; fixed

    def test_predictions(ages: np.ndarray, model: int) -> np.ndarray:
        val, test = np.flatnonzero(data_fold == model), np.flatnonzero(data_fold == (model + 1) % count)
        of = lambda rows, view: table(rows, ages[rows], outputs[model, view][rows])  # noqa: E731
        weights = fit_ensemble({"3ch": of(val, 0), "4ch": of(val, 1)})
        return apply_ensemble(weights, {"3ch": of(test, 0), "4ch": of(test, 1)}, method)["prediction"].to_numpy()

    for j in range(count):
        changed = np.where(data_fold == j, rng.permutation(age) + 11, age)
        tester = (j - 1) % count
        assert test_predictions(age, tester).tobytes() == test_predictions(changed, tester).tobytes()
        if method == "weighted":  # and the test can tell: the model that validates on fold j does move
            assert test_predictions(age, j).tobytes() != test_predictions(changed, j).tobytes()
