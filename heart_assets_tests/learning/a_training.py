"""A training for the tests of processes: tells what it does in a file, waits at a batch if it is asked to, and saves its model."""

import time
from pathlib import Path

import torch

from heart_assets.errors import StudyError
from heart_assets.learning import checkpoint, save_model, training
from heart_assets_tests.learning.conftest import SPACING_MM, some_rows, tiny_training, videos_of

EPOCHS, BATCHES, SEED = 40, 6, 11


def train(folder: Path, name: str, wait_at: int | None = None, pause: float = 0.0, patience: float = 60.0) -> None:
    """Train from `folder`/checkpoint.pt to `folder`/model.

    Args:
        folder: shared by the trainings that go on for one another.
        name: what is told goes to `folder`/`name`, a line each.
        wait_at: the number of this process's batch, from 0, in which it waits for the file `folder`/go.
        pause: seconds before every batch.
        patience: how long it waits for another training of this checkpoint.
    """

    def tell(line: str) -> None:
        with (folder / name).open("a") as file:
            file.write(line + "\n")

    batches, real = [], training.random_changes

    def one_more_batch(*arguments):
        batches.append(None)
        if len(batches) - 1 == wait_at:
            tell("waits")
            while not (folder / "go").exists():
                time.sleep(0.01)
        time.sleep(pause)
        return real(*arguments)

    torch.set_num_threads(1)
    training.random_changes = one_more_batch
    checkpoint.WAIT_SECONDS = patience
    rows, settings = some_rows(), tiny_training(epochs=EPOCHS, batch_size=24 // BATCHES, dropout=0.4)
    tell("begins")
    try:
        model = training.train_model(
            videos_of(rows), rows, settings, SPACING_MM, SEED, folder / "checkpoint.pt", lambda row: tell(f"epoch {row['epoch']}")
        )
    except StudyError as error:
        tell(str(error))
        raise SystemExit(3) from None
    save_model(model, folder / "model")
