"""How each asset's value reaches disk and comes back: one writer, one reader and one digest per kind of value.

The kinds are sets of tables, the videos (or liver maps) of a delivery, and trained models. Dagster's IO managers are a
thin cover over this module, which knows nothing of Dagster.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from heart_assets.dicom import DeliveryResult
from heart_assets.errors import StudyError
from heart_assets.files import sync_folder
from heart_assets.layout import SPLITS, StudyLayout
from heart_assets.learning import TrainedModel, load_model, model_digest, save_model
from heart_assets.provenance import Record, read_record, write_record
from heart_assets.store import ImageStore, VideoStore
from heart_assets.tables import read_table, table_version, write_table

MODEL_FILES = ("model.safetensors", "model.json", "history.csv")

# asset -> (layout, partition) -> part -> path; an asset whose only part is "table" has a DataFrame as its value
_TABLES: dict[str, Callable[[StudyLayout, str], dict[str, Path]]] = {
    "phenotypes": lambda layout, _: {"table": layout.phenotypes},
    "fold_assignments": lambda layout, _: {"table": layout.fold_assignments},
    "fold_split": lambda layout, fold: {"table": layout.fold_split(fold)},
    "predictions": lambda layout, key: {split: layout.predictions(*view_and_fold(key), split) for split in SPLITS},
    "baseline_predictions": lambda layout, _: {"table": layout.baseline_predictions},
    "ensemble_predictions": lambda layout, fold: {
        "val": layout.ensemble(fold, "val"),
        "test": layout.ensemble(fold, "test"),
        "weights": layout.ensemble_weights(fold),
    },
    "scores": lambda layout, _: {"table": layout.scores},
    "applied_predictions": lambda layout, _: {"table": layout.applied_predictions},
}


def view_and_fold(key: str) -> tuple[str, str]:
    """View and fold of a `fold|view` partition key (Dagster orders the dimensions by name)."""
    fold, _, view = key.partition("|")
    return view, fold


def parts_of(asset: str, value: Any) -> dict[str, str]:
    """Part -> digest of a value that was just made; a record's `data_version` is the digest of these."""
    match value:
        case pd.DataFrame():
            return {"table": table_version(value, ".parquet" if asset == "phenotypes" else ".csv")}
        case DeliveryResult():
            return {**{name: _open(asset, [path]).digest for name, path in value.stores.items()}, "rejected": table_version(value.rejected)}
        case TrainedModel():
            return {"model": model_digest(value)}
        case dict():
            return {part: table_version(table) for part, table in value.items()}
    raise TypeError(f"{asset} has no way to store a {type(value).__name__}")


def write(layout: StudyLayout, record: Record, value: Any) -> None:
    """Write an artefact, then its record. A kill in between leaves an artefact without a record, which is made again.

    Nothing is written if the same record stands beside an artefact that can be read.
    """
    asset, partition = record.asset, record.partition
    record_path = layout.record(asset, partition)
    if read_record(record_path) != record or _is_new(value) or not readable(layout, asset, partition):
        record_path.unlink(missing_ok=True)
        _place(layout, asset, partition, value)
        write_record(record_path, record)
    if asset == "trained_model":
        layout.checkpoint(*view_and_fold(partition)).unlink(missing_ok=True)


def read(layout: StudyLayout, asset: str, partitions: Sequence[str]) -> Any:
    """What downstream gets of an asset.

    A DataFrame or a dict of them, or a `TrainedModel`, for one partition; with several partitions a dict of these by
    partition, in sorted order. Videos and liver maps of any number of deliveries come as one dict of stores
    (view -> VideoStore; "liver" -> ImageStore) over all of them.

    Raises:
        StudyError: a file is missing or damaged; the message names the asset to materialise.
    """
    if asset in ("heart_videos", "liver_images"):
        return _read_deliveries(layout, asset, sorted(partitions))
    if asset == "trained_model":
        return {key: load_model(layout.model(*view_and_fold(key))) for key in sorted(partitions)}
    values = {}
    for partition in sorted(partitions):
        tables = {part: read_table(path) for part, path in _TABLES[asset](layout, partition).items()}
        values[partition] = tables["table"] if list(tables) == ["table"] else tables
    return values


def present(layout: StudyLayout, asset: str, partition: str) -> bool:
    """Whether the files of an artefact are all there (a record alone proves nothing: someone may have deleted them)."""
    if asset in ("heart_videos", "liver_images"):
        record = read_record(layout.record(asset, partition))
        return record is not None and all(_delivery_path(layout, asset, part, partition).exists() for part in record.parts)
    if asset == "trained_model":
        return all((layout.model(*view_and_fold(partition)) / name).exists() for name in MODEL_FILES)
    return all(path.exists() for path in _TABLES[asset](layout, partition).values())


def readable(layout: StudyLayout, asset: str, partition: str) -> bool:
    """Whether an artefact can be read: nobody has deleted or damaged its files."""
    try:
        read(layout, asset, [partition])
    except StudyError:
        return False
    return True


def _is_new(value: Any) -> bool:
    return isinstance(value, DeliveryResult) and any(path.exists() for path in value.stores.values())


def _place(layout: StudyLayout, asset: str, partition: str, value: Any) -> None:
    if asset in _TABLES:
        tables = {"table": value} if isinstance(value, pd.DataFrame) else value
        for part, path in _TABLES[asset](layout, partition).items():
            write_table(path, tables[part])
    elif asset in ("heart_videos", "liver_images"):
        _place_delivery(layout, asset, partition, value)
    else:
        save_model(value, layout.model(*view_and_fold(partition)))


def _delivery_path(layout: StudyLayout, asset: str, part: str, delivery: str) -> Path:
    if asset == "heart_videos":
        return layout.rejected_videos(delivery) if part == "rejected" else layout.videos(part, delivery)
    return layout.rejected_liver(delivery) if part == "rejected" else layout.liver(delivery)


def _place_delivery(layout: StudyLayout, asset: str, delivery: str, result: DeliveryResult) -> None:
    for part, scratch in result.stores.items():
        path = _delivery_path(layout, asset, part, delivery)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(scratch, path)
        sync_folder(path.parent)
    write_table(_delivery_path(layout, asset, "rejected", delivery), result.rejected)


def _open(asset: str, paths: Sequence[Path]) -> VideoStore | ImageStore:
    return VideoStore(paths) if asset == "heart_videos" else ImageStore(paths)


def _read_deliveries(layout: StudyLayout, asset: str, deliveries: Sequence[str]) -> dict[str, VideoStore | ImageStore]:
    records = {delivery: read_record(layout.record(asset, delivery)) for delivery in deliveries}
    missing = [delivery for delivery, record in records.items() if record is None]
    if missing or not records:
        what = f"of delivery {', '.join(missing)}" if missing else "of any delivery"
        raise StudyError(f"the {asset} {what} are not there: materialise {asset} for it first")
    names = sorted({part for record in records.values() if record for part in record.parts} - {"rejected"})
    return {name: _open(asset, [_delivery_path(layout, asset, name, delivery) for delivery in deliveries]) for name in names}
