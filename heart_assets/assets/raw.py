"""The raw material, observed and never written: its data version is the listing of names, sizes and times."""

import dagster as dg

from heart_assets.asset_results import user_errors
from heart_assets.dicom import listing_digest
from heart_assets.ledger import Study
from heart_assets.partitions import HEART_DELIVERIES, LIVER_DELIVERIES
from heart_assets.settings import StudySettings


@user_errors()
def raw_heart_dicoms(study: dg.ResourceParam[Study]) -> dg.DataVersionsByPartition:
    """Cine studies as they lie in the raw folder (UK Biobank field 20208, or folders of DICOM), by delivery."""
    raw = study.settings.raw
    return dg.DataVersionsByPartition({name: listing_digest(raw.heart, name, raw.layout) for name in study.heart_deliveries()})


@user_errors()
def raw_liver_dicoms(study: dg.ResourceParam[Study]) -> dg.DataVersionsByPartition:
    """Liver ShMOLLI studies as they lie in the raw folder (UK Biobank field 20204), by delivery."""
    raw = study.settings.raw
    assert raw.liver is not None
    return dg.DataVersionsByPartition({name: listing_digest(raw.liver, name, raw.layout) for name in study.liver_deliveries()})


def declare(settings: StudySettings) -> list[dg.SourceAsset]:
    """The observable source assets of a study; the liver's only where the study has a liver folder."""
    heart = dg.observable_source_asset(partitions_def=HEART_DELIVERIES, group_name="raw")(raw_heart_dicoms)
    if settings.raw.liver is None or settings.models_from is not None:
        return [heart]
    return [heart, dg.observable_source_asset(partitions_def=LIVER_DELIVERIES, group_name="raw")(raw_liver_dicoms)]
