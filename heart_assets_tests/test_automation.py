"""What the automation condition requests, by Dagster's own evaluation of it on a toy graph."""

from collections.abc import Iterator

import dagster as dg
import pytest

from heart_assets.automation import WHEN_INPUTS_CHANGE

state = {"version": "1", "passed": True}


@dg.asset(check_specs=[dg.AssetCheckSpec("sound", asset="predictions", blocking=True)])
def predictions() -> dg.MaterializeResult:
    check = dg.AssetCheckResult(passed=state["passed"], check_name="sound")
    return dg.MaterializeResult(data_version=dg.DataVersion(state["version"]), check_results=[check])


@dg.asset(deps=[predictions], automation_condition=WHEN_INPUTS_CHANGE)
def scores() -> dg.MaterializeResult:
    return dg.MaterializeResult(data_version=dg.DataVersion("of scores"))


class Day:
    """Runs of the toy graph, and evaluations of its conditions between them."""

    def __init__(self, instance: dg.DagsterInstance):
        self.instance, self.cursor = instance, None

    def run(self, asset: dg.AssetsDefinition, version: str = "1", passed: bool = True) -> None:
        state.update(version=version, passed=passed)
        dg.materialize([predictions, scores], selection=[asset], instance=self.instance, raise_on_error=False)

    def requested(self) -> bool:
        """Whether a tick of the automation sensor would request the scores."""
        result = dg.evaluate_automation_conditions(dg.Definitions(assets=[predictions, scores]), self.instance, cursor=self.cursor)
        self.cursor = result.cursor
        return result.get_num_requested(scores.key) == 1


@pytest.fixture
def day() -> Iterator[Day]:
    with dg.DagsterInstance.ephemeral() as instance:
        day = Day(instance)
        day.requested()  # the first evaluation only takes note of what there is
        day.run(predictions)
        assert day.requested()
        day.run(scores)
        assert not day.requested()
        yield day


def test_a_changed_data_version_requests_and_the_same_data_does_not(day):
    day.run(predictions, version="1")
    assert not day.requested()
    day.run(predictions, version="2")
    assert day.requested()
    day.run(scores)
    assert not day.requested()


def test_a_failing_blocking_check_holds_it_back_until_it_passes(day):
    day.run(predictions, version="2", passed=False)
    assert not day.requested()
    assert not day.requested()
    day.run(predictions, version="3", passed=True)
    assert day.requested()
