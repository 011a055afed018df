"""How the checks of one materialisation are summed up for its record."""

import dagster as dg
import pytest

from heart_assets import checks
from heart_assets.statistics import CheckCounts


@pytest.mark.parametrize(
    ("results", "said"),
    [
        ([], "passed"),
        ([("scores", True), ("trained_model", True)], "passed"),
        ([("trained_model", False)], "warned"),
        ([("trained_model", False), ("scores", False)], "failed"),
    ],
)
def test_summary(results, said):
    assert checks.summary([checks.result(asset, passed, {}) for asset, passed in results]) == said


def test_counted_faults_are_metadata_and_fail():
    result = checks.counted("scores", CheckCounts(5, {"missing": 1, "repeated": 0}))
    assert (result.passed, result.severity, result.check_name) == (False, dg.AssetCheckSeverity.ERROR, "everyone_tested_once")
    assert {name: value.value for name, value in result.metadata.items()} == {"looked_at": 5, "missing": 1, "repeated": 0}
