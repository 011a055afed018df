"""A small cohort, made once: coarse images, so that it takes seconds, and every kind of defect once."""

from pathlib import Path

import pytest

from heart_assets.phantom import generate_cohort, studies
from heart_assets.phantom.defects import DEFECTS

REAL_MATRIX = dict(studies.MATRIX)
COARSE = {"demo": (34, 40, 8.0), "benchmark": (34, 40, 8.0)}  # the least that JPEG 2000 takes is 32


@pytest.fixture(autouse=True, scope="session")
def coarse_matrix():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(studies, "MATRIX", COARSE)
        yield


@pytest.fixture(scope="session")
def damaged_cohort(tmp_path_factory, coarse_matrix) -> Path:
    """One study for each kind of defect."""
    out = tmp_path_factory.mktemp("damaged")
    generate_cohort(out, len(DEFECTS), 5, "demo", defect_rate=1.0)
    return out


@pytest.fixture(scope="session")
def sound_cohort(tmp_path_factory, coarse_matrix) -> Path:
    """Six sound studies."""
    out = tmp_path_factory.mktemp("sound")
    generate_cohort(out, 6, 6, "benchmark", defect_rate=0.0)
    return out
