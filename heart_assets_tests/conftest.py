"""Fixtures that several rooms share: a tiny synthetic cohort on disk, and no Dagster home or study file but a test's own."""

import json
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from heart_assets.ledger import Study
from heart_assets.phantom import generate_cohort
from heart_assets.settings import load_settings
from heart_assets_tests.tiny import made_study

PARTICIPANTS, DEFECT_RATE = 15, 0.4


@pytest.fixture(scope="session", autouse=True)
def sigterm_ends_processes() -> None:
    """Whoever started pytest may ignore SIGTERM, and the tests' child processes would inherit that."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@dataclass(frozen=True)
class Cohort:
    """Where a cohort lies and what was planted in it."""

    folder: Path

    @property
    def record(self) -> dict[str, Any]:
        """cohort.json."""
        return json.loads((self.folder / "cohort.json").read_text())

    @property
    def participants(self) -> list[str]:
        """Ids, sorted."""
        return sorted(path.name.split("_")[0] for path in (self.folder / "heart").rglob("*_20208_*.zip"))

    def delivery(self, participant: str) -> str:
        """The delivery in which a participant's zip lies."""
        return participant[:2]

    def outcome(self, participant: str, view: str) -> str:
        """usable, either or unusable."""
        planted = {defect["study_id"]: defect["views"] for defect in self.record["defects"]}
        return planted.get(f"{participant}_2_0", {}).get(view, "usable")


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Fifteen people of the easy phantom, six of them with a planted defect. Read only."""
    folder = tmp_path_factory.mktemp("cohort")
    generate_cohort(folder, PARTICIPANTS, 7, "demo", DEFECT_RATE)
    return Cohort(folder)


@pytest.fixture(scope="session")
def made_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study in which everything exists and holds. Read only."""
    folder = tmp_path_factory.mktemp("made")
    made_study(folder)
    return folder


@pytest.fixture
def made(made_folder: Path, tmp_path: Path) -> Study:
    """A copy of that study, to be changed."""
    shutil.copytree(made_folder, tmp_path, dirs_exist_ok=True)
    return Study(load_settings(tmp_path / "study.toml"))


@pytest.fixture(autouse=True, scope="session")
def _no_home_of_the_user() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DAGSTER_HOME", raising=False)
        patch.delenv("HEART_ASSETS_STUDY", raising=False)
        yield
