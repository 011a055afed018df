"""DICOM bytes -> frames: their headers at once, their pixels when asked for.

The common kind of file is read by our own walker (`elements`), every other by pydicom. Grey values are `pixels`; what a
frame is good for is decided in `series` and `cleaning`.
"""

import io
import zlib
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from heart_assets.dicom.elements import (
    NUMBER_FORMATS,
    SERIES_DESCRIPTION,
    SERIES_UID,
    WANTED,
    Values,
    deflated_start,
    plain_elements,
)
from heart_assets.dicom.errors import RejectedError
from heart_assets.dicom.headers import ORIENTATION, FrameHeader, frame_header, integer, text
from heart_assets.dicom.pixels import FRAMES, MAX_FRAMES, ROWS, grey_values, quiet, stored_pixels

HEAD_BYTES = 4096
MAX_INFLATED_BYTES = 1 << 30
_SHARED_GROUPS, _FRAME_GROUPS = 0x52009229, 0x52009230
_MAX_DEPTH = 4


@dataclass
class Image:
    """One DICOM file in memory: the elements of each frame, and its pixels, decoded once when first asked for."""

    name: str
    frames: list[Values]
    raw: bytes = field(repr=False)
    dataset: Dataset | None = field(repr=False, default=None)

    @cached_property
    def stored(self) -> np.ndarray:
        """(frames, rows, columns) stored values, see `stored_pixels`."""
        return stored_pixels(self.name, self.frames[0], self.raw, self.dataset)


@dataclass(frozen=True)
class Frame:
    """One frame of one file."""

    header: FrameHeader
    image: Image
    index: int

    def grey(self) -> np.ndarray:
        """(rows, columns) float32 grey values after rescaling; raises RejectedError as `stored_pixels` and `grey_values`."""
        return grey_values(self.image.name, self.image.frames[self.index], self.image.stored[self.index])


def peek(head: bytes) -> tuple[str, str] | None:
    """(SeriesInstanceUID, SeriesDescription) from the first `HEAD_BYTES` of a file; None if they do not tell."""
    found = plain_elements(head, stop=SERIES_UID)
    return found and (text(found[0], SERIES_UID), text(found[0], SERIES_DESCRIPTION))


def is_dicom(head: bytes) -> bool:
    """Whether a file says that it is DICOM, or starts like one without its preamble."""
    return head[128:132] == b"DICM" or head[:2] in (b"\x08\x00", b"\x02\x00")


def decode(name: str, data: bytes) -> list[Frame]:
    """The frames of one DICOM file; pixels stay undecoded.

    Raises:
        RejectedError: unreadable_dicom or too_large.
    """
    plain = plain_elements(data)
    if plain is not None and plain[1].stop and {ROWS, ORIENTATION} <= plain[0].keys() and (integer(plain[0], FRAMES) or 1) == 1:
        image = Image(name, [plain[0]], data[plain[1]])
    else:
        image = _with_pydicom(name, data)
    return [Frame(frame_header(values, index), image, index) for index, values in enumerate(image.frames)]


def _with_pydicom(name: str, data: bytes) -> Image:
    with quiet():
        try:
            _bound_inflation(name, data)
            dataset = pydicom.dcmread(io.BytesIO(data), force=is_dicom(data) and data[128:132] != b"DICM")
            values = _values(dataset)
            count = min(integer(values, FRAMES) or 1, MAX_FRAMES + 1)
            frames = _frame_values(dataset, values, count)
            if ROWS not in frames[0]:
                raise RejectedError("unreadable_dicom", f"{name}: cut short, or no picture")
        except RejectedError:
            raise
        except Exception as error:  # pydicom may raise anything at broken input
            raise RejectedError("unreadable_dicom", f"{name}: {type(error).__name__}") from None
    if count > MAX_FRAMES:
        raise RejectedError("too_large", f"{name}: more than {MAX_FRAMES} frames")
    return Image(name, frames, b"", dataset)


def _bound_inflation(name: str, data: bytes) -> None:
    start = deflated_start(data)
    if start is None:
        return
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    if len(inflater.decompress(data[start:], MAX_INFLATED_BYTES)) >= MAX_INFLATED_BYTES:
        raise RejectedError("too_large", f"{name}: inflates to more than {MAX_INFLATED_BYTES >> 20} MB")


def _frame_values(dataset: Dataset, values: Values, count: int) -> list[Values]:
    shared = _groups(dataset, _SHARED_GROUPS, 0)
    return [values | shared | _groups(dataset, _FRAME_GROUPS, index) for index in range(count)]


def _groups(dataset: Dataset, tag: int, index: int) -> Values:
    """Wanted elements of one item of a functional groups sequence, the outermost of each kind."""
    sequence = dataset[tag].value if tag in dataset else []
    return _flat(sequence[index], 0) if index < len(sequence) else {}


def _flat(dataset: Dataset, depth: int) -> Values:
    values = _values(dataset)
    if depth < _MAX_DEPTH:
        for element in dataset:
            if element.VR == "SQ" and not element.tag.is_private and len(element.value) == 1:
                values = _flat(element.value[0], depth + 1) | values
    return values


def _values(dataset: Dataset) -> Values:
    values: Values = {}
    for tag in WANTED:
        source = dataset.file_meta if tag >> 16 == 2 and hasattr(dataset, "file_meta") else dataset
        if tag in source:
            try:
                values[tag] = _plain(source[tag].VR, source[tag].value)
            except (ValueError, TypeError, OverflowError, ArithmeticError):
                continue  # an element that is not what its type says: absent
    return values


def _plain(vr: str, value: object) -> object:
    many = list(value) if isinstance(value, MultiValue | list | tuple) else [] if value is None else [value]
    if vr in NUMBER_FORMATS:
        return tuple(many)
    return "\\".join(str(one) for one in many).strip(" \0")
