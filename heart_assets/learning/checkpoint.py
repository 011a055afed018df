"""The file from which an interrupted training goes on: always written whole, and read only if it fits.

A checkpoint ends with the SHA-256 of the rest, and carries the key of the training it belongs to. One that is damaged
(torn), or belongs to another training (foreign), is renamed and left beside, and training starts anew. Loaded with
`weights_only=True`: there is no code in it.
"""

import glob
import hashlib
import logging
import mmap
import os
import uuid
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch

from heart_assets.files import atomic_path, digest, locked, remove_unfinished
from heart_assets.learning.device import machine
from heart_assets.settings import TrainingSettings
from heart_assets.store import VideoStore

STATE_VERSION = "2"  # raise it when the state in a checkpoint holds other things
SEAL_BYTES = hashlib.sha256().digest_size
KEPT_ASIDE = 2  # torn or foreign ones beside each checkpoint
WAIT_SECONDS = 60.0  # for a training that is just ending: its run is gone, but it finishes its batch and saves itself

logger = logging.getLogger(__name__)


def training_key(
    videos: VideoStore, rows: pd.DataFrame, training: TrainingSettings, spacing_mm: float, seed: int, device: torch.device, code: str
) -> str:
    """Digest of all that decides a training's bits, the kind of processor included; one GPU may go on for another of any kind."""
    table = rows[["index", "study_id", "age", "split"]].to_csv(index=False)
    place = machine(device) if device.type == "cpu" else f"torch {torch.__version__}, {device.type}"
    return digest([videos.digest, table, training.model_dump(mode="json"), spacing_mm, seed, code, STATE_VERSION, place])


def alone_with(path: Path | None) -> AbstractContextManager[None]:
    """Keep the checkpoint for this process while the block runs: two trainings never share one.

    Raises:
        StudyError: another process still has it after `WAIT_SECONDS`.
    """
    if path is None:
        return nullcontext()
    refusal = f"another process is training from the checkpoint {path.parent.name}/{path.name}: wait for its run, or cancel it"
    return locked(path.with_name(path.name + ".lock"), WAIT_SECONDS, refusal)


def save_checkpoint(path: Path, key: str, state: dict[str, Any]) -> None:
    """Replace the checkpoint atomically by one of `state` (tensors, numbers, strings, lists and dicts of them)."""
    with atomic_path(path) as temporary:
        torch.save({"key": key, "state": state}, temporary)
        with temporary.open("r+b") as file:
            seal = hashlib.file_digest(file, "sha256").digest()
            file.seek(0, os.SEEK_END)
            file.write(seal)


def load_checkpoint(path: Path, key: str) -> dict[str, Any] | None:
    """The state saved under this key, on the CPU; None if there is none. A torn or foreign file is set aside, with a log line.

    To be called by who is `alone_with` it: what killed processes have left of writing it is removed.
    """
    remove_unfinished(path)
    try:
        return _read(path, key)
    except FileNotFoundError:
        return None
    except _Unfit as unfit:
        _set_aside(path, unfit)
        return None


class _Unfit(Exception):
    """Why a checkpoint cannot be used: torn or foreign, and the end of a sentence."""

    def __init__(self, why: Literal["torn", "foreign"], sentence: str):
        super().__init__(sentence)
        self.why = why


def _read(path: Path, key: str) -> dict[str, Any]:
    with path.open("rb") as file:
        length = os.fstat(file.fileno()).st_size - SEAL_BYTES
        if length <= 0:
            raise _Unfit("torn", "is damaged")
        with mmap.mmap(file.fileno(), length, access=mmap.ACCESS_READ) as content:  # of gigabytes: no copy of it
            file.seek(length)
            if hashlib.sha256(content).digest() != file.read():
                raise _Unfit("torn", "is damaged")
            try:
                saved = torch.load(content, map_location="cpu", weights_only=True)  # type: ignore[arg-type]  # it reads and seeks
                if saved["key"] == key:
                    return saved["state"]
            except Exception as error:  # whatever a sealed file that no training has written makes of the reader
                raise _Unfit("foreign", f"was not written by a training ({type(error).__name__})") from None
    raise _Unfit("foreign", "belongs to other inputs, settings or another kind of machine")


def _set_aside(path: Path, unfit: _Unfit) -> None:
    """Rename a checkpoint that does not fit, and keep no more than the newest few of them."""
    aside = path.with_name(f"{path.name}.{unfit.why}-{uuid.uuid4().hex[:8]}")
    os.replace(path, aside)
    logger.warning("The checkpoint %s %s: it is kept as %s, and training starts anew.", path.name, unfit, aside.name)
    patterns = [f"{glob.escape(path.name)}.{why}-{'[0-9a-f]' * 8}" for why in ("torn", "foreign")]
    kept = sorted((file for pattern in patterns for file in path.parent.glob(pattern)), key=lambda file: file.stat().st_mtime_ns)
    for file in kept[:-KEPT_ASIDE]:
        file.unlink()
