"""Leases between real processes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from heart_assets.executor import lease
from heart_assets_tests.executor.conftest import alive, wait_until

LEASE = [sys.executable, "-I", "-S", lease.__file__]
HOLD = """
import json, os, sys, time
with open(sys.argv[1], "a") as file:
    file.write(json.dumps(["start", os.environ["CUDA_VISIBLE_DEVICES"], time.monotonic(), os.getpid()]) + "\\n")
time.sleep(float(sys.argv[2]))
with open(sys.argv[1], "a") as file:
    file.write(json.dumps(["end", os.environ["CUDA_VISIBLE_DEVICES"], time.monotonic(), os.getpid()]) + "\\n")
"""


class Folder:
    """A folder of locks, and processes that hold leases in it."""

    def __init__(self, path: Path):
        self.path = path
        self.log = path / "log"
        self.processes: list[subprocess.Popen[bytes]] = []

    def hold(self, seconds: float, count: int = 1, devices: Sequence[str] = "abc", code: str = HOLD) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-S", "-c", code, str(self.log), str(seconds)]
        order = {"parent": os.getpid(), "tell": 1, "count": count, "command": command}
        order |= {"folder": str(self.path), "devices": list(devices), "threads": 0}
        self.processes.append(subprocess.Popen([*LEASE, json.dumps(order)], stdout=subprocess.PIPE, start_new_session=True))
        return self.processes[-1]

    def entries(self) -> list[tuple[str, str, float, int]]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return sorted((tuple(json.loads(line)) for line in lines), key=lambda entry: entry[2])

    def news(self, process: subprocess.Popen[bytes]) -> list[dict[str, object]]:
        assert process.stdout
        return [json.loads(line) for line in process.stdout.read().splitlines()]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    folder = Folder(tmp_path)
    yield folder
    for process in folder.processes:
        process.kill()
        process.communicate()


def test_the_lease_names_its_devices_and_nothing_without_one(folder: Folder) -> None:
    two, none = folder.hold(0, count=2), folder.hold(0, count=0)
    assert folder.news(two) == [{"leased": ["a", "b"]}]
    assert folder.news(none) == []
    assert (two.wait(10), none.wait(10)) == (0, 0)
    assert sorted(entry[1] for entry in folder.entries() if entry[0] == "start") == ["", "a,b"]


def test_rivals_never_share_and_big_ones_do_not_starve(folder: Folder) -> None:
    for count in (1, 2, 1, 3, 1, 2, 1, 1):
        folder.hold(0.1, count)
    for process in folder.processes:
        assert process.wait(30) == 0
    held: set[str] = set()
    for kind, devices, _, _ in folder.entries():
        names = set(devices.split(","))
        assert held.isdisjoint(names) if kind == "start" else names <= held
        held = held | names if kind == "start" else held - names
    assert [len(entry[1].split(",")) for entry in folder.entries() if entry[0] == "start"].count(3) == 1


def test_twenty_processes_on_three_devices(folder: Folder) -> None:
    for number in range(20):
        folder.hold(0.05, 1 + number % 3)
    assert [process.wait(60) for process in folder.processes] == [0] * 20
    held: set[str] = set()
    for kind, devices, _, _ in folder.entries():
        names = set(devices.split(","))
        assert held.isdisjoint(names) if kind == "start" else names <= held
        held = held | names if kind == "start" else held - names


def start_in_order(folder: Folder, *counts: int) -> None:
    """Start holders such that each has drawn its ticket before the next begins."""
    for count in counts:
        before = len(list(folder.path.glob("ticket-*")))
        folder.hold(0.05, count)
        wait_until(lambda before=before: len(list(folder.path.glob("ticket-*"))) > before, 10)  # type: ignore[misc]


def test_first_come_first_served_and_told_so(folder: Folder) -> None:
    holder = folder.hold(60, count=1)
    wait_until(lambda: len(folder.entries()) == 1, 10)
    start_in_order(folder, 3, 1, 2)
    time.sleep(0.3)
    assert len(folder.entries()) == 1  # two devices are free, but the first in the queue wants three
    holder.kill()
    for process in folder.processes[1:]:
        assert process.wait(20) == 0
    starts = [entry for entry in folder.entries() if entry[0] == "start"]
    assert [entry[3] for entry in starts[1:2]] == [folder.processes[1].pid]
    news = [folder.news(process) for process in folder.processes[1:]]
    assert [told[0] for told in news] == [{"waits_behind": 0}, {"waits_behind": 1}, {"waits_behind": 2}]
    assert not list(folder.path.glob("ticket-*"))


def test_queues_for_different_devices_do_not_hold_each_other_up(folder: Folder) -> None:
    folder.hold(60, devices="a")
    wait_until(lambda: len(folder.entries()) == 1, 10)
    folder.hold(60, devices="a")
    wait_until(lambda: bool(list(folder.path.glob("ticket-*"))), 10)
    other = folder.hold(0, devices="b")
    assert other.wait(10) == 0


def test_killing_a_holder_frees_at_once_and_a_dead_ticket_is_passed(folder: Folder) -> None:
    holder = folder.hold(60, count=3)
    wait_until(lambda: len(folder.entries()) == 1, 10)
    start_in_order(folder, 3, 3)
    folder.processes[1].kill()
    folder.processes[1].wait()
    killed = time.monotonic()
    holder.kill()
    assert folder.processes[2].wait(10) == 0
    starts = [entry for entry in folder.entries() if entry[0] == "start"]
    assert [entry[3] for entry in starts] == [holder.pid, folder.processes[2].pid]
    assert starts[1][2] - killed < 1


def test_a_forked_child_keeps_the_lease_and_a_subprocess_does_not(folder: Folder) -> None:
    forks = "import os, sys, time\nif os.fork() == 0: time.sleep(1)"
    spawns = "import os, subprocess, sys\nsubprocess.Popen(['sleep', '5'])"
    for code, waits in ((forks, True), (spawns, False)):
        assert folder.hold(0, devices="a", code=code).wait(10) == 0
        next_one = folder.hold(0, devices="a")
        assert next_one.wait(10) == 0
        assert ({"waits_behind": 0} in folder.news(next_one)) is waits


def test_cpu_slots_show_no_device_and_share_the_cores(tmp_path: Path) -> None:
    read, write = os.pipe()
    order = {"tell": write, "folder": str(tmp_path), "devices": ["cpu-0", "cpu-1"], "count": 2, "threads": 3}
    assert lease.prepare(order) == {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "6"}
    assert json.loads(os.read(read, 1000)) == {"leased": ["cpu-0", "cpu-1"]}
    assert lease.prepare({"count": 0}) == {"CUDA_VISIBLE_DEVICES": ""}
    told: list[int] = []

    def give_up(ahead: int) -> None:
        told.append(ahead)
        raise InterruptedError

    with pytest.raises(InterruptedError):  # this process holds both: it would wait for itself
        lease.take(str(tmp_path), ["cpu-0"], 1, give_up)
    assert told == [0]


PARENT = """
import json, os, subprocess, sys, time
order = json.loads(sys.argv[1]) | {"parent": os.getpid()}
subprocess.Popen([*json.loads(sys.argv[2]), json.dumps(order)])
time.sleep(60)
"""
CHILD = """
import os, sys, time
with open(sys.argv[1], "w") as file:
    file.write(str(os.getpid()))
time.sleep(60)
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_killing_the_parent_ends_the_child(tmp_path: Path, end: signal.Signals) -> None:
    told = tmp_path / "child"
    order = {"tell": 1, "count": 0, "command": [sys.executable, "-c", CHILD, str(told)]}
    parent = subprocess.Popen([sys.executable, "-c", PARENT, json.dumps(order), json.dumps(LEASE)], stdout=subprocess.DEVNULL)
    wait_until(lambda: told.exists() and bool(told.read_text()), 10)
    child = int(told.read_text())
    parent.send_signal(end)
    parent.wait()
    assert wait_until(lambda: not alive(child), 5) < 1


def test_a_child_whose_parent_has_ended_already_ends_itself() -> None:
    order = {"parent": 1, "tell": 1, "count": 0, "command": ["/bin/true"]}
    process = subprocess.run([*LEASE, json.dumps(order)], check=False)
    assert process.returncode == -signal.SIGKILL


def test_a_lock_file_that_is_removed_meanwhile_is_not_taken_for_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "device-x")
    opened = lease.open_file

    def remove_after_opening(path: str) -> int:
        descriptor = opened(path)
        os.unlink(path)
        return descriptor

    monkeypatch.setattr(lease, "open_file", remove_after_opening)
    assert lease.lock_all(str(tmp_path), ["x"], 1) == {}
    monkeypatch.undo()
    locked = lease.lock_all(str(tmp_path), ["x"], 1)
    assert lease.is_still(path, locked["x"])
    os.close(locked["x"])


def test_a_symbolic_link_is_no_lock_file(tmp_path: Path) -> None:
    (tmp_path / "device-x").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        lease.lock_all(str(tmp_path), ["x"], 1)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can act as two users")
def test_two_users_share_a_sticky_folder(folder: Folder) -> None:
    """Whoever made the files, both lock them; a dead ticket of the other user is passed, though it cannot be removed."""
    shared = Path(tempfile.mkdtemp(dir="/tmp"))
    shared.chmod(0o1777)
    take = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); import lease; os.umask(0o077); os.setuid(int(sys.argv[3]));"
        "print(lease.take(sys.argv[2], ['x'], 1, lambda ahead: os._exit(3)), flush=True); sys.stdin.read()"
    )

    def user(number: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-S", "-c", take, str(Path(lease.__file__).parent), str(shared), str(number)]
        folder.processes.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        return folder.processes[-1]

    first = user(65534)
    assert first.stdout and first.stdout.readline() == b"['x']\n"
    assert user(1234).wait(10) == 3  # it had to wait: it gave up, and its ticket stays
    first.communicate()
    third = user(65534)
    assert third.stdout and third.stdout.readline() == b"['x']\n"
    third.communicate()
    assert len(list(shared.glob("ticket-*"))) == 1
    shutil.rmtree(shared)
