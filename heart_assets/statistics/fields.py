"""UK Biobank's spellings: which column is which field, and what its cells mean.

What belongs here: column names to one canonical name, and text cells to numbers, dates and sexes, with one sentence for what
cannot be read. What does not: joining tables, ages, and who is withdrawn (see phenotypes.py).
"""

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from heart_assets.errors import StudyError

SEX, BIRTH_YEAR, BIRTH_MONTH, VISIT_DATE, AGE_AT_VISIT = 31, 34, 52, 53, 21003
USED_FIELDS = (BIRTH_YEAR, BIRTH_MONTH, VISIT_DATE, AGE_AT_VISIT)
ACCEPTED_COLUMNS = (
    "eid with fields 53, 34 and 52 or 21003 (spelled 21003-2.0, f.21003.2.0, n_21003_2_0, p21003_i2 or participant.p21003_i2), "
    "or participant_id, visit, age, sex"
)

_FIELD = re.compile(r"(?:f\.|x|n_|s_|ts_)?(\d+)[-._](\d+)[._](\d+)|p(\d+)(?:_i(\d+))?(?:_a(\d+))?", re.IGNORECASE)
_ID_NAMES = {"eid", "f.eid", "n_eid", "participant_id"}
_PLAIN_NAMES = {"visit", "age", "sex", "family_id"}
_SEXES = {"1": "M", "0": "F", "m": "M", "f": "F", "male": "M", "female": "F", "o": "", "u": "", "other": "", "unknown": ""}
_MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december")


class PhenotypeError(StudyError):
    """Phenotype tables that cannot be used; one sentence with the file and a count, never an id."""


def canonical_name(name: str) -> str:
    """The one spelling of a column name.

    The id column becomes `participant_id`; `visit`, `age`, `sex` and `family_id` lose their capitals; field 31 becomes `sex`;
    any other UK Biobank field becomes `p<field>_i<instance>`, with `_a<array>` unless that is 0 (a name that a pandas query
    can use); any other name only loses white space and a leading `participant.`.
    """
    name = name.strip().removeprefix("participant.")
    if name.lower() in _ID_NAMES:
        return "participant_id"
    if name.lower() in _PLAIN_NAMES:
        return name.lower()
    match = _FIELD.fullmatch(name)
    if match is None:
        return name
    field, instance, array = match.groups()[:3] if match[1] else match.groups()[3:]
    return "sex" if int(field) == SEX else field_name(int(field), int(instance or 0), int(array or 0))


def field_name(field: int, instance: int = 0, array: int = 0) -> str:
    """Canonical column name of a UK Biobank field, instance and array index."""
    return f"p{field}_i{instance}" + (f"_a{array}" if array else "")


def field_of(name: str) -> int | None:
    """The field number of a canonical column name, or None for any other column."""
    match = re.fullmatch(r"p(\d+)_i\d+(?:_a\d+)?", name)
    return int(match[1]) if match else None


def parse_column(path: Path, name: str, cells: pd.Series) -> pd.Series:
    """Text cells of the canonical column `name` as values; empty cells stay missing.

    Returns float64 for numbers, datetime64 for field 53, "F"/"M" or missing for sex, str otherwise. A column that only passes
    through becomes float64 if all of its cells are numbers.

    Raises:
        PhenotypeError: a cell of a column that matters cannot be read.
    """
    field = field_of(name)
    if name in ("participant_id", "family_id"):
        return cells.str.strip().str.replace(r"^(\d+)\.0+$", r"\1", regex=True).replace("", pd.NA)
    if name == "sex":
        return _parse(path, name, cells, _sexes, "a sex (1, 0, M, F, Male or Female)").replace("", pd.NA)
    if field == VISIT_DATE:
        return _parse(path, name, cells, _dates, "a date (YYYY-MM-DD)")
    if field == BIRTH_MONTH:
        return _parse(path, name, cells, _months, "a month")
    if field == BIRTH_YEAR:
        return _parse(path, name, cells, lambda text: _whole(text, 1850, 2100), "a year")
    if name == "visit":
        return _parse(path, name, cells, lambda text: _whole(text, 0, 99), "a visit (0 to 99)")
    if name == "age" or field == AGE_AT_VISIT:
        return _parse(path, name, cells, _numbers, "a number")
    numbers = _numbers(cells)
    return numbers if numbers.notna().eq(cells.notna()).all() else cells


def _parse(path: Path, name: str, cells: pd.Series, read: Callable[[pd.Series], pd.Series], wanted: str) -> pd.Series:
    values = read(cells.str.strip())
    unreadable = int((cells.notna() & values.isna()).sum())
    if unreadable:
        raise PhenotypeError(f"{path}: column {name} holds {unreadable} value(s) that are not {wanted}")
    return values


def _numbers(text: pd.Series) -> pd.Series:
    return pd.to_numeric(text, errors="coerce").astype("float64")


def _whole(text: pd.Series, low: int, high: int) -> pd.Series:
    numbers = _numbers(text)
    return numbers.where(numbers.between(low, high) & (numbers % 1 == 0))


def _sexes(text: pd.Series) -> pd.Series:
    return text.str.lower().str.replace(r"\.0+$", "", regex=True).map(_SEXES)


def _months(text: pd.Series) -> pd.Series:
    named = text.str.lower().map({month: number for number, month in enumerate(_MONTHS, start=1)})
    return named.astype("float64").fillna(_whole(text, 1, 12))


def _dates(text: pd.Series) -> pd.Series:
    day = text.where(text.str.fullmatch(r"\d{4}-\d{2}-\d{2}([ T].*)?").eq(True)).str[:10]
    return pd.to_datetime(day, format="%Y-%m-%d", errors="coerce").astype("datetime64[s]")
