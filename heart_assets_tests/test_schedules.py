"""The weekly schedule: what it requests of predictions that are missing, outdated or failed, and when it may retrain."""

from datetime import UTC, datetime

import dagster as dg
import pytest

from heart_assets import schedules
from heart_assets.definitions import build_definitions
from heart_assets.ledger import Study
from heart_assets.settings import load_settings
from heart_assets_tests.tiny import model, settle, tiny_study, write_study

SUNDAY = datetime(2026, 3, 1, 3, tzinfo=UTC)


def tick(study: Study) -> dict[str, tuple[list[str], str]] | str:
    """partition -> (assets, reason) of every request of one tick, or why it skipped."""
    (schedule,) = schedules.declare(study.settings)
    with dg.DagsterInstance.ephemeral() as instance:
        repository = build_definitions(study.settings).get_repository_def()
        context = dg.build_schedule_context(instance, SUNDAY, resources={"study": study}, repository_def=repository)
        data = schedule.evaluate_tick(context)
    if data.skip_message:
        assert not data.run_requests
        return data.skip_message
    for request in data.run_requests:
        assert request.run_key == f"{request.partition_key} 2026-03-01"
    return {
        request.partition_key: ([key.path[-1] for key in request.asset_selection], request.tags["reason"]) for request in data.run_requests
    }


def under(study: Study, changes: dict) -> Study:
    return Study(load_settings(write_study(study.settings.data_dir.parent, changes)))


HOLDS = "Every prediction whose model exists still holds."


def test_nothing_to_do(made):
    assert tick(made) == HOLDS


def test_without_any_model_the_first_training_is_left_to_a_backfill(tmp_path):
    assert tick(tiny_study(tmp_path)) == HOLDS


def test_missing_predictions_of_a_model_that_exists(made):
    """A failed run leaves no record: that is how a failed prediction shows."""
    made.layout.record("predictions", "1|4ch").unlink()
    made.layout.predictions("3ch", "2", "val").unlink()
    reason = "predictions: never made"
    assert tick(made) == {"1|4ch": (["predictions"], reason), "2|3ch": (["predictions"], reason)}


def test_predictions_of_a_model_that_has_changed(made):
    settle(made, "trained_model", "0|3ch", model(55.0))
    assert tick(made) == {"0|3ch": (["predictions"], "predictions: changed upstream: trained_model")}


def test_an_outdated_model_predicts_again_only_if_its_predictions_do_not_hold_either(made):
    study = under(made, {"training.epochs": 7})
    assert tick(study) == HOLDS
    study.layout.predictions("4ch", "1", "test").unlink()
    assert tick(study) == {"1|4ch": (["predictions"], "predictions: never made")}


def test_it_retrains_where_the_study_allows_it(made):
    study = under(made, {"training.epochs": 7, "schedule.may_retrain": True})
    both = ["trained_model", "predictions"]
    assert tick(study) == dict.fromkeys(study.view_folds, (both, "trained_model: its settings have changed"))
    (study.layout.model("4ch", "2") / "model.json").unlink()
    assert tick(study)["2|4ch"] == (both, "trained_model: never made")


def test_a_deleted_model_is_trained_again_only_where_the_study_allows_it(made):
    (made.layout.model("4ch", "2") / "model.safetensors").unlink()
    assert tick(made) == HOLDS
    allowed = under(made, {"schedule.may_retrain": True})
    assert tick(allowed) == {"2|4ch": (["trained_model", "predictions"], "trained_model: never made")}


def test_its_job_cron_and_status(tmp_path):
    (schedule,) = schedules.declare(tiny_study(tmp_path, {"schedule.cron": "15 4 * * 1"}).settings)
    assert (schedule.name, schedule.job_name, schedule.cron_schedule) == ("weekly_predictions", "train", "15 4 * * 1")
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
    assert schedules.declare(tiny_study(tmp_path, {"models_from": "elsewhere"}).settings) == []


@pytest.mark.parametrize("changes", [{"schedule.cron": "0 3 * * 0"}, {"schedule.cron": "*/5 * * * MON-FRI"}])
def test_dagster_accepts_the_crons_that_the_settings_accept(tmp_path, changes):
    (schedule,) = schedules.declare(tiny_study(tmp_path, changes).settings)
    assert schedule.cron_schedule == changes["schedule.cron"]
