"""Tables come back as they were written: ids as text, numbers to the last bit, nothing guessed."""

import numpy as np
import pandas as pd
import pytest

from heart_assets.errors import StudyError
from heart_assets.tables import from_bytes, read_table, table_version, to_bytes, write_table

TABLE = pd.DataFrame(
    {
        "study_id": ["0090001_2_0", "9000002_2_0", "9000003_2_0"],
        "participant_id": ["0090001", "9000002", "9e5"],
        "family_id": ["", "007", "NA"],
        "sex": ["F", "", "M"],
        "fold": ["pooled", "0", "01"],
        "detail": ['a "quoted", one', "two\nlines", "None"],
        "visit": [2, 2, 3],
        "age": [0.1 + 0.2, 1 / 3, 5e-324],
        "prediction": [np.nan, -0.0, 1.7976931348623157e308],
        "single_view": [True, False, True],
    }
)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_round_trip(tmp_path, suffix):
    path = tmp_path / f"table{suffix}"
    write_table(path, TABLE)
    found = read_table(path)
    pd.testing.assert_frame_equal(found, TABLE, check_exact=True)
    assert np.signbit(found["prediction"][1])
    assert [path.name for path in tmp_path.iterdir()] == [f"table{suffix}"]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_the_version_is_that_of_the_content(suffix):
    assert to_bytes(from_bytes(to_bytes(TABLE, suffix), suffix), suffix) == to_bytes(TABLE, suffix)
    versions = {
        table_version(table, suffix) for table in (TABLE, TABLE.iloc[::-1], TABLE.assign(visit=3), TABLE.rename(columns={"sex": "x"}))
    }
    assert len(versions) == 4 and table_version(TABLE.copy(), suffix) in versions


def test_a_csv_is_for_people(tmp_path):
    write_table(tmp_path / "table.csv", TABLE[["participant_id", "age", "family_id"]].head(2))
    assert (
        tmp_path / "table.csv"
    ).read_text() == "participant_id,age,family_id\n0090001,0.30000000000000004,\n9000002,0.3333333333333333,007\n"


def test_an_empty_table_keeps_its_columns(tmp_path):
    write_table(tmp_path / "t.csv", TABLE.head(0))
    found = read_table(tmp_path / "t.csv")
    assert list(found.columns) == list(TABLE.columns) and len(found) == 0


DAMAGED = {
    "empty.csv": b"",
    "binary.csv": b"participant_id,age\n\xff\xfe,1\n",
    "ragged.csv": b"participant_id,age\n9000001,1\n9000002,1,2,3\n",
    "empty.parquet": b"",
    "cut.parquet": to_bytes(TABLE, ".parquet")[:-9],
    "other.parquet": b"participant_id,age\n",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_table_gives_one_sentence_without_its_content(tmp_path, name):
    folder = tmp_path / "folds"
    folder.mkdir()
    (folder / name).write_bytes(DAMAGED[name])
    with pytest.raises(StudyError) as refused:
        read_table(folder / name)
    found = str(refused.value)
    assert found.startswith(f"{name} in folds/ cannot be read (") and found.endswith("): materialise its asset again")
    assert "900000" not in found and "\n" not in found


def test_a_missing_table_says_what_to_do(tmp_path):
    with pytest.raises(StudyError) as refused:
        read_table(tmp_path / "folds" / "Fold0.csv")
    assert str(refused.value) == "Fold0.csv is missing from folds/: materialise the asset that makes it"
