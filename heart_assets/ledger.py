"""The study as it stands on disk: what each artefact was made from, what it would be made from now, what is outdated.

`Study` is the one resource that the assets get. Its answers rest on the provenance records alone, so the assets, the
schedule, the sensor and the command line agree on what there is to do.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from heart_assets import artefacts
from heart_assets.dicom import list_deliveries, listing_digest
from heart_assets.files import digest, file_digest
from heart_assets.layout import StudyLayout
from heart_assets.provenance import Inputs, Record, inputs_of, outdated, read_record
from heart_assets.settings import StudySettings
from heart_assets.statistics import read_withdrawn

HEART_FIELD, LIVER_FIELD = "20208", "20204"


@dataclass(frozen=True)
class Study:
    """A study's settings and its artefacts."""

    settings: StudySettings

    @property
    def layout(self) -> StudyLayout:
        return StudyLayout(self.settings.data_dir)

    @property
    def views(self) -> list[str]:
        return list(self.settings.views)

    @property
    def folds(self) -> list[str]:
        return [str(k) for k in range(self.settings.folds.count)]

    @property
    def view_folds(self) -> list[str]:
        return [f"{fold}|{view}" for view in self.views for fold in self.folds]

    def heart_deliveries(self) -> list[str]:
        """Deliveries in the raw folder now. Raises RawDataError if there are none."""
        return list_deliveries(self.settings.raw.heart, self.settings.raw.layout)

    def liver_deliveries(self) -> list[str]:
        """Deliveries of liver maps in the raw folder now; none if the study has no liver folder."""
        return list_deliveries(self.settings.raw.liver, self.settings.raw.layout) if self.settings.raw.liver else []

    def withdrawn(self) -> frozenset[str]:
        """Ids of withdrawn participants. Raises PhenotypeError if the list is set but cannot be read."""
        return read_withdrawn(self.settings.raw.withdrawn)

    def record(self, asset: str, partition: str = "") -> Record | None:
        """The record of an artefact whose files are all there."""
        record = read_record(self.layout.record(asset, partition))
        return record if record and artefacts.present(self.layout, asset, partition) else None

    def inputs(self, asset: str, partition: str = "") -> Inputs:
        """What an artefact would be made from now (upstream artefacts that are not there are simply absent)."""
        return inputs_of(asset, self.settings, dict(self._upstream(asset, partition)))

    def why_outdated(self, asset: str, partition: str = "") -> str | None:
        """Why an artefact has to be made (again); None if its record still holds."""
        return outdated(self.record(asset, partition), self.inputs(asset, partition))

    def made_deliveries(self, asset: str) -> list[str]:
        """Deliveries that have been cleaned, whether or not they still lie in the raw folder."""
        folder = self.layout.record(asset, "any").parent
        return sorted(path.name.removesuffix(".record.json") for path in folder.glob("*.record.json"))

    def _upstream(self, asset: str, partition: str) -> Iterator[tuple[str, str]]:
        raw, (view, fold) = self.settings.raw, artefacts.view_and_fold(partition)
        match asset:
            case "heart_videos":
                yield "raw_heart_dicoms", listing_digest(raw.heart, partition, raw.layout)
                yield from self._files("withdrawn", raw.withdrawn)
            case "liver_images":
                assert raw.liver is not None
                yield "raw_liver_dicoms", listing_digest(raw.liver, partition, raw.layout)
                yield from self._files("withdrawn", raw.withdrawn)
            case "phenotypes":
                yield from self._files("tables", *raw.phenotypes)
                yield from self._files("withdrawn", raw.withdrawn)
                if not raw.phenotypes:
                    deliveries = self.heart_deliveries()
                    yield "raw_heart_dicoms", digest({name: listing_digest(raw.heart, name, raw.layout) for name in deliveries})
            case "fold_assignments":
                yield from self._versions("phenotypes")
                yield from self._videos(*self.views)
            case "fold_split":
                yield from self._versions("phenotypes")
                yield from self._versions("fold_assignments")
            case "trained_model":
                yield from self._versions("fold_split", fold)
                yield from self._videos(view)
            case "predictions":
                yield from self._versions("fold_split", fold)
                yield from self._versions("trained_model", partition)
                yield from self._videos(view)
            case "baseline_predictions":
                yield from self._versions("fold_split", *self.folds)
                yield from self._videos(*self.views)
            case "ensemble_predictions":
                yield from self._versions("predictions", *(f"{partition}|{name}" for name in self.views))
            case "scores":
                yield from self._versions("predictions", *self.view_folds)
                yield from self._versions("ensemble_predictions", *self.folds)
                yield from self._versions("baseline_predictions")
                yield from self._files("ground_truth", raw.ground_truth)
            case "applied_predictions":
                yield from self._versions("phenotypes")
                yield from self._videos(*self.views)
                models = self.model_source()
                yield (
                    "trained_model",
                    digest({key: record.data_version for key in models.view_folds if (record := models.record("trained_model", key))}),
                )

    def model_source(self) -> "Study":
        """The study whose models predict here: this one, or the one that `models_from` names."""
        source = self.settings.models_from
        return self if source is None else Study(self.settings.model_copy(update={"data_dir": source, "models_from": None}))

    def _versions(self, asset: str, *partitions: str) -> Iterator[tuple[str, str]]:
        records = {partition: self.record(asset, partition) for partition in partitions or ("",)}
        if any(records.values()):
            yield asset, digest({partition: record.data_version if record else None for partition, record in records.items()})

    def _videos(self, *views: str) -> Iterator[tuple[str, str]]:
        records = {delivery: self.record("heart_videos", delivery) for delivery in self.made_deliveries("heart_videos")}
        if records:
            yield "heart_videos", digest({d: {view: record.parts.get(view) for view in views} for d, record in records.items() if record})

    @staticmethod
    def _files(name: str, *paths: Path | None) -> Iterator[tuple[str, str]]:
        existing = [path for path in paths if path is not None and path.is_file()]
        if existing:
            yield name, digest({path.name: file_digest(path) for path in existing})
