"""Zips of every bad kind have their reason, and nothing is ever written."""

import os
import struct
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heart_assets.dicom import reading
from heart_assets.dicom.errors import RejectedError
from heart_assets.dicom.reading import open_study
from heart_assets_tests.dicom.builder import write_folder, write_zip


def read_all(path):
    with open_study(path) as members:
        return {member.name: member.read() for member in members}


def reason(path):
    with pytest.raises(RejectedError) as caught:
        read_all(path)
    return caught.value.reason


@pytest.fixture
def sound(tmp_path):
    return write_zip(tmp_path / "a.zip", {"b.dcm": b"b" * 5000, "a.dcm": b"a" * 300, "sub/c.dcm": b"c"})


def test_members_come_in_the_order_of_their_names(sound, tmp_path):
    assert list(read_all(sound)) == ["a.dcm", "b.dcm", "sub/c.dcm"]
    folder = write_folder(tmp_path / "f", {"b.dcm": b"b", "a/x.dcm": b"x", ".hidden": b"h", ".git/y.dcm": b"y"})
    assert read_all(folder) == {"a/x.dcm": b"x", "b.dcm": b"b"} or list(read_all(folder)) == ["b.dcm", "a/x.dcm"]


def test_the_head_of_a_member_is_its_first_bytes(sound):
    with open_study(sound) as members:
        assert [(member.head(3), member.size) for member in members] == [(b"aaa", 300), (b"bbb", 5000), (b"c", 1)]


@pytest.mark.parametrize(
    ("data", "expected"),
    [(b"", "empty"), (b"<html></html>", "not_a_zip"), (b"PK", "not_a_zip"), (b"PK\x03\x04" + b"x" * 99, "truncated_zip")],
)
def test_what_is_no_zip(tmp_path, data, expected):
    (tmp_path / "a.zip").write_bytes(data)
    assert reason(tmp_path / "a.zip") == expected


def test_every_cut_of_a_zip_is_told(sound):
    data = sound.read_bytes()
    for length in range(4, len(data), 7):
        sound.write_bytes(data[:length])
        assert reason(sound) in ("truncated_zip", "corrupt_zip")


def test_a_missing_file_and_empty_places(tmp_path):
    assert reason(tmp_path / "missing.zip") == "unreadable_file"
    (tmp_path / "folder").mkdir()
    assert reason(tmp_path / "folder") == "empty"
    assert reason(write_zip(tmp_path / "none.zip", {})) == "empty"


def patched(path, offset_in_entry, value):
    data = bytearray(path.read_bytes())
    for signature, shift in ((b"PK\x03\x04", 0), (b"PK\x01\x02", 2)):
        place = -1
        while (place := data.find(signature, place + 1)) >= 0:
            struct.pack_into("<H", data, place + offset_in_entry + shift, value)
    path.write_bytes(data)
    return path


def test_encrypted_and_unknown_methods(tmp_path, sound):
    again = write_zip(tmp_path / "b.zip", {"a.dcm": b"a"})
    assert reason(patched(sound, 6, 1)) == "encrypted_zip"
    assert reason(patched(again, 8, 99)) == "unsupported_zip"
    assert reason(write_zip(tmp_path / "c.zip", {"a.dcm": b"a" * 99}, zipfile.ZIP_LZMA)) == "unsupported_zip"


def test_a_wrong_checksum_is_told(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"a.dcm": b"a" * 300}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"aaaa", b"aaba", 1))
    assert reason(path) == "corrupt_zip"


def test_overlapping_members_are_told(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"a.dcm": b"a" * 300, "b.dcm": b"b" * 300}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    second = data.rindex(b"PK\x01\x02")
    data[second + 42 : second + 46] = struct.pack("<I", 0)  # the second entry points at the first member
    data[second + 46 : second + 51] = b"a.dcm"
    path.write_bytes(data)
    assert reason(path) in ("overlapping_zip", "corrupt_zip")


def test_bounds_on_members_and_sizes(tmp_path, sound, monkeypatch):
    monkeypatch.setattr(reading, "MAX_MEMBERS", 2)
    assert reason(sound) == "too_large"
    monkeypatch.setattr(reading, "MAX_MEMBERS", 3)
    monkeypatch.setattr(reading, "MAX_MEMBER_BYTES", 4999)
    assert reason(sound) == "too_large"
    monkeypatch.setattr(reading, "MAX_MEMBER_BYTES", 5000)
    monkeypatch.setattr(reading, "MAX_STUDY_BYTES", 5300)
    assert reason(sound) == "too_large"
    monkeypatch.setattr(reading, "MAX_STUDY_BYTES", 5301)
    assert len(read_all(sound)) == 3


def test_names_that_lead_elsewhere_do_no_harm(tmp_path):
    path = write_zip(tmp_path / "in" / "a.zip", {"../../evil.dcm": b"1", "/etc/evil": b"2", "..\\evil": b"3"})
    assert sorted(read_all(path).values()) == [b"1", b"2", b"3"]
    assert sorted(os.listdir(tmp_path)) == ["in"] and os.listdir(tmp_path / "in") == ["a.zip"]


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_flipped_bytes_of_a_zip_never_raise_anything_else(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("flip")
    path = write_zip(folder / "a.zip", {"a.dcm": b"abc" * 40, "b.dcm": bytes(range(256))})
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw)
    try:
        read_all(path)
    except RejectedError as error:
        assert error.reason
