"""Devices by name: what is asked for, what the driver lists, what is allowed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from heart_assets.executor import lease
from heart_assets.executor.devices import DeviceError, allowed, available_cores, find_devices, nvidia_devices, parse_listing

LISTING = """GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-11111111-aaaa)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-22222222-bbbb)
  MIG 3g.20gb     Device  0: (UUID: MIG-33333333-cccc)
  MIG 3g.20gb     Device  1: (UUID: MIG-44444444-dddd)
"""
FOUND = ("GPU-11111111-aaaa", "MIG-33333333-cccc", "MIG-44444444-dddd")


def fake_driver(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_a_list_is_taken_as_it_is() -> None:
    devices = find_devices(["GPU-1", "pretend:2"])
    assert (devices.names, devices.threads, len(devices)) == (("GPU-1", "pretend:2"), 0, 2)
    assert find_devices("GPU-1").names == ("GPU-1",)


@pytest.mark.parametrize("wrong", [[], ["a", "a"], ["a/b"], [""], [".."]])
def test_wrong_lists_are_refused(wrong: list[str]) -> None:
    with pytest.raises(DeviceError, match="list of different names"):
        find_devices(wrong)


def test_auto_lists_gpus_by_uuid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_driver(tmp_path, monkeypatch, f"echo '{LISTING}'")
    assert parse_listing(LISTING) == FOUND
    assert find_devices().names == FOUND
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert find_devices().names == ("MIG-33333333-cccc",)


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, FOUND),
        ("", ()),
        ("2,0", (FOUND[2], FOUND[0])),
        ("GPU-1111", (FOUND[0],)),
        ("MIG-3, 0", (FOUND[1], FOUND[0])),
        ("0,9,1", (FOUND[0],)),
        ("0,0", (FOUND[0],)),
        ("NoDevFiles", ()),
    ],
)
def test_what_cuda_visible_devices_allows(visible: str | None, expected: tuple[str, ...]) -> None:
    assert allowed(FOUND, visible) == expected


def test_without_a_gpu_auto_offers_cpu_slots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("heart_assets.executor.devices.available_cores", lambda: 20)
    monkeypatch.setattr(Path, "exists", lambda self: False)
    devices = find_devices()
    assert (devices.names[0], len(devices), devices.threads) == ("cpu-0", 8, 2)
    assert devices.origin == "No GPU on this machine: 8 CPU slot(s) of 2 thread(s) each stand in."
    assert (len(find_devices(cpu_slots=40)), find_devices(cpu_slots=40).threads) == (40, 1)


def test_a_gpu_that_cannot_be_listed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_driver(tmp_path, monkeypatch, "exit 9")
    monkeypatch.setattr(Path, "exists", lambda self: str(self) == "/dev/nvidia0")
    with pytest.raises(DeviceError, match="nvidia-smi failed with exit code 9: repair the driver"):
        nvidia_devices()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(DeviceError, match="nvidia-smi is not installed"):
        nvidia_devices()
    monkeypatch.setattr(Path, "exists", lambda self: False)
    assert nvidia_devices() == ()


def test_cores_keep_to_affinity_job_and_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quota = tmp_path / "cpu.max"
    monkeypatch.delenv("SLURM_CPUS_ON_NODE", raising=False)
    cores = len(os.sched_getaffinity(0))
    assert available_cores(quota) == cores
    for text, expected in (("max 100000", cores), ("100000 100000", 1), ("50000 100000", 1), (f"{(cores + 2) * 1000} 1000", cores)):
        quota.write_text(text)
        assert available_cores(quota) == expected
    quota.unlink()
    for cpus, expected in (("1", 1), (str(cores + 2), cores)):
        monkeypatch.setenv("SLURM_CPUS_ON_NODE", cpus)
        assert available_cores(quota) == expected


def test_finding_devices_does_not_import_torch() -> None:
    code = "import sys; from heart_assets.executor.devices import find_devices; find_devices(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


@pytest.mark.gpu
def test_torch_sees_just_the_leased_device(tmp_path: Path) -> None:
    """Two leases on a real machine: each torch sees one device, the one with the leased UUID; with one GPU the second waits."""
    devices = find_devices()
    if devices.threads:
        pytest.skip("no GPU on this machine")
    code = "import torch; print(torch.cuda.device_count(), torch.cuda.get_device_properties(0).uuid, flush=True)"
    order = {"parent": os.getpid(), "tell": 2, "count": 1, "folder": str(tmp_path), "devices": devices.names, "threads": 0}
    command = [sys.executable, "-I", "-S", lease.__file__, json.dumps({**order, "command": [sys.executable, "-c", code]})]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in processes:
        seen, told = process.communicate(timeout=300)
        (leased,) = json.loads(told.splitlines()[-1])["leased"]
        count, uuid = seen.split()
        assert count == "1" and leased.removeprefix("GPU-") == uuid
