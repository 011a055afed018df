"""The whole study, one stage after the other: whatever does not hold is materialised by Dagster runs, one per partition.

What belongs here: which runs there are to launch, in which order, and how far they are. What does not: how a run is
launched (executor.direct_runs), or what an asset does.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import dagster as dg
from tqdm import tqdm

from heart_assets.executor import DirectRuns, RunResult, RunSpec
from heart_assets.home import WORKSPACE
from heart_assets.jobs import STAGES, job_assets
from heart_assets.ledger import Study


@dataclass(frozen=True)
class Summary:
    """What was done: partitions that held, runs that succeeded, and one sentence per run that did not."""

    kept: int
    made: int
    failures: tuple[str, ...]


def partitions_of(study: Study, job: str) -> list[str | None]:
    """The partition keys of a job; [None] for a job without partitions."""
    match job:
        case "ingest":
            return list(study.heart_deliveries())
        case "ingest_liver":
            return list(study.liver_deliveries())
        case "train":
            return list(study.view_folds)
        case "split" | "ensemble":
            return list(study.folds)
    return [None]


def outdated_runs(study: Study, job: str) -> list[RunSpec]:
    """One run for each partition of a job in which an asset does not hold; raw material is observed if it is to be cleaned."""
    if job.startswith("observe"):
        return [RunSpec(job)] if outdated_runs(study, job.replace("observe", "ingest")) else []
    assets = job_assets(study.settings)[job]
    return [RunSpec(job, key) for key in partitions_of(study, job) if any(study.why_outdated(asset, key or "") for asset in assets)]


def stages(study: Study) -> Iterator[list[str]]:
    """The study's jobs, stage by stage."""
    jobs = job_assets(study.settings)
    for stage in STAGES:
        if present := [job for job in stage if job in jobs]:
            yield present


def materialise(study: Study, instance: dg.DagsterInstance, processes: int) -> Summary:
    """Launch every run that is due, with a progress bar; stop after the first stage in which a run fails."""
    total = sum(len(partitions_of(study, job)) for stage in stages(study) for job in stage)
    kept, results = 0, []
    log_file = study.settings.data_dir / "logs" / "runs.log"
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with (
        tqdm(total=total, unit="partition", smoothing=0) as bar,
        DirectRuns(instance, WORKSPACE, processes=processes, log_file=log_file) as runs,
    ):
        for jobs in stages(study):
            bar.set_description(", ".join(jobs))
            specs = [spec for job in jobs for spec in outdated_runs(study, job)]
            holding = sum(len(partitions_of(study, job)) for job in jobs) - len(specs)
            kept += holding
            bar.update(holding)
            made = runs.launch(specs, on_finished=lambda _: bar.update()) if specs else []
            results += made
            if not all(result.success for result in made):
                break
    failures = tuple(_sentence(result) for result in results if not result.success)
    return Summary(kept, len(results) - len(failures), failures)


def _sentence(result: RunResult) -> str:
    partition = f" of {result.spec.partition_key}" if result.spec.partition_key else ""
    return f"{result.spec.job_name}{partition}: {result.status.lower()}: {result.reason}"
