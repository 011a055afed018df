"""Deliveries and studies of every layout, by names alone."""

import os

import pytest

from heart_assets.dicom import RawDataError, list_deliveries, list_studies, listing_digest
from heart_assets_tests.dicom.builder import write_folder


def test_zips_flat_and_in_sub_folders(tmp_path):
    files = dict.fromkeys(
        [
            "9000001_20208_2_0.zip",
            "notes.txt",
            "91/9100002_20208_3_1.zip",
            "91/9100001_20208_2_0.zip",
            "92/x.txt",
            ".cache/9_20208_2_0.zip",
        ],
        b"z",
    )
    write_folder(tmp_path, files)
    assert list_deliveries(tmp_path, "ukb_zips") == ["91", "all"]
    studies, rejections = list_studies(tmp_path, "91", "ukb_zips", "20208", 2)
    assert [(one.name, one.study_id, one.participant_id, one.visit, one.size) for one in studies] == [
        ("9100001_20208_2_0.zip", "9100001_2_0", "9100001", 2, 1),
        ("9100002_20208_3_1.zip", "9100002_3_1", "9100002", 3, 1),
    ]
    assert rejections == []
    studies, rejections = list_studies(tmp_path, "all", "ukb_zips", "20208", 2)
    assert [one.study_id for one in studies] == ["9000001_2_0"]
    assert [(one.file_name, one.view, one.reason) for one in rejections] == [("notes.txt", "all", "not_a_study")]


def test_zips_of_another_field_and_second_copies_are_rejected(tmp_path):
    write_folder(tmp_path, dict.fromkeys(["9000001_20204_2_0.zip", "9000001_20208_2_0.zip", "9000001_20208_02_0.zip"], b"z"))
    studies, rejections = list_studies(tmp_path, "all", "ukb_zips", "20208", 2)
    assert [one.name for one in studies] == ["9000001_20208_02_0.zip"]
    assert {one.file_name: one.reason for one in rejections} == {
        "9000001_20204_2_0.zip": "not_a_study",
        "9000001_20208_2_0.zip": "duplicate_study_id",
    }


def test_dicom_folders(tmp_path):
    write_folder(tmp_path, {"anna/Se1/a.dcm": b"12", "anna/Se2/b.dcm": b"345", "bob_3/x.dcm": b"1", "bob/x.dcm": b"1", "README.md": b"r"})
    assert list_deliveries(tmp_path, "dicom_folders") == ["all"]
    studies, rejections = list_studies(tmp_path, "all", "dicom_folders", "20208", 2)
    assert [(one.study_id, one.participant_id, one.visit, one.size) for one in studies] == [
        ("anna_2_0", "anna", 2, 5),
        ("bob_2_0", "bob", 2, 1),
        ("bob_3_0", "bob", 3, 1),
    ]
    assert [one.reason for one in rejections] == ["not_a_study"]
    os.utime(tmp_path / "anna" / "Se2" / "b.dcm", ns=(1, 3_000_000_000_000_000_000))
    assert list_studies(tmp_path, "all", "dicom_folders", "", 2)[0][0].mtime_ns == 3_000_000_000_000_000_000


def test_dicom_folders_by_delivery(tmp_path):
    write_folder(tmp_path, {"north/anna/a.dcm": b"1", "south/bob_3/b.dcm": b"1", "south/bob_03/b.dcm": b"1", "empty/none/.hidden": b""})
    assert list_deliveries(tmp_path, "dicom_folders_by_delivery") == ["north", "south"]
    studies, rejections = list_studies(tmp_path, "south", "dicom_folders_by_delivery", "", 2)
    assert [one.study_id for one in studies] == ["bob_3_0"] and [one.reason for one in rejections] == ["duplicate_study_id"]


@pytest.mark.parametrize("layout", ["ukb_zips", "dicom_folders", "dicom_folders_by_delivery"])
def test_folders_that_hold_nothing_are_refused_in_one_sentence(tmp_path, layout):
    with pytest.raises(RawDataError, match="does not exist"):
        list_deliveries(tmp_path / "none", layout)
    with pytest.raises(RawDataError, match="holds no study"):
        list_deliveries(tmp_path, layout)
    write_folder(tmp_path, {"readme.txt": b"x"})
    with pytest.raises(RawDataError, match="holds no study"):
        list_deliveries(tmp_path, layout)


def test_a_vanished_delivery_and_a_folder_called_all_are_refused(tmp_path):
    write_folder(tmp_path, {"all/9000001_20208_2_0.zip": b"z"})
    with pytest.raises(RawDataError, match="rename it"):
        list_deliveries(tmp_path, "ukb_zips")
    with pytest.raises(RawDataError, match="no longer"):
        list_studies(tmp_path, "93", "ukb_zips", "20208", 2)


def test_the_listing_digest_follows_names_sizes_and_times(tmp_path):
    write_folder(tmp_path, {"9000001_20208_2_0.zip": b"z", "p/x.dcm": b"1"})
    os.symlink("nowhere", tmp_path / "broken")
    for layout in ("ukb_zips", "dicom_folders"):
        first = listing_digest(tmp_path, "all", layout)
        assert listing_digest(tmp_path, "all", layout) == first and len(first) == 16
    first = listing_digest(tmp_path, "all", "ukb_zips")
    os.utime(tmp_path / "9000001_20208_2_0.zip", ns=(1, 1))
    second = listing_digest(tmp_path, "all", "ukb_zips")
    (tmp_path / "9000002_20208_2_0.zip").write_bytes(b"")
    assert len({first, second, listing_digest(tmp_path, "all", "ukb_zips")}) == 3
    folders = listing_digest(tmp_path, "all", "dicom_folders")
    (tmp_path / "p" / "y.dcm").write_bytes(b"2")
    assert listing_digest(tmp_path, "all", "dicom_folders") != folders
