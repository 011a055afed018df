"""applied_predictions by direct call: the mean over another study's models."""

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from heart_assets import learning
from heart_assets.ledger import Study
from heart_assets_tests.tiny import age_of, call, ids, make, phenotype_table, stores, tiny_study

NEW = ids(3, 9_000_201)


@pytest.fixture
def study(tmp_path, made: Study) -> Study:
    return tiny_study(tmp_path / "new", {"models_from": str(made.settings.data_dir), "raw.phenotypes": []})


@pytest.fixture(autouse=True)
def _plain_models(monkeypatch):
    """A model predicts its one weight plus the video's position: the weights of 3ch are 1, 2, 3, those of 4ch 4, 5, 6."""

    def predict(model, videos, rows, prediction):
        return rows[["study_id"]].assign(prediction=model.weights["w"][0] + 10.0 * rows["index"])

    monkeypatch.setattr(learning, "predict", predict, raising=False)


def test_the_mean_and_spread_over_the_other_studys_models(study):
    known = phenotype_table(NEW[:2])
    result = make(study, "applied_predictions", heart_videos=stores(study.settings.data_dir / "v", NEW), phenotypes=known)
    expected = pd.DataFrame(
        {
            "study_id": [f"{eid}_2_0" for eid in NEW] * 2,
            "participant_id": NEW * 2,
            "visit": 2,
            "age": [age_of(NEW[0]), age_of(NEW[1]), np.nan] * 2,
            "view": ["3ch"] * 3 + ["4ch"] * 3,
            "models": 3,
            "prediction": [2.0, 12.0, 22.0, 5.0, 15.0, 25.0],
            "sd_over_models": 1.0,
        }
    )
    pd.testing.assert_frame_equal(result.value, expected, check_dtype=False)
    assert {name: value for name, value in result.metadata.items() if name != "provenance"} == {
        "videos": 6,
        "videos_3ch": 3,
        "videos_4ch": 3,
    }
    again = make(study, "applied_predictions", heart_videos={}, phenotypes=known)
    assert again.metadata["kept"] is True
    pd.testing.assert_frame_equal(again.value, expected, check_dtype=False)


def test_models_that_are_gone_are_left_out_and_counted(study, made):
    (made.layout.model("4ch", "2") / "model.safetensors").unlink()
    table = call(
        study, "applied_predictions", heart_videos=stores(study.settings.data_dir / "v", NEW), phenotypes=phenotype_table(NEW)
    ).value
    of_4ch = table[table["view"] == "4ch"]
    assert of_4ch["models"].tolist() == [2, 2, 2] and of_4ch["prediction"].tolist() == [4.5, 14.5, 24.5]


def test_a_view_without_models_is_refused_with_one_sentence(study, made):
    for fold in made.folds:
        made.layout.record("trained_model", f"{fold}|4ch").unlink()
    with pytest.raises(dg.Failure) as failure:
        call(study, "applied_predictions", heart_videos=stores(study.settings.data_dir / "v", NEW), phenotypes=phenotype_table(NEW))
    assert failure.value.description == "models_from: study has no trained model for view 4ch"
