"""Study files: what is accepted, and the sentence that each wrong value gives."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from heart_assets.settings import SettingsError as Refused
from heart_assets.settings import StudySettings, load_settings, study_file
from heart_assets_tests.tiny import write_study

PROJECT = Path(__file__).parents[1]
STUDY_FILES = [PROJECT / "study.toml", *sorted((PROJECT / "studies").glob("*.toml"))]


@pytest.mark.parametrize("path", STUDY_FILES, ids=lambda path: path.stem)
def test_the_projects_own_files_load_with_absolute_paths(path):
    settings = load_settings(path)
    assert list(settings.views) == ["3ch", "4ch"]
    paths = [settings.data_dir, settings.raw.heart, *settings.raw.phenotypes]
    optional = [settings.raw.liver, settings.raw.ground_truth, settings.raw.withdrawn, settings.models_from]
    assert all(one.is_absolute() and ".." not in one.parts for one in [*paths, *filter(None, optional)])


def test_the_two_files_of_the_project_are_the_demo_and_its_application():
    demo, real = load_settings(PROJECT / "study.toml"), load_settings(PROJECT / "studies" / "siemens_lax_cine.toml")
    assert (demo.name, demo.models_from, demo.raw.layout, demo.folds.count) == ("demo", None, "ukb_zips", 10)
    assert (real.models_from, real.raw.layout) == (demo.data_dir, "dicom_folders")
    assert list(real.series.overrides.values()) == ["3ch"]


def test_paths_are_relative_to_the_file_not_to_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write_study(tmp_path / "here", {"raw.liver": "../liver", "raw.withdrawn": "w.txt", "models_from": str(tmp_path / "models")})
    settings = load_settings(Path("here/study.toml"))
    assert settings == load_settings(path)
    assert settings.data_dir == tmp_path / "here" / "study"
    assert settings.raw.heart == tmp_path / "here" / "raw" / "heart"
    assert settings.raw.liver == tmp_path / "liver"
    assert settings.raw.phenotypes == (tmp_path / "here" / "raw" / "phenotypes.csv",)
    assert (settings.raw.withdrawn, settings.raw.ground_truth) == (tmp_path / "here" / "w.txt", None)
    assert settings.models_from == tmp_path / "models"


def test_the_study_file_in_force(tmp_path, monkeypatch):
    assert study_file() == PROJECT / "study.toml"
    monkeypatch.setenv("HEART_ASSETS_STUDY", "")
    assert study_file() == PROJECT / "study.toml"
    path = write_study(tmp_path)
    monkeypatch.setenv("HEART_ASSETS_STUDY", str(path))
    assert study_file() == path
    assert load_settings().name == "tiny"


UNKNOWN = "allowed: no field of that name, only"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"epochs": 3},
            f"epochs: found 3; {UNKNOWN} name, data_dir, models_from, raw, views, series, geometry, liver, folds, training, prediction, "
            "statistics, schedule, compute, privacy",
        ),
        ({"series.skipped": []}, f"series.skipped: found []; {UNKNOWN} skip, overrides"),
        ({"views.3ch.normal": 1}, f"views.3ch.normal: found 1; {UNKNOWN} series, usual_normal, image_right"),
        (
            {"training.augmentation.flip": True},
            f"training.augmentation.flip: found True; {UNKNOWN} rotation_deg, shift_mm, scale, intensity, random_phase",
        ),
        ({"name": None}, "name: found nothing, but the field is required"),
        ({"raw.heart": None}, "raw.heart: found nothing, but the field is required"),
        (
            {"views.2ch.series": ["2CH"], "views.2ch.usual_normal": [1, 0, 0]},
            "views.2ch.image_right: found nothing, but the field is required",
        ),
        ({"name": "My Study"}, "name: found 'My Study'; allowed: string should match pattern '^[a-z0-9_]{1,40}$'"),
        (
            {"training.epochs": "many"},
            "training.epochs: found 'many'; allowed: input should be a valid integer",
        ),
        (
            {"training.epochs": "30"},
            "training.epochs: found '30'; allowed: input should be a valid integer",
        ),
        (
            {"training.epochs": 2.5},
            "training.epochs: found 2.5; allowed: input should be a valid integer",
        ),
        ({"training.epochs": 0}, "training.epochs: found 0; allowed: input should be greater than or equal to 1"),
        ({"folds.count": 2}, "folds.count: found 2; allowed: input should be greater than or equal to 3"),
        ({"geometry.spacing_mm": 0.2}, "geometry.spacing_mm: found 0.2; allowed: input should be greater than 0.2"),
        ({"geometry.high_percentile": 100.5}, "geometry.high_percentile: found 100.5; allowed: input should be less than or equal to 100"),
        ({"training.network": "resnet"}, "training.network: found 'resnet'; allowed: input should be 'compact' or 'original'"),
        (
            {"raw.layout": "tar"},
            "raw.layout: found 'tar'; allowed: input should be 'ukb_zips', 'dicom_folders' or 'dicom_folders_by_delivery'",
        ),
        ({"raw.phenotypes": "one.csv"}, "raw.phenotypes: found 'one.csv'; allowed: input should be a valid array"),
        ({"training": 3}, "training: found 3; allowed: input should be an object"),
        (
            {"views.3ch.series": ["(3CH"]},
            "views.3ch.series.0: found '(3CH'; allowed: a regular expression (missing ), unterminated subpattern at position 0)",
        ),
        ({"liver.series": "*"}, "liver.series: found '*'; allowed: a regular expression (nothing to repeat at position 0)"),
        ({"views.3ch.series": []}, "views.3ch.series: found []; allowed: at least one regular expression"),
        ({"views.3ch.image_right": [0, 0, 0]}, "views.3ch.image_right: found [0, 0, 0]; allowed: a direction that is not zero"),
        (
            {"series.overrides": {"1.2.3": "5ch"}},
            "series.overrides.1.2.3: found '5ch'; allowed: 3ch, 4ch, none",
        ),
        ({"training.crop_px": 20}, "training.crop_px: found 20; allowed: at most geometry.size_px (16)"),
        ({"training.downsample": 3}, "training.crop_px: found 16; allowed: a multiple of training.downsample (3)"),
        ({"training.frame_step": 3}, "geometry.frames: found 8; allowed: a multiple of training.frame_step (3)"),
        ({"compute.devices": "gpu0"}, "compute.devices: found 'gpu0'; allowed: auto, or a list of device UUIDs"),
        ({"compute.devices": []}, "compute.devices: found []; allowed: auto, or a list of device UUIDs"),
        ({"compute.devices": [7]}, "compute.devices: found [7]; allowed: auto, or a list of device UUIDs"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_a_wrong_value_gives_one_sentence(tmp_path, changes, sentence):
    changes = dict(changes)
    if "training" in changes:
        changes |= {
            name: None for name in ("training.crop_px", "training.width", "training.epochs", "training.batch_size", "training.precision")
        }
    overrides = changes.pop("series.overrides", {})
    path = write_study(tmp_path, changes)
    path.write_text(path.read_text() + "".join(f'series.overrides."{uid}" = "{view}"\n' for uid, view in overrides.items()))
    with pytest.raises(Refused) as refused:
        load_settings(path)
    assert str(refused.value) == f"{path}: {sentence}"


@pytest.mark.parametrize("cron", ["weekly", "0 3 * *", "60 3 * * 0", "0 24 * * 0", "0 3 32 * 0", "0 3 * 13 0", "0 3 * * 8", "0 3 * * 0; x"])
def test_a_cron_schedule_that_is_none_is_refused(tmp_path, cron):
    with pytest.raises(Refused) as refused:
        load_settings(write_study(tmp_path, {"schedule.cron": cron}))
    sentence = "a cron schedule of five fields: minute, hour, day of month, month, day of week"
    assert str(refused.value) == f"{tmp_path}/study.toml: schedule.cron: found {cron!r}; allowed: {sentence}"


@pytest.mark.parametrize("cron", ["0 3 * * 0", "*/15 0-6 1,15 * MON-FRI", "59 23 31 12 7"])
def test_cron_schedules_are_kept(tmp_path, cron):
    assert load_settings(write_study(tmp_path, {"schedule.cron": cron})).schedule.cron == cron


def view(name: str) -> dict:
    return {f"views.{name}.series": ["x"], f"views.{name}.usual_normal": [1, 0, 0], f"views.{name}.image_right": [0, 1, 0]}


@pytest.mark.parametrize("name", ["ensemble", "oracle", "ridge", "none", "all", "4CH", "long_axis"])
def test_reserved_and_odd_view_names_are_refused(tmp_path, name):
    path = write_study(tmp_path, view(name))
    with pytest.raises(Refused) as refused:
        load_settings(path)
    allowed = "lower-case letters and digits, but not all, ensemble, none, oracle, ridge"
    assert str(refused.value) == f"{path}: views: found {name!r}; allowed: {allowed}"


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
@pytest.mark.parametrize(
    "field", ["views.3ch.usual_normal", "geometry.down", "training.learning_rate", "training.augmentation.rotation_deg"]
)
def test_numbers_that_are_none_are_refused(tmp_path, field, number):
    value = f"[{number}, 0.0, 1.0]" if field.endswith(("normal", "down")) else number
    path = write_study(tmp_path, {field: None})
    path.write_text(path.read_text() + f"{field} = {value}\n")
    with pytest.raises(Refused, match=rf"{re.escape(field)}.*: found .*; allowed: input should be (a finite number|(less|greater) than)"):
        load_settings(path)


def test_several_wrong_values_are_all_listed(tmp_path):
    path = write_study(tmp_path, {"folds.count": 1, "training.epochs": 0, "raw.hart": "x", "compute.cpu_slots": 0})
    with pytest.raises(Refused) as refused:
        load_settings(path)
    lines = str(refused.value).split("\n")
    assert [line.removeprefix(f"{path}: ").split(":")[0] for line in lines] == [
        "raw.hart",
        "folds.count",
        "training.epochs",
        "compute.cpu_slots",
    ]


def test_files_that_are_no_study(tmp_path):
    with pytest.raises(Refused) as refused:
        load_settings(tmp_path / "none.toml")
    assert str(refused.value) == f"{tmp_path}/none.toml: there is no such study file"
    broken = {"broken.toml": b'name = "x', "latin.toml": 'name = "Müller"'.encode("latin-1"), "folder.toml": None}
    for name, content in broken.items():
        path = tmp_path / name
        path.write_bytes(content) if content else path.mkdir()
        with pytest.raises(Refused, match=rf"^{path}: not a readable TOML file: [^\n]+$"):
            load_settings(path)


def sections(model: type[BaseModel]) -> set[type[BaseModel]]:
    """A model and all models among its fields' types."""
    found = {model}
    for field in model.model_fields.values():
        for one in [field.annotation, *getattr(field.annotation, "__args__", ())]:
            if isinstance(one, type) and issubclass(one, BaseModel):
                found |= sections(one)
    return found


def test_every_field_and_every_section_is_documented():
    models = sections(StudySettings)
    assert len(models) == 16
    fields = {f"{model.__name__}.{name}": field for model in models for name, field in model.model_fields.items()}
    # a field that is a section is documented by the section's own docstring
    assert [name for name, field in fields.items() if not field.description and field.annotation not in models] == []
    assert [model.__name__ for model in models if not model.__doc__ or len(model.__doc__) < 15] == []


def test_settings_cannot_be_changed_in_place(tmp_path):
    settings = load_settings(write_study(tmp_path))
    with pytest.raises(ValueError, match="frozen"):
        settings.folds.count = 5
