"""DICOM files, judged by pydicom and by a second reader."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pydicom
import pytest
from pydicom.uid import UID, JPEG2000Lossless, RLELossless

from heart_assets.phantom.defects import SOUND
from heart_assets.phantom.dicom_files import make_uid, series_files
from heart_assets.phantom.people import draw_people
from heart_assets.phantom.planes import scan_plane
from heart_assets.phantom.studies import cine, heart_study, plan_acquisitions, series_header


@pytest.fixture(scope="module")
def person():
    return draw_people(1, 11, "demo")[0]


@pytest.fixture(scope="module")
def header(person):
    return series_header(person, "heart", 12, scan_plane(person, "3ch", 40, 34, 9.0), "CINE_segmented_LAX_3Ch", 5)


@pytest.fixture(scope="module")
def pixels(header):
    shape = (5, header.plane.rows, header.plane.columns)
    return np.random.default_rng(0).integers(0, 4096, shape).astype(np.uint16)


def read(file):
    return pydicom.dcmread(BytesIO(file.data))


def test_uids_are_valid_of_one_length_and_depend_on_their_parts():
    uids = {make_uid("a", number) for number in range(500)}
    assert len(uids) == 500 and {len(uid) for uid in uids} == {43}
    assert all(UID(uid).is_valid for uid in uids)
    assert make_uid("a", 1) == make_uid("a", 1) != make_uid("b", 1)


@pytest.mark.parametrize("compression", ["none", "rle", "jpeg2000"])
def test_pydicom_reads_every_frame_and_every_tag(person, header, pixels, compression):
    header = replace(header, compression=compression)
    files = series_files(header, pixels, first_instance=50)
    assert len(files) == 5
    for index, (file, frame) in enumerate(zip(files, pixels, strict=True)):
        data = read(file)
        assert np.array_equal(data.pixel_array, frame)
        assert file.name == f"{data.SOPInstanceUID}.dcm" and data.SOPInstanceUID == data.file_meta.MediaStorageSOPInstanceUID
        assert data.SOPClassUID.name == "MR Image Storage"
        assert data.InstanceNumber == 51 + index
        assert data.TriggerTime == pytest.approx(index * person.scan.rr_ms / 5, abs=0.006)
        assert data.NominalInterval == round(person.scan.rr_ms) and data.CardiacNumberOfImages == 5
        assert (data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation) == (16, 12, 11, 0)
        assert data.ImagePositionPatient == pytest.approx(header.plane.position, abs=1e-4)
        assert data.ImageOrientationPatient == pytest.approx([*header.plane.row, *header.plane.column], abs=1e-8)
        assert data.PixelSpacing == [9.0, 9.0] and data.SliceThickness == 6
        assert data.SeriesDescription == "CINE_segmented_LAX_3Ch" and data.SeriesInstanceUID == header.uid
        assert data.PatientID == person.eid and data.PatientSex == "FM"[person.male] and data.PatientAge == f"{int(person.age):03d}Y"
        assert data.StudyDate == person.visit_date.strftime("%Y%m%d")
        assert data.Manufacturer and data.StationName and data.SoftwareVersions
    assert len({read(file).SOPInstanceUID for file in files}) == 5


def test_transfer_syntaxes_are_what_they_say(header, pixels):
    for compression, syntax in (("rle", RLELossless), ("jpeg2000", JPEG2000Lossless)):
        (file, *_) = series_files(replace(header, compression=compression), pixels)
        assert read(file).file_meta.TransferSyntaxUID == syntax


def test_every_element_is_what_the_standard_allows(header, pixels, monkeypatch):
    monkeypatch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.RAISE)
    data = read(series_files(header, pixels)[0])
    assert len(list(data.iterall())) > 45


@pytest.mark.parametrize("compression", ["none", "rle", "jpeg2000"])
def test_a_second_reader_agrees(tmp_path, header, pixels, compression):
    sitk = pytest.importorskip("SimpleITK", reason="the second DICOM reader is not installed")
    file = series_files(replace(header, compression=compression), pixels)[2]
    path = tmp_path / file.name
    path.write_bytes(file.data)
    image = sitk.ReadImage(str(path))
    assert np.array_equal(sitk.GetArrayFromImage(image)[0], pixels[2])
    assert image.GetSpacing()[:2] == (9.0, 9.0)
    assert image.GetOrigin() == pytest.approx(header.plane.position, abs=1e-4)
    assert np.reshape(image.GetDirection(), (3, 3))[:, :2].T.ravel() == pytest.approx([*header.plane.row, *header.plane.column], abs=1e-5)
    assert float(image.GetMetaData("0018|1060")) == pytest.approx(2 * header.rr_ms / 5, abs=0.006)


def test_without_trigger_times_there_is_no_such_element(header, pixels):
    data = read(series_files(replace(header, trigger_times=False), pixels)[3])
    assert "TriggerTime" not in data and data.InstanceNumber == 4


def test_a_study_has_both_views_and_at_times_more(person):
    planned = [plan_acquisitions(SOUND, np.random.default_rng(seed)) for seed in range(400)]
    views = [tuple(one.view for one in acquisitions) for acquisitions in planned]
    assert set(views) == {("3ch", "4ch"), ("2ch", "3ch", "4ch")}
    assert 0.01 < np.mean([len(v) == 3 for v in views]) < 0.08
    compressed = [acquisitions[0].compression for acquisitions in planned]
    assert set(compressed) == {"none", "rle", "jpeg2000"} and 0.005 < np.mean(np.array(compressed) != "none") < 0.06


def test_series_are_in_order_and_one_study_in_ten_has_inline_function(person):
    studies = [heart_study(person, "demo", SOUND, np.random.default_rng(seed)) for seed in range(12)]
    descriptions = [[series.header.description for series in study] for study in studies]
    assert all([series.header.number for series in study] == sorted({series.header.number for series in study}) for study in studies)
    assert sum("CINE_segmented_LAX_4Ch_InlineVF" in names for names in descriptions) in range(1, 5)
    assert all({"CINE_segmented_LAX_3Ch", "CINE_segmented_LAX_4Ch"} <= set(names) for names in descriptions)


def test_the_two_chamber_view_is_acquired_like_the_others(person):
    acquisition = replace(plan_acquisitions(SOUND, np.random.default_rng(0))[0], view="2ch", description="CINE_segmented_LAX_2Ch")
    series = cine(person, "demo", acquisition)
    assert len(series.files) == 50 and read(series.files[0]).SeriesDescription == "CINE_segmented_LAX_2Ch"
