"""The file from which an interrupted training goes on: written whole after every epoch, read only if it fits.

A checkpoint carries the key of the training it belongs to. One that cannot be read (torn), or belongs to another
training (foreign), is renamed and left beside, and training starts anew. Loaded with `weights_only=True`: no code in it.
"""

import io
import logging
import os
import uuid
from pathlib import Path
from typing import Any

import torch

from heart_assets.files import atomic_path

logger = logging.getLogger(__name__)


def save_checkpoint(path: Path, key: str, state: dict[str, Any]) -> None:
    """Replace the checkpoint atomically by one of `state` (tensors, numbers, strings, lists and dicts of them)."""
    with atomic_path(path) as temporary:
        torch.save({"key": key, "state": state}, temporary)


def load_checkpoint(path: Path, key: str) -> dict[str, Any] | None:
    """The state saved under this key; None if there is none. A torn or foreign file is set aside, with a log line."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        saved = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        found, state = saved["key"], saved["state"]
    except Exception as error:  # whatever the damage makes torch raise
        _set_aside(path, "torn", f"cannot be read ({type(error).__name__})")
        return None
    if found != key:
        _set_aside(path, "foreign", "belongs to other inputs, settings or another kind of machine")
        return None
    return state


def _set_aside(path: Path, why: str, sentence: str) -> None:
    aside = path.with_name(f"{path.name}.{why}-{uuid.uuid4().hex[:8]}")
    os.replace(path, aside)
    logger.warning("The checkpoint %s %s: it is kept as %s, and training starts anew.", path.name, sentence, aside.name)
