"""The defects that real deliveries have, planted on purpose: which study gets which, and what is left of it.

What belongs here: the list of defects, their plan and their outcome. What does not: their doing, which lies where the thing
is made that they spoil: acquisitions (studies.py), or finished series, manifests and zips (damage.py).

Every defect states what becomes of each view: `usable`, `unusable`, or `either` where a careful reader may reasonably
reject or repair it (a cine with frames missing).
"""

from dataclasses import dataclass

import numpy as np

VIEWS = ("3ch", "4ch")
OF_ZIP = ("truncated_zip", "not_a_zip", "empty_file")
OF_MANIFEST = (
    "manifest_comma_dates", "manifest_short_lines", "manifest_run_on_lines", "manifest_no_final_newline",
    "manifest_lists_absent_files", "manifest_absent",
)  # fmt: skip
OF_VIEW = {  # what becomes of the view that is hit
    "repeated_series": "usable",  # a first try broken off, then the whole
    "missing_view": "unusable",
    "missing_frames": "either",
    "truncated_frame": "either",  # one file of the cine is cut short
    "fewer_frames": "usable",  # a whole cine of fewer frames than usual
    "missing_trigger_time": "usable",
}
DEFECTS = (*OF_MANIFEST, *OF_VIEW, "mixed_series", "stray_files", *OF_ZIP)


@dataclass(frozen=True)
class Defect:
    """One planted defect and the view it is planted in (`all` for those of the whole study)."""

    kind: str
    view: str = "all"

    def outcome(self) -> dict[str, str]:
        """View -> usable, unusable or either."""
        if self.kind in OF_VIEW:
            return {view: OF_VIEW[self.kind] if view == self.view else "usable" for view in VIEWS}
        state = "unusable" if self.kind in OF_ZIP else "either" if self.kind == "mixed_series" else "usable"
        return dict.fromkeys(VIEWS, state)


SOUND = Defect("none")


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
    for study, number in zip(chosen.tolist(), np.concatenate(rounds).tolist(), strict=False):
        kind, view = DEFECTS[number], VIEWS[int(rng.integers(2))]
        plan[study] = Defect(kind, view if kind in OF_VIEW else "all")
    return plan
