"""Checkpoints that do not fit, in every way that a file can be wrong: set aside, never executed, never an error, never many."""

import hashlib
import io
import logging
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from heart_assets.learning import train_model
from heart_assets.learning.checkpoint import KEPT_ASIDE, load_checkpoint, save_checkpoint
from heart_assets_tests.learning.conftest import BATCH, SPACING_MM, Interrupted, assert_same, saved_state, signal_at

SEED = 11


@pytest.fixture
def checkpoint(videos, rows, training, tmp_path) -> Path:
    """A checkpoint after two of the three batches of the second epoch."""
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(Interrupted), signal_at(BATCH, call=3 + 2):
        train_model(videos, rows, training, SPACING_MM, SEED, path)
    state = saved_state(path)
    assert (state["epoch"], len(state["losses"]), sorted(state["order"].tolist())) == (1, 2, list(range(24)))
    return path


def aside(checkpoint: Path) -> list[str]:
    """Names of the files beside a checkpoint and its lock, without their random ends."""
    return sorted(path.name.rpartition("-")[0] for path in checkpoint.parent.iterdir() if path.suffix not in (".pt", ".lock"))


def archive(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def seal(content: bytes) -> bytes:
    return content + hashlib.sha256(content).digest()


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def armed(path: Path) -> bytes:
    """An archive just as torch writes it, whose pickle is a bomb."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive({}))) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            new.writestr(name, pickle.dumps(Bomb(path), 2) if name.endswith("data.pkl") else old.read(name))
    return made.getvalue()


@pytest.mark.parametrize("change", ["seed", "age", "video", "settings", "spacing"])
def test_a_checkpoint_of_another_training_is_set_aside(videos, rows, training, checkpoint, caplog, change):
    settings, seed, spacing = training, SEED, SPACING_MM
    match change:
        case "seed":
            seed += 1
        case "age":
            rows.loc[0, "age"] += 1e-9
        case "video":
            videos.digest = "another"
        case "settings":
            settings = training.model_copy(update={"weight_decay": 0.1})
        case "spacing":
            spacing = 1.9
    with caplog.at_level(logging.WARNING):
        resumed = train_model(videos, rows, settings, spacing, seed, checkpoint)
    assert_same(resumed, train_model(videos, rows, settings, spacing, seed))
    assert aside(checkpoint) == ["checkpoint.pt.foreign"]
    assert "belongs to other inputs" in caplog.text and "90000" not in caplog.text


def flip_a_bit(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "shorter than a seal": lambda content: content[:31],
    "a seal alone": lambda content: seal(b""),
    "half": lambda content: content[: len(content) // 2],
    "without its last byte": lambda content: content[:-1],
    "without its seal": lambda content: content[:-32],
    "text": lambda content: b"not a checkpoint",
    "random": lambda content: np.random.default_rng(1).bytes(len(content)),
    "zeros, as after a power cut": lambda content: bytes(len(content)),
    "one bit": flip_a_bit,
    "one byte too many": lambda content: content + b"\0",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_torn_checkpoint_is_set_aside(videos, rows, training, checkpoint, caplog, damage):
    content = DAMAGE[damage](checkpoint.read_bytes())
    checkpoint.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        resumed = train_model(videos, rows, training, SPACING_MM, SEED, checkpoint)
    assert_same(resumed, train_model(videos, rows, training, SPACING_MM, SEED))
    assert aside(checkpoint) == ["checkpoint.pt.torn"] and "is damaged" in caplog.text
    (kept,) = checkpoint.parent.glob("*.torn-*")
    assert kept.read_bytes() == content


def test_a_checkpoint_cut_at_any_byte_is_set_aside(tmp_path):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, "key", {"epoch": 1, "order": torch.arange(5), "losses": torch.rand(2)})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert load_checkpoint(path, "key") is None and not path.exists(), length
    path.write_bytes(whole)
    assert load_checkpoint(path, "key")["order"].tolist() == [0, 1, 2, 3, 4]


SEALED: dict[str, Callable[[Path], bytes]] = {
    "random": lambda _: np.random.default_rng(1).bytes(5000),
    "no archive": lambda _: b"PK\3\4 and no more",
    "another archive": lambda _: archive([1, 2]),
    "no key": lambda _: archive({"state": {}}),
    "another key": lambda _: archive({"key": "another", "state": {}}),
    "a pickle": lambda path: pickle.dumps(Bomb(path), 2),
    "a pickle of torch's older form": lambda path: b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, Bomb(path))),
    "a pickle in an archive": armed,
}


@pytest.mark.parametrize("kind", SEALED)
def test_what_is_well_sealed_but_foreign_is_set_aside_and_never_executed(tmp_path, kind):
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(seal(SEALED[kind](tmp_path / "crater")))
    assert load_checkpoint(path, "key") is None
    assert aside(path) == ["checkpoint.pt.foreign"] and not (tmp_path / "crater").exists()


def test_the_bombs_are_live(tmp_path):
    torch.load(io.BytesIO(armed(tmp_path / "crater")), weights_only=False)
    assert (tmp_path / "crater").exists()


def test_of_what_is_set_aside_the_newest_are_kept(tmp_path):
    path, others = tmp_path / "checkpoint.pt", ["checkpoint.pt.lock", "checkpoint.pt.torn-by-me", "other-checkpoint.pt.torn-01234567"]
    for name in others:
        (tmp_path / name).write_bytes(b"not to be touched")
    for number in range(5):
        path.write_bytes(b"torn %d" % number if number % 2 else seal(b"foreign %d" % number))
        os.utime(path, (number, number))
        assert load_checkpoint(path, "key") is None
    left = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert all(left.pop(name) == b"not to be touched" for name in others)
    assert KEPT_ASIDE == 2 and sorted(left.values()) == [seal(b"foreign 4"), b"torn 3"]


def test_what_killed_processes_have_left_half_written_is_removed(tmp_path):
    path, left = tmp_path / "checkpoint.pt", tmp_path / ".tmp-0123456789ab-checkpoint.pt"
    left.write_bytes(b"half of a check")
    save_checkpoint(path, "key", {"epoch": 3})
    assert load_checkpoint(path, "key") == {"epoch": 3} and [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]
