"""Tables on disk: CSV for people, parquet for the phenotypes. Bytes in, bytes out, ids always as text."""

import io
from pathlib import Path

import pandas as pd

from heart_assets.errors import StudyError
from heart_assets.files import atomic_path, bytes_digest

TEXT_COLUMNS = (
    "study_id",
    "participant_id",
    "family_id",
    "sex",
    "views",
    "split",
    "view",
    "file_name",
    "reason",
    "detail",
    "model",
    "fold",
)


def to_bytes(table: pd.DataFrame, suffix: str) -> bytes:
    """A table as the bytes of its file; `suffix` is ".csv" or ".parquet"."""
    if suffix == ".parquet":
        buffer = io.BytesIO()
        table.to_parquet(buffer, index=False, compression="zstd")
        return buffer.getvalue()
    return table.to_csv(index=False, lineterminator="\n").encode()


def from_bytes(content: bytes, suffix: str) -> pd.DataFrame:
    """The inverse of `to_bytes`; text columns come back as text, empty where nothing was written."""
    if suffix == ".parquet":
        table = pd.read_parquet(io.BytesIO(content))
    else:
        text = {name: str for name in TEXT_COLUMNS}
        table = pd.read_csv(io.BytesIO(content), dtype=text, keep_default_na=False, na_values=[""])
        for name in set(TEXT_COLUMNS) & set(table.columns):
            table[name] = table[name].fillna("")
    return table


def table_version(table: pd.DataFrame, suffix: str = ".csv") -> str:
    """The digest of the bytes that a table is written as."""
    return bytes_digest(to_bytes(table, suffix))


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table atomically, in the format of the path's suffix."""
    content = to_bytes(table, path.suffix)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def read_table(path: Path) -> pd.DataFrame:
    """Read a table.

    Raises:
        StudyError: the file is missing or is not the table that was written there.
    """
    try:
        return from_bytes(path.read_bytes(), path.suffix)
    except FileNotFoundError:
        raise StudyError(f"{path.name} is missing from {path.parent.name}/: materialise the asset that makes it") from None
    except (ValueError, OSError) as error:
        raise StudyError(
            f"{path.name} in {path.parent.name}/ cannot be read ({type(error).__name__}): materialise its asset again"
        ) from None
