"""Raw DICOMs to cleaned video stores and liver maps, one delivery at a time, and the phenotype table."""

import time
from collections.abc import Callable

import dagster as dg
import numpy as np
import pandas as pd

from heart_assets import checks, dicom, pictures
from heart_assets.asset_results import Work, study_asset, user_errors
from heart_assets.compute import ingest_needs
from heart_assets.dicom import DeliveryResult, list_studies
from heart_assets.executor import available_cores
from heart_assets.files import claim_folder
from heart_assets.ledger import HEART_FIELD, LIVER_FIELD, Study
from heart_assets.metadata import picture
from heart_assets.partitions import HEART_DELIVERIES, LIVER_DELIVERIES
from heart_assets.settings import StudySettings
from heart_assets.statistics import PhenotypeTable, from_demographics, phenotypes_plausible, read_phenotypes
from heart_assets.store import VideoStore

MONTAGE_STUDIES = 4
SECONDS_BETWEEN_PROGRESS_LINES = 10.0


@user_errors()
def heart_videos(context: dg.AssetExecutionContext, study: dg.ResourceParam[Study]) -> dg.MaterializeResult:
    """Cleaned cines of every view: in time order, upright, centred on the heart, at one spacing, as uint8."""
    work, settings, layout = Work(context, study), study.settings, study.layout
    if work.holds:
        return work.kept()
    studies, not_studies = list_studies(settings.raw.heart, work.partition, settings.raw.layout, HEART_FIELD, settings.raw.default_visit)
    previous = {view: path for view in study.views if (path := layout.videos(view, work.partition)).exists()}
    result = dicom.clean_delivery(
        studies,
        settings,
        claim_folder(layout.scratch / f"heart_videos {work.partition}"),
        previous=previous or None,
        workers=settings.compute.ingest_workers or available_cores(),
        progress=_log_progress(context),
        withdrawn=study.withdrawn(),
        listing_rejections=not_studies,
    )
    return work.made(result, _video_metadata(result, study, work.partition), [checks.result(work.asset, True, dict(result.accounting))])


@user_errors()
def liver_images(context: dg.AssetExecutionContext, study: dg.ResourceParam[Study]) -> dg.MaterializeResult:
    """Liver ShMOLLI T1 maps, in ms."""
    work, settings = Work(context, study), study.settings
    if work.holds:
        return work.kept()
    assert settings.raw.liver is not None
    studies, not_studies = list_studies(settings.raw.liver, work.partition, settings.raw.layout, LIVER_FIELD, settings.raw.default_visit)
    previous = study.layout.liver(work.partition)
    result = dicom.clean_liver_delivery(
        studies,
        settings,
        claim_folder(study.layout.scratch / f"liver_images {work.partition}"),
        previous=previous if previous.exists() else None,
        workers=settings.compute.ingest_workers or available_cores(),
        progress=_log_progress(context),
        withdrawn=study.withdrawn(),
        listing_rejections=not_studies,
    )
    return work.made(result, dict(result.accounting), [checks.result(work.asset, True, dict(result.accounting))])


@user_errors()
def phenotypes(context: dg.AssetExecutionContext, study: dg.ResourceParam[Study]) -> dg.MaterializeResult:
    """Age in years and sex of every participant and visit, from the study's tables or else the DICOM headers."""
    work = Work(context, study)
    if work.holds:
        return work.kept()
    result = _phenotype_table(study)
    counts = {**result.counts, "rows": len(result.table), "participants": int(result.table["participant_id"].nunique())}
    return work.made(result.table, counts, [checks.counted(work.asset, phenotypes_plausible(result.table))])


def _phenotype_table(study: Study) -> PhenotypeTable:
    raw = study.settings.raw
    if raw.phenotypes or raw.layout == "ukb_zips":
        return read_phenotypes(raw.phenotypes, study.withdrawn())
    headers = [
        dicom.demographics(list_studies(raw.heart, delivery, raw.layout, HEART_FIELD, raw.default_visit)[0])
        for delivery in study.heart_deliveries()
    ]
    return from_demographics(pd.concat(headers, ignore_index=True), study.withdrawn())


def _log_progress(context: dg.AssetExecutionContext) -> Callable[[int, int, int], None]:
    started = last = time.monotonic()

    def progress(done: int, total: int, rejected: int) -> None:
        nonlocal last
        now = time.monotonic()
        if done < total and now - last < SECONDS_BETWEEN_PROGRESS_LINES:
            return
        last, rate = now, done / max(now - started, 1e-3)
        context.log.info(f"{done} of {total} studies, {rate:.1f} per second, {rejected} rejected, {(total - done) / rate:.0f} s left")

    return progress


def _video_metadata(result: DeliveryResult, study: Study, delivery: str) -> dict:
    metadata: dict = dict(result.accounting)
    allowed = study.settings.privacy.pictures_of_single_people
    for view, path in result.stores.items():
        store = VideoStore([path])
        metadata[f"videos_{view}"] = len(store)
        if len(store):
            videos = store.read(np.arange(min(MONTAGE_STUDIES, len(store))))
            place = study.layout.picture("videos")
            metadata[f"montage_{view}"] = picture(
                pictures.montage(list(videos)), place / f"{delivery}.{view}.png", single_people=True, allowed=allowed
            )
            metadata[f"cine_{view}"] = picture(
                pictures.cine_gif(videos[0]), place / f"{delivery}.{view}.gif", single_people=True, allowed=allowed
            )
    return metadata


def declare(settings: StudySettings) -> list[dg.AssetsDefinition]:
    """heart_videos, phenotypes, and liver_images where the study has a liver folder."""
    videos = study_asset(
        heart_videos,
        "cleaning",
        partitions_def=HEART_DELIVERIES,
        deps=["raw_heart_dicoms"],
        **ingest_needs(settings.compute),
    )
    table = study_asset(phenotypes, "cleaning", deps=[] if settings.raw.phenotypes else ["raw_heart_dicoms"])
    if settings.raw.liver is None or settings.models_from is not None:
        return [videos, table]
    return [
        videos,
        table,
        study_asset(
            liver_images,
            "cleaning",
            partitions_def=LIVER_DELIVERIES,
            deps=["raw_liver_dicoms"],
            **ingest_needs(settings.compute),
        ),
    ]
