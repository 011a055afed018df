"""The IO manager: it places what an asset returns through `artefacts.write`, with its provenance record, and reads inputs.

One manager serves every asset, since `artefacts` already knows each kind of value. The provenance travels in the
output's metadata under `PROVENANCE`, where the web UI shows it as well.
"""

from typing import Any

import dagster as dg

from heart_assets import artefacts
from heart_assets.asset_results import PROVENANCE, user_errors
from heart_assets.ledger import Study
from heart_assets.partitions import BY_PARTITION
from heart_assets.provenance import record_from_json


class StudyIOManager(dg.IOManager):
    """Values to files under the study's `data_dir`, and back."""

    def __init__(self, study: Study):
        self.study = study

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Write the value and its record atomically; nothing is written if the same record already stands."""
        with user_errors():
            artefacts.write(self.study.layout, record_from_json(context.output_metadata[PROVENANCE].data), obj)

    def load_input(self, context: dg.InputContext) -> Any:
        """The upstream value; with several upstream partitions a dict by partition, sorted (see `artefacts.read`)."""
        asset = context.asset_key.path[-1]
        partitions = sorted(context.asset_partition_keys) if context.has_asset_partitions else [""]
        with user_errors():
            values = artefacts.read(self.study.layout, asset, partitions)
        if asset in ("heart_videos", "liver_images") or context.definition_metadata.get(BY_PARTITION):
            return values
        return values[partitions[0]]
