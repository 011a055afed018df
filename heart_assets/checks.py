"""The assets' checks: names, whether they block, and how counted faults become a Dagster result.

They run inside the step of their asset (`check_specs`), which costs no process of its own. What must never be written at
all is not here: that raises before anything reaches disk. The counting itself is in `statistics.checks`.
"""

from collections.abc import Sequence

import dagster as dg

from heart_assets.statistics import CheckCounts

# asset -> check name -> (blocks downstream, what holds if it passes)
CHECKS: dict[str, dict[str, tuple[bool, str]]] = {
    "heart_videos": {"every_study_accounted_for": (True, "studies found = stored + unchanged + rejected + removed, for each view")},
    "liver_images": {"every_study_accounted_for": (True, "studies found = stored + unchanged + rejected + removed")},
    "phenotypes": {"plausible": (True, "ages between 18 and 110 years, one row per participant and visit")},
    "fold_assignments": {"complete_and_stable": (True, "every participant in exactly one data fold; nobody moved since last time")},
    "fold_split": {"no_leak": (True, "train, validation and test share no participant, data fold or family")},
    "trained_model": {"better_than_the_mean": (False, "validation R2 above 0: better than predicting the mean age")},
    "predictions": {"complete": (True, "every study of each split exactly once, with a finite prediction")},
    "ensemble_predictions": {
        "complete": (True, "every participant and visit that any view predicts exactly once, with a finite prediction")
    },
    "scores": {"everyone_tested_once": (True, "every participant with a usable video and an age in exactly one test table per view")},
}


def specs(asset: str, partitions: dg.PartitionsDefinition | None) -> list[dg.AssetCheckSpec]:
    """The specs of an asset's checks, if it has any; with the asset's partitions, or one partition's pass would hide another's failure."""
    return [
        dg.AssetCheckSpec(name, asset=asset, blocking=blocking, description=description, partitions_def=partitions)
        for name, (blocking, description) in CHECKS.get(asset, {}).items()
    ]


def result(asset: str, passed: bool, metadata: dict) -> dg.AssetCheckResult:
    """The result of an asset's one check; a failed check that does not block is a warning."""
    ((name, (blocking, _)),) = CHECKS[asset].items()
    severity = dg.AssetCheckSeverity.ERROR if blocking else dg.AssetCheckSeverity.WARN
    return dg.AssetCheckResult(passed=passed, check_name=name, asset_key=asset, severity=severity, metadata=metadata)


def counted(asset: str, counts: CheckCounts) -> dg.AssetCheckResult:
    """The result of an asset's one check from its counted faults; the faults are its metadata."""
    return result(asset, counts.passed, {"looked_at": counts.total, **counts.faults})


def summary(results: Sequence[dg.AssetCheckResult]) -> str:
    """How checks went, for the provenance record: passed, warned or failed."""
    failed = [one.severity for one in results if not one.passed]
    if not failed:
        return "passed"
    return "failed" if dg.AssetCheckSeverity.ERROR in failed else "warned"
