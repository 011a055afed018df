"""Age and sex from DICOM headers, for folders that come without a phenotype table.

They go to the phenotypes only, never into a store.
"""

import math
import re
from collections.abc import Iterable

import pandas as pd

from heart_assets.dicom.decoding import HEAD_BYTES, decode, is_dicom
from heart_assets.dicom.elements import Values, plain_elements
from heart_assets.dicom.errors import RejectedError
from heart_assets.dicom.headers import text
from heart_assets.dicom.reading import Member, open_study
from heart_assets.dicom.sources import StudySource

_SEX, _AGE = 0x00100040, 0x00101010
_UNITS_PER_YEAR = {"Y": 1.0, "M": 12.0, "W": 365.25 / 7, "D": 365.25}
_OLDEST = 130.0


def demographics(studies: Iterable[StudySource]) -> pd.DataFrame:
    """Age and sex of every study, from the first DICOM file that can be read.

    Returns:
        participant_id (str), visit (int), age (float years, NaN if absent or absurd), sex ('F', 'M' or '').
    """
    rows = []
    for source in studies:
        values = _first_values(source)
        sex = text(values, _SEX).upper()
        rows.append((source.participant_id, source.visit, age_years(text(values, _AGE)), sex if sex in ("F", "M") else ""))
    table = pd.DataFrame(rows, columns=["participant_id", "visit", "age", "sex"])
    return table.astype({"participant_id": object, "visit": int, "age": float, "sex": object})


def age_years(age: str) -> float:
    """Years of a PatientAge such as `045Y`, `018M`, `012W`, `010D`; NaN for anything else, and beyond 130 years."""
    match = re.fullmatch(r"(\d{1,3})([YMWD])", age)
    years = int(match[1]) / _UNITS_PER_YEAR[match[2]] if match else math.nan
    return years if years <= _OLDEST else math.nan


def _first_values(source: StudySource) -> Values:
    try:
        with open_study(source.path) as members:
            for member in members:
                values = _member_values(member)
                if values is not None:
                    return values
    except RejectedError:
        return {}
    return {}


def _member_values(member: Member) -> Values | None:
    try:
        head = member.head(HEAD_BYTES)
        if not is_dicom(head):
            return None
        plain = plain_elements(head, stop=_AGE)
        return plain[0] if plain else decode(member.name, member.read())[0].image.frames[0]
    except RejectedError:
        return None
