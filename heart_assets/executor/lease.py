"""A lease on devices: taken by a small process, which then becomes the step.

What belongs here: locks, the queue in front of them, and the end of the process when its parent ends. Standard library only,
for this file is also run by itself, as `python -I -S lease.py ...`: 20 ms, 10 MB. What does not: which devices exist
(`devices`), or what a step is (`step_handler`).

The lock is `flock` on one file per device. Its descriptor survives `exec`, so the step holds the lease without knowing of it,
and the kernel frees it when the step ends, however it ends, whatever run or code location it belongs to. A child
that the step *forks* (a data loader's worker) keeps the lease too, and should: it may still use the device. Programs started
through `subprocess`, which closes descriptors, do not. The folder must be on a local disk: the locks hold for one machine, and
for all its users if the folder is theirs to write, with the sticky bit, so that nobody removes what another has locked.

First come, first served, all or nothing: whoever wants devices draws a ticket, a numbered file that names its devices and
stays locked while its owner lives. Devices are taken under one mutex, all n at once or none, and only by the oldest of the
living tickets that name a common device. So nobody holds some while waiting for more, and nobody is overtaken.
"""

import ctypes
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

PR_SET_PDEATHSIG = 1
POLL_SECONDS = 0.05


def die_with_parent(signal_number: int, parent: int | None = None) -> None:
    """Have the kernel send `signal_number` to this process when its parent (the thread that started it) ends.

    `parent` is the process id that the parent should have: if it has ended already, the signal is sent now.
    """
    expected = os.getppid() if parent is None else parent
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal_number) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != expected:
        os.kill(os.getpid(), signal_number)


def answer_to(parent: int) -> None:
    """Have this process, which becomes a step, end with its `parent`, and on SIGTERM though whoever started Dagster ignores it."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with_parent(signal.SIGKILL, parent)


def take(folder: str, devices: Sequence[str], count: int, waits_behind: Callable[[int], None] = lambda _: None) -> list[str]:
    """Wait for `count` of `devices`, lock them for the life of this process, and return their names.

    `waits_behind` is called with the number of tickets in front when the wait begins, and whenever that changes.
    """
    with mutex(folder):
        ticket, proof = draw_ticket(folder, devices)
    told = None
    while True:
        with mutex(folder):
            ahead = tickets_ahead(folder, ticket, devices)
            if ahead == 0 and (locked := lock_all(folder, devices, count)):
                os.unlink(ticket)
                os.close(proof)
                for descriptor in locked.values():
                    os.set_inheritable(descriptor, True)
                return list(locked)
        if told != ahead:
            waits_behind(ahead)
            told = ahead
        time.sleep(POLL_SECONDS if ahead == 0 else 4 * POLL_SECONDS)


@contextmanager
def mutex(folder: str) -> Iterator[None]:
    """Hold the folder's mutex: for moments only, never while waiting."""
    while (descriptor := lock_file(os.path.join(folder, "mutex"), fcntl.LOCK_EX)) is None:
        pass
    try:
        yield
    finally:
        os.close(descriptor)


def draw_ticket(folder: str, devices: Sequence[str]) -> tuple[str, int]:
    """Create the next ticket; return its path, and the descriptor that keeps it locked while it lives. Only under the mutex."""
    ticket = os.path.join(folder, f"ticket-{max(ticket_numbers(folder), default=0) + 1:09d}")
    descriptor = create_file(ticket)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.write(descriptor, json.dumps(list(devices)).encode())
    return ticket, descriptor


def tickets_ahead(folder: str, ticket: str, devices: Sequence[str]) -> int:
    """How many living tickets before `ticket` want one of the same devices; those of the dead are removed. Only under the mutex."""
    ahead = 0
    for number in ticket_numbers(folder):
        other = os.path.join(folder, f"ticket-{number:09d}")
        if other >= ticket:
            continue
        descriptor = open_file(other)
        if try_lock(descriptor):
            with suppress(PermissionError):  # another user's: it counts for nothing, and waits for its owner to remove it
                os.unlink(other)
        elif not set(devices).isdisjoint(json.loads(os.read(descriptor, 1 << 20))):
            ahead += 1
        os.close(descriptor)
    return ahead


def ticket_numbers(folder: str) -> list[int]:
    """Numbers of all tickets in the folder."""
    return [int(name.removeprefix("ticket-")) for name in os.listdir(folder) if name.startswith("ticket-")]


def lock_all(folder: str, devices: Sequence[str], count: int) -> dict[str, int]:
    """Lock `count` free devices, the first ones: name -> descriptor; empty if there are not enough. Only under the mutex."""
    locked: dict[str, int] = {}
    for device in devices:
        descriptor = lock_file(os.path.join(folder, f"device-{device}"), fcntl.LOCK_EX | fcntl.LOCK_NB)
        if descriptor is None:
            continue
        locked[device] = descriptor
        if len(locked) == count:
            return locked
    for descriptor in locked.values():
        os.close(descriptor)
    return {}


def lock_file(path: str, how: int) -> int | None:
    """Open and lock a file that lasts; None if that failed, or if the file was removed meanwhile, so that others would lock a new one."""
    descriptor = open_file(path)
    if try_lock(descriptor, how) and is_still(path, descriptor):
        return descriptor
    os.close(descriptor)
    return None


def try_lock(descriptor: int, how: int = fcntl.LOCK_EX | fcntl.LOCK_NB) -> bool:
    """Lock a file if nobody else has."""
    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError:
        return False
    return True


def is_still(path: str, descriptor: int) -> bool:
    """Whether a path leads to the open file."""
    try:
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def open_file(path: str) -> int:
    """Open a file, or create it, close-on-exec, never through a symbolic link. To lock it, one need not be allowed to write it."""
    while True:
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            with suppress(FileExistsError):
                return create_file(path)


def create_file(path: str) -> int:
    """Create a file that every user can lock, and its owner write and remove."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    os.fchmod(descriptor, 0o644)
    return descriptor


def prepare(order: Mapping[str, Any]) -> dict[str, str]:
    """Take a lease, tell about it, and return what it adds to the environment.

    `order` holds `tell` (a descriptor for lines of JSON: `waits_behind`, then `leased`) and `count`, the number of devices; 0 means
    no lease and no visible device. For a lease: `folder`, `devices`, and `threads` per device, if the devices are CPU slots.
    """
    if order["count"] == 0:
        return {"CUDA_VISIBLE_DEVICES": ""}
    leased = take(order["folder"], order["devices"], order["count"], lambda ahead: tell(order["tell"], waits_behind=ahead))
    tell(order["tell"], leased=leased)
    if order["threads"]:
        return {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": str(order["threads"] * len(leased))}
    return {"CUDA_VISIBLE_DEVICES": ",".join(leased)}


def main(order: Mapping[str, Any]) -> None:
    """Prepare as `order` says, and become its `command`, unless its `parent`, a process id, has ended."""
    answer_to(order["parent"])
    os.set_inheritable(order["tell"], False)
    os.environ.update(prepare(order))
    os.execv(order["command"][0], order["command"])


def tell(descriptor: int, **news: int | list[str]) -> None:
    """Write one line of JSON."""
    os.write(descriptor, json.dumps(news).encode() + b"\n")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
