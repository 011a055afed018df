"""A picture of the phantom: both views over the beat, at several ages.

What belongs here: the grid of frames, as an array. What does not: files, captions.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from heart_assets.phantom.people import Person, draw_people
from heart_assets.phantom.planes import scan_plane
from heart_assets.phantom.scanner import render
from heart_assets.phantom.traits import Difficulty, expected_scores, physical_values

GREY_PERCENTILE = 98.5  # the fat at the coil may saturate, as on a reader's screen


def montage(
    difficulty: Difficulty = "benchmark",
    ages: Sequence[float] = (48.0, 64.0, 80.0),
    phases: Sequence[float] = (0.0, 0.2, 0.36, 0.52),
    seed: int = 4,
    spacing_mm: float = 1.6,
    side_px: int = 200,
) -> np.ndarray:
    """Frames as the scanner stores them: one row per view (4ch, then 3ch) and age, one column per phase.

    Every person has the traits expected at the age in question and the nuisances of somebody else.

    Args:
        difficulty: whose traits.
        ages: years, within the phantom's range.
        phases: in cycles; each is shown at the nearest of 25 frames.
        seed: of the people whose nuisances are borrowed.
        spacing_mm: pixel size.
        side_px: side of each square tile.

    Returns:
        (2 * len(ages) * side_px, len(phases) * side_px) uint8.
    """
    people = [_aged(person, age, difficulty) for person, age in zip(draw_people(len(ages), seed, difficulty), ages, strict=True)]
    rows = []
    for view in ("4ch", "3ch"):
        for person in people:
            cine = render(person, view, scan_plane(person, view, side_px, side_px, spacing_mm), 25)
            shown = np.stack([cine[round(phase * 25) % 25] for phase in phases]) * (255.0 / np.percentile(cine, GREY_PERCENTILE))
            rows.append(np.hstack(list(np.clip(shown, 0, 255).astype(np.uint8))))
    return np.vstack(rows)


def _aged(person: Person, age: float, difficulty: Difficulty) -> Person:
    """The person as expected at another age, upright and with rows and columns in their usual place."""
    scores = expected_scores(np.array([age]), np.array([person.male]), difficulty)[0]
    scan = replace(
        person.scan, swapped=dict.fromkeys(person.scan.swapped, False), tilt_deg=dict.fromkeys(person.scan.tilt_deg, (0.0, 0.0, 0.0))
    )
    return replace(person, age=age, scores=scores, traits=physical_values(scores, difficulty), scan=scan)
