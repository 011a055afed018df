"""How long the demo takes from an installed environment, and how little its second run does.

Runs the demo's commands in an empty copy of the study (its own folders, nothing of an earlier demo is touched), twice, and
prints both wall times, their ratio, the CPU time, and on the last line a JSON object. Run it on an otherwise idle machine:

    make bench-demo
"""

import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
PARTICIPANTS = 200


def main() -> None:
    """Time a first and a second demo."""
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        base = Path(folder)
        shutil.copyfile(PROJECT / "study.toml", base / "study.toml")
        environment = {**os.environ, "DAGSTER_HOME": str(base / "dagster_home")}
        first = demo(base, environment)
        cpu = resource.getrusage(resource.RUSAGE_CHILDREN)
        second = demo(base, environment)
        scores = (base / "demo" / "study" / "scores" / "scores.csv").read_text(encoding="utf-8")
    total = sum(first.values())
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {PARTICIPANTS} participants"
    )
    for name, seconds in first.items():
        print(f"{name:12s} first {seconds:7.1f} s   second {second[name]:7.1f} s")
    print(f"CPU time of the first: {cpu.ru_utime + cpu.ru_stime:.0f} s")
    ensemble = next(line for line in scores.splitlines() if line.startswith("ensemble,all,pooled"))
    print(scores.splitlines()[0], ensemble, sep="\n")
    print(
        json.dumps(
            {
                "seconds": round(total, 1),
                "second_run_seconds": round(sum(second.values()), 1),
                "ratio": round(total / sum(second.values()), 1),
            }
        )
    )


def demo(base: Path, environment: dict[str, str]) -> dict[str, float]:
    """Wall seconds of each of the demo's two commands."""
    commands = {
        "phantom": ["phantom", "--out", str(base / "demo" / "raw"), "--participants", str(PARTICIPANTS), "--seed", "2020"],
        "materialise": ["materialise", "--study", str(base / "study.toml")],
    }
    seconds = {}
    for name, arguments in commands.items():
        start = time.monotonic()
        subprocess.run([sys.executable, "-m", "heart_assets.cli", *arguments], env=environment, check=True)
        seconds[name] = time.monotonic() - start
    return seconds


if __name__ == "__main__":
    main()
