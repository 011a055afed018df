"""A step as a process: started under a lease, watched, ended.

What belongs here: everything that is true of any command run so. What does not: Dagster's steps and events (`step_handler`).
"""

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from heart_assets.executor import lease
from heart_assets.executor.devices import Devices
from heart_assets.executor.template import Template
from heart_assets.executor.warden import warden

TAIL_LINES = 20
LAST_WORDS_SECONDS = 1.0
"""How long the rest of a process's group lives on after a bad end: Dagster's mirror of its output is there, a moment behind it."""
TAIL_BYTES = 16_384
TELL = 3


class StepProcess:
    """A Python module run as a process of its own group: it starts when it has its devices, and the group ends when this process does.

    What it writes to its standard output and error goes to an unnamed temporary file.

    Args:
        module: as `python -m` takes it: a name, then arguments.
        environment: the process's environment; the lease sets `CUDA_VISIBLE_DEVICES`.
        count: how many of `devices` it needs; with 0 it sees none.
        devices: what to choose from.
        lock_folder: where the locks are.
        template: what to fork it from; without one it is a new interpreter, behind the small one that waits for the lease.
        imports: modules that the template imports first.
    """

    def __init__(
        self,
        module: Sequence[str],
        environment: Mapping[str, str],
        *,
        count: int = 0,
        devices: Devices | None = None,
        lock_folder: Path | None = None,
        template: Template | None = None,
        imports: Sequence[str] = (),
    ):
        self.started = time.monotonic()
        self._code: int | None = None
        self._dead_since: float | None = None
        order: dict[str, Any] = {"parent": os.getpid(), "count": count, "folder": str(lock_folder or ""), "imports": list(imports)}
        if devices:
            order |= {"devices": devices.names, "threads": devices.threads}
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  closed by `close`
        self._news_from, tell = os.pipe()
        os.set_blocking(self._news_from, False)
        try:
            self.pid = (template.start if template else start_interpreter)(module, environment, order, self._output.fileno(), tell)
            warden.watch(self.pid)
        except BaseException:
            self.close()
            raise
        finally:
            os.close(tell)

    def news(self) -> list[dict[str, Any]]:
        """What the lease has told since last asked: `{"waits_behind": n}`, then `{"leased": [...]}`."""
        with suppress(BlockingIOError):
            return [json.loads(line) for line in os.read(self._news_from, TAIL_BYTES).splitlines()]
        return []

    def end(self) -> int | None:
        """The exit code, negative for a signal, once it has ended; None before.

        What it left behind in its process group is killed, before its id can be given to another process; after a bad end it
        first has a moment to pass on the last output.
        """
        if self._code is None and (dead := os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)):
            self._dead_since = self._dead_since or time.monotonic()
            well = dead.si_code == os.CLD_EXITED and dead.si_status == 0
            if well or time.monotonic() - self._dead_since >= LAST_WORDS_SECONDS:
                self.send(signal.SIGKILL)
                warden.forget(self.pid)
                self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._code

    def wait(self, deadline: float) -> int:
        """Wait for the end until `deadline` (of `time.monotonic`), then kill the process group; return the exit code."""
        while (code := self.end()) is None:
            if time.monotonic() > deadline:
                self.send(signal.SIGKILL)
            time.sleep(0.02)
        return code

    def send(self, signal_number: signal.Signals) -> None:
        """Send a signal to the process group, if it has not ended."""
        if self._code is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal_number)

    def output_tail(self) -> str:
        """The last 20 lines of what it wrote."""
        return tail_of(self._output)

    def close(self) -> None:
        """Give up what is held for a process that has ended."""
        if not self._output.closed:
            self._output.close()
            os.close(self._news_from)


def start_interpreter(module: Sequence[str], environment: Mapping[str, str], order: Mapping[str, Any], output: int, tell: int) -> int:
    """Start `python -m *module` with a lease as `order` says (see `lease.main`); return its process id."""
    order = {**order, "tell": TELL, "command": [sys.executable, "-m", *module]}
    descriptors = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, output, 1),
        (os.POSIX_SPAWN_DUP2, output, 2),
        (os.POSIX_SPAWN_DUP2, tell, TELL),
    ]
    command = [sys.executable, "-I", "-S", lease.__file__, json.dumps(order)]
    return os.posix_spawn(sys.executable, command, dict(environment), file_actions=descriptors, setsid=True)


def tail_of(file: IO[bytes]) -> str:
    """The last 20 lines of a file, from its end."""
    size = os.fstat(file.fileno()).st_size
    data = os.pread(file.fileno(), TAIL_BYTES, max(0, size - TAIL_BYTES))
    return "\n".join(data.decode(errors="replace").splitlines()[-TAIL_LINES:])


def exit_in_words(code: int) -> str:
    """An exit code as of `subprocess`, negative for a signal, as the end of a sentence."""
    if code >= 0:
        return f"ended with exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    hint = " (by hand, or by the kernel for want of memory)" if -code == signal.SIGKILL else ""
    return f"was killed by {name}{hint}"
