"""A synthetic cohort with every planted defect: what comes out is what its own record says."""

import json
from collections import Counter

import pytest

from heart_assets.dicom import clean_delivery, list_deliveries, list_studies
from heart_assets.phantom import generate_cohort
from heart_assets.settings import RawSettings, StudySettings
from heart_assets.store import VideoStore
from heart_assets_tests.dicom.builder import VIEWS


@pytest.mark.slow
def test_accounting_agrees_with_the_defects_that_were_planted(tmp_path):
    generate_cohort(tmp_path, 24, 7, "demo", 1.0)
    defects = {one["study_id"]: one for one in json.loads((tmp_path / "cohort.json").read_text())["defects"]}
    assert len(defects) == 24
    settings = StudySettings(name="test", data_dir=tmp_path, raw=RawSettings(heart=tmp_path / "heart"), views=VIEWS)
    wrong, found = Counter(), 0
    for delivery in list_deliveries(tmp_path / "heart", "ukb_zips"):
        studies, rejections = list_studies(tmp_path / "heart", delivery, "ukb_zips", "20208", 2)
        result = clean_delivery(studies, settings, tmp_path / "out" / delivery, listing_rejections=rejections)
        found += result.accounting["found"]
        for view, path in result.stores.items():
            stored = set(VideoStore([path]).columns["study_id"])
            for source in studies:
                expected = defects[source.study_id]["views"][view]
                if expected != "either" and (expected == "usable") != (source.study_id in stored):
                    wrong[defects[source.study_id]["defect"]] += 1
    assert found == 24 and not wrong
