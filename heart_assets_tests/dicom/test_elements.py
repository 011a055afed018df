"""The walker reads what pydicom reads, or nothing; and never beyond the bytes it is given."""

import io
import struct

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from heart_assets.dicom.decoding import _values
from heart_assets.dicom.elements import PIXEL_DATA, SERIES_UID, WANTED, deflated_start, plain_elements
from heart_assets_tests.dicom.builder import beating, dataset, to_bytes

PICTURE = beating(1, 4, 5)[0]


def nested(depth: int, undefined: bool) -> Sequence:
    item = Dataset()
    item.ReferencedSOPInstanceUID = "1.2"
    if depth:
        item.ReferencedImageSequence = nested(depth - 1, undefined)
        item["ReferencedImageSequence"].is_undefined_length = undefined
    item.is_undefined_length_sequence_item = undefined
    return Sequence([item, Dataset()])


@pytest.mark.parametrize("undefined", [False, True])
def test_gives_the_same_values_as_pydicom_with_nested_sequences(undefined):
    file = dataset(PICTURE, RescaleSlope="1.5", CardiacNumberOfImages=50)
    file.ReferencedImageSequence = nested(3, undefined)
    file["ReferencedImageSequence"].is_undefined_length = undefined
    data = to_bytes(file)
    values, place = plain_elements(data)
    assert values == _values(pydicom.dcmread(io.BytesIO(data)))
    assert data[place] == PICTURE.tobytes()
    assert values.keys() <= WANTED


def test_stops_at_a_tag_and_tells_when_the_head_is_too_short():
    data = to_bytes(dataset(PICTURE))
    end = data.index(b"1.2.3.4.5.6") + 12
    values, place = plain_elements(data[: end + 12], stop=SERIES_UID)
    assert values[SERIES_UID] == "1.2.3.4.5.6" and data[place] == b"1.2.3.4.5.6\0"
    assert plain_elements(data[: end - 1], stop=SERIES_UID) is None


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_other_syntaxes_are_left_to_pydicom(syntax):
    assert plain_elements(to_bytes(dataset(PICTURE, syntax))) is None


def test_other_character_sets_are_left_to_pydicom():
    assert plain_elements(to_bytes(dataset(PICTURE, SpecificCharacterSet="ISO_IR 144"))) is None
    utf8 = to_bytes(dataset(PICTURE, SpecificCharacterSet="ISO_IR 192", StationName="Zürich"))
    assert plain_elements(utf8)[0][0x00081010] == "Zürich"


def test_every_cut_gives_the_values_so_far_or_none():
    file = dataset(PICTURE)
    file.ReferencedImageSequence = nested(1, True)
    file["ReferencedImageSequence"].is_undefined_length = True
    data = to_bytes(file)
    whole = plain_elements(data)[0]
    for length in range(len(data)):
        found = plain_elements(data[:length])
        assert found is None or found[0].items() <= whole.items()


@given(st.binary(max_size=400), st.integers(0, 600))
def test_any_bytes_are_survived(noise, place):
    data = to_bytes(dataset(PICTURE))
    plain_elements(data[:place] + noise + data[place + len(noise) :])
    plain_elements(b"\0" * 128 + b"DICM" + noise)
    deflated_start(noise)


def test_sequences_nested_too_deep_and_odd_items_are_left_to_pydicom():
    head = to_bytes(dataset(PICTURE))
    start = head.index(struct.pack("<HH", 0x0008, 0x0005))
    sequence = struct.pack("<HH2sHI", 8, 0x1140, b"SQ", 0, 0xFFFFFFFF)
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    assert plain_elements(head[:start] + (sequence + item) * 5000) is None
    assert plain_elements(head[:start] + sequence + struct.pack("<HHI", 8, 8, 0) + head[start:]) is None


def test_finds_the_deflated_part_only_where_there_is_one():
    file = to_bytes(dataset(PICTURE, DeflatedExplicitVRLittleEndian))
    assert 132 < deflated_start(file) < len(file)
    assert deflated_start(to_bytes(dataset(PICTURE, ExplicitVRLittleEndian))) is None
    assert deflated_start(file[:150]) is None


def test_numbers_of_odd_length_are_left_to_pydicom():
    data = to_bytes(dataset(PICTURE))
    rows = struct.pack("<HH2sH", 0x0028, 0x0010, b"US", 2)
    assert plain_elements(data.replace(rows + struct.pack("<H", 4), struct.pack("<HH2sH", 0x0028, 0x0010, b"US", 3) + b"\4\0\0")) is None
    assert PIXEL_DATA not in plain_elements(data)[0]
