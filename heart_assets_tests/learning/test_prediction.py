"""Predictions: the mean over fixed passes, whatever the batch, and only from a model that fits the store."""

import dataclasses

import numpy as np
import pytest
import torch

from heart_assets.learning import LearningError, TrainedModel, predict, train_model
from heart_assets.learning.augment import network_input, pass_changes
from heart_assets.learning.networks import build_network
from heart_assets.settings import PredictionSettings
from heart_assets_tests.learning.conftest import SPACING_MM, Videos

PASSES = PredictionSettings(geometric_passes=3, rotation_deg=5, shift_mm=4)


@pytest.fixture
def model(videos, rows, training) -> TrainedModel:
    return train_model(videos, rows, training, SPACING_MM, seed=1)


def test_a_prediction_is_the_mean_over_phases_and_passes(model, videos, rows, training):
    network = build_network(training, 9, 20).eval()
    network.load_state_dict({name: torch.tensor(value) for name, value in model.weights.items()})
    passes = []
    for number in range(3):
        for phase in range(2):
            frames = torch.from_numpy(videos.pixels[rows["index"].to_numpy()][:, phase::2])
            with torch.inference_mode():
                passes.append(network(network_input(frames, pass_changes(number, len(rows), PASSES), 20, SPACING_MM)).numpy())
    ages = np.stack(passes) * model.card["target_sd"] + model.card["target_mean"]

    table = predict(model, videos, rows, PASSES)
    assert list(table.columns) == ["study_id", "participant_id", "visit", "age", "prediction", "prediction_sd"]
    assert table["study_id"].tolist() == rows["study_id"].tolist() and table["age"].tolist() == rows["age"].tolist()
    np.testing.assert_allclose(table["prediction"], ages.mean(0), atol=1e-4)
    np.testing.assert_allclose(table["prediction_sd"], ages.std(0), atol=1e-4)
    assert (table["prediction_sd"] > 0).all()


def test_predictions_do_not_depend_on_the_batch_or_its_company(model, videos, rows):
    together = predict(model, videos, rows, PASSES, batch_size=36)
    for batch_size in (1, 5, 32):
        table = predict(model, videos, rows, PASSES, batch_size)
        for column in ("prediction", "prediction_sd"):
            np.testing.assert_allclose(table[column], together[column], rtol=0, atol=1e-5)
    alone = predict(model, videos, rows[7:8], PASSES)
    assert abs(alone["prediction"].item() - together["prediction"][7]) < 1e-5


def test_the_random_state_of_the_caller_is_neither_used_nor_moved(model, videos, rows):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = predict(model, videos, rows, PASSES)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert predict(model, videos, rows, PASSES).equals(one)


def test_unknown_ages_can_be_predicted(model, videos, rows):
    table = predict(model, videos, rows.drop(columns="split").assign(age=np.nan), PASSES)
    assert table["age"].isna().all() and np.isfinite(table["prediction"]).all()


def other_card(**values):
    return lambda model: dataclasses.replace(model, card={**model.card, **values})


def other_training(**values):
    return lambda model: dataclasses.replace(model, card={**model.card, "training": {**model.card["training"], **values}})


def without_a_weight(model):
    return dataclasses.replace(model, weights={name: value for name, value in model.weights.items() if name != "head.2.bias"})


def not_a_number(model):
    return dataclasses.replace(model, weights={**model.weights, "head.2.bias": np.array([np.nan], np.float32)})


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (other_training(width=8), "not those of a `compact` network"),
        (without_a_weight, "not those of a `compact` network"),
        (not_a_number, "not finite numbers"),
        (other_training(network="resnet"), "card does not describe its training"),
        (lambda model: dataclasses.replace(model, card={}), "card does not describe its training"),
        (other_card(frames=25), "reads clips of 25 frames, 20 px and 2.0 mm .* the store gives 9, 20 and 2.0"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(model, videos, rows, spoil, sentence):
    with pytest.raises(LearningError, match=sentence):
        predict(spoil(model), videos, rows, PASSES)


def test_a_store_of_another_geometry_is_refused(model, videos, rows):
    with pytest.raises(LearningError, match=r"2.0 mm a stored pixel, but the store gives 9, 20 and 1.8"):
        predict(model, Videos(videos.pixels, {"spacing_mm": 1.8}), rows, PASSES)
    with pytest.raises(LearningError, match="crop_px is 20 px, but the stored videos measure only 18 px"):
        predict(model, Videos(videos.pixels[..., :18]), rows, PASSES)
    with pytest.raises(LearningError, match="table of rows is empty"):
        predict(model, videos, rows[:0], PASSES)
