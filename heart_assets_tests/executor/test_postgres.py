"""PostgreSQL as Dagster's storage, configured by deploy/postgresql/dagster.yaml: the executor works there as on SQLite."""

import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from dagster import AssetKey, DagsterEventType, DagsterInstance

from heart_assets.executor import DirectRuns, RunResult, RunSpec, dagster_internals
from heart_assets_tests.executor.conftest import PROJECT, Toy, toy_in, wait_until
from heart_assets_tests.executor.postgres import PASSWORD, NoPostgreSQL, Server, postgresql
from heart_assets_tests.executor.test_runs import OUTCOMES

DAGSTER_YAML = PROJECT / "deploy" / "postgresql" / "dagster.yaml"
STUCK_SECONDS = 60.0
HOLD_BACK = """
CREATE FUNCTION hold_back() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NEW; END';
CREATE TRIGGER hold_back BEFORE INSERT ON event_logs FOR EACH ROW
    WHEN (NEW.dagster_event_type = 'STEP_SUCCESS') EXECUTE FUNCTION hold_back();
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    try:
        with postgresql() as server:
            yield server
    except NoPostgreSQL as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def toy(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toy]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        with toy_in(tmp_path_factory.mktemp("toy-postgresql"), DAGSTER_YAML) as toy:
            yield toy


@pytest.fixture(scope="module")
def runs(toy: Toy) -> Iterator[DirectRuns]:
    with DirectRuns(toy.instance, toy.workspace, processes=2, log_file=toy.folder / "workers.log") as runs:
        yield runs


@pytest.fixture(scope="module")
def kinds(runs: DirectRuns) -> RunResult:
    """One run of steps that end in every way."""
    (result,) = runs.launch([RunSpec("kinds")])
    return result


def test_both_configurations_agree_but_for_the_storage() -> None:
    usual, with_postgresql = (yaml.safe_load(path.read_text()) for path in (PROJECT / "dagster.yaml", DAGSTER_YAML))
    storage = with_postgresql.pop("storage")
    assert with_postgresql == usual
    written = {name: value for name, value in storage["postgres"]["postgres_db"].items() if list(value) != ["env"]}
    assert written == {"scheme": "postgresql+psycopg2"}


def test_the_instance_is_on_postgresql_and_its_pools_have_limits(toy: Toy) -> None:
    assert type(toy.instance.event_log_storage).__name__ == type(toy.instance.run_storage).__name__.replace("Run", "EventLog")
    assert {pool.name: pool.limit for pool in toy.instance.event_log_storage.get_pool_limits()} == {"gpu": 1, "heavy_cpu": 1}
    assert not list((toy.folder / "home").rglob("*.db"))


def test_each_kind_of_step_ends_as_on_sqlite(toy: Toy, kinds: RunResult) -> None:
    assert kinds.status == "FAILURE" and kinds.run_id
    outcomes = {stats.step_key: stats.status.value for stats in toy.instance.get_run_step_stats(kinds.run_id) if stats.status}
    assert outcomes == OUTCOMES
    assert "last words" in toy.failure(kinds.run_id, "is_killed")
    assert any("Leased pretend-0, pretend-1 after" in message for message in toy.events(kinds.run_id, "on_two_gpus"))


def test_the_retry_of_a_killed_step_is_told_from_its_first_attempt(toy: Toy, kinds: RunResult) -> None:
    assert len({note["pid"] for note in toy.notes("is_killed_once")}) == 2
    asked: Any = SimpleNamespace(instance=toy.instance, dagster_run=SimpleNamespace(run_id=kinds.run_id))
    assert [dagster_internals.has_final_event(asked, "is_killed_once", attempt) for attempt in (0, 1)] == [True, True]
    assert [dagster_internals.has_final_event(asked, "is_killed", attempt) for attempt in (0, 1)] == [True, True]
    assert not dagster_internals.has_final_event(asked, "no_such_step", 0)


def test_two_runs_of_partitions_take_turns_on_the_devices(toy: Toy, runs: DirectRuns) -> None:
    results = runs.launch([RunSpec("cells", {"view": view, "fold": "Fold0"}) for view in ("3ch", "4ch")])
    assert [result.status for result in results] == ["SUCCESS", "SUCCESS"]
    assert toy.instance.get_materialized_partitions(AssetKey("cell")) == {"Fold0|3ch", "Fold0|4ch"}
    notes = sorted(toy.notes("cell"), key=lambda note: note["time"])
    assert [note["event"] for note in notes] == ["start", "end", "start", "end"]
    for result in results:
        assert result.run_id
        types = [entry.dagster_event.event_type for entry in toy.instance.all_logs(result.run_id) if entry.dagster_event]
        assert types.count(DagsterEventType.ASSET_MATERIALIZATION) == types.count(DagsterEventType.STEP_SUCCESS) == 1


def test_an_event_that_becomes_visible_late_is_not_missed(toy: Toy, runs: DirectRuns, server: Server) -> None:
    """Events are numbered when they are written, but seen when their transaction ends: the order may differ.

    The last event of a step is held back in the database until a later one has been seen.
    """
    holder = server.connect()
    with holder.cursor() as cursor:
        cursor.execute(HOLD_BACK)
        cursor.execute("SELECT pg_advisory_lock(1)")

    def held_back() -> bool:
        with holder.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
            return bool(cursor.fetchone()[0])

    def overtake(run_id: str) -> None:
        run = toy.instance.get_run_by_id(run_id)
        assert run
        wait_until(held_back, STUCK_SECONDS)
        toy.instance.report_engine_event("a later event", run)
        time.sleep(1.0)  # some looks at the event log
        holder.close()

    def on_started(_: RunSpec, run_id: str) -> None:
        threads.extend([threading.Thread(target=overtake, args=(run_id,)), threading.Timer(STUCK_SECONDS, cancel, (run_id,))])
        for thread in threads:
            thread.start()

    def cancel(run_id: str) -> None:
        toy.instance.run_coordinator.cancel_run(run_id)

    threads: list[Any] = []
    (result,) = runs.launch([RunSpec("cells", "Fold1|3ch")], on_started=on_started)
    threads[0].join()
    threads[1].cancel()
    assert result.status == "SUCCESS"


def test_the_password_is_in_no_description_of_the_instance(toy: Toy) -> None:
    text = dagster_internals.instance_to_text(toy.instance)
    assert "DAGSTER_PG_PASSWORD" in text and PASSWORD not in text
    with dagster_internals.instance_from_text(text) as same:
        assert isinstance(same, DagsterInstance) and same.get_runs_count() == toy.instance.get_runs_count()
