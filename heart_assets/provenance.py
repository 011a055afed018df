"""What an artefact was made from, and whether that still holds.

Every artefact has a record beside it: the data versions of its inputs, the digest of the settings that matter to it,
the version of the code that made it, and its own data version. `outdated` compares a record with the inputs of today;
the assets, the schedule and the command line all ask it, and nobody else decides.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from heart_assets.files import digest, write_text
from heart_assets.settings import StudySettings

# Dagster's `code_version` of each asset: raise one when the asset's result changes for the same inputs.
CODE_VERSIONS = {
    "heart_videos": "1",
    "liver_images": "1",
    "phenotypes": "1",
    "fold_assignments": "1",
    "fold_split": "1",
    "trained_model": "1",
    "predictions": "1",
    "baseline_predictions": "1",
    "ensemble_predictions": "1",
    "scores": "1",
    "applied_predictions": "1",
}


@dataclass(frozen=True)
class Inputs:
    """Everything that decides an artefact's content: upstream name -> data version, settings digest, code version."""

    upstream: dict[str, str]
    settings: str
    code: str


@dataclass(frozen=True)
class Record:
    """The provenance of one artefact.

    `parts` are the digests of its files or views; `data_version` is theirs together. `check` says how its checks went:
    passed, warned (one that does not block has failed) or failed.
    """

    asset: str
    partition: str
    inputs: Inputs
    parts: dict[str, str] = field(default_factory=dict)
    check: str = "passed"

    @property
    def data_version(self) -> str:
        return digest(self.parts)


def settings_that_matter(asset: str, settings: StudySettings) -> str:
    """Digest of the settings that change an asset's content; paths and compute settings never do."""
    dump = settings.model_dump(mode="json")
    raw = dump["raw"]
    matter = {
        "heart_videos": [raw["layout"], raw["default_visit"], dump["views"], dump["series"], dump["geometry"]],
        "liver_images": [raw["layout"], raw["default_visit"], dump["liver"]],
        "phenotypes": [],
        "fold_assignments": [dump["folds"]["count"], dump["folds"]["seed"]],
        "fold_split": [dump["folds"]],
        "trained_model": [dump["training"], dump["geometry"]["spacing_mm"]],
        "predictions": [dump["prediction"]],
        "baseline_predictions": [],
        "ensemble_predictions": [],
        "scores": [dump["statistics"]],
        "applied_predictions": [dump["prediction"]],
    }
    return digest(matter[asset])


def inputs_of(asset: str, settings: StudySettings, upstream: dict[str, str]) -> Inputs:
    """The inputs of today of one asset's partition."""
    return Inputs(dict(sorted(upstream.items())), settings_that_matter(asset, settings), CODE_VERSIONS[asset])


def outdated(record: Record | None, inputs: Inputs) -> str | None:
    """Why an artefact has to be made (again), in a few words; None if its record still holds."""
    if record is None:
        return "never made"
    if record.check == "failed":
        return "its blocking check failed"
    if record.inputs.code != inputs.code:
        return "the code that makes it has changed"
    if record.inputs.settings != inputs.settings:
        return "its settings have changed"
    if record.inputs.upstream != inputs.upstream:
        names = {**record.inputs.upstream, **inputs.upstream}
        changed = [name for name in sorted(names) if record.inputs.upstream.get(name) != inputs.upstream.get(name)]
        return f"changed upstream: {', '.join(changed)}"
    return None


def read_record(path: Path) -> Record | None:
    """The record at a path; None if there is none, or if it is damaged (its artefact is then made again)."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return Record(str(raw["asset"]), str(raw["partition"]), Inputs(**raw["inputs"]), dict(raw["parts"]), str(raw["check"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        return None


def as_json(record: Record) -> dict:
    """The record as it stands in its file and in Dagster's metadata."""
    return {**asdict(record), "data_version": record.data_version}


def write_record(path: Path, record: Record) -> None:
    """Write a record atomically. Written last, after the artefact that it describes."""
    write_text(path, json.dumps(as_json(record), indent=1, sort_keys=True) + "\n")


def record_from_json(value: dict) -> Record:
    """The inverse of `as_json`."""
    return Record(value["asset"], value["partition"], Inputs(**value["inputs"]), dict(value["parts"]), value["check"])
