"""Ages from every spelling of UK Biobank's tables, and one sentence for everything that is no such table."""

from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heart_assets.statistics import PhenotypeError, from_demographics, read_phenotypes, read_withdrawn
from heart_assets.statistics.fields import canonical_name

EXACT = (date(2016, 8, 30) - date(1950, 3, 15)).days / 365.25
SPELLINGS = {
    "showcase": ("eid", "{f}-{i}.{a}"),
    "r": ("f.eid", "f.{f}.{i}.{a}"),
    "stata": ("n_eid", "n_{f}_{i}_{a}"),
    "platform": ("eid", "p{f}_i{i}"),
    "platform with entity": ("participant.eid", "participant.p{f}_i{i}"),
}


def spelled(kind: str, field: int, visit: int = 0) -> str:
    if kind.startswith("platform") and field in (31, 34, 52):
        return SPELLINGS[kind][1].replace("_i{i}", "").format(f=field)
    return SPELLINGS[kind][1].format(f=field, i=visit, a=0)


def write(folder: Path, text: str, name: str = "phenotypes.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, *texts: str) -> str:
    paths = [write(folder, text, f"table{k}.csv") for k, text in enumerate(texts)]
    with pytest.raises(PhenotypeError) as caught:
        read_phenotypes(paths)
    message = str(caught.value)
    assert "\n" not in message and "900000" not in message
    return message


@pytest.mark.parametrize("kind", SPELLINGS)
def test_every_spelling_gives_the_same_table(tmp_path, kind):
    header = [
        SPELLINGS[kind][0],
        *(spelled(kind, f) for f in (31, 34, 52)),
        spelled(kind, 53, 2),
        spelled(kind, 53, 3),
        spelled(kind, 21003, 2),
    ]
    path = write(
        tmp_path,
        f"{','.join(header)}\n"
        "9000002,0,1961,12,,,57\n"  # no date: field 21003
        "9000001,1,1950,3,2016-08-30,2018-08-30T10:00:00,66\n"  # two visits with dates
        "9000003,1,1950,3,,,\n",  # no age
    )
    result = read_phenotypes([path])
    assert result.table["participant_id"].tolist() == ["9000001", "9000001", "9000002"]
    assert result.table["visit"].tolist() == [2, 3, 2]
    assert result.table["age"].tolist() == [EXACT, EXACT + 730 / 365.25, 57.0]
    assert result.table["sex"].tolist() == ["M", "M", "F"]
    assert result.table["family_id"].tolist() == ["", "", ""]
    assert list(result.table) == ["participant_id", "visit", "age", "sex", "family_id"]
    assert result.counts == {
        "from_dates": 2,
        "from_age_column": 0,
        "from_field_21003": 1,
        "from_dicom_headers": 0,
        "rows": 3,
        "participants": 2,
        "implausible_age": 0,
        "without_age": 1,
        "withdrawn": 0,
        "without_sex": 0,
    }


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("21003-2.0", "p21003_i2"),
        ("ts_53_3_0", "p53_i3"),
        ("X21003.2.0", "p21003_i2"),
        ("participant.p20002_i2_a7", "p20002_i2_a7"),
        ("p31", "sex"),
        ("22009-0.12", "p22009_i0_a12"),
        (" Age ", "age"),
        ("participant.eid", "participant_id"),
        ("bmi", "bmi"),
        ("p31b", "p31b"),
    ],
)
def test_canonical_names(name, canonical):
    assert canonical_name(name) == canonical


def test_plain_table_keeps_other_columns_by_visit(tmp_path):
    text = (
        "participant_id,visit,age,sex,family_id,site,bmi\n9000001,2,60.5,M,f1,A,22\n9000001,3,63,M,f1,B,23.5\n9000002,2,44.25,Female,,A,\n"
    )
    table = read_phenotypes([write(tmp_path, text)]).table
    assert table["age"].tolist() == [60.5, 63.0, 44.25]
    assert table["sex"].tolist() == ["M", "M", "F"]
    assert table["family_id"].tolist() == ["f1", "f1", ""]
    assert table["site"].tolist() == ["A", "B", "A"]
    np.testing.assert_array_equal(table["bmi"], [22, 23.5, np.nan])
    table.to_parquet(tmp_path / "phenotypes.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "phenotypes.parquet"), table)


def test_plain_table_without_visits_is_visit_2(tmp_path):
    table = read_phenotypes([write(tmp_path, "eid,Age,Sex\n9000001,60,1.0\n9000002,61,\n")]).table
    assert table[["visit", "age", "sex"]].values.tolist() == [[2, 60.0, "M"], [2, 61.0, ""]]


def test_tables_are_joined_by_participant_and_dates_win(tmp_path):
    dates = write(tmp_path, "eid,53-2.0\n9000002,2016-08-30\n9000001,2016-08-30\n", "dates.csv")
    births = write(tmp_path, "participant.eid\tparticipant.p34\tparticipant.p52\n9000001\t1950\tMarch\n", "births.tsv")
    plain = write(tmp_path, "participant_id,visit,age,site\n9000001,2,12,S1\n9000002,2,70,S2\n9000003,2,71,S3\n", "plain.csv")
    people = write(tmp_path, "\ufeffeid,31-0.0,family_id,smoker\n9000001,1,7,no\n9000003,0,7.0,yes\n9000004,0,,yes\n", "people.csv")
    result = read_phenotypes([dates, births, plain, people])
    assert result.table["participant_id"].tolist() == ["9000001", "9000002", "9000003"]
    assert result.table["age"].tolist() == [EXACT, 70.0, 71.0]
    assert result.table["family_id"].tolist() == ["7", "", "7"]
    assert result.table["site"].tolist() == ["S1", "S2", "S3"]
    assert result.table["smoker"].fillna("?").tolist() == ["no", "?", "yes"]
    assert (result.counts["from_dates"], result.counts["from_age_column"]) == (1, 2)
    assert (result.counts["without_age"], result.counts["without_sex"]) == (1, 1)


def test_implausible_ages_are_left_out_and_counted(tmp_path):
    result = read_phenotypes(
        [write(tmp_path, "eid,21003-2.0\n9000001,17.99\n9000002,-3\n9000003,111\n9000004,18\n9000005,110\n9000006,\n")]
    )
    assert result.table["age"].tolist() == [18.0, 110.0]
    assert result.counts["implausible_age"] == 3
    assert result.counts["without_age"] == 1


def test_withdrawn_are_removed_and_counted(tmp_path):
    path = write(tmp_path, "participant_id,visit,age\n9000001,2,60\n9000001,3,62\n9000002,2,61\n")
    listed = write(tmp_path, "9000001\n\n9000099\n", "withdrawn.txt")
    result = read_phenotypes([path], read_withdrawn(listed))
    assert result.table["participant_id"].tolist() == ["9000002"]
    assert result.counts["withdrawn"] == 1
    assert read_withdrawn(None) == frozenset()
    with pytest.raises(PhenotypeError, match=r"nobody\.txt: the list of withdrawn participants is missing"):
        read_withdrawn(tmp_path / "nobody.txt")


def test_index_columns_without_a_name_are_ignored(tmp_path):
    assert list(read_phenotypes([write(tmp_path, ",eid,age\n0,9000001,60\n1,9000002,61\n")]).table) == [
        "participant_id",
        "visit",
        "age",
        "sex",
        "family_id",
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "has no column of participant ids"),
        ("name,age\nA,60\n", "has no column of participant ids"),
        ("eid,31-0.0\n9000001,1\n", r"no participant has an age between 18 and 110 .* accepted columns: eid with fields 53, 34 and 52"),
        ("eid,21003-0.0\n9000001,60\n", r"no participant has an age .*\(0 row\(s\) have one outside\)"),
        ("eid,age\n9000001,7\n", r"\(1 row\(s\) have one outside\)"),
        ("eid,age\n", "no participant has an age"),
        ("eid,53-2.0\n9000001,30/08/2016\n", r"column p53_i2 holds 1 value\(s\) that are not a date"),
        ("eid,53-2.0\n9000001,2016-13-45\n", "not a date"),
        ("eid,34-0.0\n9000001,19.5\n", "not a year"),
        ("eid,52-0.0\n9000001,13\n", "not a month"),
        ("eid,age\n9000001,old\n9000002,older\n", r"2 value\(s\) that are not a number"),
        ("eid,age,sex\n9000001,60,2\n", "column sex holds 1 value"),
        ("participant_id,visit,age\n9000001,2.5,60\n", "not a visit"),
        ("participant_id,visit,age\n9000001,,60\n", r"1 row\(s\) have no visit"),
        ("eid,age\n,60\n", r"1 row\(s\) have no participant id"),
        ("eid,age\n9000001,60\n9000001,60\n", r"1 row\(s\) repeat the participant_id of another"),
        ("participant_id,visit,age\n9000001,2,60\n9000001,2,61\n", "repeat the participant_id and visit"),
        ("eid,21003-2.0,p21003_i2\n9000001,60,61\n", "has more than one column p21003_i2"),
        ("eid,sex,31-0.0,age\n9000001,M,1,61\n", "has more than one column sex"),
        ("eid,participant.eid,age\n9000001,9000001,61\n", "has more than one column participant_id"),
        ("participant_id,visit,age,sex\n9000001,2,60,M\n9000001,3,61,F\n", r"1 participant\(s\) have more than one sex"),
        ("participant_id,visit,21003-2.0\n9000001,2,60\n", "has a column `visit` and UK Biobank's columns"),
        ("eid,age\n9000001,60\n9000002,61,extra,cells\n", "as many cells in every row"),
        ("eid,age\n9000001,60,extra\n9000002,61,extra\n", "as many cells in every row"),
        ('eid,age\n9000001,"60\n', "as many cells in every row"),
        ("eid\0,age\n9000001,60\n", "has no column of participant ids"),
    ],
)
def test_garbage_gets_one_sentence(tmp_path, text, sentence):
    with pytest.raises(PhenotypeError, match=sentence) as caught:
        read_phenotypes([write(tmp_path, text)])
    assert "\n" not in str(caught.value) and "900000" not in str(caught.value)
    assert "phenotypes.csv" in str(caught.value)


def test_binary_missing_and_no_files(tmp_path):
    binary = tmp_path / "binary.csv"
    binary.write_bytes(bytes(range(256)) * 10)
    with pytest.raises(PhenotypeError, match=r"binary\.csv: is not a table of text"):
        read_phenotypes([binary])
    binary.write_bytes(b"eid,age\n9000001,6\xff\n")
    with pytest.raises(PhenotypeError, match=r"binary\.csv: is not a table of text"):
        read_phenotypes([binary])
    with pytest.raises(PhenotypeError, match=r"absent\.csv: there is no such phenotype table"):
        read_phenotypes([tmp_path / "absent.csv"])
    with pytest.raises(PhenotypeError, match=r"is not a table of text"):
        read_phenotypes([tmp_path])
    with pytest.raises(PhenotypeError, match="no phenotype table is named"):
        read_phenotypes([])


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.lists(
            st.sampled_from(
                ["eid", "age", "visit", "53-2.0", "p34", "p52", "sex", "9000001", "60", "-1", "2016-02-30", '"', ",", "\n", "\t", ""]
            )
        ).map(lambda parts: ("eid,age\n" + ",".join(parts)).encode()),
    )
)
def test_no_bytes_raise_anything_but_the_sentence(content):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_bytes(content)
        try:
            table = read_phenotypes([path]).table
        except PhenotypeError as error:
            assert "\n" not in str(error) and "900000" not in str(error)
        else:
            assert table["age"].between(18, 110).all()


def test_contradicting_tables_are_refused(tmp_path):
    assert "column p21003_i2 for 1 participant(s)" in refusal(
        tmp_path, "eid,21003-2.0\n9000001,60\n9000002,61\n", "f.eid,f.21003.2.0\n9000001,60.0\n9000002,62\n"
    )
    assert "column sex for 1 participant(s)" in refusal(tmp_path, "eid,age,sex\n9000001,60,M\n", "eid,31-0.0\n9000001,0\n")
    assert "column site for 1 participant(s)" in refusal(
        tmp_path, "participant_id,visit,age,site\n9000001,2,60,A\n9000002,2,60,B\n", "eid,site\n9000001,A\n9000002,A\n"
    )


def test_from_dicom_headers():
    headers = pd.DataFrame(
        {
            "participant_id": ["9000002", "9000001", "9000001", "9000003", "9000004", "9000005"],
            "visit": [2, 2, 2, 2, 2, 2],
            "age": [45.0, 61.0, 61.0, np.nan, 1.5, 50.0],
            "sex": ["F", "M", "", "", "M", "F"],
        }
    )
    result = from_demographics(headers, {"9000005"})
    assert result.table.values.tolist() == [["9000001", 2, 61.0, "M", ""], ["9000002", 2, 45.0, "F", ""]]
    assert result.counts["from_dicom_headers"] == 2
    assert (result.counts["without_age"], result.counts["implausible_age"], result.counts["withdrawn"]) == (1, 1, 1)
    assert result.counts["contradictory_headers"] == 0


def test_contradictory_headers_count_as_unknown():
    headers = pd.DataFrame(
        {"participant_id": ["9000001", "9000001", "9000002"], "visit": [2, 2, 2], "age": [60.0, 61.0, 50.0], "sex": ["M", "F", "F"]}
    )
    result = from_demographics(headers)
    assert result.table.values.tolist() == [["9000002", 2, 50.0, "F", ""]]
    assert (result.counts["contradictory_headers"], result.counts["without_age"]) == (2, 1)


def test_headers_without_any_age_give_an_empty_table():
    headers = pd.DataFrame({"participant_id": ["9000001"], "visit": [2], "age": [np.nan], "sex": [""]})
    result = from_demographics(headers)
    assert result.table.empty
    assert list(result.table) == ["participant_id", "visit", "age", "sex", "family_id"]
    assert result.counts["without_age"] == 1
