"""The file from which an interrupted training goes on: written whole after every epoch, read only if it fits.

A checkpoint ends with the SHA-256 of the rest, and carries the key of the training it belongs to. One that is damaged
(torn), or belongs to another training (foreign), is renamed and left beside, and training starts anew. Loaded with
`weights_only=True`: there is no code in it.
"""

import hashlib
import io
import logging
import os
import uuid
from pathlib import Path
from typing import Any

import torch

from heart_assets.files import atomic_path

SEAL_BYTES = hashlib.sha256().digest_size

logger = logging.getLogger(__name__)


def save_checkpoint(path: Path, key: str, state: dict[str, Any]) -> None:
    """Replace the checkpoint atomically by one of `state` (tensors, numbers, strings, lists and dicts of them)."""
    buffer = io.BytesIO()
    torch.save({"key": key, "state": state}, buffer)
    content = buffer.getvalue()
    with atomic_path(path) as temporary:
        temporary.write_bytes(content + hashlib.sha256(content).digest())


def load_checkpoint(path: Path, key: str) -> dict[str, Any] | None:
    """The state saved under this key, on the CPU; None if there is none. A torn or foreign file is set aside, with a log line."""
    try:
        sealed = path.read_bytes()
    except FileNotFoundError:
        return None
    content, seal = sealed[:-SEAL_BYTES], sealed[-SEAL_BYTES:]
    if hashlib.sha256(content).digest() != seal:
        _set_aside(path, "torn", "is damaged")
        return None
    saved = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    if saved["key"] != key:
        _set_aside(path, "foreign", "belongs to other inputs, settings or another kind of machine")
        return None
    return saved["state"]


def _set_aside(path: Path, why: str, sentence: str) -> None:
    aside = path.with_name(f"{path.name}.{why}-{uuid.uuid4().hex[:8]}")
    os.replace(path, aside)
    logger.warning("The checkpoint %s %s: it is kept as %s, and training starts anew.", path.name, sentence, aside.name)
