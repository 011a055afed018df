"""SIGTERM and SIGINT put off until a training has saved itself.

What belongs here: noting a signal, and giving it back to whoever handled it before. What does not: what is saved, and when.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Deferral:
    """The last signal that has come and that nobody has handled yet, if any."""

    def __init__(self) -> None:
        self.noted: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def begin(self) -> None:
        """Note signals from now on, other than those that this process ignores (or that something outside Python handles)."""
        before = {number: signal.getsignal(number) for number in SIGNALS}
        self._before = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
        for number in self._before:
            signal.signal(number, self._note)

    def end(self) -> None:
        """Put the former handlers back, and let them have the noted signal: by default the process dies of it here."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
        if self.noted is not None:
            number, self.noted = self.noted, None
            signal.raise_signal(number)

    def deliver(self) -> None:
        """Let the former handlers have the signal, if one is noted. Should they pass over it, signals are put off again."""
        if self.noted is not None:
            self.end()
            self.begin()

    def _note(self, number: int, _: object) -> None:
        self.noted = signal.Signals(number)


@contextmanager
def deferred_signals() -> Iterator[Deferral]:
    """Put signals off while the block runs, and deliver at its end what was noted. Outside the main thread nothing is put off."""
    deferral = Deferral()
    if threading.current_thread() is not threading.main_thread():
        yield deferral
        return
    try:
        deferral.begin()
        yield deferral
    finally:
        deferral.end()
