"""Which devices this machine has, by name.

What belongs here: asking the driver's own tool, reading what the user allowed, and counting CPU slots where there is no GPU. What
does not: torch (importing it takes seconds, and would make every run worker a user of the GPU), or who may have a device when (`lease`).
"""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

AUTO = "auto"
MAX_CPU_SLOTS = 8
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]*")
LISTED = re.compile(r"(?P<indent>\s*)\S.*\(UUID: (?P<uuid>[^)]+)\)")


class DeviceError(ValueError):
    """The devices cannot be found or named as asked; the message is a sentence for the user."""


@dataclass(frozen=True)
class Devices:
    """Devices that steps can lease.

    `names` are what `CUDA_VISIBLE_DEVICES` takes. If `threads` is not 0 they are CPU slots of so many threads each. `origin` says in
    a sentence where they come from.
    """

    names: tuple[str, ...]
    threads: int
    origin: str

    def __len__(self) -> int:
        return len(self.names)


def find_devices(wanted: str | Sequence[str] = AUTO, cpu_slots: int | None = None) -> Devices:
    """The devices to lease: those named in `wanted`, or for "auto" this machine's GPUs by UUID, or else CPU slots.

    "auto" keeps to `CUDA_VISIBLE_DEVICES` where that is set. MIG instances replace the GPU that is split into them. `cpu_slots` is
    used only if there is no GPU; None means one slot per core, at most 8.

    Raises:
        DeviceError: a name is empty, odd or doubled, or there seem to be GPUs that cannot be listed.
    """
    if wanted != AUTO:
        names = (wanted,) if isinstance(wanted, str) else tuple(wanted)
        if not names or len(set(names)) < len(names) or not all(NAME.fullmatch(name) for name in names):
            raise DeviceError(f"devices must be {AUTO!r} or a list of different names (letters, digits, _ . : -), found {list(names)}.")
        return Devices(names, 0, "The devices are those named in the executor's config.")
    found = allowed(nvidia_devices(), os.environ.get("CUDA_VISIBLE_DEVICES"))
    if found:
        return Devices(found, 0, f"Found {len(found)} GPU(s).")
    cores = available_cores()
    slots = cpu_slots or min(cores, MAX_CPU_SLOTS)
    threads = max(1, cores // slots)
    origin = f"No GPU on this machine: {slots} CPU slot(s) of {threads} thread(s) each stand in."
    return Devices(tuple(f"cpu-{slot}" for slot in range(slots)), threads, origin)


def nvidia_devices() -> tuple[str, ...]:
    """UUIDs of NVIDIA's GPUs or MIG instances, in the order of the bus; empty where there is no GPU.

    Raises:
        DeviceError: there is a GPU's device file, but `nvidia-smi` is absent or fails.
    """
    tool = shutil.which("nvidia-smi")
    problem = "nvidia-smi is not installed"
    if tool:
        answer = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=60, check=False)
        if answer.returncode == 0:
            return parse_listing(answer.stdout)
        problem = f"nvidia-smi failed with exit code {answer.returncode}"
    if Path("/dev/nvidia0").exists():
        raise DeviceError(
            f"This machine has an NVIDIA GPU, but {problem}: repair the driver, or name the devices in the executor's config."
        )
    return ()


def parse_listing(listing: str) -> tuple[str, ...]:
    """UUIDs in the output of `nvidia-smi -L`; a GPU with (indented) MIG instances is given as those."""
    found: list[str] = []
    split_gpu = ""
    for line in listing.splitlines():
        match = LISTED.fullmatch(line)
        if match and not match["indent"]:
            split_gpu = match["uuid"]
            found.append(split_gpu)
        elif match:
            if split_gpu in found:
                found.remove(split_gpu)
            found.append(match["uuid"])
    return tuple(found)


def allowed(found: Sequence[str], visible: str | None) -> tuple[str, ...]:
    """Those of `found` that a value of `CUDA_VISIBLE_DEVICES` (indices, or UUIDs that may be cut short) allows, in its order.

    As CUDA does, it stops at the first entry that is no device.
    """
    if visible is None:
        return tuple(found)
    kept: list[str] = []
    for entry in (part.strip() for part in visible.split(",")):
        matches = [
            name
            for index, name in enumerate(found)
            if entry == str(index) or (entry.startswith(("GPU-", "MIG-")) and name.startswith(entry))
        ]
        if len(matches) != 1 or matches[0] in kept:
            break
        kept += matches
    return tuple(kept)


def available_cores(cgroup: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """CPU cores that this process may use, by its affinity, its container's quota, and its Slurm job (not all clusters bind jobs)."""
    cores = len(os.sched_getaffinity(0))
    cores = min(cores, int(os.environ.get("SLURM_CPUS_ON_NODE", cores)))
    quota = cgroup.read_text().split() if cgroup.exists() else ["max"]
    return cores if quota[0] == "max" else max(1, min(cores, int(quota[0]) // int(quota[1])))
