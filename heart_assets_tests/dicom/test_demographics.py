"""Ages and sexes of DICOM folders."""

import math

import pytest

from heart_assets.dicom import age_years, demographics, list_studies
from heart_assets_tests.dicom.builder import beating, cine, dataset, to_bytes, write_folder


@pytest.mark.parametrize(
    ("text", "years"), [("045Y", 45), ("018M", 1.5), ("012W", 84 / 365.25), ("010D", 10 / 365.25), ("006M", 0.5), ("5Y", 5), ("130Y", 130)]
)
def test_ages(text, years):
    assert age_years(text) == pytest.approx(years)


@pytest.mark.parametrize("text", ["", "999Y", "ABCY", "45", "045Y\\046Y", "-45Y", "045y", "0045Y"])
def test_what_is_no_age(text):
    assert math.isnan(age_years(text))


def test_a_table_of_all_studies(tmp_path):
    cut = next(iter(cine().values()))[:600]
    write_folder(tmp_path, {f"anna/{name}": data for name, data in cine(PatientAge="018M").items()} | {"anna/0.txt": b"first"})
    write_folder(tmp_path, {"bob_3/a.dcm": b"junk", "bob_3/b": to_bytes(dataset(beating(1)[0], PatientAge=None, PatientSex="O"))})
    write_folder(tmp_path, {"carl/a.dcm": b"\0" * 128 + b"DICM" + b"\xff" * 50, "carl/b.dcm": cut, "dora/readme": b"x"})
    table = demographics(list_studies(tmp_path, "all", "dicom_folders", "", 2)[0])
    assert table["participant_id"].tolist() == ["anna", "bob", "carl", "dora"] and table["visit"].tolist() == [2, 3, 2, 2]
    assert table["age"].tolist()[0] == 1.5 and table["age"].isna().tolist() == [False, True, False, True]
    assert table["sex"].tolist() == ["F", "", "F", ""] and table["age"].tolist()[2] == 63


def test_an_unreadable_study_has_no_age_and_an_empty_list_gives_an_empty_table(tmp_path):
    write_folder(tmp_path, {"anna/a.dcm": b"x"})
    (source,) = list_studies(tmp_path, "all", "dicom_folders", "", 2)[0]
    (tmp_path / "anna" / "a.dcm").unlink()
    assert demographics([source])["age"].isna().all()
    assert list(demographics([]).columns) == ["participant_id", "visit", "age", "sex"]
