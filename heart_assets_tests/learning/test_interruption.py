"""Signals in the middle of a training: put off until it is saved, given back to their owner, and no bit lost."""

import os
import signal
import threading

import pytest

from heart_assets.learning import save_model, train_model
from heart_assets.learning.augment import random_changes
from heart_assets.learning.interruption import SIGNALS, deferred_signals
from heart_assets_tests.learning.conftest import (
    BATCH,
    SPACING_MM,
    VALIDATION,
    Interrupted,
    assert_same,
    saved_state,
    signal_at,
    tiny_training,
)

SEED = 11
SAVING = "os.fsync"  # called twice in each: for the file, and for its folder


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_training_that_is_interrupted_at_every_batch_ends_with_the_same_bytes(videos, rows, tmp_path, precision):
    settings = tiny_training(epochs=4, dropout=0.4, precision=precision)
    save_model(train_model(videos, rows, settings, SPACING_MM, SEED), tmp_path / "whole")
    checkpoint = tmp_path / "checkpoint.pt"
    for number in range(4 * 3):
        with pytest.raises(Interrupted), signal_at(BATCH):
            train_model(videos, rows, settings, SPACING_MM, SEED, checkpoint)
        state = saved_state(checkpoint)
        assert (state["epoch"], len(state["losses"])) == (number // 3, number % 3 + 1)
    save_model(train_model(videos, rows, settings, SPACING_MM, SEED, checkpoint), tmp_path / "resumed")
    assert files(tmp_path / "resumed") == files(tmp_path / "whole")


@pytest.mark.parametrize(
    ("target", "call", "position"),
    [(BATCH, 1, (0, 1)), (BATCH, 6, (1, 3)), (VALIDATION, 1, (0, 3)), (VALIDATION, 3, (2, 3)), (SAVING, 1, (1, 0)), (SAVING, 6, (3, 0))],
)
@pytest.mark.parametrize("number", SIGNALS)
def test_whenever_a_signal_comes_training_is_saved_there_and_goes_on_there(
    videos, rows, training, tmp_path, target, call, position, number
):
    checkpoint, told = tmp_path / "checkpoint.pt", []
    with pytest.raises(Interrupted), signal_at(target, call, number):
        train_model(videos, rows, training, SPACING_MM, SEED, checkpoint, told.append)
    state = saved_state(checkpoint)
    assert (state["epoch"], len(state["losses"])) == position and len(told) == position[0]
    resumed = train_model(videos, rows, training, SPACING_MM, SEED, checkpoint, told.append)
    assert_same(resumed, train_model(videos, rows, training, SPACING_MM, SEED))
    assert [row["epoch"] for row in told] == [1, 2, 3]


def test_a_second_signal_while_the_first_is_heeded_spoils_nothing(videos, rows, training, tmp_path):
    checkpoint = tmp_path / "checkpoint.pt"
    with pytest.raises(Interrupted), signal_at(SAVING, 2), signal_at(SAVING), signal_at(BATCH, 2):
        train_model(videos, rows, training, SPACING_MM, SEED, checkpoint)
    assert len(saved_state(checkpoint)["losses"]) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint.pt", "checkpoint.pt.lock"}
    resumed = train_model(videos, rows, training, SPACING_MM, SEED, checkpoint)
    assert_same(resumed, train_model(videos, rows, training, SPACING_MM, SEED))


def test_training_goes_on_if_its_caller_passes_over_the_signal(videos, rows, training, tmp_path, monkeypatch):
    def in_every_batch(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        return random_changes(*arguments)

    monkeypatch.setattr(BATCH, in_every_batch)
    passed_over = []
    before = signal.signal(signal.SIGTERM, lambda number, _: passed_over.append(number))
    try:
        model = train_model(videos, rows, training, SPACING_MM, SEED, tmp_path / "checkpoint.pt")
    finally:
        signal.signal(signal.SIGTERM, before)
    monkeypatch.undo()
    assert passed_over == [signal.SIGTERM] * 9
    assert_same(model, train_model(videos, rows, training, SPACING_MM, SEED))


def test_without_a_checkpoint_the_batch_is_finished_and_nothing_is_written(videos, rows, training, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Interrupted), signal_at(BATCH, 2):
        train_model(videos, rows, training, SPACING_MM, SEED)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_save_does_not_swallow_the_signal(videos, rows, training, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("heart_assets.learning.training.save_checkpoint", full)
    with pytest.raises(Interrupted) as caught, signal_at(BATCH, 2):
        train_model(videos, rows, training, SPACING_MM, SEED, tmp_path / "checkpoint.pt")
    assert "No space left" in str(caught.value.__context__)


def test_signals_are_put_off_and_come_back_to_who_had_them():
    seen = []
    before = {number: signal.signal(number, lambda number, _: seen.append(number)) for number in SIGNALS}
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        with deferred_signals() as signals:
            assert signals.noted is None
            signals.deliver()
            for number in SIGNALS:
                os.kill(os.getpid(), number)
                assert signals.noted is number and seen == []
                signals.deliver()
                assert signals.noted is None and [seen.pop()] == [number] and seen == []
            os.kill(os.getpid(), signal.SIGINT)
            assert seen == []
        assert seen == [signal.SIGINT]
        assert {number: signal.getsignal(number) for number in SIGNALS} == handlers
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_what_the_process_ignores_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with deferred_signals() as signals:
            os.kill(os.getpid(), signal.SIGINT)
            assert signals.noted is None and signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_outside_the_main_thread_training_works_and_leaves_signals_alone(videos, rows, training, tmp_path):
    handlers, seen, models = [signal.getsignal(number) for number in SIGNALS], [], []

    def train():
        look = lambda _: seen.append([signal.getsignal(number) for number in SIGNALS])  # noqa: E731
        models.append(train_model(videos, rows, training, SPACING_MM, SEED, tmp_path / "checkpoint.pt", look))

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert seen == [handlers] * 3
    assert_same(models[0], train_model(videos, rows, training, SPACING_MM, SEED))
