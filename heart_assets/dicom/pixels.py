"""Grey values of one DICOM file: bounds, stored bits, decompression, rescaling.

Bounds are checked before anything is decoded. Uncompressed pixels are read here, compressed ones by pydicom's decoders.
Which file, and which frame of it, is `decoding`.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from pydicom import config
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian

from heart_assets.dicom.elements import Values
from heart_assets.dicom.errors import RejectedError
from heart_assets.dicom.headers import integer, number, text

MAX_SIDE = 4096
MAX_FRAMES = 4096
MAX_PIXEL_BYTES = 512 << 20
FRAMES = 0x00280008
_SAMPLES, _PHOTOMETRIC, ROWS, _COLUMNS = 0x00280002, 0x00280004, 0x00280010, 0x00280011
_ALLOCATED, _STORED, _HIGH_BIT, _SIGNED = 0x00280100, 0x00280101, 0x00280102, 0x00280103
_INTERCEPT, _SLOPE = 0x00281052, 0x00281053
_FLOAT_PIXELS = {"FloatPixelData": "<f4", "DoubleFloatPixelData": "<f8"}


def stored_pixels(name: str, values: Values, raw: bytes, dataset: Dataset | None) -> np.ndarray:
    """(frames, rows, columns) stored values of a file: integers, signed and cut to the bits stored, or floats.

    Args:
        name: of the file, for the detail of an error.
        values: its elements.
        raw: the bytes of its pixels, little endian and uncompressed; not looked at if there is a dataset.
        dataset: what pydicom read, if it did.

    Raises:
        RejectedError: unsupported_pixels, too_large or unreadable_dicom.
    """
    shape = _shape(name, values)
    keyword = next((keyword for keyword in _FLOAT_PIXELS if dataset is not None and keyword in dataset), None)
    if dataset is not None and keyword is not None:
        return _from_bytes(name, dataset[keyword].value, np.dtype(_FLOAT_PIXELS[keyword]), shape)
    allocated, stored = integer(values, _ALLOCATED), integer(values, _STORED)
    high, signed = integer(values, _HIGH_BIT), integer(values, _SIGNED)
    if allocated not in (8, 16, 32) or stored is None or not 1 <= stored <= allocated or signed not in (0, 1):
        raise RejectedError("unsupported_pixels", f"{name}: {stored} bits in {allocated}")
    if dataset is None:
        return _bits(name, _from_bytes(name, raw, np.dtype(f"<u{allocated // 8}"), shape), stored, high, signed)
    syntax = getattr(dataset.file_meta, "TransferSyntaxUID", None)
    if syntax is None or not syntax.is_compressed or syntax == DeflatedExplicitVRLittleEndian:
        order = ">" if syntax == ExplicitVRBigEndian else "<"
        pixels = _from_bytes(name, dataset.get("PixelData"), np.dtype(f"{order}u{allocated // 8}"), shape)
        return _bits(name, pixels, stored, high, signed)
    return _bits(name, _decompressed(name, dataset, shape), stored, stored - 1, signed)


def grey_values(name: str, values: Values, stored: np.ndarray) -> np.ndarray:
    """(rows, columns) float32 grey values of one frame after rescaling; brighter is larger (MONOCHROME1 is turned round).

    Raises:
        RejectedError: unsupported_pixels, for a rescaling by zero or values that are not finite.
    """
    slope, intercept = number(values, _SLOPE), number(values, _INTERCEPT)
    slope, intercept = 1.0 if slope is None else slope, intercept or 0.0
    if slope == 0:
        raise RejectedError("unsupported_pixels", f"{name}: rescale slope 0")
    sign = -1.0 if text(values, _PHOTOMETRIC) == "MONOCHROME1" else 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        grey = stored.astype(np.float32)
        if (slope, intercept, sign) != (1.0, 0.0, 1.0):
            grey = grey * np.float32(slope * sign) + np.float32(intercept * sign)
    if not np.isfinite(grey).all():
        raise RejectedError("unsupported_pixels", f"{name}: grey values that are not finite")
    return grey


def _shape(name: str, values: Values) -> tuple[int, int, int]:
    shape = (integer(values, FRAMES) or 1, integer(values, ROWS) or 0, integer(values, _COLUMNS) or 0)
    said = f"{name}: {shape[0]} frames of {shape[1]} x {shape[2]}"
    if min(shape) <= 0:
        raise RejectedError("unsupported_pixels", said)
    if max(shape[1:]) > MAX_SIDE or shape[0] > MAX_FRAMES or shape[0] * shape[1] * shape[2] * 4 > MAX_PIXEL_BYTES:
        raise RejectedError("too_large", said)
    if (integer(values, _SAMPLES) or 1) != 1 or text(values, _PHOTOMETRIC) not in ("MONOCHROME1", "MONOCHROME2"):
        raise RejectedError("unsupported_pixels", f"{name}: not a grey picture")
    return shape


def _from_bytes(name: str, data: object, kind: np.dtype, shape: tuple[int, int, int]) -> np.ndarray:
    count = shape[0] * shape[1] * shape[2]
    if not isinstance(data, bytes) or len(data) < count * kind.itemsize:
        found = len(data) if isinstance(data, bytes) else 0
        raise RejectedError("unreadable_dicom", f"{name}: {found} bytes of pixels where {count * kind.itemsize} are needed")
    return np.frombuffer(data, kind, count).reshape(shape).astype(kind.newbyteorder("="), copy=False)


def _decompressed(name: str, dataset: Dataset, shape: tuple[int, int, int]) -> np.ndarray:
    with quiet():
        try:
            pixels = dataset.pixel_array
        except Exception as error:  # a decoder may raise anything at broken input
            raise RejectedError("unreadable_dicom", f"{name}: pixels cannot be decoded ({type(error).__name__})") from None
    if pixels.size != np.prod(shape) or pixels.dtype.kind not in "iu":
        raise RejectedError("unreadable_dicom", f"{name}: the decoded pixels are not {shape[0]} x {shape[1]} x {shape[2]}")
    return pixels.reshape(shape).view(f"u{pixels.dtype.itemsize}")


def _bits(name: str, pixels: np.ndarray, stored: int, high: int | None, signed: int) -> np.ndarray:
    """Cut unsigned words to the bits stored (their highest at bit `high`), with their sign."""
    width = pixels.dtype.itemsize * 8
    high = stored - 1 if high is None else high
    if not stored - 1 <= high < width:
        raise RejectedError("unsupported_pixels", f"{name}: {stored} bits below bit {high} of {width}")
    if stored == width:
        return pixels.view(f"i{width // 8}") if signed else pixels
    shifted = pixels << np.asarray(width - 1 - high, pixels.dtype)
    return (shifted.view(f"i{width // 8}") if signed else shifted) >> (width - stored)


@contextmanager
def quiet() -> Iterator[None]:
    """pydicom quotes values of the header in warnings and log lines; none of that may leave."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings(), config.disable_value_validation():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
