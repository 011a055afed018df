"""Trainings as processes of their own, ended by real signals: what they leave, who goes on, and that no byte of the end differs."""

import multiprocessing
import random
import signal
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from heart_assets_tests.learning import a_training
from heart_assets_tests.learning.a_training import BATCHES, EPOCHS
from heart_assets_tests.learning.conftest import saved_state

SECONDS = 60  # far more than anything here takes
PRELOAD = [a_training.__name__, "torch._dynamo"]  # the latter is what the first optimiser of a process imports


class Trainings:
    """Starts trainings in a folder and reads what they tell; ends what is left of them."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.processes: list[BaseProcess] = []
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(PRELOAD)

    def start(self, name: str, **options: float) -> BaseProcess:
        process = self.context.Process(name=name, target=a_training.train, args=(self.folder, name), kwargs=options)
        process.start()
        self.processes.append(process)
        return process

    def told(self, process: BaseProcess) -> list[str]:
        path = self.folder / process.name
        return path.read_text().splitlines() if path.exists() else []

    def epochs(self, process: BaseProcess) -> list[int]:
        return [int(line.split()[1]) for line in self.told(process) if line.startswith("epoch")]

    def wait_for(self, process: BaseProcess, word: str) -> None:
        """Until the process tells something that begins with the word, or ends."""
        deadline = time.monotonic() + SECONDS
        while process.is_alive() and not any(line.startswith(word) for line in self.told(process)):
            assert time.monotonic() < deadline, f"{process.name} never told {word}"
            time.sleep(0.01)

    def exit_code(self, process: BaseProcess) -> int | None:
        process.join(SECONDS)
        return process.exitcode

    def model(self) -> dict[str, bytes]:
        """The model's files (a process killed in writing them leaves a hidden one that nothing reads)."""
        return {path.name: path.read_bytes() for path in (self.folder / "model").glob("[!.]*")}

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.join()


@pytest.fixture
def trainings(tmp_path: Path) -> Iterator[Trainings]:
    trainings = Trainings(tmp_path)
    yield trainings
    trainings.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of the model whose training was never interrupted."""
    trainings = Trainings(tmp_path_factory.mktemp("whole"))
    process = trainings.start("whole")
    assert trainings.exit_code(process) == 0 and trainings.epochs(process) == list(range(1, EPOCHS + 1))
    return trainings.model()


def test_a_training_that_is_terminated_and_then_killed_again_and_again_ends_with_the_same_bytes(trainings, whole):
    checkpoint, batch = trainings.folder / "checkpoint.pt", random.randrange(2 * BATCHES)
    process = trainings.start("terminated", wait_at=batch)
    trainings.wait_for(process, "waits")
    process.terminate()
    (trainings.folder / "go").touch()
    assert trainings.exit_code(process) == -signal.SIGTERM
    state = saved_state(checkpoint)
    assert (state["epoch"], len(state["losses"])) == (batch // BATCHES, batch % BATCHES + 1)

    for kills in range(100):
        process = trainings.start(f"killed {kills}", pause=0.005)
        trainings.wait_for(process, random.choice(["begins", "epoch"]))
        process.join(random.uniform(0, 0.5))
        process.kill()
        if trainings.exit_code(process) == 0:
            break
        before, state, reported = state, saved_state(checkpoint), trainings.epochs(process)
        last = before["epoch"] + len(reported)
        assert reported == list(range(before["epoch"] + 1, last + 1))
        assert last <= state["epoch"] <= last + 1  # what was reported is safe, and of the rest one epoch at most
    assert kills >= 2 and trainings.model() == whole
    assert {path.name for path in trainings.folder.glob("*checkpoint*")} == {"checkpoint.pt", "checkpoint.pt.lock"}


def test_two_trainings_never_share_a_checkpoint(trainings, whole):
    owner = trainings.start("owner", wait_at=BATCHES + 2)
    trainings.wait_for(owner, "waits")
    refused, patient = trainings.start("refused", patience=0.3), trainings.start("patient")
    assert trainings.exit_code(refused) == 3
    sentence = f"another process is training from the checkpoint {trainings.folder.name}/checkpoint.pt: wait for its run, or cancel it"
    assert trainings.told(refused) == ["begins", sentence]
    assert patient.is_alive() and trainings.epochs(patient) == []
    owner.kill()
    assert trainings.exit_code(patient) == 0 and trainings.epochs(patient) == list(range(2, EPOCHS + 1))
    assert trainings.model() == whole
