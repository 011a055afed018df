"""Liver maps: the right series, in ms, cut to size; and their delivery."""

import numpy as np
import pytest

from heart_assets.dicom import clean_liver_delivery, clean_liver_study, list_studies
from heart_assets.settings import LiverSettings, RawSettings, StudySettings
from heart_assets.store import IMAGE_COLUMNS, ImageStore
from heart_assets_tests.dicom.builder import VIEWS, dataset, source, to_bytes, write_zip

LIVER = LiverSettings(size_px=32)
PICTURE = np.pad(np.arange(400, 400 + 30 * 20, dtype=np.uint16).reshape(20, 30), 2)


def files(**changes):
    elements = {"SeriesDescription": "ShMOLLI_192i_T1MAP", "NominalInterval": None, "TriggerTime": None}
    other = to_bytes(dataset(PICTURE, SeriesDescription="ShMOLLI_192i_FITPARAMMAP", SeriesInstanceUID="1.9"))
    return {"a.dcm": to_bytes(dataset(PICTURE, **(elements | changes))), "b.dcm": other}


def clean(folder, content):
    return clean_liver_study(source(write_zip(folder / "9000001_20204_2_0.zip", content)), LIVER)


def reason(result):
    assert not result.images
    (rejection,) = result.rejections
    assert rejection.view == "all"
    return rejection.reason


def test_the_map_is_in_ms_and_padded_or_cut_about_its_middle(tmp_path):
    image, row = clean(tmp_path, files(RescaleSlope="2", RescaleIntercept="5")).images["liver"]
    assert image.shape == (32, 32) and image.dtype == np.uint16
    np.testing.assert_array_equal(image[4:28], (PICTURE[:, 1:33] * 2 + 5))
    assert not image[:4].any() and not image[28:].any()
    assert row.keys() == IMAGE_COLUMNS.keys()
    assert row["t1_median_ms"] == np.median(image[image > 0]) and row["valid_fraction"] == (image > 0).mean()
    assert (row["study_id"], row["scan_date"], row["series_count"], row["flags"]) == ("9000001_2_0", "2015-08-30", 1, "")


def test_of_repeated_maps_the_last_readable_wins(tmp_path):
    later = to_bytes(dataset(PICTURE + 7, SeriesDescription="x_T1MAP", SeriesInstanceUID="1.8", AcquisitionTime="130000"))
    image, row = clean(tmp_path, files() | {"c.dcm": later}).images["liver"]
    assert image[4, 16] == PICTURE[0, 17] + 7 and row["series_count"] == 2 and row["flags"] == "several_series"
    image, _ = clean(tmp_path, files() | {"c.dcm": later[:-10]}).images["liver"]
    assert image[4, 16] == PICTURE[0, 17]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (files(SeriesDescription="T1MAP_INV"), "no_series"),
        (files(PixelSpacing=None), "inconsistent_geometry"),
        (files(PixelData=None), "unreadable_dicom"),
        ({"a.dcm": to_bytes(dataset(PICTURE * 0, SeriesDescription="T1MAP"))}, "no_contrast"),
        ({"a.dcm": files()["a.dcm"][:800], "b.dcm": files()["b.dcm"]}, "unreadable_dicom"),
        ({}, "empty"),
    ],
)
def test_what_is_no_map_has_a_reason(tmp_path, content, expected):
    assert reason(clean(tmp_path, content)) == expected


def test_a_delivery_of_maps(tmp_path):
    raw = tmp_path / "raw"
    write_zip(raw / "9000001_20204_2_0.zip", files())
    write_zip(raw / "9000002_20204_2_0.zip", files(SeriesDescription="other"))
    settings = StudySettings(name="t", data_dir=raw, raw=RawSettings(heart=raw, liver=raw), views=VIEWS, liver=LIVER)
    studies, rejections = list_studies(raw, "all", "ukb_zips", "20204", 2)
    first = clean_liver_delivery(studies, settings, tmp_path / "a", listing_rejections=rejections)
    assert {name: first.accounting[name] for name in ("found", "stored", "rejected")} == {"found": 2, "stored": 1, "rejected": 1}
    store = ImageStore([first.stores["liver"]])
    assert store.shape == (1, 32, 32) and store.attributes["unit"] == "ms"
    second = clean_liver_delivery(studies, settings, tmp_path / "b", previous=first.stores["liver"])
    assert second.accounting["unchanged"] == 1 and ImageStore([second.stores["liver"]]).digest == store.digest
