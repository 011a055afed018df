"""A warm interpreter that steps are forked from, so that each need not import everything again.

What belongs here: the process itself (`main`) and the handle that a run worker has on it. What does not: what
a step is; here it is a Python module that is run as `python -m module arguments` would run it.

Most of a short step's life is importing Dagster and the code location. The template has done that once, and imports what steps
declare to need when the first of them starts. It has no threads, no open database and no device, so forking it is safe as long as
importing these modules starts none.

A step must be its run worker's child, to be waited for and to end with it. The template cannot give birth to a child of
somebody else, but to a grandchild whose parent ends at once; and Linux hands such an orphan to the nearest ancestor that
calls itself a "subreaper": the run worker.
"""

import ctypes
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from heart_assets.executor import lease

PR_SET_CHILD_SUBREAPER = 36
START_SECONDS = 120.0
LENGTH_BYTES = 8


class Template:
    """A run worker's handle on its template process; it ends with this process at the latest.

    Args:
        warm_up: given to `dagster_internals.warm_up` in the template: what to load.
    """

    def __init__(self, warm_up: str):
        if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed")
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(START_SECONDS)
        with theirs:
            command = [sys.executable, "-c", f"from {__name__} import main; main({theirs.fileno()})"]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True)
        send(self._socket, {"parent": os.getpid(), "warm_up": warm_up})

    def start(self, module: Sequence[str], environment: Mapping[str, str], order: Mapping[str, Any], output: int, tell: int) -> int:
        """Start `python -m *module` with a lease as `order` says (see `lease.prepare`); return its process id.

        Modules in `order["imports"]` are imported before. `output` and `tell` are descriptors: for what it writes, and for
        the news of its lease.

        Raises:
            OSError: the template has ended, or does not answer.
        """
        try:
            send(self._socket, {"module": list(module), "environment": dict(environment), "order": dict(order)}, [output, tell])
            message, _ = receive(self._socket)
        except (OSError, EOFError) as error:
            self.close()
            raise OSError("the process that steps are forked from has ended, or does not answer") from error
        return message["pid"]

    def alive(self) -> bool:
        """Whether it can still start steps."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the template; steps that it has started go on."""
        self._socket.close()
        self._process.kill()
        self._process.wait()


def main(descriptor: int) -> None:
    """Load things, then fork a step for each request until the other side closes the socket."""
    with socket.socket(fileno=descriptor) as requests:
        setting, _ = receive(requests)
        lease.die_with_parent(signal.SIGKILL, setting["parent"])
        gc.disable()  # importing makes little garbage, and much work for its collector
        load(warm_up, setting["warm_up"])
        while True:
            try:
                request, descriptors = receive(requests)
            except EOFError:
                return
            for name in request["order"]["imports"]:
                load(importlib.import_module, name)
            gc.freeze()  # what is loaded stays: no collection in a step need look at it, which would copy its pages
            grandchild = fork_orphan()
            if grandchild == 0:
                gc.enable()
                break
            send(requests, {"pid": grandchild})
            for received in descriptors:
                os.close(received)
    become_step(request, descriptors)


def fork_orphan() -> int:
    """Fork a process that leads a group and is the run worker's child; return its id, and 0 in it."""
    read, write = os.pipe()
    child = os.fork()
    if child:
        os.close(write)
        os.waitpid(child, 0)
        with os.fdopen(read) as told:
            return int(told.read())
    child = os.getpid()
    if os.fork():
        os._exit(0)
    os.setsid()
    os.write(write, str(os.getpid()).encode())
    os.close(read)
    os.close(write)
    while os.getppid() == child:
        time.sleep(0.001)
    return 0


def load(loader: Callable[[str], Any], what: str) -> None:
    """Load something that steps need. If that fails, steps will fail in the same way, and report it."""
    try:
        loader(what)
    except Exception as error:
        print(f"the template could not load {what[:60]}: {type(error).__name__}: {error}", file=sys.stderr)


def warm_up(step: str) -> None:
    """Load Dagster and the code location; the import stands here, as the parent's side of this module does without it."""
    from heart_assets.executor import dagster_internals

    dagster_internals.warm_up(step)


def become_step(request: dict[str, Any], descriptors: Sequence[int]) -> None:
    """In the forked process: take the lease, and run the module."""
    lease.answer_to(request["order"]["parent"])
    output, tell = descriptors
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.environ.update(lease.prepare({**request["order"], "tell": tell}))
    os.close(tell)
    threads, torch = os.environ.get("OMP_NUM_THREADS"), sys.modules.get("torch")
    if threads and torch:
        torch.set_num_threads(int(threads))  # it read the variable when the template imported it
    name, *arguments = request["module"]
    sys.argv = [name, *arguments]
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def send(to: socket.socket, message: Mapping[str, Any], descriptors: Sequence[int] = ()) -> None:
    """Send JSON, its length before it, and descriptors."""
    data = json.dumps(message).encode()
    socket.send_fds(to, [len(data).to_bytes(LENGTH_BYTES, "big")], list(descriptors))
    to.sendall(data)


def receive(source: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Receive what `send` sent.

    Raises:
        EOFError: the other side has closed.
    """
    head, descriptors, _, _ = socket.recv_fds(source, LENGTH_BYTES, 2)
    data = b""
    missing = int.from_bytes(head, "big") if head else 0
    if not missing:
        raise EOFError
    while missing:
        part = source.recv(missing)
        if not part:
            raise EOFError
        data += part
        missing -= len(part)
    return json.loads(data), list(descriptors)
