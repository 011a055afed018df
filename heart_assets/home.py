"""The study's Dagster home: the folder that holds its runs, and the environment in which Dagster's processes start.

Each study has a home of its own below `.dagster_home`, since two studies have the same asset keys. A DAGSTER_HOME that
is already set is respected.
"""

import fcntl
import os
import shutil
from pathlib import Path

import dagster as dg

from heart_assets.compute import pool_limits
from heart_assets.errors import StudyError
from heart_assets.executor import set_pool_limits
from heart_assets.ledger import Study
from heart_assets.partitions import HEART_DELIVERIES, LIVER_DELIVERIES
from heart_assets.settings import STUDY_FILE_VARIABLE, StudySettings

PROJECT = Path(__file__).resolve().parent.parent
WORKSPACE = PROJECT / "workspace.yaml"


def prepare_home(settings: StudySettings, study_file: Path) -> Path:
    """Make the study's Dagster home if need be, and set the environment that every Dagster process of it inherits."""
    os.environ[STUDY_FILE_VARIABLE] = str(study_file)
    home = Path(os.environ.get("DAGSTER_HOME") or PROJECT / ".dagster_home" / settings.name).resolve()
    os.environ["DAGSTER_HOME"] = str(home)
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "dagster.yaml").exists():
        shutil.copyfile(PROJECT / "dagster.yaml", home / "dagster.yaml")
    return home


def hold_ui(home: Path) -> None:
    """Keep the study's web UI for this process, also after it has become `dagster dev`: two daemons would launch every run twice.

    Raises:
        StudyError: it is open already.
    """
    lock = os.open(home / "ui.lock", os.O_RDWR | os.O_CREAT, 0o600)
    os.set_inheritable(lock, True)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StudyError("this study's web UI is running already: use it, or stop it first") from None


def prepare_instance(instance: dg.DagsterInstance, study: Study) -> None:
    """Register the deliveries that lie in the raw folders, and give the pools this machine's limits.

    Raises:
        RawDataError: there are no deliveries.
        StudyError: `compute.devices` names what this machine does not have.
    """
    set_pool_limits(instance, pool_limits(study.settings.compute))
    for partitions, found in ((HEART_DELIVERIES, study.heart_deliveries()), (LIVER_DELIVERIES, study.liver_deliveries())):
        instance.add_dynamic_partitions(str(partitions.name), found)
