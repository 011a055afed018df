"""StudySettings: everything that differs between two studies, read from one TOML file.

What belongs here: the fields, their documentation, their bounds, and the loader that turns a wrong value into one
sentence (file, field, what was found, what is allowed). What does not: any code that acts on a setting.

Every room may import this module, and it imports none of them.
"""

import json
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from heart_assets.errors import StudyError

STUDY_FILE_VARIABLE = "HEART_ASSETS_STUDY"
RESERVED_VIEWS = ("all", "ensemble", "none", "oracle", "ridge")
DEFAULT_STUDY_FILE = Path(__file__).resolve().parent.parent / "study.toml"


class SettingsError(StudyError):
    """A study file that cannot be used; the message names the file, the field, what was found and what is allowed."""


def _regular_expression(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"a regular expression ({error})") from error
    return pattern


def _cron(text: str) -> str:
    fields, largest = text.split(), (59, 23, 31, 12, 7)
    known = len(fields) == 5 and all(re.fullmatch(r"[\d*/,a-z-]+", field, re.IGNORECASE) for field in fields)
    if not known or any(int(number) > most for field, most in zip(fields, largest, strict=True) for number in re.findall(r"\d+", field)):
        raise ValueError("a cron schedule of five fields: minute, hour, day of month, month, day of week")
    return text


Pattern = Annotated[str, AfterValidator(_regular_expression)]
Cron = Annotated[str, AfterValidator(_cron)]
Vector3 = tuple[float, float, float]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class RawSettings(_Section):
    """Where the raw material lies. Paths are relative to the study file. Nothing in here is ever written to."""

    layout: Literal["ukb_zips", "dicom_folders", "dicom_folders_by_delivery"] = Field(
        "ukb_zips",
        description="ukb_zips: {eid}_{field}_{visit}_{array}.zip, flat (delivery `all`) or in one sub-folder per delivery. "
        "dicom_folders: one folder of DICOMs per participant (`<participant>` or `<participant>_<visit>`), delivery "
        "`all`. dicom_folders_by_delivery: the same, one level deeper.",
    )
    heart: Path = Field(description="Folder of the cine studies (UK Biobank field 20208, or DICOM folders).")
    liver: Path | None = Field(None, description="Folder of the liver ShMOLLI zips (UK Biobank field 20204), if any.")
    phenotypes: tuple[Path, ...] = Field(
        (),
        description="CSV tables with ages (UK Biobank column names, or participant_id, visit, age, sex). With none, and "
        "DICOM folders, PatientAge and PatientSex are read from the headers.",
    )
    withdrawn: Path | None = Field(None, description="Text file, one withdrawn participant id per line: purged everywhere.")
    default_visit: int = Field(2, ge=0, le=99, description="Visit of a DICOM folder whose name carries none (2 = UK Biobank imaging).")
    ground_truth: Path | None = Field(None, description="The phantom's ground_truth.csv; adds an `oracle` row to the scores.")


class ViewSettings(_Section):
    """How one long-axis view is recognised among the series of a study."""

    series: tuple[Pattern, ...] = Field(description="Regular expressions searched in SeriesDescription, upper and lower case alike.")
    usual_normal: Vector3 = Field(
        description="Usual plane normal in LPS (sign free); a series closer to another view's is flagged as mislabelled."
    )
    image_right: Vector3 = Field(
        description="Patient direction (LPS) that must point to the image's right: patient left in 4ch, posterior in 3ch."
    )

    @field_validator("series")
    @classmethod
    def _not_empty(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("at least one regular expression")
        return value

    @field_validator("usual_normal", "image_right")
    @classmethod
    def _not_zero(cls, value: Vector3) -> Vector3:
        if sum(c * c for c in value) < 1e-6:
            raise ValueError("a direction that is not zero")
        return value


class SeriesSettings(_Section):
    """Rules that hold for all views."""

    skip: tuple[Pattern, ...] = Field(("InlineVF",), description="Series whose description matches any of these are never a view.")
    overrides: dict[str, str] = Field(
        default_factory=dict,
        description="SeriesInstanceUID -> view name, or `none`: decides over every other rule (for mislabelled series).",
    )


class GeometrySettings(_Section):
    """The cleaned video: time, size, centre and grey values."""

    frames: int = Field(50, ge=2, le=256, description="Frames per stored cine; other counts are resampled in time.")
    size_px: int = Field(160, ge=16, le=512, description="Height and width of the stored video, pixels.")
    spacing_mm: float = Field(1.8, gt=0.2, le=10, description="Pixel spacing of the stored video, mm.")
    down: Vector3 = Field(
        (0.5, -0.5, -0.7), description="Patient direction (LPS) that, projected into the plane, points down in the image."
    )
    max_shift_mm: float = Field(
        60.0, ge=0, le=200, description="Largest shift from the image centre to the heart; longer ones are capped and flagged."
    )
    crop_mm: float = Field(
        160.0, gt=10, description="Side of the square around the heart inside which grey-value percentiles are taken, mm."
    )
    low_percentile: float = Field(1.0, ge=0, lt=50, description="Percentile that becomes 0.")
    high_percentile: float = Field(99.5, gt=50, le=100, description="Percentile that becomes 255.")


class LiverSettings(_Section):
    """Which series of a liver study is its T1 map, and the stored map's size."""

    series: Pattern = Field("T1MAP$", description="Regular expression searched in SeriesDescription.")
    size_px: int = Field(
        192, ge=16, le=1024, description="Height and width of the stored map, pixels (cropped or padded with 0 about the centre)."
    )


class FoldSettings(_Section):
    """The nested cross-validation: model k validates on data fold k, tests on fold (k+1) mod count, trains on the rest."""

    count: int = Field(10, ge=3, le=50, description="Number of data folds, and of models per view.")
    seed: int = Field(2020, ge=0, lt=2**32, description="Seed of the assignment.")
    train_filter: str | None = Field(
        None,
        description="pandas query over the phenotype table that keeps a row for training (a healthy reference set); everyone is predicted.",
    )


class AugmentationSettings(_Section):
    """Random changes of a training clip; 0 switches one off."""

    rotation_deg: float = Field(10.0, ge=0, le=180, description="Largest rotation, degrees.")
    shift_mm: float = Field(8.0, ge=0, le=100, description="Largest shift, mm.")
    scale: float = Field(0.08, ge=0, lt=0.9, description="Largest relative change of size.")
    intensity: float = Field(0.15, ge=0, lt=1, description="Largest relative change of gain, and of gamma.")
    random_phase: bool = Field(True, description="Start at a random one of the frame phases (2020: frame 0 or 1 of every second).")


class TrainingSettings(_Section):
    """One training of one view and fold."""

    network: Literal["compact", "original"] = Field(
        "compact", description="compact: dense 3D residual net; original: the network of 2020 (>= 122 px, >= 13 frames)."
    )
    width: int = Field(32, ge=4, le=512, description="Channels after the stem of `compact`; a multiple of 8 is fastest.")
    crop_px: int = Field(128, ge=8, le=512, description="Side of the square cut from the stored video, in stored pixels.")
    downsample: int = Field(1, ge=1, le=8, description="Average-pool the crop by this factor in the plane before the network.")
    frame_step: int = Field(2, ge=1, le=16, description="Every n-th frame; its offsets are the frame phases.")
    epochs: int = Field(30, ge=1, le=10_000, description="Fixed number of epochs.")
    batch_size: int = Field(16, ge=2, le=4096, description="Clips per step.")
    learning_rate: float = Field(3e-3, gt=0, le=10, description="Peak of the one-cycle schedule.")
    weight_decay: float = Field(0.05, ge=0, le=10, description="AdamW's decoupled weight decay.")
    loss: Literal["huber", "mse"] = Field("huber", description="Loss on the standardised age.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Before the last layer.")
    final_weights: Literal["ema", "best_validation"] = Field(
        "ema",
        description="ema: average over the last steps. best_validation: as in 2020; validation is optimistic then.",
    )
    precision: Literal["bf16", "fp32"] = Field("bf16", description="Autocast precision; bf16 needs clips of 20 px and 9 frames.")
    seed: int = Field(2020, ge=0, lt=2**31, description="Seed of weights, order and augmentation; view and fold are mixed in.")
    augmentation: AugmentationSettings = Field(AugmentationSettings(), description="Random changes of training clips.")


class PredictionSettings(_Section):
    """Predictions are averaged over every frame phase and a few small shifts and rotations."""

    geometric_passes: int = Field(
        2, ge=1, le=64, description="Passes per frame phase: the first unchanged, the others shifted and rotated."
    )
    rotation_deg: float = Field(3.0, ge=0, le=45, description="Largest rotation of a pass, degrees.")
    shift_mm: float = Field(3.0, ge=0, le=50, description="Largest shift of a pass, mm.")


class StatisticsSettings(_Section):
    """Errors on scores."""

    bootstrap_resamples: int = Field(1000, ge=10, le=1_000_000, description="Participant-level bootstrap resamples.")
    seed: int = Field(2020, ge=0, lt=2**32, description="Seed of the bootstrap.")


class ScheduleSettings(_Section):
    """The weekly rerun."""

    cron: Cron = Field("0 3 * * 0", description="When outdated or failed predictions are requested again (cron, UTC).")
    may_retrain: bool = Field(False, description="Whether that rerun may retrain a model whose inputs have changed.")


class SlurmJobSettings(_Section):
    """What one kind of step asks of Slurm; what is left out is the cluster's default."""

    time: str | None = Field(None, description="Time limit, such as 12:00:00 or 2-00:00:00.")
    memory: str | None = Field(None, description="Memory, such as 32G.")
    cpus: int | None = Field(None, ge=1, le=1024, description="CPUs.")
    partition: str | None = Field(None, description="Partition.")
    constraint: str | None = Field(None, description="Features that the node must have.")


class SlurmSettings(_Section):
    """For `backend = "slurm"`."""

    max_jobs: int = Field(
        20, ge=1, le=1000, description="Jobs that train or predict, and jobs that clean, under way at once: the limit of each pool."
    )
    options: tuple[Annotated[str, Field(pattern=r"^--[a-z]")], ...] = Field(
        (), description='Further options of sbatch for every job, such as "--account=cardiac" or "--qos=long".'
    )
    training: SlurmJobSettings = Field(SlurmJobSettings(), description="Jobs that train or predict; GPUs: gpus_per_training.")
    ingest: SlurmJobSettings = Field(SlurmJobSettings(), description="Jobs that clean a delivery.")


class ComputeSettings(_Section):
    """What steps run on."""

    backend: Literal["local", "slurm"] = Field(
        "local", description="local: this machine. slurm: cleaning, training and predicting are Slurm jobs, the rest runs on this machine."
    )
    devices: Literal["auto"] | tuple[str, ...] = Field(
        "auto", description="auto: every GPU, or CPU slots where there is none; or a list of device UUIDs."
    )
    cpu_slots: int | None = Field(
        None, ge=1, le=256, description="Concurrent GPU-asking steps on a machine without GPUs; default: one per core."
    )
    gpus_per_training: int = Field(1, ge=1, le=16, description="Devices a training or prediction step asks for.")
    ingest_workers: int | None = Field(
        None, ge=1, le=256, description="Processes that clean one delivery; default: one per core that the step may use."
    )
    slurm: SlurmSettings = Field(SlurmSettings(), description="The cluster.")

    @field_validator("devices", mode="before")
    @classmethod
    def _auto_or_names(cls, value: Any) -> Any:
        if value != "auto" and not (isinstance(value, list | tuple) and value and all(isinstance(name, str) for name in value)):
            raise ValueError("auto, or a list of device UUIDs")
        return value if value == "auto" else tuple(value)


class PrivacySettings(_Section):
    """What may enter Dagster's database, which outlives the files."""

    pictures_of_single_people: bool = Field(
        False, description="Montages of cleaned cines in asset metadata. Off: they stay files under data_dir."
    )


class StudySettings(_Section):
    """One study. `load_settings` reads it; every path in it is absolute afterwards."""

    name: str = Field(pattern=r"^[a-z0-9_]{1,40}$", description="Short name, lower-case letters, digits and underscores.")
    data_dir: Path = Field(description="Where every artefact goes; relative to the study file.")
    models_from: Path | None = Field(
        None,
        description="data_dir of a study whose models predict this one (with the same views, folds and geometry); nothing is trained here.",
    )
    raw: RawSettings = Field(description="Where the raw material lies.")
    views: dict[str, ViewSettings] = Field(min_length=1, description="View name -> rule, for example 3ch and 4ch.")
    series: SeriesSettings = Field(SeriesSettings(), description="Rules for all views.")
    geometry: GeometrySettings = Field(GeometrySettings(), description="The cleaned video.")
    liver: LiverSettings = Field(LiverSettings(), description="The liver maps.")
    folds: FoldSettings = Field(FoldSettings(), description="The nested cross-validation.")
    training: TrainingSettings = Field(TrainingSettings(), description="One training.")
    prediction: PredictionSettings = Field(PredictionSettings(), description="Averaging over augmented passes.")
    statistics: StatisticsSettings = Field(StatisticsSettings(), description="Errors on scores.")
    schedule: ScheduleSettings = Field(ScheduleSettings(), description="The weekly rerun.")
    compute: ComputeSettings = Field(ComputeSettings(), description="What steps run on.")
    privacy: PrivacySettings = Field(PrivacySettings(), description="What may be shown.")

    @field_validator("views")
    @classmethod
    def _view_names(cls, views: dict[str, ViewSettings]) -> dict[str, ViewSettings]:
        for name in views:
            if not re.fullmatch(r"[a-z0-9]{1,20}", name) or name in RESERVED_VIEWS:
                raise ValueError(f"views: found {name!r}; allowed: lower-case letters and digits, but not {', '.join(RESERVED_VIEWS)}")
        return dict(sorted(views.items()))

    @model_validator(mode="after")
    def _consistent(self) -> "StudySettings":
        training, geometry = self.training, self.geometry
        for uid, view in self.series.overrides.items():
            if view != "none" and view not in self.views:
                raise ValueError(f"series.overrides.{uid}: found {view!r}; allowed: {', '.join(self.views)}, none")
        if training.crop_px > geometry.size_px:
            raise ValueError(f"training.crop_px: found {training.crop_px}; allowed: at most geometry.size_px ({geometry.size_px})")
        if training.crop_px % training.downsample:
            raise ValueError(
                f"training.crop_px: found {training.crop_px}; allowed: a multiple of training.downsample ({training.downsample})"
            )
        if geometry.frames % training.frame_step:
            raise ValueError(
                f"geometry.frames: found {geometry.frames}; allowed: a multiple of training.frame_step ({training.frame_step})"
            )
        return self


def study_file() -> Path:
    """The study file in force: $HEART_ASSETS_STUDY, else study.toml beside the package."""
    return Path(os.environ.get(STUDY_FILE_VARIABLE) or DEFAULT_STUDY_FILE).resolve()


def load_settings(path: Path | str | None = None) -> StudySettings:
    """Read and check a study file.

    Args:
        path: the TOML file; by default `study_file()`.

    Raises:
        SettingsError: the file is missing, is not TOML, or holds a wrong value (every wrong one is listed).
    """
    path = Path(path).resolve() if path is not None else study_file()
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{path}: there is no such study file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: not a readable TOML file: {error}") from None
    try:
        settings = StudySettings.model_validate_json(json.dumps(table, default=str), strict=True)  # JSON: paths are text, tuples lists
    except ValidationError as error:
        raise SettingsError("\n".join(_sentence(path, one) for one in error.errors(include_url=False))) from None
    return _absolute(settings, path.parent)


def _sentence(path: Path, error: Any) -> str:
    field = ".".join(str(part) for part in error["loc"])
    if error["type"] == "missing":
        return f"{path}: {field}: found nothing, but the field is required"
    allowed = error["msg"].removeprefix("Value error, ")
    if ": found " in allowed:  # from a validator that looks at more than one field, and names the one
        return f"{path}: {allowed}"
    if error["type"] == "extra_forbidden":
        allowed = f"no field of that name, only {', '.join(_fields_beside(error['loc']))}"
    found = "" if isinstance(error["input"], dict) else f"found {error['input']!r}; "
    return f"{path}: {field}: {found}allowed: {allowed[0].lower() + allowed[1:]}"


def _fields_beside(location: tuple[int | str, ...]) -> list[str]:
    """The fields of the section in which a wrong field stands; a view's name stands for its section."""
    model: type[BaseModel] = StudySettings
    for part in location[:-1]:
        inner = model.model_fields[part].annotation if isinstance(part, str) and part in model.model_fields else ViewSettings
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            model = inner
    return list(model.model_fields)


def _absolute(settings: StudySettings, base: Path) -> StudySettings:
    raw = settings.raw
    resolve = lambda path: None if path is None else (base / path).resolve()  # noqa: E731
    raw = raw.model_copy(
        update={
            "heart": resolve(raw.heart),
            "liver": resolve(raw.liver),
            "phenotypes": tuple(resolve(path) for path in raw.phenotypes),
            "withdrawn": resolve(raw.withdrawn),
            "ground_truth": resolve(raw.ground_truth),
        }
    )
    return settings.model_copy(update={"raw": raw, "data_dir": resolve(settings.data_dir), "models_from": resolve(settings.models_from)})
