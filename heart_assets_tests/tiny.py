"""A study small enough for a test: its file, its people, and values for every asset, written by the code that a real study uses.

What belongs here: making inputs. What does not: expectations. Participants' ids are 9,000,001 and above, so nobody's.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from heart_assets import artefacts
from heart_assets.assets import application, cleaning, ensembles, folds, models
from heart_assets.dicom import DeliveryResult
from heart_assets.learning import TrainedModel
from heart_assets.ledger import Study
from heart_assets.provenance import Record, inputs_of
from heart_assets.settings import load_settings
from heart_assets.store import ImageStore, ImageWriter, VideoStore, VideoWriter

FRAMES, SIZE_PX, SPACING_MM = 8, 16, 4.0
VIEWS = ("3ch", "4ch")
FOLDS = 3

FIELDS: dict[str, Any] = {
    "name": "tiny",
    "data_dir": "study",
    "raw.heart": "raw/heart",
    "raw.phenotypes": ["raw/phenotypes.csv"],
    "views.3ch.series": ["LAX_3Ch$"],
    "views.3ch.usual_normal": [-0.741, 0.259, -0.620],
    "views.3ch.image_right": [0.0, 1.0, 0.0],
    "views.4ch.series": ["LAX_4Ch$"],
    "views.4ch.usual_normal": [0.055, 0.822, -0.567],
    "views.4ch.image_right": [1.0, 0.0, 0.0],
    "geometry.frames": FRAMES,
    "geometry.size_px": SIZE_PX,
    "geometry.spacing_mm": SPACING_MM,
    "folds.count": FOLDS,
    "training.crop_px": SIZE_PX,
    "training.width": 4,
    "training.epochs": 1,
    "training.batch_size": 4,
    "training.precision": "fp32",
    "prediction.geometric_passes": 1,
    "statistics.bootstrap_resamples": 20,
    "compute.ingest_workers": 1,
    "compute.cpu_slots": 1,
}


def write_study(root: Path, changes: Mapping[str, Any] | None = None) -> Path:
    """Write `root/study.toml`; `changes` are dotted fields with values, None leaves a field out."""
    fields = {**FIELDS, **(changes or {})}
    path = root / "study.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in fields.items() if value is not None))
    return path


def tiny_study(root: Path, changes: Mapping[str, Any] | None = None) -> Study:
    """The study of a file that `write_study` writes."""
    return Study(load_settings(write_study(root, changes)))


def declared(study: Study) -> dict[str, dg.AssetsDefinition]:
    """Name -> asset, of every asset that is materialised."""
    stages = (cleaning, folds, models, ensembles, application)
    return {asset.key.path[-1]: asset for stage in stages for asset in stage.declare(study.settings)}


def call(study: Study, asset: str, partition: str | None = None, **inputs: Any) -> dg.MaterializeResult:
    """Call an asset's function with literal inputs; no Dagster instance, nothing is stored."""
    with dg.build_asset_context(partition_key=partition) as context:  # closed here: left to the garbage, it logs at any time
        return declared(study)[asset](context, study=study, **inputs)


def make(study: Study, asset: str, partition: str | None = None, **inputs: Any) -> dg.MaterializeResult:
    """Call an asset's function and store what it returns."""
    result = call(study, asset, partition, **inputs)
    artefacts.write(study.layout, record_of(result), result.value)
    return result


def record_of(result: dg.MaterializeResult) -> Record:
    """The record in a result's metadata."""
    from heart_assets.provenance import record_from_json

    return record_from_json(result.metadata["provenance"].data)


def ids(number: int, first: int = 9_000_001) -> list[str]:
    """Ids of that many participants."""
    return [str(first + k) for k in range(number)]


def age_of(participant: str) -> float:
    """An age from 45 to 76 years that is no whole number; another one for each of twelve neighbours."""
    return 45.1 + 2.75 * (int(participant) % 12)


def phenotype_table(participants: Sequence[str], **columns: Any) -> pd.DataFrame:
    """The value of `phenotypes`: visit 2, sexes alternating."""
    sexes = ["F" if k % 2 else "M" for k in range(len(participants))]
    table = pd.DataFrame(
        {"participant_id": list(participants), "visit": 2, "age": list(map(age_of, participants)), "sex": sexes, "family_id": ""}
    )
    return table.assign(**columns)


def write_phenotypes(study: Study, participants: Sequence[str]) -> Path:
    """The same as a CSV file where the study looks for it."""
    path = study.settings.raw.phenotypes[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    phenotype_table(participants).drop(columns="family_id").to_csv(path, index=False)
    return path


def add_raw(study: Study, delivery: str, participants: Iterable[str], content: bytes = b"") -> list[Path]:
    """Files with the names of heart studies in a delivery of the raw folder."""
    folder = study.settings.raw.heart / delivery
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{eid}_20208_2_0.zip" for eid in participants]
    for path in paths:
        path.write_bytes(content)
    return paths


def video_row(participant: str, visit: int = 2, array: int = 0) -> dict[str, Any]:
    """A row of a video store."""
    return {
        "study_id": f"{participant}_{visit}_{array}",
        "participant_id": participant,
        "visit": visit,
        "rr_ms": 900.0,
        "frame_interval_ms": 18.0,
        "spacing_row_mm": 1.8,
        "spacing_col_mm": 1.8,
        "orientation": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
        "scan_date": "2016-05-01",
        "software": "syngo",
        "station": "PHANTOM1",
        "shift_x_mm": 0.0,
        "shift_y_mm": 0.0,
        "shift_capped": False,
        "snr": 20.0,
        "motion_energy": 0.1,
        "frames_found": 50,
        "flags": "",
        "series_count": 1,
        "source_size": 1,
        "source_mtime_ns": 1,
        "source_name": f"{participant}_20208_{visit}_{array}.zip",
        "video_digest": f"digest of {participant}",
    }


def liver_row(participant: str) -> dict[str, Any]:
    """A row of an image store."""
    scan = {
        name: video_row(participant)[name]
        for name in ("spacing_row_mm", "spacing_col_mm", "orientation", "scan_date", "software", "station")
    }
    ids_ = {"study_id": f"{participant}_2_0", "participant_id": participant, "visit": 2}
    source = {"source_size": 1, "source_mtime_ns": 1, "source_name": f"{participant}_20204_2_0.zip"}
    return {
        **ids_,
        **scan,
        **source,
        "t1_median_ms": 800.0,
        "valid_fraction": 1.0,
        "flags": "",
        "series_count": 1,
        "image_digest": participant,
    }


def video_of(participant: str) -> np.ndarray:
    """A disc that beats, brighter the older the participant: (8, 16, 16) uint8."""
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX] - (SIZE_PX - 1) / 2
    radius = 5 + 2 * np.cos(2 * np.pi * np.arange(FRAMES) / FRAMES)[:, None, None]
    noise = np.random.default_rng(int(participant)).integers(0, 20, (FRAMES, SIZE_PX, SIZE_PX))
    return np.where(np.hypot(x, y) < radius, 2 * age_of(participant), 10 + noise).astype(np.uint8)


def write_videos(path: Path, view: str, participants: Sequence[str]) -> Path:
    """A store file with one video per participant."""
    with VideoWriter(path, FRAMES, SIZE_PX, {"view": view, "geometry": {}, "spacing_mm": SPACING_MM}) as writer:
        for participant in participants:
            writer.append(video_of(participant), video_row(participant))
    return path


def video_store(folder: Path, view: str, participants: Sequence[str]) -> VideoStore:
    """A store of one file."""
    return VideoStore([write_videos(folder / f"{view}.h5", view, participants)])


def stores(folder: Path, participants: Sequence[str], views: Sequence[str] = VIEWS) -> dict[str, VideoStore]:
    """The value of `heart_videos` for whatever consumes it."""
    return {view: video_store(folder, view, participants) for view in views}


def delivery_of(study: Study, participants: Sequence[str]) -> DeliveryResult:
    """The value that `heart_videos` returns for a delivery; one file of it was rejected."""
    paths = {view: write_videos(study.layout.scratch / f"{view}.h5", view, participants) for view in study.views}
    return DeliveryResult(paths, rejected_table(), {"found": len(participants) + 1})


def liver_of(study: Study, participants: Sequence[str]) -> DeliveryResult:
    """The value that `liver_images` returns for a delivery."""
    path = study.layout.scratch / "liver.h5"
    with ImageWriter(path, 16, {"view": "liver", "unit": "ms"}) as writer:
        for participant in participants:
            writer.append(np.full((16, 16), int(participant) % 1000, np.uint16), liver_row(participant))
    return DeliveryResult({"liver": path}, rejected_table(), {"found": len(participants) + 1})


def rejected_table() -> pd.DataFrame:
    """One rejected file."""
    return pd.DataFrame(
        [["notes.txt", "all", "not_a_study", "not a zip of field 20208 by its name"]], columns=["file_name", "view", "reason", "detail"]
    )


def model(value: float = 1.0) -> TrainedModel:
    """A model that cannot predict, but can be stored."""
    columns = ("epoch", "learning_rate", "train_loss", "val_loss", "val_r2", "val_rmse", "val_mae")
    history = pd.DataFrame([[1, 0.1 + 0.2, 1 / 3, 0.5, -0.1, 9.0, 7.0]], columns=columns)
    return TrainedModel({"w": np.array([value, -0.0, 1e-40], np.float32)}, {"network": "compact", "target_mean": 60.1}, history)


def prediction_table(participants: Sequence[str], shift: float = 0.0) -> pd.DataFrame:
    """Rows of a prediction table: age + shift is predicted."""
    known = phenotype_table(participants)
    table = known[["participant_id", "visit", "age"]].assign(prediction=known["age"] + shift, prediction_sd=0.5)
    table.insert(0, "study_id", [f"{eid}_2_0" for eid in participants])
    return table


def split_table(participants: Sequence[str], fold: int, count: int = FOLDS) -> pd.DataFrame:
    """The value of `fold_split`: participant k lies in data fold k mod count."""
    known = phenotype_table(participants)
    data_fold = np.arange(len(known)) % count
    split = np.where(data_fold == fold, "val", np.where(data_fold == (fold + 1) % count, "test", "train"))
    return known[["participant_id", "visit", "age", "sex"]].assign(data_fold=data_fold, split=split, for_training=split == "train")


def settle(study: Study, asset: str, partition: str = "", value: Any = None) -> Record:
    """Store a value as if its asset had just made it from the inputs of now."""
    record = Record(asset, partition, study.inputs(asset, partition), artefacts.parts_of(asset, value))
    artefacts.write(study.layout, record, value)
    return record


def settle_videos(study: Study, delivery: str, participants: Sequence[str]) -> Record:
    """Store a delivery's videos without raw files."""
    value = delivery_of(study, participants)
    record = Record("heart_videos", delivery, inputs_of("heart_videos", study.settings, {}), artefacts.parts_of("heart_videos", value))
    artefacts.write(study.layout, record, value)
    return record


def made_study(root: Path, number: int = 6, changes: Mapping[str, Any] | None = None) -> Study:
    """A study in which every artefact exists and holds, made by hand and without any training."""
    study, people = tiny_study(root, changes), ids(number)
    write_phenotypes(study, people)
    add_raw(study, "90", people)
    settle(study, "heart_videos", "90", delivery_of(study, people))
    settle(study, "phenotypes", "", phenotype_table(people))
    settle(study, "fold_assignments", "", split_table(people, 0)[["participant_id", "data_fold"]])
    splits = {fold: split_table(people, int(fold)) for fold in study.folds}
    for fold, split in splits.items():
        settle(study, "fold_split", fold, split)
    for key in study.view_folds:
        split = splits[key.partition("|")[0]]
        settle(study, "trained_model", key, model(study.view_folds.index(key) + 1.0))
        tables = {name: prediction_table(split.loc[split["split"] == name, "participant_id"].tolist()) for name in ("train", "val", "test")}
        settle(study, "predictions", key, tables)
    settle(study, "baseline_predictions", "", prediction_table(people).assign(split="test", view="3ch", fold=0))
    for fold in study.folds:
        table = prediction_table(people)
        settle(
            study, "ensemble_predictions", fold, {"val": table, "test": table, "weights": pd.DataFrame({"view": ["3ch"], "weight": [1.0]})}
        )
    settle(study, "scores", "", pd.DataFrame({"model": ["ensemble"], "r2": [1.0]}))
    return study


def newer(path: Path) -> None:
    """Make a file look as if it had been written one second later."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))


def image_store(path: Path) -> ImageStore:
    """The liver maps of one file."""
    return ImageStore([path])
