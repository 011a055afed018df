"""The manifest of a UK Biobank zip, `manifest.csv` or `manifest.cvs`: a hint, never the truth.

Its lines are broken in every way (dates with an unquoted comma, lines cut short or run together, no final newline), so
it is not parsed as a table: file names and series uids are found by their look. All that it adds to the headers is
which files of a series should have been there.
"""

import re
from collections import Counter
from collections.abc import Set
from pathlib import PurePosixPath

_TOKEN = re.compile(r"(?P<file>[^\s,\"']+\.dcm)|(?P<uid>\d+(?:\.\d+){3,})", re.IGNORECASE)


def is_manifest(name: str) -> bool:
    """Whether a member of a zip is its manifest."""
    return PurePosixPath(name).name.lower() in ("manifest.csv", "manifest.cvs")


def absent_by_series(manifest: str, names: Set[str], series_uids: Set[str]) -> dict[str, int]:
    """How many files of each known series the manifest lists that are not in the zip.

    Args:
        manifest: its text, '' if there is none.
        names: the members of the zip.
        series_uids: the series that matter; a listed file belongs to the one named after it and before the next file.
    """
    absent: Counter[str] = Counter()
    if not series_uids:
        return {}
    file = ""
    listed: set[str] = set()
    for match in _TOKEN.finditer(manifest):
        if match["file"]:
            file = match["file"]
        elif match["uid"] in series_uids and file and file not in listed and not _present(file, names):
            absent[match["uid"]] += 1
            listed.add(file)
    return dict(absent)


def _present(file: str, names: Set[str]) -> bool:
    return file in names or any(file.endswith(name) for name in names)  # run-on lines glue the last field to the name
