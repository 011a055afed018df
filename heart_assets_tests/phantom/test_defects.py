"""Every planted defect is there, and its stated outcome is true."""

import json
import zipfile
from collections import Counter, defaultdict
from io import BytesIO

import pydicom
import pytest

from heart_assets.phantom.defects import DEFECTS, OF_VIEW, OF_ZIP, VIEWS, Defect, plan_defects


@pytest.fixture(scope="module")
def damaged(damaged_cohort):
    """Kind of defect -> (planted record, path of its zip)."""
    record = json.loads((damaged_cohort / "cohort.json").read_text())
    paths = {path.name.split("_")[0]: path for path in (damaged_cohort / "heart").glob("*/*.zip")}
    return {one["defect"]: (one, paths[one["study_id"].split("_")[0]]) for one in record["defects"]}


def series_of(path):
    """SeriesDescription -> list of (SeriesInstanceUID, header) of the readable frames, without their pixels."""
    found = defaultdict(list)
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(".dcm"):
                data = pydicom.dcmread(BytesIO(archive.read(name)), stop_before_pixels=True)
                found[data.SeriesDescription].append(data)
    return found


def manifest_of(path):
    with zipfile.ZipFile(path) as archive:
        (name,) = [name for name in archive.namelist() if name.startswith("manifest")]
        return archive.read(name).decode()


def label(view):
    return f"CINE_segmented_LAX_{view[0]}Ch"


def test_every_kind_is_planted_once(damaged):
    assert set(damaged) == set(DEFECTS)


def test_the_plan_has_the_stated_rate_and_every_kind_before_any_twice():
    plan = plan_defects(1000, 0.05, 7)
    assert len(plan) == 50
    counts = Counter(defect.kind for defect in plan.values())
    assert max(counts.values()) - min(counts.values()) <= 1 and set(counts) == set(DEFECTS)
    assert plan == plan_defects(1000, 0.05, 7) != plan_defects(1000, 0.05, 8)
    assert plan_defects(10, 0.0, 7) == {}


def test_a_rate_beyond_a_share_is_refused():
    with pytest.raises(ValueError, match=r"share between 0 and 1, not 1\.2"):
        plan_defects(10, 1.2, 7)


def test_outcomes_name_both_views():
    assert Defect("missing_view", "3ch").outcome() == {"3ch": "unusable", "4ch": "usable"}
    assert Defect("missing_frames", "4ch").outcome() == {"3ch": "usable", "4ch": "either"}
    assert Defect("truncated_zip").outcome() == {"3ch": "unusable", "4ch": "unusable"}
    assert Defect("mixed_series").outcome() == {"3ch": "either", "4ch": "either"}
    assert Defect("manifest_absent").outcome() == {"3ch": "usable", "4ch": "usable"}
    assert all(set(Defect(kind).outcome()) == set(VIEWS) for kind in DEFECTS)


@pytest.mark.parametrize("kind", [kind for kind in DEFECTS if kind not in (*OF_ZIP, "mixed_series")])
def test_the_views_that_the_defect_spares_are_complete(damaged, kind):
    record, path = damaged[kind]
    series = series_of(path) if kind != "truncated_frame" else None
    for view in VIEWS:
        if view == record["view"] and kind in OF_VIEW:
            continue
        if series is not None:
            assert sorted(data.InstanceNumber for data in series[label(view)]) == list(range(1, 51))


def test_a_repeated_series_is_first_broken_off_then_whole(damaged):
    record, path = damaged["repeated_series"]
    uids = defaultdict(list)
    for data in series_of(path)[label(record["view"])]:
        uids[data.SeriesInstanceUID].append(data)
    first, second = sorted(uids.values(), key=lambda files: files[0].SeriesNumber)
    assert 12 <= len(first) < 40 and len(second) == 50
    assert first[0].SeriesTime < second[0].SeriesTime
    assert first[0].CardiacNumberOfImages == 50


def test_a_missing_view_is_missing(damaged):
    record, path = damaged["missing_view"]
    assert label(record["view"]) not in series_of(path)


def test_missing_frames_are_missing(damaged):
    record, path = damaged["missing_frames"]
    frames = series_of(path)[label(record["view"])]
    assert len(frames) == 35 and frames[0].CardiacNumberOfImages == 50


def test_a_truncated_frame_is_cut_short(damaged):
    _, path = damaged["truncated_frame"]
    with zipfile.ZipFile(path) as archive:
        files = [archive.read(name) for name in archive.namelist() if name.endswith(".dcm")]
    (cut,) = [data for data in files if b"\xe0\x7f\x10\x00" not in data or len(data) < 0.7 * max(map(len, files))]
    with pytest.raises(Exception, match="pixel data|Pixel Data|EOF"):
        _ = pydicom.dcmread(BytesIO(cut)).pixel_array


def test_a_cine_of_fewer_frames_says_so(damaged):
    record, path = damaged["fewer_frames"]
    frames = series_of(path)[label(record["view"])]
    assert 20 <= len(frames) < 40 and frames[0].CardiacNumberOfImages == len(frames)


def test_missing_trigger_times_are_missing(damaged):
    record, path = damaged["missing_trigger_time"]
    assert all("TriggerTime" not in data for data in series_of(path)[label(record["view"])])


def test_a_mixed_series_holds_both_planes(damaged):
    _, path = damaged["mixed_series"]
    frames = series_of(path)["CINE_segmented_LAX"]
    assert sorted(data.InstanceNumber for data in frames) == list(range(1, 101))
    assert len({data.SeriesInstanceUID for data in frames}) == 1
    assert len({data.SOPInstanceUID for data in frames}) == 100
    assert len({tuple(data.ImageOrientationPatient) for data in frames}) == 2


def test_manifests_are_spoilt_as_known(damaged):
    columns = "filename,patientid,studyid,study description,date,seriesid,series discription,modality,aet,host"
    texts = {kind: manifest_of(damaged[kind][1]) for kind in DEFECTS if kind.startswith("manifest") and kind != "manifest_absent"}
    assert all(text.startswith(columns + "\n") for text in texts.values())
    width = {kind: [line.count(",") + 1 for line in text.splitlines()] for kind, text in texts.items()}
    assert set(width["manifest_comma_dates"]) == {10, 11}  # `Aug 30, 2015`, unquoted
    assert min(width["manifest_short_lines"]) == 4
    assert max(width["manifest_run_on_lines"]) >= 19
    assert not texts["manifest_no_final_newline"].endswith("\n")
    with zipfile.ZipFile(damaged["manifest_lists_absent_files"][1]) as archive:
        names = set(archive.namelist())
    listed = {line.split(",")[0] for line in texts["manifest_lists_absent_files"].splitlines()[1:]}
    assert len(listed - names) == 4
    with zipfile.ZipFile(damaged["manifest_absent"][1]) as archive:
        assert not [name for name in archive.namelist() if name.startswith("manifest")]


def test_stray_files_lie_beside_the_images(damaged):
    with zipfile.ZipFile(damaged["stray_files"][1]) as archive:
        assert {"Thumbs.db", "report.txt"} <= set(archive.namelist())


@pytest.mark.parametrize("kind", OF_ZIP)
def test_spoilt_zips_do_not_open(damaged, kind):
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(damaged[kind][1])
