"""A small process that ends what the steps of a killed run worker leave behind.

What belongs here: the process itself, and the handle that a run worker has on it. Standard library only, for this file is also run by
itself, as `python -I -S warden.py`: 10 MB. What does not: steps that end while their run worker lives (`step_process`).

The kernel ends a step's own process with its run worker (`lease.die_with_parent`), but not the programs that the step has started: a data
loader's worker, say, would go on, and perhaps on its device. Each step leads a process group; the warden is told of the groups
under way, and when the pipe from the run worker closes, however that ended, it kills those that are left. A program that
makes a session of its own leaves the group, and is nobody's any more.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable


class Warden:
    """A run worker's handle on its warden."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def watch(self, group: int) -> None:
        """Have a process group killed if this process ends before `forget`."""
        if self._process is None or self._process.poll() is not None:
            command = [sys.executable, "-I", "-S", __file__]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
        self._tell(f"+{group}\n")

    def forget(self, group: int) -> None:
        """Let go of a process group, before its number can be given to another."""
        self._tell(f"-{group}\n")

    def _tell(self, line: str) -> None:
        assert self._process and self._process.stdin
        try:
            os.write(self._process.stdin.fileno(), line.encode())
        except BrokenPipeError:
            return  # somebody has killed it: the groups that it knew of have lost their protection, and nothing else


warden = Warden()


def main(lines: Iterable[str]) -> None:
    """Follow the lines, `+<group>` and `-<group>`, and at their end kill the groups that are left."""
    groups: set[int] = set()
    for line in lines:
        (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
    for group in groups:
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            continue


if __name__ == "__main__":
    main(sys.stdin)
