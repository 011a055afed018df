"""Zips as UK Biobank delivers them: flat, one DICOM per frame, with a manifest whose spelling is to be borne.

What belongs here: manifest text, its known defects, and zip bytes. What does not: which defect goes where (defects.py).
"""

import zipfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np

from heart_assets.files import atomic_path
from heart_assets.phantom.studies import Series

COLUMNS = ("filename", "patientid", "studyid", "study description", "date", "seriesid", "series discription", "modality", "aet", "host")


def manifest_lines(series: Sequence[Series], comma_dates: bool = False) -> list[str]:
    """The manifest, header first, without line ends. With `comma_dates` dates read `Aug 30, 2015`, unquoted."""
    lines = [",".join(COLUMNS)]
    for one in series:
        header = one.header
        day = datetime.strptime(header.date, "%Y%m%d")
        date = f"{day:%b} {day.day}, {day.year}" if comma_dates else f"{day:%Y-%m-%d}"
        tail = [
            header.patient_id,
            header.study_uid,
            "Synthetic heart",
            date,
            header.uid,
            header.description,
            "MR",
            header.station,
            "phantom",
        ]
        lines += [",".join([file.name, *tail]) for file in one.files]
    return lines


def write_zip(path: Path, series: Sequence[Series], others: Mapping[str, bytes], rng: np.random.Generator) -> None:
    """Write one study atomically: its files in no particular order, then other files by name; the time stamps are fixed."""
    files = [file for one in series for file in one.files]
    members = [(files[place].name, files[place].data) for place in rng.permutation(len(files))] + list(others.items())
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, data in members:
            entry = zipfile.ZipInfo(name, date_time=(2020, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED, 1)
