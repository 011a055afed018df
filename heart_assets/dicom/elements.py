"""DICOM bytes -> the few elements that this project looks at, as plain Python values.

A small bounds-checked walker serves the common case (explicit VR little endian, top level only); everything else goes
to pydicom, and both give the same values: numbers as tuples, text as one string with its backslashes. What the values
mean is `headers`; pixels are `decoding`.
"""

import struct
from typing import Any

Values = dict[int, Any]

CHARACTER_SET = 0x00080005
SERIES_DESCRIPTION = 0x0008103E
SERIES_UID = 0x0020000E
PIXEL_DATA = 0x7FE00010
TRANSFER_SYNTAX = 0x00020010

WANTED = frozenset(
    {
        *(TRANSFER_SYNTAX, CHARACTER_SET, 0x00080018, 0x00080020, 0x00080021, 0x00080022, 0x0008002A, 0x00080031, 0x00080032),
        *(0x00080033, 0x00081010, SERIES_DESCRIPTION, 0x00100040, 0x00101010, 0x00181020, 0x00181060, 0x00181062, 0x00181063),
        *(0x00181065, 0x00181088, 0x00181090, SERIES_UID, 0x00200011, 0x00200012, 0x00200013, 0x00200032, 0x00200037),
        *(0x00189074, 0x00209128, 0x00209153, 0x00209251, 0x00280002, 0x00280004, 0x00280008, 0x00280010, 0x00280011),
        *(0x00280030, 0x00280100, 0x00280101, 0x00280102, 0x00280103, 0x00281052, 0x00281053),
    }
)
NUMBER_FORMATS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d"}
_LONG_LENGTH = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_ENCODINGS = {"": "latin-1", "ISO_IR 6": "latin-1", "ISO_IR 100": "latin-1", "ISO_IR 192": "utf-8"}
_EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
_COMPRESSED = ("1.2.840.10008.1.2.4.", "1.2.840.10008.1.2.5")  # JPEG kinds, RLE: plain up to the pixels
_DEFLATED = "1.2.840.10008.1.2.1.99"
_UNDEFINED = 0xFFFFFFFF
_ITEM, _SEQUENCE_END, _ITEM_END_BYTES = 0xFFFEE000, 0xFFFEE0DD, b"\xfe\xff\x0d\xe0"
_MAX_DEPTH = 16


def plain_elements(data: bytes, stop: int = PIXEL_DATA) -> tuple[Values, slice] | None:
    """Walk an explicit VR little endian file up to and including the tag `stop`; of a compressed one, not to its pixels.

    Args:
        data: the file's bytes, or the head of them.

    Returns:
        The wanted values, and where the value of `stop` lies (empty if the file has no such element but goes beyond
        it); None if this is not the plain case (another syntax, odd sequences, bytes that end early).
    """
    raw: dict[int, tuple[bytes, bytes]] = {}
    found = slice(0, 0)
    try:
        position = 132 if data[128:132] == b"DICM" else len(data) + 1
        while position != len(data) or stop != PIXEL_DATA:
            tag, vr, start, end = _element(data, position)
            if tag > stop:
                break
            if tag in WANTED:
                raw[tag] = vr, data[start:end]
            if tag == stop:
                found = slice(start, end)
                break
            position = end
    except _NotPlainError:
        return None
    syntax = _text(raw.get(TRANSFER_SYNTAX, (b"", b""))[1], "latin-1")
    compressed_head = stop != PIXEL_DATA and syntax.startswith(_COMPRESSED)
    return _converted(raw, found) if syntax == _EXPLICIT_LITTLE or compressed_head else None


def deflated_start(data: bytes) -> int | None:
    """Where the deflated part of a file begins; None if its transfer syntax is another, or its head is broken."""
    syntax, position = b"", 132
    try:
        while data[position : position + 2] == b"\x02\x00":
            tag, _, start, position = _element(data, position)
            syntax = data[start:position] if tag == TRANSFER_SYNTAX else syntax
    except _NotPlainError:
        return None
    return position if _text(syntax, "latin-1") == _DEFLATED else None


class _NotPlainError(Exception):
    """The bytes are not the plain case; pydicom shall look at them."""


def _element(data: bytes, position: int, depth: int = 0) -> tuple[int, bytes, int, int]:
    """(tag, VR, start of value, end of value) of the element at `position`; never reaches beyond the data."""
    if position + 12 > len(data) and position + 8 != len(data):
        raise _NotPlainError
    group, element, vr, length = struct.unpack_from("<HH2sH", data, position)
    tag, start = group << 16 | element, position + 8
    if vr in _LONG_LENGTH:
        if position + 12 > len(data):
            raise _NotPlainError
        (length,) = struct.unpack_from("<I", data, position + 8)
        start = position + 12
    elif not (vr.isalpha() and vr.isupper()):
        raise _NotPlainError
    if length == _UNDEFINED and vr == b"SQ":
        return tag, vr, start, _sequence_end(data, start, depth)
    if length == _UNDEFINED or start + length > len(data):
        raise _NotPlainError
    return tag, vr, start, start + length


def _sequence_end(data: bytes, position: int, depth: int) -> int:
    """Where a sequence of undefined length ends."""
    if depth > _MAX_DEPTH:
        raise _NotPlainError
    while True:
        tag, length, position = _delimiter(data, position)
        if tag == _SEQUENCE_END:
            return position
        if tag != _ITEM:
            raise _NotPlainError
        if length != _UNDEFINED:
            position += length
            continue
        while data[position : position + 4] != _ITEM_END_BYTES:
            position = _element(data, position, depth + 1)[3]
        position += 8


def _delimiter(data: bytes, position: int) -> tuple[int, int, int]:
    if position + 8 > len(data):
        raise _NotPlainError
    group, element, length = struct.unpack_from("<HHI", data, position)
    return group << 16 | element, length, position + 8


def _converted(raw: dict[int, tuple[bytes, bytes]], found: slice) -> tuple[Values, slice] | None:
    encoding = _ENCODINGS.get(_text(raw.get(CHARACTER_SET, (b"", b""))[1], "latin-1"))
    if encoding is None:
        return None
    values: Values = {}
    for tag, (vr, value) in raw.items():
        code = NUMBER_FORMATS.get(vr.decode("ascii"))
        if code is None:
            values[tag] = _text(value, encoding)
        elif len(value) % struct.calcsize(code) == 0:
            values[tag] = struct.unpack(f"<{len(value) // struct.calcsize(code)}{code}", value)
        else:
            return None
    return values, found


def _text(value: bytes, encoding: str) -> str:
    return value.decode(encoding, "replace").strip(" \0")
