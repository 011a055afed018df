"""One delivery: its studies cleaned into one store per view, with every study accounted for.

Unchanged studies are copied from the previous stores (`memory`), those of withdrawn participants are left out. How one
study is cleaned is `study` and `liver`; the file format is the store's.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from heart_assets.dicom.errors import WHOLE_STUDY, AccountingError, Rejection
from heart_assets.dicom.liver import LIVER, clean_liver_study
from heart_assets.dicom.memory import Memory, Outcome, open_memory
from heart_assets.dicom.result import DeliveryResult
from heart_assets.dicom.rows import source_columns
from heart_assets.dicom.sources import StudySource
from heart_assets.dicom.study import clean_study
from heart_assets.dicom.workers import ordered_results
from heart_assets.files import digest
from heart_assets.settings import GeometrySettings, LiverSettings, SeriesSettings, StudySettings, ViewSettings
from heart_assets.store import ImageStore, ImageWriter, VideoStore, VideoWriter

CODE_VERSION = "1"  # raise it whenever the same files would give other pixels or columns
OUTCOMES = ("stored", "rejected", "unchanged", "removed")
STUDIES_PER_WORKER = 4  # fewer are cleaned sooner than another process has started
MAPS_PER_WORKER = 200
Progress = Callable[[int, int, int], None]
Writers = Mapping[str, VideoWriter] | Mapping[str, ImageWriter]


def clean_delivery(
    studies: Sequence[StudySource],
    settings: StudySettings,
    scratch: Path,
    previous: Mapping[str, Path] | None = None,
    workers: int = 1,
    progress: Progress | None = None,
    withdrawn: frozenset[str] = frozenset(),
    listing_rejections: Sequence[Rejection] = (),
) -> DeliveryResult:
    """Clean the studies of a delivery into one video store per view.

    *Found* are the studies listed now and the entries that the listing rejected. Of these are *stored* those newly cleaned
    with at least one view, *unchanged* those whose videos were copied from `previous` (same name, size, time, settings and
    code version), *removed* those of withdrawn participants, and *rejected* those without any video. The same holds for
    each view. A rejected study that has not changed is not read again either: the stores remember why.

    Args:
        scratch: folder for the new stores, `<view>.h5`; not that of `previous`.
        previous: view -> store of the last time; with a missing or damaged one all studies are read again.
        workers: processes, at most; few studies are cleaned by fewer.
        progress: called with (done, total, rejected so far) after each study.
        withdrawn: participant ids.
        listing_rejections: from `list_studies`; they enter the rejected table and the accounting.

    Raises:
        AccountingError: found != stored + rejected + unchanged + removed.
    """
    geometry = settings.geometry
    shown = geometry.model_dump(mode="json")
    rules = {view: rule.model_dump(mode="json") for view, rule in settings.views.items()}
    version = _version([rules, settings.series.model_dump(mode="json"), shown])
    writers = {
        view: VideoWriter(
            scratch / f"{view}.h5",
            geometry.frames,
            geometry.size_px,
            {"view": view, "geometry": shown, "spacing_mm": geometry.spacing_mm, **version},
        )
        for view in settings.views
    }
    memory = open_memory(VideoStore, previous, tuple(settings.views), version)
    clean = partial(_clean_cines, views=settings.views, series=settings.series, geometry=geometry)
    outcomes = _outcomes(studies, clean, memory, workers, STUDIES_PER_WORKER, withdrawn)
    return _write(outcomes, len(studies), writers, memory, progress, listing_rejections)


def clean_liver_delivery(
    studies: Sequence[StudySource],
    settings: StudySettings,
    scratch: Path,
    previous: Path | None = None,
    workers: int = 1,
    progress: Progress | None = None,
    withdrawn: frozenset[str] = frozenset(),
    listing_rejections: Sequence[Rejection] = (),
) -> DeliveryResult:
    """The same for liver T1 maps: one image store, under the name `liver`."""
    liver = settings.liver
    version = _version(liver.model_dump(mode="json"))
    writers = {LIVER: ImageWriter(scratch / f"{LIVER}.h5", liver.size_px, {"view": LIVER, "unit": "ms", **version})}
    memory = open_memory(ImageStore, {LIVER: previous} if previous else None, (LIVER,), version)
    outcomes = _outcomes(studies, partial(_clean_map, liver=liver), memory, workers, MAPS_PER_WORKER, withdrawn)
    return _write(outcomes, len(studies), writers, memory, progress, listing_rejections)


def _version(rules: Any) -> dict[str, str]:
    return {"settings_digest": digest(rules), "code_version": CODE_VERSION}


def _clean_cines(source: StudySource, views: Mapping[str, ViewSettings], series: SeriesSettings, geometry: GeometrySettings) -> Outcome:
    result = clean_study(source, views, series, geometry)
    return Outcome(source, {view: (one.video, one.row) for view, one in result.videos.items()}, result.rejections)


def _clean_map(source: StudySource, liver: LiverSettings) -> Outcome:
    result = clean_liver_study(source, liver)
    return Outcome(source, result.images, result.rejections)


def _outcomes(
    studies: Sequence[StudySource],
    clean: Callable[[StudySource], Outcome],
    memory: Memory,
    workers: int,
    share: int,
    withdrawn: frozenset[str],
) -> Iterator[Outcome]:
    """One outcome per study, in order; only new and changed ones are read, at least `share` of them by each process."""
    new = [source for source in studies if source.participant_id not in withdrawn and not memory.knows(source)]
    cleaned = ordered_results(clean, new, min(workers, -(-len(new) // share)))
    for source in studies:
        if source.participant_id in withdrawn:
            yield Outcome(source, {}, [], removed=True)
        elif memory.knows(source):
            yield memory.recall(source)
        else:
            died = Rejection(source.name, WHOLE_STUDY, "worker_died", "a decoder ended its process")
            yield next(cleaned) or Outcome(source, {}, [died])


def _write(
    outcomes: Iterator[Outcome],
    total: int,
    writers: Writers,
    memory: Memory,
    progress: Progress | None,
    listing_rejections: Sequence[Rejection],
) -> DeliveryResult:
    rejections = list(listing_rejections)
    listed = {"found": len(rejections), "rejected": len(rejections)}
    counts = {view: Counter(listed) for view in (WHOLE_STUDY, *writers)}
    gone = memory.names - {rejection.file_name for rejection in rejections}
    with ExitStack() as stack:
        for writer in writers.values():
            stack.enter_context(writer)
        for done, outcome in enumerate(outcomes, start=1):
            gone.discard(outcome.source.name)
            rejections += outcome.rejections
            counts[WHOLE_STUDY].update(["found", outcome.kind(bool(outcome.rows))])
            for view, writer in writers.items():
                counts[view].update(["found", outcome.kind(view in outcome.rows)])
                _write_view(outcome, view, writer)
            if progress is not None:
                progress(done, total, counts[WHOLE_STUDY]["rejected"])
    checked = {view: _checked(count, total + len(listing_rejections)) for view, count in counts.items()}
    reasons = dict(sorted(Counter(rejection.reason for rejection in rejections).items()))
    accounting = {**checked.pop(WHOLE_STUDY), "gone": len(gone), "reasons": reasons, "per_view": checked}
    table = pd.DataFrame([asdict(rejection) for rejection in rejections], columns=["file_name", "view", "reason", "detail"], dtype=object)
    return DeliveryResult({view: writer.path for view, writer in writers.items()}, table, accounting)


def _write_view(outcome: Outcome, view: str, writer: VideoWriter | ImageWriter) -> None:
    if view in outcome.rows:
        writer.append(*outcome.rows[view])
    for rejection in outcome.rejections:
        if rejection.view in (view, WHOLE_STUDY):
            writer.reject({**source_columns(outcome.source), **asdict(rejection)})


def _checked(count: Mapping[str, int], listed: int) -> dict[str, int]:
    numbers = {name: count.get(name, 0) for name in ("found", *OUTCOMES)}
    if not listed == numbers["found"] == sum(numbers[name] for name in OUTCOMES):
        raise AccountingError(f"{listed} studies listed, but accounted for: {numbers}")
    return numbers
