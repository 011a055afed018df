"""Predictions of a trained model, averaged over frame phases and a few small fixed shifts and rotations."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from pydantic import ValidationError
from torch import nn

from heart_assets.learning.augment import Changes, network_input, pass_changes
from heart_assets.learning.clips import Clips, clip_shape
from heart_assets.learning.device import compute_device, forward, place
from heart_assets.learning.models import LearningError, TrainedModel
from heart_assets.learning.networks import build_network
from heart_assets.learning.rows import check_rows
from heart_assets.settings import PredictionSettings, TrainingSettings
from heart_assets.store import VideoStore


def predict(
    model: TrainedModel, videos: VideoStore, rows: pd.DataFrame, prediction: PredictionSettings, batch_size: int = 32
) -> pd.DataFrame:
    """Predict the age of some videos.

    Every video is passed through the network once per frame phase and geometric pass. What a pass does depends on its
    number alone, so results do not depend on the batch (to 1e-5 years in fp32; to 0.1 years in bf16).

    Args:
        model: from `train_model` or `load_model`.
        videos: a store whose frames and size suit the model.
        rows: columns index (position in the store), study_id, participant_id, visit, age (may be NaN).
        prediction: number and size of the geometric passes.
        batch_size: clips at once.

    Returns:
        study_id, participant_id, visit, age, prediction (mean over the passes, years), prediction_sd (standard
        deviation over the passes, years), in the order of `rows`.

    Raises:
        LearningError: the rows, the model or the store do not fit each other.
    """
    check_rows(rows, len(videos))
    training, device = _settings_of(model), compute_device()
    network = place(_network_of(model, training, videos), device)
    clips = Clips(videos, rows["index"].to_numpy(), training, device)
    passes = []
    for number in range(prediction.geometric_passes):
        for phase in range(clips.phases):
            changes = lambda count, number=number: pass_changes(number, count, prediction)  # noqa: E731
            passes.append(one_pass(network, clips, phase, changes, model.card["pixel_mm"], training.precision, batch_size))
    ages = np.stack(passes).astype(float) * model.card["target_sd"] + model.card["target_mean"]
    if not np.isfinite(ages).all():
        raise LearningError("the model predicts values that are not finite numbers")
    table = rows[["study_id", "participant_id", "visit", "age"]].reset_index(drop=True)
    return table.assign(prediction=ages.mean(0), prediction_sd=ages.std(0))


def _settings_of(model: TrainedModel) -> TrainingSettings:
    try:
        return TrainingSettings.model_validate(model.card["training"])
    except (KeyError, ValidationError) as error:
        raise LearningError(
            f"the model's card does not describe its training as this version does ({type(error).__name__}); train it again"
        ) from None


def _network_of(model: TrainedModel, training: TrainingSettings, videos: VideoStore) -> nn.Module:
    frames, size = clip_shape(videos, training)
    found = frames, size, videos.attributes.get("spacing_mm", model.card["spacing_mm"])
    trained = model.card["frames"], model.card["size_px"], model.card["spacing_mm"]
    if found != trained:
        raise LearningError(
            "the model reads clips of {} frames, {} px and {} mm a stored pixel".format(*trained)
            + ", but the store gives {}, {} and {}".format(*found)
        )
    with torch.device("meta"):
        network = build_network(training, frames, size)
    try:
        network.load_state_dict({name: torch.tensor(value) for name, value in model.weights.items()}, assign=True)
    except RuntimeError:
        raise LearningError(f"the weights are not those of a `{training.network}` network of these settings") from None
    return network


def one_pass(
    network: nn.Module,
    clips: Clips,
    phase: int,
    changes: Callable[[int], Changes],
    pixel_mm: float,
    precision: str,
    batch_size: int,
    after_batch: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """Standardised ages (n,) float32 of all clips, in one frame phase, without dropout or gradients."""
    network.eval()
    results = []
    with torch.inference_mode():
        for start in range(0, len(clips.indices), batch_size):
            rows = np.arange(start, min(start + batch_size, len(clips.indices)))
            batch = clips.batch(rows, np.full(len(rows), phase))
            results.append(forward(network, network_input(batch, changes(len(rows)), clips.size, pixel_mm), precision))
            after_batch()
    return torch.cat(results).cpu().numpy()
