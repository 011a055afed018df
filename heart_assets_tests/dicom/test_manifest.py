"""Every defect that manifests are known for, and what is still learnt from them."""

import pytest

from heart_assets.dicom.manifest import absent_by_series, is_manifest

UID, OTHER = "1.2.840.113.4.1", "1.2.840.113.4.2"
HEADER = "filename,patientid,studyid,study description,date,seriesid,series discription,aet,host\n"


def line(name: str, uid: str = UID, date: str = "2015-08-30") -> str:
    return f"{name},9000001,1.2.840.113.9,Heart,{date},{uid},CINE_segmented_LAX_4Ch,AET,host\n"


@pytest.mark.parametrize(
    "text",
    [
        HEADER + line("a.dcm") + line("b.dcm") + line("c.dcm"),
        HEADER + line("a.dcm", date="Aug 30, 2015") + line("b.dcm", date="Aug 30, 2015") + line("c.dcm", date="Aug 30, 2015"),
        HEADER + line("a.dcm") + line("b.dcm") + line("c.dcm").rstrip("\n"),
        HEADER + line("a.dcm").rstrip("\n") + line("b.dcm") + line("c.dcm"),
        HEADER + line("a.dcm") + "d.dcm,9000001\n" + line("b.dcm") + line("c.dcm"),
        (HEADER + line("a.dcm") + line("b.dcm") + line("c.dcm")).replace("\n", "\r\n"),
        line("a.dcm") + line('"b.dcm"') + line("c.dcm") + line("c.dcm"),
    ],
    ids=["sound", "comma in date", "no final newline", "run-on lines", "short line", "carriage returns", "no header, quotes, twice"],
)
def test_a_listed_but_absent_file_is_counted_for_its_series_whatever_the_defect(text):
    assert absent_by_series(text, {"a.dcm", "b.dcm", "manifest.csv"}, {UID, OTHER}) == {UID: 1}


def test_series_that_do_not_matter_and_an_absent_manifest_tell_nothing():
    text = HEADER + line("a.dcm", OTHER)
    assert absent_by_series(text, {"b.dcm"}, {UID}) == {}
    assert absent_by_series(text, {"b.dcm"}, set()) == {}
    assert absent_by_series("", {"b.dcm"}, {UID}) == {}
    assert absent_by_series("\0\ufffd,,,\n" + UID, {"b.dcm"}, {UID}) == {}


def test_names_of_manifests():
    assert [is_manifest(name) for name in ("manifest.csv", "x/Manifest.CVS", "manifest.txt", "a.dcm")] == [True, True, False, False]
