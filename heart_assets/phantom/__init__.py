"""The phantom: a synthetic cohort of beating hearts with a known best possible estimate of age.

What belongs in this room: everything that is made up. It reads nothing of the other rooms, and they do not know of it.
Difficulty `demo` is easy on purpose (few strong traits); `benchmark` is the one to compare methods on.
"""

from heart_assets.phantom.cohort import generate_cohort
from heart_assets.phantom.montage import montage
from heart_assets.phantom.people import draw_people
from heart_assets.phantom.scanner import render_clips

__all__ = ["draw_people", "generate_cohort", "montage", "render_clips"]
