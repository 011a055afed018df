"""Why a study, or one view of it, gives no video: reason codes, and the error that carries one.

Only words here; who raises what is decided where the input is looked at.
"""

from dataclasses import dataclass

from heart_assets.errors import StudyError

WHOLE_STUDY = "all"

REASONS: dict[str, str] = {
    "not_a_study": "an entry of the delivery that is not named like a study",
    "duplicate_study_id": "an earlier file of the delivery has the same study id",
    "unreadable_file": "the file system did not give the file",
    "empty": "nothing in it",
    "not_a_zip": "not a zip file",
    "truncated_zip": "a zip file whose end is missing",
    "encrypted_zip": "a zip file with a password",
    "unsupported_zip": "a zip file packed with a method that cannot be read here",
    "overlapping_zip": "a zip file whose members overlap",
    "corrupt_zip": "a zip file with broken members or a wrong checksum",
    "too_large": "more members, bytes or pixels than any study has",
    "no_series": "no series of this view",
    "incomplete_series": "frames of the series are missing",
    "unreadable_dicom": "DICOM files that cannot be read",
    "unsupported_pixels": "pixels of a kind that is not a grey picture",
    "inconsistent_geometry": "frames that do not lie in one plane, or no usable plane at all",
    "no_frame_order": "neither trigger times nor instance numbers to order the frames",
    "no_contrast": "all pixels around the heart are alike",
    "worker_died": "the process that cleaned it died",
    "internal_error": "a fault of this program; the log has its place",
}
PASSING_REASONS = frozenset({"unreadable_file", "internal_error", "worker_died"})  # tried again even if the file is unchanged


class RawDataError(StudyError):
    """A raw folder that cannot be used; one sentence for the user."""


class AccountingError(RuntimeError):
    """Studies found are not stored + rejected + unchanged + removed."""


class RejectedError(Exception):
    """Bad input, found while reading or cleaning a study. `reason` is a key of `REASONS`; `detail` may name files."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Rejection:
    """One row of the rejected table: the study's file name, the view (`all`: the whole study), reason code, one line of detail."""

    file_name: str
    view: str
    reason: str
    detail: str
