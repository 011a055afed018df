"""One phenotype file: header, rows, and what of it belongs to a person or to a visit.

What belongs here: reading one CSV file and refusing what is none. What does not: cells and column names (fields.py), joining files,
ages (phenotypes.py).
"""

import csv
import warnings
from pathlib import Path

import pandas as pd

from heart_assets.statistics.fields import (
    ACCEPTED_COLUMNS,
    USED_FIELDS,
    PhenotypeError,
    canonical_name,
    field_of,
    parse_column,
)

KEY = ["participant_id", "visit"]


def read_table(path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One CSV file (comma or tab) as its values per participant, and per participant and visit.

    Returns:
        (people, visits): people indexed by participant_id, visits by participant_id and visit; columns under canonical names.
        A plain `age` in a table without a column `visit` belongs to visit 2; sex and family_id are always the person's.

    Raises:
        PhenotypeError: not such a file, a cell that cannot be read, or repeated columns or rows.
    """
    frame = _read_csv(path)
    if frame["participant_id"].isna().any():
        raise PhenotypeError(f"{path}: {int(frame['participant_id'].isna().sum())} row(s) have no participant id")
    if "visit" not in frame:
        people = _indexed(path, frame, ["participant_id"])
        visits = people.reindex(columns=["age"]).dropna().assign(visit=2).set_index("visit", append=True)
        return people.drop(columns="age", errors="ignore"), visits
    if any(field_of(name) in USED_FIELDS for name in frame):
        raise PhenotypeError(f"{path}: has a column `visit` and UK Biobank's columns for ages; accepted columns: {ACCEPTED_COLUMNS}")
    if frame["visit"].isna().any():
        raise PhenotypeError(f"{path}: {int(frame['visit'].isna().sum())} row(s) have no visit")
    frame["visit"] = frame["visit"].astype("int64")
    personal = [name for name in ("sex", "family_id") if name in frame]
    return _personal(path, frame, personal), _indexed(path, frame, KEY).drop(columns=personal)


def _read_csv(path: Path) -> pd.DataFrame:
    """The file's cells, read, under canonical names."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline(10_000_000)
        separator = "\t" if "\t" in first else ","
        header = next(csv.reader([first], delimiter=separator), [])
        names = [canonical_name(name) or f"unnamed column {number}" for number, name in enumerate(header)]
        if "\0" in first or "participant_id" not in names:
            raise PhenotypeError(f"{path}: has no column of participant ids; accepted columns: {ACCEPTED_COLUMNS}")
        if len(set(names)) < len(names):
            repeated = ", ".join(sorted({name for name in names if names.count(name) > 1}))
            raise PhenotypeError(f"{path}: has more than one column {repeated}")
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(path, sep=separator, header=0, names=names, dtype=str, encoding="utf-8-sig", index_col=False)
    except FileNotFoundError:
        raise PhenotypeError(f"{path}: there is no such phenotype table") from None
    except (OSError, UnicodeDecodeError, csv.Error, pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError):
        raise PhenotypeError(f"{path}: is not a table of text with as many cells in every row as its header") from None
    kept = [name for name in names if not name.startswith("unnamed column ")]
    return pd.DataFrame({name: parse_column(path, name, frame[name]) for name in kept})


def _indexed(path: Path, frame: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    repeated = int(frame.duplicated(key).sum())
    if repeated:
        raise PhenotypeError(f"{path}: {repeated} row(s) repeat the {' and '.join(key)} of another")
    return frame.set_index(key)


def _personal(path: Path, frame: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """What a table by visit says of the person: the same at every visit, or refused."""
    groups = frame.groupby("participant_id")[names]
    for name, numbers in groups.nunique().items():
        if (numbers > 1).any():
            raise PhenotypeError(f"{path}: {int((numbers > 1).sum())} participant(s) have more than one {name}")
    return groups.first()
