"""How each step of a run is launched, watched and ended on this machine.

What belongs here: what Dagster asks of a step handler, and what its event log is told. What does not: locks (`lease`), processes
(`step_process`), or when a step may start (Dagster's `StepDelegatingExecutor`).
"""

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dagster import DagsterEvent

from heart_assets.executor.dagster_internals import (
    CheckStepHealthResult,
    StepHandler,
    StepHandlerContext,
    engine_event,
    has_final_event,
    last_event,
)
from heart_assets.executor.declare import gpus_of, imports_of
from heart_assets.executor.devices import Devices, find_devices
from heart_assets.executor.step_process import StepProcess, exit_in_words
from heart_assets.executor.template import Template

STEP_MODULE = ("dagster", "api", "execute_step")


@dataclass
class _Launched:
    """A step that was launched: its process, or why there is none, and how far the run's event log had come before."""

    cursor: str | None
    process: StepProcess | None = None
    failure: str = ""
    count: int = 0


class LocalStepHandler(StepHandler):
    """Each step a process on this machine: with a lease on as many devices as its tags ask for, or with no visible device.

    Dagster kills the whole run if launching raises, so a failed launch is kept and reported as the step's ill health.
    """

    def __init__(self, devices: str | list[str], cpu_slots: int | None, lock_folder: Path, grace_seconds: float, warm_start: bool):
        self._wanted, self._cpu_slots = devices, cpu_slots
        self._lock_folder = lock_folder
        self._grace_seconds = grace_seconds
        self._warm_start = warm_start
        self._devices: Devices | None = None
        self._steps: dict[str, _Launched] = {}

    @property
    def name(self) -> str:
        return "gpu_executor"

    def launch_step(self, step_handler_context: StepHandlerContext) -> Iterator[DagsterEvent]:
        """Start the step's process."""
        key = step_key(step_handler_context)
        self._sweep(step_handler_context)
        launched = self._steps[key] = _Launched(last_event(step_handler_context))
        try:
            launched.count = gpus_of(step_handler_context.step_tags[key])
            launched.process = self._start(step_handler_context, launched.count)
        except Exception as error:  # whatever it was, it is this step that fails, not the run
            launched.failure = f"The step could not be launched: {error}"
        yield from ()

    def _start(self, context: StepHandlerContext, count: int) -> StepProcess:
        arguments = {item["name"]: item["value"] for item in context.execute_step_args.get_command_env()}
        if count and self._devices is None:
            self._devices = find_devices(self._wanted, self._cpu_slots)
            make_lock_folder(self._lock_folder)
            engine_event(context, self._devices.origin)
        if self._devices and count > len(self._devices):
            raise ValueError(f"it asks for {count} GPUs, but there are only {len(self._devices)}: {', '.join(self._devices.names)}.")
        return StepProcess(
            STEP_MODULE,
            {**os.environ, **arguments},
            count=count,
            devices=self._devices,
            lock_folder=self._lock_folder,
            template=template_of_this_process(*arguments.values()) if self._warm_start else None,
            imports=imports_of(context.step_tags[step_key(context)]),
        )

    def check_step_health(self, step_handler_context: StepHandlerContext) -> CheckStepHealthResult:
        """Ill is a step whose process has ended, or never began, without the step's last event in the event log."""
        key = step_key(step_handler_context)
        launched = self._steps.get(key)
        if launched is None:
            return CheckStepHealthResult.unhealthy("no process of this run worker executes it.")
        process = launched.process
        if process is None:
            return CheckStepHealthResult.unhealthy(launched.failure)
        self._report_news(step_handler_context, launched, process)
        code = process.end()
        if code is None or has_final_event(step_handler_context, key, launched.cursor):
            return CheckStepHealthResult.healthy()
        silent = "" if code else " without reporting an end of the step"
        tail = process.output_tail()
        return CheckStepHealthResult.unhealthy(
            f"its process {exit_in_words(code)}{silent}.{f' Its last output:{os.linesep}{tail}' if tail else ''}"
        )

    def _report_news(self, context: StepHandlerContext, launched: _Launched, process: StepProcess) -> None:
        for news in process.news():
            if "leased" in news:
                waited = time.monotonic() - process.started
                engine_event(context, f"Leased {', '.join(news['leased'])} after {waited:.1f} s.")
            else:
                ahead = news["waits_behind"]
                queue = f"behind {ahead} other step{'s' * (ahead != 1)}" if ahead else "it is next"
                engine_event(context, f"Waiting for {launched.count} of {len(self._devices or ())} devices: {queue}.")

    def terminate_step(self, step_handler_context: StepHandlerContext) -> Iterator[DagsterEvent]:
        """End the step's process group: SIGTERM, and after the grace SIGKILL.

        Dagster ends all steps one after the other, and waits for each: so the first call asks all of them, and they share the grace.
        """
        engine_event(step_handler_context, "Ending the step's processes.")
        self.close(signal.SIGTERM)
        yield from ()

    def close(self, ask: signal.Signals | None = None) -> None:
        """Wait for all processes to end, at most for the grace, then kill them. `ask` is sent to them first."""
        deadline = time.monotonic() + self._grace_seconds
        processes = [launched.process for launched in self._steps.values() if launched.process]
        for process in processes:
            if ask and process.end() is None:
                process.send(ask)
        for process in processes:
            process.wait(deadline)
            process.close()

    def _sweep(self, context: StepHandlerContext) -> None:
        """Forget the steps that are over."""
        for key, launched in list(self._steps.items()):
            over = launched.process and launched.process.end() is not None
            if launched.process and over and has_final_event(context, key, launched.cursor):
                launched.process.close()
                del self._steps[key]


def template_of_this_process(step: str) -> Template:
    """This process's template, created when it is first asked for: warmed up for `step`, its code location and instance."""
    global _template
    if _template is None or not _template.alive():
        _template = Template(step)
    return _template


_template: Template | None = None


def step_key(context: StepHandlerContext) -> str:
    """The one step that a handler's context is about."""
    (key,) = context.step_tags
    return key


def make_lock_folder(folder: Path) -> None:
    """Create the folder of the locks, for this user alone unless it exists.

    Raises:
        ValueError: it belongs to somebody else and cannot be written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(f"the lock folder {folder} cannot be written.")
