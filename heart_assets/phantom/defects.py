"""The defects that real deliveries have, planted on purpose: which study gets which, and what is left of it.

What belongs here: the list of defects and their doing. What does not: sound studies.

Every defect states what becomes of each view: `usable`, `unusable`, or `either` where a careful reader may reasonably
reject or repair it (a cine with frames missing).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from heart_assets.phantom.dicom_files import make_uid
from heart_assets.phantom.studies import Series

VIEWS = ("3ch", "4ch")
_WHOLE_FILE = ("truncated_zip", "not_a_zip", "empty_file")
_MANIFEST = (
    "manifest_comma_dates", "manifest_short_lines", "manifest_run_on_lines", "manifest_no_final_newline",
    "manifest_lists_absent_files", "manifest_absent",
)  # fmt: skip
_SERIES: dict[str, str] = {  # defect of one view's series -> what becomes of that view
    "repeated_series": "usable",
    "missing_view": "unusable",
    "missing_frames": "either",
    "truncated_frame": "either",
    "fewer_frames": "usable",
    "missing_trigger_time": "usable",
}
DEFECTS = (*_MANIFEST, *_SERIES, "mixed_series", "stray_files", *_WHOLE_FILE)


@dataclass(frozen=True)
class Defect:
    """One planted defect and the view it is planted in (`all` for those of the whole study)."""

    kind: str
    view: str

    def outcome(self) -> dict[str, str]:
        """View -> usable, unusable or either."""
        if self.kind in _SERIES:
            return {view: _SERIES[self.kind] if view == self.view else "usable" for view in VIEWS}
        state = "unusable" if self.kind in _WHOLE_FILE else "either" if self.kind == "mixed_series" else "usable"
        return dict.fromkeys(VIEWS, state)


def plan_defects(count: int, rate: float, seed: int) -> dict[int, Defect]:
    """Which of `count` studies get which defect: a share `rate` of them, every kind once before any comes twice.

    Raises:
        ValueError: if `rate` is not between 0 and 1.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"defect_rate is a share between 0 and 1, not {rate}")
    rng = np.random.default_rng([seed, 404])
    chosen = rng.permutation(count)[: round(rate * count)]
    rounds = [rng.permutation(len(DEFECTS)) for _ in range(len(chosen) // len(DEFECTS) + 1)]
    plan = {}
    for study, kind in zip(chosen.tolist(), np.concatenate(rounds), strict=False):
        view = VIEWS[rng.integers(2)] if DEFECTS[kind] in _SERIES else "all"
        plan[study] = Defect(DEFECTS[kind], str(view))
    return plan


def damage_series(series: Sequence[Series], defect: Defect | None, rng: np.random.Generator) -> list[Series]:
    """The study's series with the defect in them, if it is one of series."""
    if defect is None:
        return list(series)
    damaged: list[Series] = []
    for one in series:
        if defect.kind in _SERIES and one.header.description.lower().endswith(f"lax_{defect.view}"):
            damaged += _SERIES_DAMAGE.get(defect.kind, lambda one, rng: [one])(one, rng)
        else:
            damaged.append(one)
    return _mixed(damaged) if defect.kind == "mixed_series" else damaged


def _repeat(one: Series, rng: np.random.Generator) -> list[Series]:
    """A first try broken off after half the beat, then the whole."""
    uid = make_uid(one.header.uid, "first try")
    header = replace(one.header, uid=uid)
    keep = one.files[: len(one.files) * int(rng.integers(3, 8)) // 10]
    files = [replace(file, name=f"{make_uid(uid, file.index)}.dcm", data=_renamed(file.data, one.header.uid, uid, file.index)) for file in keep]
    return [Series(header, tuple(files)), one]


def _renamed(data: bytes, old: str, new: str, index: int) -> bytes:
    return data.replace(make_uid(old, index).encode(), make_uid(new, index).encode()).replace(old.encode(), new.encode())


def _mixed(series: Sequence[Series]) -> list[Series]:
    """Both views under one series, `CINE_segmented_LAX`."""
    views = [one for one in series if one.header.description.lower().endswith(VIEWS)]
    uid = views[0].header.uid
    mixed = []
    for one in series:
        if one in views:
            old = one.header.description.encode()
            files = [replace(f, data=f.data.replace(one.header.uid.encode(), uid.encode()).replace(old, b"CINE_segmented_LAX".ljust(len(old)))) for f in one.files]
            one = Series(replace(one.header, uid=uid, description="CINE_segmented_LAX"), tuple(files))
        mixed.append(one)
    return mixed


def _without_frames(one: Series, rng: np.random.Generator) -> list[Series]:
    lost = set(rng.permutation(len(one.files))[: len(one.files) * 3 // 10].tolist())
    return [replace(one, files=tuple(file for file in one.files if file.index not in lost))]


def _with_truncated_frame(one: Series, rng: np.random.Generator) -> list[Series]:
    broken = int(rng.integers(len(one.files)))
    return [replace(one, files=tuple(replace(f, data=f.data[: len(f.data) // 2]) if f.index == broken else f for f in one.files))]


_SERIES_DAMAGE: dict[str, Callable[[Series, np.random.Generator], list[Series]]] = {
    "repeated_series": _repeat,
    "missing_view": lambda one, rng: [],
    "missing_frames": _without_frames,
    "truncated_frame": _with_truncated_frame,
}


def damage_manifest(lines: list[str], defect: Defect | None, rng: np.random.Generator) -> str | None:
    """The manifest's text with the defect in it, if it is one of manifests; None if there is to be no manifest."""
    kind = None if defect is None else defect.kind
    lines, end = list(lines), "\n"
    if kind == "manifest_absent":
        return None
    if kind == "manifest_short_lines":
        for place in range(3, len(lines), 7):
            lines[place] = ",".join(lines[place].split(",")[:4])
    elif kind == "manifest_run_on_lines":
        for place in range(len(lines) - 3, 2, -11):
            lines[place : place + 2] = [lines[place] + lines[place + 1]]
    elif kind == "manifest_no_final_newline":
        end = ""
    elif kind == "manifest_lists_absent_files":
        first = lines[1].split(",", 1)[1]
        lines += [f"{make_uid('absent', int(rng.integers(2**31)))}.dcm,{first}" for _ in range(4)]
    return "\n".join(lines) + end


def damage_file(path: Path, defect: Defect | None) -> None:
    """The zip itself, if the defect is one of files."""
    if defect is None or defect.kind not in _WHOLE_FILE:
        return
    data = path.read_bytes()
    path.write_bytes({"truncated_zip": data[: len(data) * 2 // 3], "not_a_zip": b"<html>504 Gateway Time-out</html>\n", "empty_file": b""}[defect.kind])
