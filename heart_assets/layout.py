"""Where each artefact lies under a study's `data_dir`. Names and folders only: nothing is read or written here."""

from dataclasses import dataclass
from pathlib import Path

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class StudyLayout:
    """The study's folders and file names. A *partition* is a Dagster partition key, or "" for an unpartitioned asset."""

    data_dir: Path

    @property
    def scratch(self) -> Path:
        """Unfinished files, on the same file system as their final place, so that a rename finishes them."""
        return self.data_dir / "scratch"

    def videos(self, view: str, delivery: str) -> Path:
        return self.data_dir / "videos" / view / f"{delivery}.h5"

    def rejected_videos(self, delivery: str) -> Path:
        return self.data_dir / "videos" / f"{delivery}.rejected.csv"

    def liver(self, delivery: str) -> Path:
        return self.data_dir / "liver" / f"{delivery}.h5"

    def rejected_liver(self, delivery: str) -> Path:
        return self.data_dir / "liver" / f"{delivery}.rejected.csv"

    def model(self, view: str, fold: str) -> Path:
        return self.data_dir / "models" / view / f"Fold{fold}"

    def checkpoint(self, view: str, fold: str) -> Path:
        return self.data_dir / "checkpoints" / view / f"Fold{fold}.pt"

    def predictions(self, view: str, fold: str, split: str) -> Path:
        return self.data_dir / "predictions" / view / f"Fold{fold}" / f"{split}predictions_augmented.csv"

    def ensemble(self, fold: str, split: str) -> Path:
        return self.data_dir / "ensembles" / f"Fold{fold}" / f"{split}predictions.csv"

    def ensemble_weights(self, fold: str) -> Path:
        return self.data_dir / "ensembles" / f"Fold{fold}" / "weights.csv"

    @property
    def phenotypes(self) -> Path:
        return self.data_dir / "phenotypes.parquet"

    @property
    def fold_assignments(self) -> Path:
        return self.data_dir / "folds" / "assignments.csv"

    def fold_split(self, fold: str) -> Path:
        return self.data_dir / "folds" / f"Fold{fold}.csv"

    @property
    def baseline_predictions(self) -> Path:
        return self.data_dir / "predictions" / "ridge" / "predictions.csv"

    @property
    def scores(self) -> Path:
        return self.data_dir / "scores" / "scores.csv"

    @property
    def applied_predictions(self) -> Path:
        return self.data_dir / "predictions" / "applied.csv"

    def picture(self, name: str) -> Path:
        """A picture that belongs to no single artefact, such as the score plot or a delivery's montage."""
        return self.data_dir / name

    def record(self, asset: str, partition: str) -> Path:
        """The provenance record beside the artefact that an asset's partition made."""
        fold, _, view = partition.partition("|")
        match asset:
            case "heart_videos":
                return self.data_dir / "videos" / f"{partition}.record.json"
            case "liver_images":
                return self.data_dir / "liver" / f"{partition}.record.json"
            case "phenotypes":
                return self.phenotypes.with_suffix(".record.json")
            case "fold_assignments":
                return self.fold_assignments.with_suffix(".record.json")
            case "fold_split":
                return self.fold_split(partition).with_suffix(".record.json")
            case "trained_model":
                return self.model(view, fold) / "record.json"
            case "predictions":
                return self.predictions(view, fold, "test").with_name("record.json")
            case "baseline_predictions":
                return self.baseline_predictions.with_name("record.json")
            case "ensemble_predictions":
                return self.ensemble(partition, "test").with_name("record.json")
            case "scores":
                return self.scores.with_suffix(".record.json")
            case "applied_predictions":
                return self.applied_predictions.with_suffix(".record.json")
        raise KeyError(f"no artefact is called {asset}")
