"""The warden ends what is left of a process group when the process that told of it has ended, and nothing else."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from heart_assets.executor.warden import Warden, main
from heart_assets_tests.executor.conftest import alive, wait_until

WORKER = """
import os, subprocess, sys, time
from heart_assets.executor.warden import Warden
warden = Warden()
shell = "sleep 60 & echo $! > {}/%s; wait"
groups = [subprocess.Popen(["sh", "-c", shell % name], start_new_session=True) for name in ("left", "ended")]
for group in groups:
    warden.watch(group.pid)
warden.forget(groups[1].pid)
while not all(os.path.exists("{}/" + name) for name in ("left", "ended")): time.sleep(0.01)
print(warden._process.pid, flush=True)
time.sleep(60)
"""


def test_groups_of_a_killed_worker_end_and_those_let_go_do_not(tmp_path: Path) -> None:
    code = WORKER.replace("{}", str(tmp_path))
    worker = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert worker.stdout
    warden = int(worker.stdout.readline())
    left, ended = (int((tmp_path / name).read_text()) for name in ("left", "ended"))
    assert alive(left) and alive(ended) and alive(warden)
    worker.kill()
    worker.wait()
    wait_until(lambda: not alive(left) and not alive(warden), 10)
    assert alive(ended)
    os.kill(ended, signal.SIGKILL)


def test_a_warden_that_was_killed_harms_nobody_and_is_replaced() -> None:
    warden = Warden()
    group = subprocess.Popen(["sleep", "60"], start_new_session=True)
    warden.watch(group.pid)
    assert warden._process
    first = warden._process
    first.kill()
    first.wait()
    warden.forget(group.pid)
    warden.watch(group.pid)
    assert warden._process is not first and warden._process.poll() is None
    warden._process.stdin.close()  # type: ignore[union-attr]
    assert group.wait(10) == -signal.SIGKILL
    assert warden._process.wait(10) == 0


def test_it_kills_what_is_left_in_the_list() -> None:
    group = subprocess.Popen(["sleep", "60"], start_new_session=True)
    gone = subprocess.Popen(["true"], start_new_session=True)
    gone.wait()
    main([f"+{group.pid}\n", f"+{gone.pid}\n", "+1234567\n", "-1234567\n"])
    assert group.wait(10) == -signal.SIGKILL
