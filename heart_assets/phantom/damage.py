"""Defects done to finished things: series, manifests, zips.

What belongs here: the doing of the defects of defects.py that spoil something already made. What does not: those that
arise while scanning (studies.py).
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from heart_assets.files import atomic_path
from heart_assets.phantom.defects import OF_ZIP, Defect
from heart_assets.phantom.dicom_files import make_uid
from heart_assets.phantom.studies import Series

STRAY_FILES = {"Thumbs.db": b"\0" * 64, "report.txt": b"no images in here\n"}


def damage_series(series: Sequence[Series], defect: Defect, rng: np.random.Generator) -> list[Series]:
    """The study's series, with frames lost or cut short in the view that the defect hits."""
    act = {"missing_frames": _without_frames, "truncated_frame": _with_truncated_frame}.get(defect.kind)
    if act is None:
        return list(series)
    return [act(one, rng) if one.view == defect.view else one for one in series]


def _without_frames(one: Series, rng: np.random.Generator) -> Series:
    lost = set(rng.permutation(len(one.files))[: len(one.files) * 3 // 10].tolist())
    return replace(one, files=tuple(file for place, file in enumerate(one.files) if place not in lost))


def _with_truncated_frame(one: Series, rng: np.random.Generator) -> Series:
    files = list(one.files)
    broken = int(rng.integers(len(files)))
    files[broken] = replace(files[broken], data=files[broken].data[: len(files[broken].data) // 2])
    return replace(one, files=tuple(files))


def damage_manifest(lines: Sequence[str], defect: Defect, rng: np.random.Generator) -> str | None:
    """The manifest's text with the defect in it, if it is one of manifests; None if there is to be no manifest."""
    lines, end = list(lines), "\n"
    if defect.kind == "manifest_absent":
        return None
    if defect.kind == "manifest_short_lines":
        for place in range(3, len(lines), 7):
            lines[place] = ",".join(lines[place].split(",")[:4])
    elif defect.kind == "manifest_run_on_lines":
        for place in range(len(lines) - 3, 2, -11):
            lines[place : place + 2] = [lines[place] + lines[place + 1]]
    elif defect.kind == "manifest_no_final_newline":
        end = ""
    elif defect.kind == "manifest_lists_absent_files":
        rest = lines[1].split(",", 1)[1]
        lines += [f"{make_uid('absent', int(rng.integers(2**31)))}.dcm,{rest}" for _ in range(4)]
    return "\n".join(lines) + end


def damage_zip(path: Path, defect: Defect) -> None:
    """The zip itself, if the defect is one of zips."""
    if defect.kind not in OF_ZIP:
        return
    data = path.read_bytes()
    damaged = {"truncated_zip": data[: len(data) * 2 // 3], "not_a_zip": b"<html>504 Gateway Time-out</html>\n", "empty_file": b""}
    with atomic_path(path) as temporary:
        temporary.write_bytes(damaged[defect.kind])
