"""How each step of a run is launched, watched and ended, wherever it is executed.

What belongs here: what Dagster asks of a step handler, and what its event log is told. What does not: processes of this machine
(`local_steps`), jobs of a cluster (`slurm_steps`), or when a step may start (Dagster's `StepDelegatingExecutor`).
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from dagster import DagsterEvent

from heart_assets.executor.dagster_internals import (
    CheckStepHealthResult,
    StepHandler,
    StepHandlerContext,
    attempt_number,
    engine_event,
    has_final_event,
)
from heart_assets.executor.declare import gpus_of, slurm_of


@dataclass(frozen=True)
class Order:
    """What is to be executed: one attempt at one step of a run.

    `environment` holds the variables that say to Dagster which step it is; `folder` is the instance's own, for files that outlive
    this process.
    """

    run_id: str
    step_key: str
    attempt: int
    tags: Mapping[str, str]
    environment: Mapping[str, str]
    folder: str


class Step(Protocol):
    """A step under way."""

    def news(self) -> list[str]:
        """Sentences for the event log, since last asked."""

    def end(self) -> str | None:
        """How it ended, as a sentence to follow a colon; None as long as it is under way."""

    def ask_to_end(self) -> None:
        """Have it end itself soon."""

    def wait(self, deadline: float) -> None:
        """Wait for its end until `deadline` (of `time.monotonic`), then end it by force."""

    def close(self) -> None:
        """Give up what is held for a step that has ended."""


class Place(Protocol):
    """Where steps are executed."""

    def launch(self, order: Order) -> Step:
        """Begin a step. Any exception is the failure of this step."""

    def adopt(self, order: Order) -> Step | None:
        """The step that an earlier run worker of the same run has begun here, if it is still under way."""


@dataclass(frozen=True)
class _Launched:
    """An attempt at a step: the step under way, or why it could not be launched."""

    attempt: int
    step: Step | None = None
    failure: str = ""


class PlacingStepHandler(StepHandler):
    """Steps that ask for GPUs or for Slurm go to the cluster, if there is one; all others are executed on this machine.

    Dagster kills the whole run if launching raises, so a failed launch is kept and reported as the step's ill health.
    """

    def __init__(self, local: Place, cluster: Place | None, grace_seconds: float):
        self._local, self._cluster = local, cluster
        self._grace_seconds = grace_seconds
        self._steps: dict[str, _Launched] = {}

    @property
    def name(self) -> str:
        return "gpu_executor"

    def launch_step(self, step_handler_context: StepHandlerContext) -> Iterator[DagsterEvent]:
        """Begin the step at its place."""
        self._forget_ended(step_handler_context)
        order = order_of(step_handler_context)
        try:
            launched = _Launched(order.attempt, self._place(order).launch(order))
            self._tell_news(step_handler_context, launched.step)
        except Exception as error:  # whatever it was, it is this step that fails, not the run
            launched = _Launched(order.attempt, failure=f"The step could not be launched: {error}")
        self._steps[order.step_key] = launched
        yield from ()

    def check_step_health(self, step_handler_context: StepHandlerContext) -> CheckStepHealthResult:
        """Ill is a step that has ended, or never began, without this attempt's last event in the event log."""
        key = step_key(step_handler_context)
        launched = self._steps.get(key) or self._adopt(step_handler_context)
        if launched is None:
            return CheckStepHealthResult.unhealthy("nothing executes it.")
        if launched.step is None:
            return CheckStepHealthResult.unhealthy(launched.failure)
        self._tell_news(step_handler_context, launched.step)
        end = launched.step.end()
        if end is None or has_final_event(step_handler_context, key, launched.attempt):
            return CheckStepHealthResult.healthy()
        return CheckStepHealthResult.unhealthy(end)

    def terminate_step(self, step_handler_context: StepHandlerContext) -> Iterator[DagsterEvent]:
        """End the step: it is asked to, and after the grace it is forced.

        Dagster ends all steps one after the other, and waits for each: so the first call asks all of them, and they share the grace.
        """
        engine_event(step_handler_context, "Ending the step's processes.")
        self.close(ask=True)
        yield from ()

    def close(self, ask: bool = False) -> None:
        """Wait for all steps to end, at most for the grace, then end them by force. With `ask` they are asked to end first."""
        deadline = time.monotonic() + self._grace_seconds
        steps = [launched.step for launched in self._steps.values() if launched.step]
        for step in steps:
            if ask and step.end() is None:
                step.ask_to_end()
        for step in steps:
            step.wait(deadline)
            step.close()

    def _place(self, order: Order) -> Place:
        on_cluster = gpus_of(order.tags) > 0 or slurm_of(order.tags) is not None
        return self._cluster if self._cluster and on_cluster else self._local

    def _adopt(self, context: StepHandlerContext) -> _Launched | None:
        order = order_of(context)
        step = self._place(order).adopt(order)
        if step is None:
            return None
        launched = self._steps[order.step_key] = _Launched(order.attempt, step)
        return launched

    def _tell_news(self, context: StepHandlerContext, step: Step | None) -> None:
        for sentence in step.news() if step else ():
            engine_event(context, sentence)

    def _forget_ended(self, context: StepHandlerContext) -> None:
        for key, launched in list(self._steps.items()):
            if launched.step and launched.step.end() is not None and has_final_event(context, key, launched.attempt):
                launched.step.close()
                del self._steps[key]


def order_of(context: StepHandlerContext) -> Order:
    """What a handler's context asks for."""
    key = step_key(context)
    return Order(
        run_id=context.dagster_run.run_id,
        step_key=key,
        attempt=attempt_number(context, key),
        tags=context.step_tags[key],
        environment={item["name"]: item["value"] for item in context.execute_step_args.get_command_env()},
        folder=context.instance.root_directory,
    )


def step_key(context: StepHandlerContext) -> str:
    """The one step that a handler's context is about."""
    (key,) = context.step_tags
    return key
