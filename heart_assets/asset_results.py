"""What every asset function does around its work: inputs of today, "still holds", the result, errors as sentences.

No mathematics and no file formats: this is the seam between Dagster's contexts and the study's ledger.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import dagster as dg

from heart_assets import artefacts, checks
from heart_assets.errors import StudyError
from heart_assets.ledger import Study
from heart_assets.provenance import CODE_VERSIONS, Inputs, Record, as_json, outdated

PROVENANCE = "provenance"


@contextmanager
def user_errors() -> Iterator[None]:
    """Turn a `StudyError` into a Dagster Failure that shows its one sentence and is not retried."""
    try:
        yield
    except StudyError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from None


class Work:
    """One materialisation of one asset's partition.

    `inputs` are read when the work begins, so that an upstream artefact that changes meanwhile makes the result outdated
    instead of being mistaken for what it was made from.
    """

    def __init__(self, context: dg.AssetExecutionContext, study: Study):
        self.asset = context.asset_key.path[-1]
        self.partition = str(context.partition_key) if context.has_partition_key else ""
        self.study = study
        self.log = context.log
        self.inputs: Inputs = study.inputs(self.asset, self.partition)
        self.record = study.record(self.asset, self.partition)

    @property
    def holds(self) -> bool:
        """Whether the artefact on disk was made from just these inputs and can be read, so that nothing has to be done again."""
        return outdated(self.record, self.inputs) is None and artefacts.readable(self.study.layout, self.asset, self.partition)

    def kept(self) -> dg.MaterializeResult:
        """The artefact as it stands, reported again, with what its checks said when it was made."""
        assert self.record is not None
        self.log.info("Nothing has changed since this was made: kept as it is.")
        value = artefacts.read(self.study.layout, self.asset, [self.partition])
        value = value.get(self.partition, value)
        check_results = [checks.result(self.asset, self.record.check == "passed", {"kept": True})] if self.asset in checks.CHECKS else []
        return self._result(value, self.record, {"kept": True}, check_results)

    def made(self, value: Any, metadata: dict[str, Any], check_results: Sequence[dg.AssetCheckResult] = ()) -> dg.MaterializeResult:
        """A value that was just made, with its record."""
        parts = artefacts.parts_of(self.asset, value)
        record = Record(self.asset, self.partition, self.inputs, parts, checks.summary(check_results))
        return self._result(value, record, metadata, check_results)

    @staticmethod
    def _result(value: Any, record: Record, metadata: dict[str, Any], check_results: Sequence[dg.AssetCheckResult]) -> dg.MaterializeResult:
        return dg.MaterializeResult(
            value=value,
            data_version=dg.DataVersion(record.data_version),
            metadata={**metadata, PROVENANCE: dg.MetadataValue.json(as_json(record))},
            check_results=list(check_results),
        )


def study_asset(function: Callable[..., dg.MaterializeResult], group: str, **options: Any) -> dg.AssetsDefinition:
    """Declare an asset function under its own name, with the code version and the checks that belong to that name.

    Args:
        function: its arguments are upstream assets and resources; it returns a `Work.made` or `Work.kept`.
        group: the asset's group in the web UI.
        options: further arguments of `dagster.asset`.
    """
    name = function.__name__
    decorate = dg.asset(
        name=name,
        group_name=group,
        code_version=CODE_VERSIONS[name],
        check_specs=checks.specs(name, options.get("partitions_def")),
        dagster_type=dg.Any,
        **options,
    )
    return decorate(function)
