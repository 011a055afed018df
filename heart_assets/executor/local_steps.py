"""Steps as processes of this machine, those that ask for GPUs under a lease.

What belongs here: which devices there are to lease for this run, and a process's story in sentences. What does not: locks (`lease`),
processes (`step_process`), or what Dagster wants to know of a step (`step_handler`).
"""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from heart_assets.executor.declare import gpus_of, imports_of
from heart_assets.executor.devices import Devices, find_devices
from heart_assets.executor.step_handler import Order
from heart_assets.executor.step_process import StepProcess, exit_in_words
from heart_assets.executor.template import Template

STEP_MODULE = ("dagster", "api", "execute_step")


class LocalSteps:
    """A `Place`: each step a process, with a lease on as many devices as its tags ask for, or with no visible device."""

    def __init__(self, devices: str | Sequence[str], cpu_slots: int | None, lock_folder: Path, warm_start: bool):
        self._wanted, self._cpu_slots = devices, cpu_slots
        self._lock_folder = lock_folder
        self._warm_start = warm_start
        self._devices: Devices | None = None

    def launch(self, order: Order) -> "LocalStep":
        """Start the step's process.

        Raises:
            ValueError: its tags ask for more devices than there are, or the lock folder cannot be used.
            OSError: the process cannot be started.
        """
        count, news = gpus_of(order.tags), []
        if count and self._devices is None:
            self._devices = find_devices(self._wanted, self._cpu_slots)
            make_lock_folder(self._lock_folder)
            news = [self._devices.origin]
        if self._devices and count > len(self._devices):
            raise ValueError(f"it asks for {count} GPUs, but there are only {len(self._devices)}: {', '.join(self._devices.names)}.")
        process = StepProcess(
            STEP_MODULE,
            {**os.environ, **order.environment},
            count=count,
            devices=self._devices,
            lock_folder=self._lock_folder,
            template=template_of_this_process(*order.environment.values()) if self._warm_start else None,
            imports=imports_of(order.tags),
        )
        return LocalStep(process, count, len(self._devices or ()), news)

    def adopt(self, order: Order) -> None:
        """Nothing: a process of this machine ends with the run worker that started it."""


class LocalStep:
    """A `Step`: one process, and the news of its lease.

    Args:
        process: it is closed with this.
        count: how many devices it asked for.
        devices: of how many.
        news: what is to be told first.
    """

    def __init__(self, process: StepProcess, count: int, devices: int, news: Sequence[str] = ()):
        self._process, self._count, self._of, self._news = process, count, devices, list(news)

    def news(self) -> list[str]:
        """How the wait for devices goes."""
        sentences, self._news = self._news, []
        for news in self._process.news():
            if "leased" in news:
                sentences.append(f"Leased {', '.join(news['leased'])} after {time.monotonic() - self._process.started:.1f} s.")
            else:
                ahead = news["waits_behind"]
                queue = f"behind {ahead} other step{'s' * (ahead != 1)}" if ahead else "it is next"
                sentences.append(f"Waiting for {self._count} of {self._of} devices: {queue}.")
        return sentences

    def end(self) -> str | None:
        """How the process ended, with its last output."""
        code = self._process.end()
        return None if code is None else process_end(code, self._process.output_tail())

    def ask_to_end(self) -> None:
        """SIGTERM to the process group."""
        self._process.send(signal.SIGTERM)

    def wait(self, deadline: float) -> None:
        """Wait until the deadline; then SIGKILL to the process group."""
        self._process.wait(deadline)

    def close(self) -> None:
        """Close the files of its output."""
        self._process.close()


def process_end(code: int, tail: str) -> str:
    """A process's end in words, with the last lines of its output."""
    silent = "" if code else " without reporting an end of the step"
    return f"its process {exit_in_words(code)}{silent}.{last_output(tail)}"


def last_output(tail: str) -> str:
    """Lines of output, to follow a sentence; nothing for none."""
    return f" Its last output:{os.linesep}{tail}" if tail else ""


def template_of_this_process(step: str) -> Template:
    """This process's template, created when it is first asked for: warmed up for `step`, its code location and instance."""
    global _template
    if _template is None or not _template.alive():
        _template = Template(step)
    return _template


_template: Template | None = None


def make_lock_folder(folder: Path) -> None:
    """Create the folder of the locks, unless it exists: all users of the machine may add files to it, and remove only their own.

    Raises:
        ValueError: it cannot be written.
    """
    if not folder.exists():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o1777)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(f"the lock folder {folder} cannot be written.")
