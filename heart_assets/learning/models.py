"""A trained model as a value, and its three files.

`model.safetensors` holds the weights, `history.csv` one row per epoch, `model.json` the card (what the model is and how it
came about) with the digests of the two others. No torch in here, and nothing is pickled.
"""

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.numpy import load, save

from heart_assets.errors import StudyError
from heart_assets.files import atomic_path, digest, write_text

WEIGHTS, CARD, HISTORY = "model.safetensors", "model.json", "history.csv"
HISTORY_COLUMNS = ("epoch", "learning_rate", "train_loss", "val_loss", "val_r2", "val_rmse", "val_mae")


class LearningError(StudyError):
    """Training or prediction that cannot be done as asked; the message is one sentence, without any participant's id."""


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """The weights of a network, what it is, and how its training went.

    Attributes:
        weights: name -> array, as in the network's `state_dict`.
        card: JSON-able: network, its input (frames, size), training settings, target mean and standard deviation
            (years), geometry, seed, versions, chosen epoch, numbers of training and validation videos.
        history: one row per epoch with `HISTORY_COLUMNS`; losses on the standardised age, RMSE and MAE in years. No
            wall times: the history of a training is the same whether or not it was interrupted.
    """

    weights: dict[str, np.ndarray]
    card: dict[str, Any]
    history: pd.DataFrame


def model_digest(model: TrainedModel) -> str:
    """Digest of weights and card, 16 hex digits; the same for the same training on the same kind of machine."""
    return digest([_digest(save(model.weights)), model.card])


def save_model(model: TrainedModel, folder: Path) -> None:
    """Write the three files, each atomically, the card last: it names the content of the others."""
    contents = {WEIGHTS: save(model.weights), HISTORY: model.history.to_csv(index=False).encode()}
    for name, content in contents.items():
        with atomic_path(folder / name) as path:
            path.write_bytes(content)
    described = {"card": model.card, "files": {name: _digest(content) for name, content in contents.items()}}
    write_text(folder / CARD, json.dumps(described, indent=1, sort_keys=True) + "\n")


def load_model(folder: Path) -> TrainedModel:
    """Read what `save_model` wrote.

    Raises:
        LearningError: a file is missing or damaged, or not the one that the card describes.
    """
    try:
        contents = {name: (folder / name).read_bytes() for name in (WEIGHTS, HISTORY)}
        described = json.loads((folder / CARD).read_text(encoding="utf-8"))
        intact = described["files"] == {name: _digest(content) for name, content in contents.items()}
        if intact:
            return TrainedModel(load(contents[WEIGHTS]), dict(described["card"]), pd.read_csv(io.BytesIO(contents[HISTORY])))
    except FileNotFoundError as error:
        raise LearningError(f"there is no trained model in {folder}: {Path(str(error.filename)).name} is missing") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LearningError(f"the trained model in {folder} is damaged ({type(error).__name__}); train it again") from None
    raise LearningError(f"the trained model in {folder} is damaged: its files do not belong together; train it again")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
