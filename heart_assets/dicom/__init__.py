"""Raw cardiac MR: zips and folders of DICOM files -> cleaned videos and liver maps, with every study accounted for.

What belongs here: listing deliveries, reading bytes, decoding DICOM, choosing series, cleaning cines. Each has its own
module, and data flows one way: sources -> reading -> decoding -> series -> timing -> cleaning -> study -> delivery.
What does not: the store's file format, ages beyond what headers say, Dagster, torch.
"""

from heart_assets.dicom.cleaning import Cleaned, clean_cine
from heart_assets.dicom.delivery import CODE_VERSION, DeliveryResult, clean_delivery, clean_liver_delivery
from heart_assets.dicom.demographics import age_years, demographics
from heart_assets.dicom.errors import REASONS, AccountingError, RawDataError, Rejection, StudyError
from heart_assets.dicom.liver import LiverResult, clean_liver_study
from heart_assets.dicom.sources import StudySource, list_deliveries, list_studies, listing_digest
from heart_assets.dicom.study import CleanedVideo, StudyResult, clean_study

__all__ = [
    "CODE_VERSION",
    "REASONS",
    "AccountingError",
    "Cleaned",
    "CleanedVideo",
    "DeliveryResult",
    "LiverResult",
    "RawDataError",
    "Rejection",
    "StudyError",
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
