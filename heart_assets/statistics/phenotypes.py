"""Who is how old at which visit: phenotype tables, or DICOM headers, to one row per participant and visit.

What belongs here: joining tables, ages, plausibility, withdrawal, and the counts of all that. What does not: one file's rows
and columns (phenotype_files.py), the spelling of columns and cells (fields.py), folds, statistics.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import numpy as np
import pandas as pd

from heart_assets.statistics.fields import (
    ACCEPTED_COLUMNS,
    AGE_AT_VISIT,
    BIRTH_MONTH,
    BIRTH_YEAR,
    USED_FIELDS,
    VISIT_DATE,
    PhenotypeError,
    field_name,
    field_of,
)
from heart_assets.statistics.phenotype_files import KEY, read_table

IMAGING_VISITS = (2, 3)
PLAUSIBLE_AGES = (18.0, 110.0)
DAYS_PER_YEAR = 365.25


@dataclass(frozen=True)
class PhenotypeTable:
    """One row per participant and visit with a plausible age.

    table: participant_id (str), visit (int64), age (float64, years), sex ("F", "M" or ""), family_id (str or ""), then the
        other columns of the tables; sorted by participant and visit.
    counts: rows, participants, from_dates, from_age_column, from_field_21003, from_dicom_headers (rows by source of their
        age), implausible_age (rows left out), without_age and without_sex (participants), withdrawn (participants
        removed); from headers also contradictory_headers.
    """

    table: pd.DataFrame
    counts: dict[str, int]


def read_phenotypes(paths: Sequence[Path], withdrawn: Collection[str] = frozenset()) -> PhenotypeTable:
    """Read one or more CSV tables (comma or tab) and join them by participant.

    A table has one row per participant (UK Biobank's columns; a plain `age` in it belongs to visit 2), or one per
    participant and `visit`. Age is (field 53 - day 15 of month 52 of year 34) / 365.25 at visits 2 and 3; where that is
    not known, the column `age`; where that is not either, field 21003. Rows without an age are left out and counted, and
    so are those outside 18 to 110 years. The fields that ages and sexes come from are not kept.

    Raises:
        PhenotypeError: a file that is no such table, a cell that cannot be read, repeated columns or rows, tables that
            contradict each other, or no age at all.
    """
    tables = [read_table(Path(path)) for path in paths]
    if not tables:
        raise PhenotypeError(f"no phenotype table is named in the study; accepted columns: {ACCEPTED_COLUMNS}")
    people = reduce(_join, (people for people, _ in tables))
    visits = reduce(_join, (visits for _, visits in tables))
    everybody = people.index.union(visits.index.get_level_values("participant_id")).unique()
    removed = everybody.intersection(pd.Index(sorted(withdrawn), dtype=everybody.dtype))
    people = people.drop(index=removed, errors="ignore")
    visits = visits[~visits.index.get_level_values("participant_id").isin(removed)]
    result = _finish(people, _with_ages(people, visits), withdrawn=len(removed), everybody=len(everybody) - len(removed))
    if result.table.empty:
        names = ", ".join(str(path) for path in paths)
        outside = result.counts["implausible_age"]
        raise PhenotypeError(
            f"{names}: no participant has an age between 18 and 110 years at an imaging visit "
            f"({outside} row(s) have one outside); accepted columns: {ACCEPTED_COLUMNS}"
        )
    return result


def from_demographics(demographics: pd.DataFrame, withdrawn: Collection[str] = frozenset()) -> PhenotypeTable:
    """The same table from DICOM headers (participant_id, visit, age in years or NaN, sex; rows may repeat).

    Headers that contradict each other count as unknown (`contradictory_headers`: one bad file must not stop a study). No age at
    all is no error here: such a study can still be predicted by another one's models, and the counts say so.
    """
    frame = demographics[["participant_id", "visit", "age", "sex"]].astype({"participant_id": str, "visit": "int64", "age": float})
    frame["sex"] = frame["sex"].where(frame["sex"].isin(["F", "M"]))
    gone = frame["participant_id"].isin(set(withdrawn))
    sexes, ages = frame[~gone].groupby("participant_id")[["sex"]], frame[~gone].groupby(KEY)[["age"]]
    clashes = int((sexes.nunique() > 1).to_numpy().sum() + (ages.nunique() > 1).to_numpy().sum())
    people, rows = sexes.first().where(sexes.nunique() == 1), ages.first().where(ages.nunique() == 1)
    withdrawn_here = frame.loc[gone, "participant_id"].nunique()
    result = _finish(people, rows.assign(source="from_dicom_headers"), withdrawn=withdrawn_here, everybody=len(people))
    return PhenotypeTable(result.table, result.counts | {"contradictory_headers": clashes})


def read_withdrawn(path: Path | None) -> frozenset[str]:
    """Withdrawn participant ids: one per line, blank lines ignored; none without a file.

    Raises:
        PhenotypeError: the file is missing or not text.
    """
    if path is None:
        return frozenset()
    try:
        return frozenset(path.read_text(encoding="utf-8-sig").split())
    except (OSError, UnicodeDecodeError):
        raise PhenotypeError(f"{path}: the list of withdrawn participants is missing or not a text file") from None


def _join(left: pd.DataFrame, right: pd.DataFrame) -> pd.DataFrame:
    """Outer join on the index; a column of both must agree wherever both know it."""
    index = left.index.union(right.index)
    left, right = left.reindex(index), right.reindex(index)
    for name in left.columns.intersection(right.columns):
        clashes = int((left[name].notna() & right[name].notna() & (left[name] != right[name])).sum())
        if clashes:
            raise PhenotypeError(f"the phenotype tables contradict each other in column {name} for {clashes} participant(s)")
        left[name] = left[name].where(left[name].notna(), right[name])
    return left.join(right[right.columns.difference(left.columns, sort=False)])


def _with_ages(people: pd.DataFrame, visits: pd.DataFrame) -> pd.DataFrame:
    """Rows by (participant_id, visit): `age`, `source`, and the columns that belong to a visit."""
    ages = pd.concat([_ages_at(people, visit) for visit in IMAGING_VISITS])
    rows = ages.join(visits.rename(columns={"age": "from_age_column"}), how="outer")
    choices = rows.reindex(columns=["from_dates", "from_age_column", "from_field_21003"]).astype(float)
    first_known = choices.notna().to_numpy().argmax(axis=1)
    rows = rows.drop(columns=choices.columns, errors="ignore")
    return rows.assign(age=choices.to_numpy()[np.arange(len(rows)), first_known], source=choices.columns.to_numpy()[first_known])


def _ages_at(people: pd.DataFrame, visit: int) -> pd.DataFrame:
    born = people.reindex(columns=[field_name(BIRTH_YEAR), field_name(BIRTH_MONTH)]).astype(float).set_axis(["year", "month"], axis=1)
    born["day"] = 15
    birth = pd.to_datetime(born.where(born.notna().all(axis=1)))
    date = pd.to_datetime(people.reindex(columns=[field_name(VISIT_DATE, visit)]).iloc[:, 0])
    years = (date - birth).dt.days / DAYS_PER_YEAR
    stated = people.reindex(columns=[field_name(AGE_AT_VISIT, visit)]).iloc[:, 0].astype(float)
    ages = pd.DataFrame({"from_dates": years, "from_field_21003": stated}).dropna(how="all")
    return ages.assign(visit=visit).set_index("visit", append=True)


def _finish(people: pd.DataFrame, rows: pd.DataFrame, withdrawn: int, everybody: int) -> PhenotypeTable:
    """Keep plausible ages, add what belongs to the person, and count."""
    rows = rows[rows["age"].notna()]
    plausible = rows["age"].between(*PLAUSIBLE_AGES)
    aged = rows.index.get_level_values("participant_id").nunique()
    implausible, rows = int((~plausible).sum()), rows[plausible]
    personal = people[[name for name in people if field_of(name) not in USED_FIELDS]]
    personal = personal.reindex(rows.index.get_level_values("participant_id")).set_axis(rows.index)
    table = _join(rows, personal).reindex(rows.index).sort_index().reset_index()
    for name in ("sex", "family_id"):
        table[name] = table[name].fillna("").astype(str) if name in table else ""
    sources = table.pop("source").value_counts()
    ordered = ["participant_id", "visit", "age", "sex", "family_id"]
    table = table[ordered + [name for name in table if name not in ordered]].astype({"participant_id": str, "visit": "int64"})
    counts = {name: int(sources.get(name, 0)) for name in ("from_dates", "from_age_column", "from_field_21003", "from_dicom_headers")}
    counts |= {"rows": len(table), "participants": table["participant_id"].nunique(), "implausible_age": implausible}
    counts |= {"without_age": everybody - aged, "withdrawn": withdrawn}
    counts["without_sex"] = table.loc[table["sex"] == "", "participant_id"].nunique()
    return PhenotypeTable(table, counts)
