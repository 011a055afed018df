"""Networks that read a heart's age from its video: training clips, augmentation, training, prediction, and a baseline.

What belongs here: everything between a store of videos with a table of ages and a `TrainedModel` or a table of
predictions. What does not: where videos come from (store, dicom), who is in which fold, scores and ensembles
(statistics), and any orchestration.

torch is imported when `train_model` or `predict` is first asked for, not when this package is.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from heart_assets.learning.models import LearningError, TrainedModel, load_model, model_digest, save_model
from heart_assets.learning.ridge import ridge_features, ridge_predictions

if TYPE_CHECKING:
    from heart_assets.learning.prediction import predict
    from heart_assets.learning.training import train_model

__all__ = [
    "LearningError",
    "TrainedModel",
    "load_model",
    "model_digest",
    "predict",
    "ridge_features",
    "ridge_predictions",
    "save_model",
    "train_model",
]

_WITH_TORCH = {"predict": "heart_assets.learning.prediction", "train_model": "heart_assets.learning.training"}


def __getattr__(name: str) -> Any:
    if name in _WITH_TORCH:
        return getattr(import_module(_WITH_TORCH[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
