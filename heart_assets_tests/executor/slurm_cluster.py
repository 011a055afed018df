"""A real Slurm for tests: Debian's slurm-wlm and munge as plain processes on loopback, one node with two pretend GPUs.

Everything lies in a temporary folder, and ends with the tests. Where Slurm is not installed, the tests skip and say so; where it is
installed but does not start, they fail.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from heart_assets.executor.lease import die_with_parent
from heart_assets_tests.executor.conftest import wait_until

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")
CONFIGURATION = """
ClusterName=pretend
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=1
ReturnToService=2
KillWait=5
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=8000 Gres=gpu:2 State=UNKNOWN
PartitionName=pretend Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
DEVICES = "Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n"


class Cluster:
    """One node and its controller. `environment` is what Slurm's commands need to find them."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.host = socket.gethostname().split(".")[0]
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf")}
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Write the configuration and start the daemons; returns when the node is idle."""
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(1024))
        user = pwd.getpwuid(os.getuid()).pw_name
        ports = {"controller_port": free_port(), "node_port": free_port()}
        (self.folder / "slurm.conf").write_text(CONFIGURATION.format(folder=self.folder, host=self.host, user=user, **ports))
        (self.folder / "gres.conf").write_text(DEVICES)
        names = {"socket": "munge.socket", "key-file": "munge.key", "pid-file": "munged.pid", "log-file": "munged.log", "seed-file": "seed"}
        self._start("munged", "--foreground", "--force", *(f"--{option}={self.folder / name}" for option, name in names.items()))
        wait_until((self.folder / "munge.socket").exists, 20)
        self.start_controller()
        self._start("slurmd", "-D", "-N", self.host)
        wait_until(lambda: self.command("sinfo", "--noheader", "--format=%T").strip() == "idle", 30)

    def start_controller(self) -> None:
        """Start slurmctld."""
        self._start("slurmctld", "-D")

    def stop_controller(self) -> None:
        """End slurmctld; jobs go on."""
        controller = next(process for process in self._processes if Path(str(process.args[0])).name == "slurmctld")  # type: ignore[index]
        end(controller)
        self._processes.remove(controller)

    def stop(self) -> None:
        """Cancel all jobs and end the daemons."""
        for job in self.active_jobs():
            self.command("scancel", "--signal=KILL", "--full", job)
        for process in reversed(self._processes):
            end(process)

    def active_jobs(self) -> list[str]:
        """Ids of jobs that wait or run, or have not quite ended."""
        return self.command("squeue", "--noheader", "--format=%i").split()

    def lose_node(self) -> None:
        """Take the node down, which ends its jobs with NODE_FAIL; it comes back by itself when it reports for service."""
        self.command("scontrol", "update", f"nodename={self.host}", "state=down", "reason=test")

    def command(self, *command: str) -> str:
        """What one of Slurm's commands prints."""
        return subprocess.run(command, env={**os.environ, **self.environment}, capture_output=True, text=True, check=False).stdout

    def _start(self, program: str, *arguments: str) -> None:
        parent = os.getpid()
        log = (self.folder / f"{program}.out").open("ab")
        self._processes.append(
            subprocess.Popen(
                [find(program), *arguments],
                env={**os.environ, **self.environment},
                stdout=log,
                stderr=log,
                preexec_fn=lambda: die_with_parent(signal.SIGKILL, parent),
            )
        )


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a daemon."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def find(program: str) -> str | None:
    """A program's path; daemons lie where only root's PATH leads."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A running cluster."""
    missing = [program for program in PROGRAMS if find(program) is None]
    if missing:
        pytest.skip(f"Slurm is not installed (no {', '.join(missing)}): install Debian's slurm-wlm and munge")
    cluster = Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
