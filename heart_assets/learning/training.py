"""One training, from a table of rows to a `TrainedModel`, that goes on where it was ended.

What belongs here: the loop, and what a checkpoint holds. What does not: layers (networks.py), pixels (clips.py, augment.py),
how one step is taken (optimisation.py), the checkpoint's file (checkpoint.py), how signals are put off (interruption.py).

Everything random comes from two states that the training owns: a CPU generator for the order and the augmentation, and
torch's global state (initial weights, dropout), which is forked, so the caller's is untouched. On one kind of CPU with
one number of threads, the same inputs and seed give the same bits, interrupted or not; on a GPU, the same but for the
noise of its arithmetic. A kill costs what was done since the last epoch; SIGTERM and SIGINT cost nothing.
"""

import copy
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from heart_assets.learning.augment import network_input, no_changes, random_changes
from heart_assets.learning.checkpoint import alone_with, load_checkpoint, save_checkpoint, training_key
from heart_assets.learning.clips import Clips, clip_shape
from heart_assets.learning.device import compute_device, forward, machine, place
from heart_assets.learning.interruption import deferred_signals
from heart_assets.learning.models import HISTORY_COLUMNS, LearningError, TrainedModel
from heart_assets.learning.networks import build_network
from heart_assets.learning.optimisation import average, decay_groups, loss_function, one_cycle
from heart_assets.learning.prediction import one_pass
from heart_assets.learning.rows import check_training_rows
from heart_assets.settings import TrainingSettings
from heart_assets.store import VideoStore

CODE_VERSION = "1"  # raise it when the same inputs give another model
LARGEST_GRADIENT = 1.0  # norm, on the standardised age
VALIDATION_BATCH = 32

logger = logging.getLogger(__name__)


def train_model(
    videos: VideoStore,
    rows: pd.DataFrame,
    training: TrainingSettings,
    spacing_mm: float,
    seed: int,
    checkpoint: Path | None = None,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
) -> TrainedModel:
    """Train one network on the rows whose split is `train`; `val` is watched, and only chosen on if the settings say so.

    Args:
        videos: the view's store.
        rows: columns index (position in the store), study_id, participant_id, visit, age (years), split (train, val, test).
        training: see `TrainingSettings`.
        spacing_mm: pixel spacing of the stored videos.
        seed: of this very training (the caller mixes view and fold in).
        checkpoint: file that is rewritten after every epoch, and from which an interrupted training goes on. It stays
            when training has ended (and then gives the same model at once); the caller removes it with the model safe.
        on_epoch: called after every epoch, and after its checkpoint, with the epoch's row of the history, `epochs` and
            `seconds` (wall time of the epoch, or of what an interruption had left of it).

    SIGTERM or SIGINT, in the main thread: the batch is finished and the checkpoint saved, with the position inside the
    epoch; then whoever handled the signal before gets it.

    Raises:
        LearningError: the rows, the store and the settings do not fit (before any training), or training diverged.
        StudyError: another process is training from this checkpoint.
    """
    check_training_rows(rows, len(videos))
    device = compute_device()
    with alone_with(checkpoint), torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        run = _Run(videos, rows, training, spacing_mm, seed, device)
        if checkpoint is not None:
            run.resume(checkpoint)

        def save() -> None:
            if checkpoint is not None:
                save_checkpoint(checkpoint, run.key, run.state())

        def heed_signals() -> None:
            if signals.noted is not None:
                save()
                signals.deliver()

        with deferred_signals() as signals:
            while run.epoch < training.epochs:
                row = run.one_epoch(heed_signals)
                save()
                if on_epoch is not None:
                    on_epoch({**row, "epochs": training.epochs})
                signals.deliver()
        return run.model()


class _Run:
    """The state of one training: built anew or resumed, moved on by one epoch at a time, fit to be saved after any batch."""

    def __init__(
        self, videos: VideoStore, rows: pd.DataFrame, training: TrainingSettings, spacing_mm: float, seed: int, device: torch.device
    ):
        self.training, self.device, self.seed, self.spacing_mm = training, device, seed, spacing_mm
        train, val = (rows[rows["split"] == split] for split in ("train", "val"))
        self.train_ages, self.val_ages = train["age"].to_numpy(float), val["age"].to_numpy(float)
        self.mean, self.sd = float(self.train_ages.mean()), float(self.train_ages.std())
        self.pixel_mm = spacing_mm * training.downsample
        self.network = place(build_network(training, *clip_shape(videos, training)), device)
        self.train_clips = Clips(videos, train["index"].to_numpy(), training, device)
        self.val_clips = Clips(videos, val["index"].to_numpy(), training, device)
        self.key = training_key(videos, rows, training, spacing_mm, seed, device, CODE_VERSION)

        self.averaged = copy.deepcopy(self.network).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(decay_groups(self.network, training.weight_decay), fused=True)
        self.generator = torch.Generator().manual_seed(seed)
        self.epoch = 0  # finished ones
        self.order: Tensor | None = None  # of the rows in the epoch under way
        self.losses: list[Tensor] = []  # one for each of its batches that is done
        self.history: list[list[float]] = []
        self.best = copy.deepcopy(self.averaged.state_dict())
        self.best_epoch = 0

    def one_epoch(self, after_batch: Callable[[], None]) -> dict[str, float]:
        """Train on every clip once, or on those that an interrupted epoch has left; validate the averaged weights.

        Args:
            after_batch: called after every batch of either kind.

        Returns:
            The epoch's row of the history, and `seconds`.
        """
        started = time.monotonic()
        batches = self._batches()
        steps = self.training.epochs * len(batches)
        rates = [one_cycle(self.epoch * len(batches) + k, steps, self.training.learning_rate) for k in range(len(batches))]
        for number in range(len(self.losses), len(batches)):
            self.losses.append(self._step(batches[number], self.epoch * len(batches) + number, rates[number]))
            after_batch()
        losses = torch.stack(self.losses).cpu().numpy()
        if not np.isfinite(losses).all():
            at = int(np.flatnonzero(~np.isfinite(losses))[0]) + 1
            raise LearningError(
                f"training diverged: the loss is not a finite number at epoch {self.epoch + 1}, step {at} of {len(batches)}; "
                "lower training.learning_rate"
            )
        values = [self.epoch + 1, rates[-1], float(losses.mean()), *self._validate(after_batch)]
        row = dict(zip(HISTORY_COLUMNS, values, strict=True))
        if not math.isfinite(row["val_loss"]):
            raise LearningError(f"training diverged: the averaged weights give no finite validation loss after epoch {self.epoch + 1}")
        if not self.history or row["val_rmse"] < min(earlier[HISTORY_COLUMNS.index("val_rmse")] for earlier in self.history):
            self.best, self.best_epoch = copy.deepcopy(self.averaged.state_dict()), self.epoch + 1
        self.history.append(values)
        self.epoch, self.order, self.losses = self.epoch + 1, None, []
        return {**row, "seconds": time.monotonic() - started}

    def _batches(self) -> list[np.ndarray]:
        """All training rows in the epoch's random order, in batches that differ by at most one row in size (never one row: BatchNorm)."""
        if self.order is None:
            self.order = torch.randperm(len(self.train_ages), generator=self.generator)
        return np.array_split(self.order.numpy(), min(math.ceil(len(self.order) / self.training.batch_size), len(self.order) // 2))

    def _step(self, batch: np.ndarray, step: int, rate: float) -> Tensor:
        """One step of the optimiser and of the average; returns the loss, left on the device."""
        clips, training = self.train_clips, self.training
        changes = random_changes(len(batch), training.augmentation, self.generator)
        phases = torch.randint(clips.phases, (len(batch),), generator=self.generator).numpy()
        video = clips.batch(batch, phases if training.augmentation.random_phase else np.zeros_like(phases))
        target = torch.from_numpy((self.train_ages[batch] - self.mean) / self.sd).float().to(self.device)

        self.network.train()
        output = forward(self.network, network_input(video, changes, clips.size, self.pixel_mm), training.precision)
        loss = loss_function(training.loss)(output, target)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), LARGEST_GRADIENT)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        average(self.averaged, self.network, decay=min(0.999, (1 + step) / (10 + step)))
        return loss.detach()

    def _validate(self, after_batch: Callable[[], None]) -> tuple[float, float, float, float]:
        """Loss, R2, RMSE and MAE of the averaged weights: first frame phase, unchanged clips."""
        precision = self.training.precision
        output = one_pass(self.averaged, self.val_clips, 0, no_changes, self.pixel_mm, precision, VALIDATION_BATCH, after_batch)
        standardised = torch.from_numpy((self.val_ages - self.mean) / self.sd).float()
        loss = float(loss_function(self.training.loss)(torch.from_numpy(output), standardised))
        error = output.astype(float) * self.sd + self.mean - self.val_ages
        spread = float(((self.val_ages - self.val_ages.mean()) ** 2).sum())
        r2 = 1 - float((error**2).sum()) / spread if spread else math.nan
        return loss, r2, math.sqrt((error**2).mean()), float(np.abs(error).mean())

    def state(self) -> dict[str, Any]:
        """Everything that the next batch and all after it depend on (see `STATE_VERSION`)."""
        cuda = [torch.cuda.get_rng_state(self.device)] if self.device.type == "cuda" else []
        return {
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best": self.best,
            "best_epoch": self.best_epoch,
            "epoch": self.epoch,
            "order": self.order,
            "losses": torch.stack(self.losses).cpu() if self.losses else torch.empty(0),
            "history": self.history,
            "generator": self.generator.get_state(),
            "torch": torch.get_rng_state(),
            "cuda": cuda,
        }

    def resume(self, checkpoint: Path) -> None:
        """Go back to the state in a checkpoint, if there is one of this training."""
        state = load_checkpoint(checkpoint, self.key)
        if state is None:
            return
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        self.epoch, self.history, self.order = state["epoch"], state["history"], state["order"]
        self.losses = list(state["losses"].to(self.device))
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["torch"])
        for value in state["cuda"]:
            torch.cuda.set_rng_state(value, self.device)
        logger.info("Training goes on after epoch %d of %d and %d batches.", self.epoch, self.training.epochs, len(self.losses))

    def model(self) -> TrainedModel:
        """The model that the settings ask for: averaged weights at the end, or at the best validation RMSE."""
        chosen = self.training.final_weights == "best_validation"
        weights = {name: value.cpu().contiguous().numpy() for name, value in (self.best if chosen else self.averaged.state_dict()).items()}
        if not all(np.isfinite(value).all() for value in weights.values()):
            raise LearningError("training diverged: the final weights are not all finite numbers")
        card = {
            "network": self.training.network,
            "parameters": sum(parameter.numel() for parameter in self.network.parameters()),
            "frames": self.train_clips.frames,
            "size_px": self.train_clips.size,
            "pixel_mm": self.pixel_mm,
            "spacing_mm": self.spacing_mm,
            "training": self.training.model_dump(mode="json"),
            "target_mean": self.mean,
            "target_sd": self.sd,
            "seed": self.seed,
            "code_version": CODE_VERSION,
            "machine": machine(self.device),
            "epoch": self.best_epoch if chosen else self.epoch,
            "best_epoch": self.best_epoch,
            "last_epoch": self.epoch,
            "n_train": len(self.train_ages),
            "n_val": len(self.val_ages),
        }
        return TrainedModel(weights, card, pd.DataFrame(self.history, columns=list(HISTORY_COLUMNS)).astype({"epoch": int}))
