"""The definitions as a whole: a snapshot, the promises that hold for every asset, and who may import whom."""

import ast
import json
import subprocess
import sys
import tomllib
from contextlib import suppress
from functools import cache
from pathlib import Path

import dagster as dg
import pytest
import yaml

from heart_assets.checks import CHECKS
from heart_assets.definitions import build_definitions
from heart_assets.jobs import JOBS, JOBS_THAT_APPLY, STAGES
from heart_assets.ledger import Study
from heart_assets.provenance import CODE_VERSIONS
from heart_assets.settings import load_settings
from heart_assets_tests import definitions_snapshot
from heart_assets_tests.tiny import add_raw, ids, made_study, settle, tiny_study, write_phenotypes
from heart_assets_tests.tiny import delivery_of as videos_of

PROJECT = Path(__file__).parents[1]
PACKAGE = PROJECT / "heart_assets"
APPLYING_STUDY = PROJECT / "studies" / "siemens_lax_cine.toml"


@pytest.fixture(scope="module")
def snapshot() -> dict:
    return json.loads(definitions_snapshot.as_text())


@pytest.fixture(scope="module")
def applying() -> dict:
    return definitions_snapshot.snapshot(load_settings(APPLYING_STUDY))


def test_nothing_has_changed_unnoticed(snapshot):
    """If this change is meant: python -m heart_assets_tests.definitions_snapshot"""
    assert snapshot == json.loads(definitions_snapshot.PATH.read_text())


def test_every_asset_has_a_code_version_a_job_and_its_checks(snapshot):
    assets = {name: asset for name, asset in snapshot["assets"].items() if asset["kind"] == "materialised"}
    assert {name: asset["code_version"] for name, asset in assets.items()} == {
        name: version for name, version in CODE_VERSIONS.items() if name != "applied_predictions"
    }
    in_jobs = [name for job in snapshot["jobs"].values() for name in job["assets"]]
    assert sorted(in_jobs) == sorted(snapshot["assets"])  # each in exactly one job
    assert {name: list(asset["checks"]) for name, asset in assets.items() if asset["checks"]} == {
        name: list(checks) for name, checks in CHECKS.items()
    }
    not_blocking = [check for asset in assets.values() for check, one in asset["checks"].items() if not one["blocking"]]
    assert not_blocking == ["better_than_the_mean"]


def test_the_partitions_of_a_check_are_those_of_its_asset(snapshot):
    for asset in snapshot["assets"].values():
        for check in asset["checks"].values():
            assert check["partitions"] == asset["partitions"]


def test_whatever_trains_or_predicts_asks_for_a_gpu_and_cleaning_for_its_own_pool(snapshot, applying):
    needs = {
        name: (asset["op_tags"].get("gpu_executor/gpus"), asset["pools"])
        for name, asset in (snapshot["assets"] | applying["assets"]).items()
    }
    on_gpus = {"trained_model", "predictions", "applied_predictions"}
    assert {name: need for name, need in needs.items() if name in on_gpus} == dict.fromkeys(on_gpus, ("1", ["gpu"]))
    assert {name for name, (gpus, pools) in needs.items() if gpus or "gpu" in pools} == on_gpus
    assert {name for name, (_, pools) in needs.items() if pools == ["heavy_cpu"]} == {"heart_videos", "liver_images"}


def test_several_gpus_are_asked_for_where_the_study_says_so(tmp_path):
    settings = tiny_study(tmp_path, {"compute.gpus_per_training": 2}).settings
    assets = definitions_snapshot.snapshot(settings)["assets"]
    assert [assets[name]["op_tags"]["gpu_executor/gpus"] for name in ("trained_model", "predictions")] == ["2", "2"]


def test_every_job_uses_the_projects_executor_the_implicit_one_too(snapshot, applying):
    for one in (snapshot, applying):
        assert {job["executor"] for job in one["jobs"].values()} == {"gpu_executor"}
        assert set(one["implicit_job"].values()) == {"gpu_executor"}


def test_only_cheap_downstream_assets_run_by_themselves(snapshot):
    assert {name for name, asset in snapshot["assets"].items() if asset["automation"]} == {"ensemble_predictions", "scores"}


def test_a_study_that_applies_models_trains_nothing(applying):
    materialised = {name for name, asset in applying["assets"].items() if asset["kind"] == "materialised"}
    assert materialised == {"heart_videos", "phenotypes", "applied_predictions"}
    assert set(applying["jobs"]) == {"observe", "ingest", "apply"} and applying["schedules"] == {}
    assert list(applying["sensors"]) == ["new_heart_deliveries"]


def test_a_study_without_liver_has_nothing_of_the_liver(tmp_path):
    found = definitions_snapshot.snapshot(tiny_study(tmp_path).settings)
    assert [name for kind in ("assets", "jobs", "sensors") for name in found[kind] if "liver" in name.split("_")] == []


def test_partitions_follow_the_settings(tmp_path):
    assets = definitions_snapshot.snapshot(tiny_study(tmp_path, {"folds.count": 4}).settings)["assets"]
    assert assets["trained_model"]["partitions"] == {"fold": ["0", "1", "2", "3"], "view": ["3ch", "4ch"]}
    assert assets["ensemble_predictions"]["partitions"] == ["0", "1", "2", "3"]


def test_every_job_is_in_one_stage():
    staged = [job for stage in STAGES for job in stage]
    assert sorted(staged) == sorted({**JOBS, **JOBS_THAT_APPLY})


def test_an_override_replaces_a_part(tmp_path):
    definitions = build_definitions(tiny_study(tmp_path).settings, executor=dg.in_process_executor)
    assert definitions.get_repository_def().get_job("train").executor_def is dg.in_process_executor


def ledger_names(study: Study, asset: str, partition: str) -> set[str]:
    """Upstream assets as the ledger names them; files of the study's owner are no assets."""
    return set(study.inputs(asset, partition).upstream) - {"tables", "withdrawn", "ground_truth"}


def test_the_ledger_and_dagster_agree_on_what_is_upstream(tmp_path, made_folder):
    training = made_study(tmp_path / "a", changes={"raw.liver": "raw/heart"})
    applying = tiny_study(tmp_path / "b", {"models_from": str(training.settings.data_dir)})
    write_phenotypes(applying, ids(2))
    add_raw(applying, "90", ids(2))
    settle(applying, "heart_videos", "90", videos_of(applying, ids(2)))
    settle(applying, "phenotypes", "", training_phenotypes(training))
    from_headers = tiny_study(tmp_path / "c", {"raw.layout": "dicom_folders", "raw.phenotypes": []})
    (from_headers.settings.raw.heart / "9000001").mkdir(parents=True)
    (from_headers.settings.raw.heart / "9000001" / "1.dcm").touch()
    for study in (training, applying):
        graph = build_definitions(study.settings).get_repository_def().asset_graph
        for key in graph.materializable_asset_keys:
            asset = key.path[-1]
            partition = {"heart_videos": "90", "liver_images": "90", "fold_split": "1", "ensemble_predictions": "1"}.get(asset, "")
            partition = "1|4ch" if asset in ("trained_model", "predictions") else partition
            parents = {parent.path[-1] for parent in graph.get(key).parent_keys}
            # models_from: the models lie in another study, of which Dagster knows nothing here
            others = {"trained_model"} if asset == "applied_predictions" else set()
            assert ledger_names(study, asset, partition) == parents | others, asset
    graph = build_definitions(from_headers.settings).get_repository_def().asset_graph
    assert {parent.path[-1] for parent in graph.get(dg.AssetKey("phenotypes")).parent_keys} == ledger_names(from_headers, "phenotypes", "")


def training_phenotypes(study: Study):
    from heart_assets.tables import read_table

    return read_table(study.layout.phenotypes)


def test_workspace_and_pyproject_name_the_same_location():
    (entry,) = yaml.safe_load((PROJECT / "workspace.yaml").read_text())["load_from"]
    tools = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]
    module, location = entry["python_module"]["module_name"], entry["python_module"]["location_name"]
    assert (module, location) == ("heart_assets.definitions", "heart_assets")
    assert (tools["dagster"]["module_name"], tools["dagster"]["code_location_name"]) == (module, location)
    project = tools["dg"]["project"]
    assert (project["code_location_target_module"], project["code_location_name"]) == (module, location)
    assert module.startswith(project["root_module"] + ".")


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120, cwd=PROJECT).stdout


def test_loading_the_code_location_imports_nothing_heavy():
    heavy = "'torch', 'matplotlib', 'sklearn', 'scipy', 'cv2', 'PIL', 'numba'"
    assert python(f"import sys, heart_assets.definitions; print(sorted({{{heavy}}} & set(sys.modules)))") == "[]\n"


def test_the_command_line_starts_without_dagster():
    assert python("import sys, heart_assets.cli; print(sorted({'dagster', 'pandas', 'torch'} & set(sys.modules)))") == "[]\n"


LEAVES = {"settings", "files", "errors"}
ROOMS = {
    "dicom": {"store"},  # writes what it has cleaned into stores
    "store": set(),
    "learning": {"store"},
    "statistics": set(),
    "phantom": set(),
    "executor": set(),
}
FOREIGN = {
    "dicom": {"torch"},
    "store": {"torch", "pydicom"},
    "learning": {"pydicom"},
    "statistics": {"torch", "pydicom"},
    "phantom": {"torch"},
}


@cache
def parsed(path: Path) -> ast.AST:
    """A module's syntax. CPython before 3.11.8 sometimes miscounts its depth when other Python code runs meanwhile (gh-106905)."""
    for _ in range(5):
        with suppress(SystemError):
            return ast.parse(path.read_text())
    return ast.parse(path.read_text())


def imports(path: Path) -> set[str]:
    """Every module that a file imports, at whatever depth of the code."""
    found = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} if node.module == "heart_assets" else {node.module}
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_the_design_allows(room):
    allowed = {room, *ROOMS[room]} | (set() if room == "executor" else LEAVES)
    for path in sorted((PACKAGE / room).glob("*.py")):
        names = imports(path)
        of_project = {name.split(".")[1] for name in names if name.startswith("heart_assets.")}
        assert of_project <= allowed, f"{path.name} imports {of_project - allowed}"
        foreign = FOREIGN.get(room, set()) | (set() if room == "executor" else {"dagster"})
        assert {name.split(".")[0] for name in names} & foreign == set(), path.name


def test_leaves_import_nothing_of_the_project_but_errors():
    for leaf in LEAVES:
        of_project = {name for name in imports(PACKAGE / f"{leaf}.py") if name.startswith("heart_assets")}
        assert of_project <= {"heart_assets.errors"}, leaf


def test_only_the_executor_uses_dagsters_private_modules():
    users = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if any(name.startswith("dagster._") for name in imports(path))
    }
    assert users == {"executor/dagster_internals.py"}


def test_nothing_is_pickled():
    users = [
        path.name
        for path in PACKAGE.rglob("*.py")
        if {name.split(".")[0] for name in imports(path)} & {"pickle", "joblib", "shelve", "dill"}
    ]
    assert users == []
