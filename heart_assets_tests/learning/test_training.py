"""Training: it learns, it repeats to the bit, it goes on to the bit after an interruption, and it refuses nonsense."""

import io
import math

import numpy as np
import pandas as pd
import pytest
import torch

from heart_assets.learning import LearningError, TrainedModel, load_model, model_digest, predict, save_model, train_model
from heart_assets.learning.models import HISTORY_COLUMNS
from heart_assets.settings import PredictionSettings
from heart_assets_tests.learning.conftest import (
    BATCH,
    SPACING_MM,
    STILL,
    Interrupted,
    Videos,
    assert_same,
    saved_state,
    signal_at,
    tiny_training,
)

SEED = 11


class Killed(Exception):
    """Stands for whatever ends a training from outside."""


def kill_after(epoch: int):
    def on_epoch(row):
        if row["epoch"] == epoch:
            raise Killed

    return on_epoch


def test_it_learns_age_from_motion_and_says_what_it_is(videos, rows, training):
    told = []
    settings = training.model_copy(update={"epochs": 40, "augmentation": STILL.model_copy(update={"shift_mm": 2, "random_phase": True})})
    model = train_model(videos, rows, settings, SPACING_MM, SEED, on_epoch=told.append)
    test = rows[rows["split"] == "test"]
    predictions = predict(model, videos, test, PredictionSettings())
    error = predictions["prediction"] - predictions["age"]
    assert 1 - (error**2).sum() / ((test["age"] - test["age"].mean()) ** 2).sum() > 0.9

    assert tuple(model.history.columns) == HISTORY_COLUMNS
    assert model.history["epoch"].tolist() == list(range(1, 41)) and all(row["seconds"] > 0 for row in told)
    assert model.history["val_r2"].iloc[-1] > 0.9 and model.history["train_loss"].iloc[-1] < 0.1 < model.history["train_loss"].iloc[0]
    assert [row["epoch"] for row in told] == list(range(1, 41)) and {row["epochs"] for row in told} == {40}
    train_ages = rows.loc[rows["split"] == "train", "age"]
    assert model.card["target_mean"] == pytest.approx(train_ages.mean(), abs=1e-12)
    assert model.card["target_sd"] == pytest.approx(train_ages.std(ddof=0), abs=1e-12)
    expected = {
        "network": "compact",
        "frames": 9,
        "size_px": 20,
        "spacing_mm": SPACING_MM,
        "pixel_mm": SPACING_MM,
        "seed": SEED,
        "n_train": 24,
    }
    assert {name: model.card[name] for name in expected} == expected
    assert (model.card["epoch"], model.card["last_epoch"], model.card["n_val"]) == (40, 40, 6)
    assert model.card["training"] == settings.model_dump(mode="json")
    assert not any("9000" in str(value) for value in model.card.values())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_seed_gives_the_same_bits_and_leaves_the_callers_random_state_alone(videos, rows, training, precision):
    settings = training.model_copy(update={"precision": precision, "epochs": 2})
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = train_model(videos, rows, settings, SPACING_MM, SEED)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert_same(one, train_model(videos, rows, settings, SPACING_MM, SEED))
    other = train_model(videos, rows, settings, SPACING_MM, SEED + 1)
    assert not np.array_equal(one.weights["stem.0.weight"], other.weights["stem.0.weight"])


def test_ages_of_the_test_split_move_nothing(videos, rows, training):
    moved = rows.assign(age=rows["age"] + 7 * (rows["split"] == "test"))
    assert_same(train_model(videos, rows, training, SPACING_MM, SEED), train_model(videos, moved, training, SPACING_MM, SEED))


GOLDEN = """\
epoch,learning_rate,train_loss,val_loss,val_r2,val_rmse,val_mae
1,0.00971052457977236,0.7584220767021179,0.5597339272499084,-0.17288420225375778,10.546888066837555,9.100748168704781
2,0.006434016163555452,0.5908356308937073,0.5673425793647766,-0.18599339634141754,10.60566497507783,9.242970853208647
3,0.0005318367983829392,0.4018124043941498,0.539982259273529,-0.12444936465617906,10.326822688011932,8.868565169078982
"""


def test_the_mathematics_of_training_has_not_changed(videos, rows, training):
    """If it was meant to: raise `CODE_VERSION`, and put the new history here. (Another processor moves the sixth digit.)"""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        model = train_model(videos, rows, training, SPACING_MM, SEED)
    finally:
        torch.set_num_threads(threads)
    pd.testing.assert_frame_equal(model.history, pd.read_csv(io.StringIO(GOLDEN)), rtol=1e-4)


@pytest.mark.parametrize("final_weights", ["ema", "best_validation"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_interrupted_training_goes_on_to_the_same_bits(videos, rows, training, tmp_path, final_weights, precision):
    settings = training.model_copy(update={"final_weights": final_weights, "precision": precision, "epochs": 5, "dropout": 0.4})
    whole = train_model(videos, rows, settings, SPACING_MM, SEED)
    checkpoint = tmp_path / "deep" / "checkpoint.pt"
    for epoch in (1, 2, 4):
        with pytest.raises(Killed):
            train_model(videos, rows, settings, SPACING_MM, SEED, checkpoint, kill_after(epoch))
        torch.rand(3)
    seen = []
    assert_same(whole, train_model(videos, rows, settings, SPACING_MM, SEED, checkpoint, seen.append))
    assert [row["epoch"] for row in seen] == [5]
    assert_same(whole, train_model(videos, rows, settings, SPACING_MM, SEED, checkpoint, seen.append))
    assert len(seen) == 1 and {path.name for path in checkpoint.parent.iterdir()} == {"checkpoint.pt", "checkpoint.pt.lock"}


def test_the_best_epoch_is_chosen_and_recorded(videos, rows, training, monkeypatch):
    monkeypatch.setattr("heart_assets.learning.training.one_cycle", lambda step, steps, peak: peak if step < steps // 2 else 1.0)
    settings = training.model_copy(update={"final_weights": "best_validation", "epochs": 12, "augmentation": STILL})
    model = train_model(videos, rows, settings, SPACING_MM, SEED)
    best = int(model.history["val_rmse"].idxmin()) + 1
    assert 1 < best < 12 and (model.card["epoch"], model.card["best_epoch"], model.card["last_epoch"]) == (best, best, 12)
    first_phase = one_phase_predictions(model, videos, rows[rows["split"] == "val"])
    rmse = math.sqrt(((first_phase["prediction"] - first_phase["age"]) ** 2).mean())
    assert rmse == pytest.approx(model.history["val_rmse"].min(), abs=1e-3)
    last = train_model(videos, rows, settings.model_copy(update={"final_weights": "ema"}), SPACING_MM, SEED)
    assert last.card["epoch"] == 12 and not np.array_equal(last.weights["head.2.weight"], model.weights["head.2.weight"])


def one_phase_predictions(model: TrainedModel, videos: Videos, rows: pd.DataFrame) -> pd.DataFrame:
    """Predictions from the first frame phase alone: of videos whose second phase repeats the first."""
    still = Videos(videos.pixels[:, ::2].repeat(2, axis=1))
    return predict(model, still, rows, PredictionSettings(geometric_passes=1))


def test_divergence_is_one_sentence_and_the_last_good_checkpoint_stays(videos, rows, training, tmp_path, monkeypatch):
    steps = []

    def loss(name):
        def measured(output, target):
            steps.append(name)
            return (output - target).square().mean() * (math.nan if len(steps) == 3 + 1 + 2 else 1)

        return measured

    monkeypatch.setattr("heart_assets.learning.training.loss_function", loss)
    checkpoint = tmp_path / "checkpoint.pt"
    with pytest.raises(LearningError, match="diverged: the loss is not a finite number at epoch 2, step 2 of 3; lower") as caught:
        train_model(videos, rows, training, SPACING_MM, SEED, checkpoint)
    assert "90000" not in str(caught.value) and {path.name for path in tmp_path.iterdir()} == {"checkpoint.pt", "checkpoint.pt.lock"}
    assert saved_state(checkpoint)["epoch"] == 1


@pytest.mark.parametrize("when", ["validation", "end"])
def test_weights_that_are_not_finite_never_leave_the_training(videos, rows, training, monkeypatch, when):
    def spoil(averaged, network, decay):
        for name, value in averaged.state_dict().items():
            if name == ("head.2.bias" if when == "validation" else "head.0.running_var"):
                value.fill_(math.nan if when == "validation" else math.inf)

    monkeypatch.setattr("heart_assets.learning.training.average", spoil)
    with pytest.raises(LearningError, match="diverged: the (averaged weights give no finite validation loss after epoch 1|final weights)"):
        train_model(videos, rows, training, SPACING_MM, SEED)


def test_bad_input_costs_no_training_time(videos, rows, training):
    with pytest.raises(LearningError, match="crop_px is 28 px, but the stored videos measure only 24 px"):
        train_model(videos, rows, training.model_copy(update={"crop_px": 28}), SPACING_MM, SEED)
    with pytest.raises(LearningError, match="`original` needs clips of at least 122 px"):
        train_model(videos, rows, training.model_copy(update={"network": "original"}), SPACING_MM, SEED)
    with pytest.raises(LearningError, match="all ages of the training split are equal"):
        train_model(videos, rows.assign(age=50.0), training, SPACING_MM, SEED)


def test_one_validation_video_has_no_r2(videos, rows, training):
    rows = rows[(rows["split"] != "val") | ~rows.duplicated("split")]
    model = train_model(videos, rows, training, SPACING_MM, SEED)
    assert model.history["val_r2"].isna().all() and model.history["val_rmse"].notna().all()


def test_no_batch_is_left_with_one_clip(videos, rows, training):
    nine = rows[(rows["split"] != "train") | (rows.groupby("split").cumcount() < 9)]
    model = train_model(videos, nine, training.model_copy(update={"batch_size": 2, "epochs": 1}), SPACING_MM, SEED)
    assert int(model.weights["stem.1.num_batches_tracked"]) == 4


def test_a_trained_model_comes_back_from_its_files(videos, rows, training, tmp_path):
    model = train_model(videos, rows, training, SPACING_MM, SEED)
    save_model(model, tmp_path)
    loaded = load_model(tmp_path)
    assert_same(model, loaded)
    assert model_digest(loaded) == model_digest(model)
    pd.testing.assert_frame_equal(predict(loaded, videos, rows, PredictionSettings()), predict(model, videos, rows, PredictionSettings()))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_on_a_gpu_an_interrupted_training_goes_on_to_the_same_curve(videos, rows, tmp_path, precision):
    settings = tiny_training(epochs=6, precision=precision, final_weights="best_validation")
    whole = train_model(videos, rows, settings, SPACING_MM, SEED)
    checkpoint = tmp_path / "checkpoint.pt"
    for call in (2, 3, 1):  # inside an epoch, after its last batch, in the first of the next
        with pytest.raises(Interrupted), signal_at(BATCH, call):
            train_model(videos, rows, settings, SPACING_MM, SEED, checkpoint)
        torch.rand(3, device="cuda")
    with pytest.raises(Killed):
        train_model(videos, rows, settings, SPACING_MM, SEED, checkpoint, kill_after(4))
    resumed = train_model(videos, rows, settings, SPACING_MM, SEED, checkpoint)
    noise = {"fp32": 2e-3, "bf16": 3e-2}[precision]
    pd.testing.assert_frame_equal(resumed.history, whole.history, rtol=noise, atol=noise)
    assert torch.cuda.get_device_name() in resumed.card["machine"] and resumed.card == whole.card
