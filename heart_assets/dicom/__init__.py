"""Raw cardiac MR: zips and folders of DICOM files -> cleaned videos and liver maps, with every study accounted for.

What belongs here: listing deliveries, reading bytes, decoding DICOM, choosing series, cleaning cines. Each has its own
module, and data flows one way: sources -> reading -> decoding -> series -> timing -> cleaning -> study -> delivery.
What does not: the store's file format, ages beyond what headers say, Dagster, torch.

Listing and the plain values load with the package; the DICOM reader (pydicom, OpenCV) when something is first cleaned.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from heart_assets.dicom.errors import REASONS, AccountingError, RawDataError, RejectedError, Rejection
from heart_assets.dicom.result import DeliveryResult
from heart_assets.dicom.sources import StudySource, list_deliveries, list_studies, listing_digest

if TYPE_CHECKING:
    from heart_assets.dicom.cleaning import Cleaned, clean_cine
    from heart_assets.dicom.delivery import clean_delivery, clean_liver_delivery
    from heart_assets.dicom.liver import LiverResult, clean_liver_study
    from heart_assets.dicom.people import age_years, demographics
    from heart_assets.dicom.study import CleanedVideo, StudyResult, clean_study

_WITH_READER = {
    "Cleaned": "cleaning",
    "clean_cine": "cleaning",
    "clean_delivery": "delivery",
    "clean_liver_delivery": "delivery",
    "age_years": "people",
    "demographics": "people",
    "LiverResult": "liver",
    "clean_liver_study": "liver",
    "CleanedVideo": "study",
    "StudyResult": "study",
    "clean_study": "study",
}

__all__ = [
    "REASONS",
    "AccountingError",
    "Cleaned",
    "CleanedVideo",
    "DeliveryResult",
    "LiverResult",
    "RawDataError",
    "RejectedError",
    "Rejection",
    "StudyResult",
    "StudySource",
    "age_years",
    "clean_cine",
    "clean_delivery",
    "clean_liver_delivery",
    "clean_liver_study",
    "clean_study",
    "demographics",
    "list_deliveries",
    "list_studies",
    "listing_digest",
]


def __getattr__(name: str) -> Any:
    if name in _WITH_READER:
        return getattr(import_module(f"heart_assets.dicom.{_WITH_READER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
