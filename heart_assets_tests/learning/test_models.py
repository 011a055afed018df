"""A model's files: exact round trip, and damage seen."""

import dataclasses
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from heart_assets.learning import LearningError, TrainedModel, load_model, model_digest, save_model
from heart_assets.learning.models import HISTORY_COLUMNS


@pytest.fixture
def model() -> TrainedModel:
    rng = np.random.default_rng(0)
    weights = {"stem.weight": rng.normal(size=(4, 2, 3)).astype(np.float32), "stem.counter": np.array(7)}
    history = pd.DataFrame(rng.normal(size=(3, len(HISTORY_COLUMNS))), columns=list(HISTORY_COLUMNS)).assign(epoch=[1, 2, 3])
    return TrainedModel(weights, {"network": "compact", "target_mean": 1 / 3, "training": {"epochs": 3}}, history)


def test_round_trip_is_exact(model, tmp_path):
    save_model(model, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["history.csv", "model.json", "model.safetensors"]
    assert loaded.card == model.card and loaded.weights.keys() == model.weights.keys()
    for name, value in model.weights.items():
        assert loaded.weights[name].dtype == value.dtype
        np.testing.assert_array_equal(loaded.weights[name], value)
    pd.testing.assert_frame_equal(loaded.history, model.history, check_exact=True)
    assert model_digest(loaded) == model_digest(model)


def test_the_digest_is_of_weights_and_card_not_of_the_history(model):
    other = {**model.weights, "stem.counter": np.array(8)}
    assert model_digest(dataclasses.replace(model, weights=other)) != model_digest(model)
    assert model_digest(dataclasses.replace(model, card={**model.card, "seed": 1})) != model_digest(model)
    assert model_digest(dataclasses.replace(model, history=model.history.iloc[:1])) == model_digest(model)


@pytest.mark.parametrize("name", ["history.csv", "model.json", "model.safetensors"])
def test_a_missing_file_is_named(model, tmp_path, name):
    save_model(model, tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(LearningError, match=f"{name} is missing"):
        load_model(tmp_path)


@pytest.mark.parametrize("name", ["history.csv", "model.json", "model.safetensors"])
@pytest.mark.parametrize(
    "damage", [lambda content: b"", lambda content: content[: len(content) // 2], lambda content: b"\xff" + content[1:]]
)
def test_a_damaged_file_is_refused(model, tmp_path, name, damage):
    save_model(model, tmp_path)
    path = tmp_path / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(LearningError, match="damaged.*train it again"):
        load_model(tmp_path)


def test_weights_of_another_training_are_noticed(model, tmp_path):
    save_model(model, tmp_path)
    save_model(dataclasses.replace(model, weights={"stem.weight": np.zeros(3, np.float32)}), tmp_path / "other")
    (tmp_path / "other" / "model.safetensors").replace(tmp_path / "model.safetensors")
    with pytest.raises(LearningError, match="do not belong together"):
        load_model(tmp_path)


def test_importing_the_room_does_not_import_torch():
    code = "import sys, heart_assets.learning as room; print('torch' in sys.modules, hasattr(room, 'nothing'), callable(room.train_model))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["False", "False", "True"]
