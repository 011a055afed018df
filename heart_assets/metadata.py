"""Pictures and tables as Dagster metadata. Nothing of a single person enters Dagster's database unless the study allows it."""

import base64
from pathlib import Path

import dagster as dg

from heart_assets.files import write_bytes

LARGEST_PICTURE = 100_000


def picture(content: bytes, path: Path, *, single_people: bool, allowed: bool = True) -> dg.MetadataValue:
    """Keep a picture as a file, and show it in the asset's metadata where that is allowed.

    Args:
        content: PNG or GIF bytes.
        path: the file that it becomes, under the study's `data_dir`.
        single_people: whether single persons can be seen in it.
        allowed: the study's setting for pictures of single people.
    """
    write_bytes(path, content)
    if single_people and not allowed:
        return dg.MetadataValue.text("a file under data_dir (privacy.pictures_of_single_people is off)")
    if len(content) > LARGEST_PICTURE:
        return dg.MetadataValue.text("a file under data_dir (too large for the event log)")
    kind = "gif" if content.startswith(b"GIF") else "png"
    return dg.MetadataValue.md(f"![{path.stem}](data:image/{kind};base64,{base64.b64encode(content).decode()})")
