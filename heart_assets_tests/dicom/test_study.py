"""One study, sound or broken in any way: a video or a rejection with its reason for every view."""

import logging
import struct

import numpy as np
import pytest
from pydicom.uid import RLELossless

from heart_assets.dicom import clean_study
from heart_assets.dicom import study as study_module
from heart_assets.settings import SeriesSettings
from heart_assets.store import VIDEO_COLUMNS
from heart_assets_tests.dicom.builder import (
    FOUR,
    FRAMES,
    GEOMETRY,
    OUTFLOW,
    SERIES,
    THREE,
    TWO,
    VIEWS,
    beating,
    cine,
    dataset,
    enhanced,
    source,
    study,
    to_bytes,
    write_folder,
    write_zip,
)

NAME = "9000001_20208_2_0.zip"


def clean(folder, files, series=SERIES, geometry=GEOMETRY):
    return clean_study(source(write_zip(folder / NAME, files)), VIEWS, series, geometry)


def reasons(result):
    assert all(rejection.file_name == NAME for rejection in result.rejections)
    whole = {rejection.reason for rejection in result.rejections if rejection.view == "all"}
    assert whole or {*result.videos, *(rejection.view for rejection in result.rejections)} == set(VIEWS)
    return whole.pop() if whole else {rejection.view: rejection.reason for rejection in result.rejections}


def flags(result, view):
    return [flag for flag in result.videos[view].row["flags"].split(",") if flag]


def test_a_sound_study_gives_both_views_with_every_column(tmp_path):
    result = clean(tmp_path, study())
    assert reasons(result) == {}
    for view in VIEWS:
        video, row = result.videos[view].video, result.videos[view].row
        assert video.shape == (FRAMES, 32, 32) and video.dtype == np.uint8
        assert row.keys() == VIDEO_COLUMNS.keys()
        assert (row["study_id"], row["participant_id"], row["visit"]) == ("9000001_2_0", "9000001", 2)
        assert (row["rr_ms"], row["frame_interval_ms"], row["frames_found"]) == (1000.0, 100.0, FRAMES)
        assert (row["scan_date"], row["software"], row["station"]) == ("2015-08-30", "soft 1", "STATION7")
        assert (row["spacing_row_mm"], row["spacing_col_mm"], row["source_name"], row["series_count"]) == (3.0, 3.0, NAME, 1)
        assert row["flags"] == "" and len(row["video_digest"]) == 16
    np.testing.assert_allclose(result.videos["3ch"].row["orientation"], THREE, atol=1e-3)


def test_frames_are_in_time_order_whatever_their_names(tmp_path):
    video = clean(tmp_path, study()).videos["4ch"].video
    bright = (video > 128).sum(axis=(1, 2))
    assert bright.argmax() == 0 and abs(int(bright.argmin()) - FRAMES // 2) <= 1
    assert (np.diff(bright[: FRAMES // 2]) <= 0).all()


def test_folder_zip_and_multi_frame_file_give_the_same_video(tmp_path):
    movie = beating()
    zipped = clean(tmp_path, cine(pixels=movie, RescaleSlope="2", RescaleIntercept="-10")).videos["4ch"]
    folder = write_folder(tmp_path / "f", {f"deep/{name}": data for name, data in cine(pixels=movie).items()} | {"README": b"hello"})
    from_folder = clean_study(source(folder), VIEWS, SERIES, GEOMETRY).videos["4ch"]
    multi = write_folder(tmp_path / "m", {"one": enhanced(movie[::-1])})
    from_multi = clean_study(source(multi), VIEWS, SERIES, GEOMETRY).videos["4ch"]
    np.testing.assert_array_equal(zipped.video, from_multi.video)
    assert np.abs(zipped.video.astype(int) - from_folder.video).max() <= 1
    assert from_multi.row["rr_ms"] == 1000 and from_multi.row["frame_interval_ms"] == 100


@pytest.mark.parametrize("name", ["manifest.csv", "manifest.cvs"])
def test_the_header_decides_over_the_manifest(tmp_path, name):
    files = study()
    lying = "filename,seriesid,series discription\n" + "".join(f"{file},1.2.3.4.5.6,InlineVF\n" for file in [*files, "gone.dcm"])
    assert reasons(clean(tmp_path, files | {name: lying.encode()})) == {}


def test_absent_files_are_known_from_the_manifest_when_headers_do_not_tell(tmp_path):
    files = study(CardiacNumberOfImages=None)
    assert reasons(clean(tmp_path, files)) == {}
    listing = "".join(f"{file},9000001,1.9.9.9.9,d,Aug 30, 2015,1.2.3.4.5.6,x\n" for file in ["gone1.dcm", "gone2.dcm"])
    result = clean(tmp_path, files | {"manifest.csv": listing.encode()})
    assert reasons(result) == {"4ch": "incomplete_series"}
    assert "2 files absent" in result.rejections[0].detail


def test_a_missing_view_leaves_the_other(tmp_path):
    assert reasons(clean(tmp_path, cine())) == {"3ch": "no_series"}


@pytest.mark.parametrize(
    ("orientation", "description"),
    [
        (THREE, "cine_trufi_sax"),
        (FOUR, "short axis"),
        (OUTFLOW, "cine RVOT"),
        (THREE, "RVOT"),
        (FOUR, "CINE_LAX_4Ch_InlineVF"),
        (TWO, "LAX_2Ch"),
    ],
)
def test_geometry_alone_never_makes_a_view(tmp_path, orientation, description):
    result = clean(tmp_path, cine("1.7", description, orientation))
    assert reasons(result) == {"3ch": "no_series", "4ch": "no_series"}


def test_inline_series_are_skipped_even_when_they_end_like_a_view(tmp_path):
    result = clean(tmp_path, study() | cine("1.9", "InlineVF_LAX_4Ch", SeriesNumber=99))
    assert reasons(result) == {} and result.videos["4ch"].row["series_count"] == 1


def other_picture():
    return beating(row=24.0)


def test_the_last_complete_one_of_a_repeated_series_wins_and_is_counted(tmp_path):
    only = clean(tmp_path, cine(pixels=other_picture())).videos["4ch"].video
    later = cine("1.9", pixels=other_picture(), AcquisitionTime="113000", SeriesNumber=1)
    result = clean(tmp_path, study() | later)
    np.testing.assert_array_equal(result.videos["4ch"].video, only)
    assert result.videos["4ch"].row["series_count"] == 2 and flags(result, "4ch") == ["several_series"]
    broken_off = dict(list(later.items())[:6])
    result = clean(tmp_path, study() | broken_off)
    assert flags(result, "4ch") == ["several_series", "last_incomplete"]
    np.testing.assert_array_equal(result.videos["4ch"].video, clean(tmp_path, study()).videos["4ch"].video)


def test_without_times_the_series_number_tells_the_order(tmp_path):
    blank = {"AcquisitionTime": None, "SeriesTime": None}
    files = cine(**blank) | cine("1.1", pixels=other_picture(), SeriesNumber=7, **blank)
    expected = clean(tmp_path, cine(pixels=other_picture())).videos["4ch"].video
    np.testing.assert_array_equal(clean(tmp_path, files).videos["4ch"].video, expected)


def test_a_mislabelled_series_is_flagged_and_a_fitting_one_preferred(tmp_path):
    wrong = cine("1.9", "CINE_segmented_LAX_4Ch", THREE, SeriesNumber=9, AcquisitionTime="235900")
    alone = clean(tmp_path, wrong)
    assert flags(alone, "4ch") == ["probably_mislabelled"]
    assert reasons(alone) == {"3ch": "no_series"}
    assert "1.9" in alone.rejections[0].detail and "series.overrides" in alone.rejections[0].detail
    both = clean(tmp_path, wrong | cine())
    assert flags(both, "4ch") == ["other_series_mislabelled", "several_series"]
    np.testing.assert_allclose(both.videos["4ch"].row["orientation"], FOUR, atol=1e-3)
    assert "1.9" in both.rejections[0].detail


def test_overrides_decide_over_everything(tmp_path):
    files = study() | cine("1.9", "InlineVF_sax", THREE)
    result = clean(tmp_path, files, SeriesSettings(overrides={"1.9": "3ch", "1.2.3.4.5.6": "none"}))
    assert flags(result, "3ch") == ["override", "several_series"] and reasons(result) == {"4ch": "no_series"}
    assert result.videos["3ch"].row["series_count"] == 2


def test_a_mixed_series_is_split_by_its_planes(tmp_path):
    uid = "1.2.3.4.5.6"

    def shifted(number):
        def edit(index, elements):
            elements.update(InstanceNumber=number * FRAMES + index + 1, SOPInstanceUID=f"{uid}.{number}.{index}")

        return edit

    files = {}
    for number, orientation in enumerate([TWO, FOUR, THREE]):
        part = cine(uid, "CINE_segmented_LAX", orientation, edit=shifted(number))
        files |= {f"{number}_{name}": data for name, data in part.items()}
    result = clean(tmp_path, files)
    assert reasons(result) == {}
    for view, orientation in (("3ch", THREE), ("4ch", FOUR)):
        assert flags(result, view) == ["mixed_series"]
        np.testing.assert_allclose(result.videos[view].row["orientation"], orientation, atol=1e-3)
    two_only = clean(tmp_path, cine(uid, "CINE_segmented_LAX", TWO))
    assert reasons(two_only) == {"3ch": "no_series", "4ch": "no_series"}


def test_missing_frames_and_duplicates(tmp_path):
    names = list(cine())
    missing = {name: data for name, data in study().items() if name != names[4]}
    assert reasons(clean(tmp_path, missing)) == {"4ch": "incomplete_series"}
    doubled = study() | {"copy.dcm": cine()[names[4]]}
    assert flags(clean(tmp_path, doubled), "4ch") == ["duplicate_frames"]


def test_missing_trigger_times_are_flagged_and_change_nothing_else(tmp_path):
    result = clean(tmp_path, study(TriggerTime=None))
    assert flags(result, "4ch") == ["order_by_instance", "interval_from_rr"]
    np.testing.assert_array_equal(result.videos["4ch"].video, clean(tmp_path, study()).videos["4ch"].video)


def test_fewer_frames_are_resampled(tmp_path):
    geometry = GEOMETRY.model_copy(update={"frames": 20})
    assert flags(clean(tmp_path, study(), geometry=geometry), "4ch") == ["time_circular"]
    partial = clean(tmp_path, study(NominalInterval=1200), geometry=geometry)
    assert flags(partial, "4ch") == ["time_linear"] and partial.videos["4ch"].video.shape[0] == 20


def edited(change):
    """Both views, with one frame of 4ch changed."""

    def edit(index, elements):
        if index == 3 and elements["SeriesDescription"].endswith("4Ch"):
            elements.update(change)

    return study(edit=edit)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ImageOrientationPatient": list(TWO)}, "inconsistent_geometry"),
        ({"ImagePositionPatient": [-90.0, 60.0, 75.0]}, "inconsistent_geometry"),
        ({"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]}, "inconsistent_geometry"),
        ({"PixelSpacing": [3.0, 2.9]}, "inconsistent_geometry"),
        ({"Rows": 39}, "inconsistent_geometry"),
        ({"PixelData": None}, "unreadable_dicom"),
        ({"SamplesPerPixel": 3}, "unsupported_pixels"),
        ({"Rows": 5000}, "inconsistent_geometry"),
    ],
)
def test_one_bad_frame_costs_one_view(tmp_path, change, reason):
    assert reasons(clean(tmp_path, edited(change))) == {"4ch": reason}


def test_a_cut_frame_costs_one_view(tmp_path):
    files = study()
    name = next(iter(cine()))
    for length in (3000, 700):
        result = clean(tmp_path, files | {name: files[name][:length]})
        assert reasons(result) == {"4ch": "unreadable_dicom"} and name in result.rejections[0].detail
    result = clean(tmp_path, files | {name: files[name][:200]})
    assert reasons(result) == {"4ch": "incomplete_series"} and name in result.rejections[0].detail
    assert reasons(clean(tmp_path, files | {name: b"<html>"})) == {"4ch": "incomplete_series"}


def test_a_wrong_checksum_of_one_member_costs_one_view(tmp_path):
    path = write_zip(tmp_path / NAME, study(), 0)
    data = path.read_bytes()
    place = data.index(struct.pack("<HH", 0x7FE0, 0x0010)) + 500
    path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    result = clean_study(source(path), VIEWS, SERIES, GEOMETRY)
    assert list(reasons(result).values()) == ["corrupt_zip"] and len(result.videos) == 1


def test_compressed_files_give_the_same_video(tmp_path):
    files = {}
    for index, picture in enumerate(beating()):
        file = dataset(picture, InstanceNumber=index + 1, TriggerTime=str(index * 100), CardiacNumberOfImages=FRAMES)
        file.compress(RLELossless, encoding_plugin="pydicom")
        files[f"{index}.dcm"] = to_bytes(file)
    video = clean(tmp_path, files).videos["4ch"].video
    np.testing.assert_array_equal(video, clean(tmp_path, cine()).videos["4ch"].video)
    files["3.dcm"] = files["3.dcm"][:-200]
    assert reasons(clean(tmp_path, files))["4ch"] == "unreadable_dicom"


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"readme.txt": b"no images"}, "empty"),
        ({"a.dcm": b"no image"}, "unreadable_dicom"),
        ({"a.dcm": b"\0" * 128 + b"DICM"}, "unreadable_dicom"),
        ({"a.dcm": b"\0" * 128 + b"DICM" + b"\xff" * 60}, "unreadable_dicom"),
    ],
)
def test_zips_without_a_readable_dicom_are_rejected_whole(tmp_path, files, reason):
    assert reasons(clean(tmp_path, files)) == reason


def test_no_usable_plane_anywhere_rejects_the_whole(tmp_path):
    assert reasons(clean(tmp_path, study(ImageOrientationPatient=[1, 0, 0, 1, 0, 0]))) == "inconsistent_geometry"


def test_a_flat_picture_has_no_contrast(tmp_path):
    flat = np.full((FRAMES, 40, 48), 500, np.uint16)
    assert reasons(clean(tmp_path, cine(pixels=flat)))["4ch"] == "no_contrast"


def test_a_cine_beyond_the_bound_is_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(study_module, "MAX_CINE_PIXELS", 40 * 48 * FRAMES - 1)
    assert reasons(clean(tmp_path, study())) == {"3ch": "too_large", "4ch": "too_large"}


def test_files_beyond_what_memory_holds_are_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(study_module, "MAX_WANTED_BYTES", 50_000)
    assert reasons(clean(tmp_path, study())) == "too_large"


def test_a_broken_manifest_is_no_manifest(tmp_path):
    path = write_zip(tmp_path / NAME, study() | {"manifest.csv": b"filename,seriesid\n" * 9}, 0)
    path.write_bytes(path.read_bytes().replace(b"filename", b"filenema", 1))
    assert reasons(clean_study(source(path), VIEWS, SERIES, GEOMETRY)) == {}


def test_a_fault_of_the_program_becomes_a_rejection_and_a_log_line_without_ids(tmp_path, monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError(f"cannot do {NAME}")

    monkeypatch.setattr(study_module, "split_planes", broken)
    caplog.set_level(logging.ERROR)
    result = clean(tmp_path, study())
    assert reasons(result) == "internal_error"
    assert result.rejections[0].detail.startswith("RuntimeError at test_study.py:")
    assert "RuntimeError" in caplog.text and "9000001" not in caplog.text


def test_the_same_file_gives_the_same_bytes(tmp_path):
    first, second = clean(tmp_path, study()), clean(tmp_path, dict(reversed(study().items())))
    for view in VIEWS:
        assert first.videos[view].row["video_digest"] == second.videos[view].row["video_digest"]
