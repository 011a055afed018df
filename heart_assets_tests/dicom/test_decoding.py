"""Bytes become the right grey values, whatever their format; broken ones become reasons."""

import io
import logging
import struct
import warnings

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from heart_assets.dicom import decoding, pixels
from heart_assets.dicom.decoding import decode, is_dicom, peek
from heart_assets.dicom.errors import RejectedError
from heart_assets_tests.dicom.builder import beating, cine, dataset, enhanced, to_bytes

PICTURE = beating(1)[0]
SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]


def grey(data: bytes) -> np.ndarray:
    (frame,) = decode("name.dcm", data)
    return frame.grey()


def reason(data: bytes) -> str:
    with pytest.raises(RejectedError) as caught:
        for frame in decode("name.dcm", data):
            frame.grey()
    assert caught.value.detail.startswith("name.dcm: ")
    return caught.value.reason


@settings(max_examples=60, deadline=None)
@given(
    syntax=st.sampled_from(SYNTAXES),
    allocated=st.sampled_from([8, 16, 32]),
    spare=st.integers(0, 6),
    raised=st.integers(0, 3),
    signed=st.booleans(),
    slope=st.sampled_from([None, 1.0, 0.25, -2.0]),
    intercept=st.sampled_from([None, 0.0, -1024.0, 7.5]),
    inverted=st.booleans(),
    size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    seed=st.integers(0, 1000),
)
def test_every_uncompressed_format_gives_the_grey_values(syntax, allocated, spare, raised, signed, slope, intercept, inverted, size, seed):
    stored = allocated - spare
    raised = min(raised, spare)
    rng = np.random.default_rng(seed)
    low, high = (-(1 << stored - 1), 1 << stored - 1) if signed else (0, 1 << stored)
    true = rng.integers(low, high, size)
    junk = rng.integers(0, 1 << allocated, size) & ~(((1 << stored) - 1) << raised)  # bits that are not the pixel's
    words = ((true & ((1 << stored) - 1)) << raised | junk).astype(f"u{allocated // 8}")
    changes = {"BitsStored": stored, "HighBit": stored - 1 + raised, "PixelRepresentation": int(signed)}
    if slope is not None:
        changes["RescaleSlope"] = str(slope)
    if intercept is not None:
        changes["RescaleIntercept"] = str(intercept)
    data = to_bytes(dataset(words, syntax, PhotometricInterpretation="MONOCHROME1" if inverted else "MONOCHROME2", **changes))
    expected = true * (slope or 1.0) + (intercept or 0.0)
    np.testing.assert_allclose(grey(data), -expected if inverted else expected, rtol=2e-7, atol=1e-3)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
@pytest.mark.parametrize("signed", [False, True])
def test_compressed_pixels_equal_the_uncompressed(syntax, signed):
    picture = PICTURE.astype(np.int16) - 500 if signed else PICTURE
    file = dataset(picture)
    file.compress(syntax, encoding_plugin="pydicom" if syntax == RLELossless else "pylibjpeg", generate_instance_uid=False)
    np.testing.assert_array_equal(grey(to_bytes(file)), picture.astype(np.float32))


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_float_pixels(kind):
    file = dataset(PICTURE, BitsAllocated=int(kind[1]) * 8)
    del file.PixelData
    values = (PICTURE / 7).astype(f"<{kind}")
    setattr(file, "FloatPixelData" if kind == "f4" else "DoubleFloatPixelData", values.tobytes())
    np.testing.assert_allclose(grey(to_bytes(file)), PICTURE / 7, rtol=1e-6)


def test_enhanced_multi_frame_file_gives_one_frame_per_frame():
    movie = beating()
    frames = decode("x", enhanced(movie))
    assert len(frames) == len(movie)
    for index, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.grey(), movie[index] * 2.0 - 10)
        assert frame.header.trigger_ms == pytest.approx((len(movie) - 1 - index) * 100.0)
        assert frame.header.rr_ms == 1000 and frame.header.spacing == (3.0, 3.0) and frame.header.instance == index + 1
        assert frame.header.position == (-90.0, 60.0, 70.0)


def test_enhanced_file_of_one_frame_is_read_from_its_groups():
    (frame,) = decode("x", enhanced(beating(1)))
    assert frame.header.spacing == (3.0, 3.0) and frame.header.orientation is not None


def test_classic_multi_frame_file_takes_times_from_frame_time():
    frames = decode("x", to_bytes(dataset(beating(4), NumberOfFrames=4, TriggerTime=None, FrameTime="25")))
    assert [frame.header.trigger_ms for frame in frames] == [0, 25, 50, 75]
    vector = to_bytes(dataset(beating(3), NumberOfFrames=3, TriggerTime=None, FrameTimeVector=["0", "30", "40"]))
    assert [frame.header.trigger_ms for frame in decode("x", vector)] == [0, 30, 70]


def test_file_without_preamble_is_read():
    data = to_bytes(dataset(PICTURE))[132:]
    assert is_dicom(data) and not is_dicom(b"<html>")
    np.testing.assert_array_equal(grey(data), PICTURE)


def test_peek_tells_series_from_the_head():
    data = to_bytes(dataset(PICTURE))
    assert peek(data[:4096]) == ("1.2.3.4.5.6", "CINE_segmented_LAX_4Ch")
    assert peek(data[:300]) is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "unsupported_pixels"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "unsupported_pixels"),
        ({"BitsAllocated": 12}, "unsupported_pixels"),
        ({"BitsStored": 17}, "unsupported_pixels"),
        ({"BitsStored": 12, "HighBit": 5}, "unsupported_pixels"),
        ({"PixelRepresentation": 7}, "unsupported_pixels"),
        ({"Rows": 0}, "unsupported_pixels"),
        ({"Rows": None}, "unreadable_dicom"),
        ({"RescaleSlope": "0"}, "unsupported_pixels"),
        ({"RescaleSlope": "1e38"}, "unsupported_pixels"),
        ({"Rows": 65535, "Columns": 65535}, "too_large"),
        ({"NumberOfFrames": 2**31 - 1}, "too_large"),
        ({"NumberOfFrames": 15000, "Rows": 4000, "Columns": 4000}, "too_large"),
        ({"Rows": 41}, "unreadable_dicom"),
        ({"PixelData": None}, "unreadable_dicom"),
        ({"PixelData": b""}, "unreadable_dicom"),
    ],
)
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_pixels_that_are_none_are_refused_with_a_reason(changes, expected, syntax):
    assert reason(to_bytes(dataset(PICTURE, syntax, **changes))) == expected


def test_broken_compressed_pixels_are_refused():
    file = dataset(PICTURE)
    file.compress(RLELossless, encoding_plugin="pydicom")
    data = to_bytes(file)
    assert reason(data[:-60]) == "unreadable_dicom"
    place = data.index(struct.pack("<HH", 0x0028, 0x0010)) + 8
    assert reason(data[:place] + struct.pack("<H", 80) + data[place + 2 :]) == "unreadable_dicom"


def test_every_cut_of_a_file_is_refused_or_read_whole():
    data = to_bytes(dataset(PICTURE[:6, :6]))
    for length in range(1, len(data), 3):
        assert reason(data[:length]) in ("unreadable_dicom", "unsupported_pixels")  # before or after the pixels begin


def test_a_deflate_bomb_is_refused(monkeypatch):
    monkeypatch.setattr(decoding, "MAX_INFLATED_BYTES", 20_000)
    bomb = to_bytes(dataset(np.zeros((200, 200), np.uint16), DeflatedExplicitVRLittleEndian))
    assert len(bomb) < 2000 and reason(bomb) == "too_large"


def test_odd_values_are_absent_values_and_quote_nothing(caplog):
    file = dataset(PICTURE, InstanceNumber=None)
    data = to_bytes(file)
    trigger = struct.pack("<HH2sH", 0x0018, 0x1060, b"DS", 2) + b"0 "
    caplog.set_level(logging.DEBUG)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for text in (b"abc ", b"nan ", b"1e999 ", b"1\\2 ", b""):
            changed = data.replace(trigger, trigger[:6] + struct.pack("<H", len(text)) + text)
            (plain,) = decode("x", changed)
            assert plain.header.trigger_ms is None
            implicit = pydicom.dcmread(io.BytesIO(data))
            del implicit.TriggerTime
            (other,) = decode("x", to_bytes(dataset(PICTURE, ImplicitVRLittleEndian, TriggerTime=None)))
            assert other.header.trigger_ms is None
    assert "abc" not in caplog.text


@pytest.mark.parametrize(("text", "expected"), [("7", 7), ("1.5", None), ("0", 0), ("-1", -1), ("1e20", None), ("", None), ("two", None)])
def test_instance_numbers(text, expected):
    marker = to_bytes(dataset(PICTURE, InstanceNumber="77"))
    old = struct.pack("<HH2sH", 0x0020, 0x0013, b"IS", 2) + b"77"
    padded = text.encode() + b" " * (len(text) % 2)
    (frame,) = decode("x", marker.replace(old, old[:6] + struct.pack("<H", len(padded)) + padded))
    assert frame.header.instance == expected


def test_both_readers_agree_on_a_whole_cine():
    for data in cine().values():
        file = pydicom.dcmread(io.BytesIO(data))
        file.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        (plain,), (other,) = decode("x", data), decode("x", to_bytes(file))
        assert plain.header == other.header
        np.testing.assert_array_equal(plain.grey(), other.grey())
    assert pixels.MAX_FRAMES > 1000
