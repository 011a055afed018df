"""fold_assignments and fold_split by direct call."""

import dagster as dg
import pandas as pd
import pytest

from heart_assets.ledger import Study
from heart_assets_tests.tiny import age_of, call, ids, make, phenotype_table, record_of, stores, tiny_study

PEOPLE = ids(12)


@pytest.fixture
def study(tmp_path) -> Study:
    return tiny_study(tmp_path)


def assign(study: Study, people: list[str], folder: str, **columns) -> dg.MaterializeResult:
    videos = stores(study.settings.data_dir / folder, people)
    return make(study, "fold_assignments", phenotypes=phenotype_table(people, **columns), heart_videos=videos)


def check_of(result: dg.MaterializeResult) -> tuple[bool, str, dict]:
    (check,) = result.check_results
    return check.passed, check.check_name, {name: value.value for name, value in check.metadata.items()}


def test_everybody_with_a_video_and_an_age_gets_one_fold(study):
    videos = {
        "3ch": stores(study.settings.data_dir / "a", PEOPLE[:9])["3ch"],
        "4ch": stores(study.settings.data_dir / "b", PEOPLE[3:])["4ch"],
    }
    known = phenotype_table([*PEOPLE[1:], "9000050", "9000051"])
    result = call(study, "fold_assignments", phenotypes=known, heart_videos=videos)
    assert result.value["participant_id"].tolist() == PEOPLE[1:]
    assert sorted(result.value["data_fold"].value_counts()) == [3, 4, 4]
    shown = {name: value for name, value in result.metadata.items() if name != "provenance"}
    assert shown == {
        "visits_with_video_and_age": 11,
        "visits_with_video_without_age": 1,
        "visits_with_age_without_video": 2,
        "assigned": 11,
        "smallest_fold": 3,
        "largest_fold": 4,
    }
    faults = {"repeated_participants": 0, "no_such_fold": 0, "empty_folds": 0, "moved_participants": 0}
    assert check_of(result) == (True, "complete_and_stable", {"looked_at": 11, **faults})
    assert result.data_version.value == record_of(result).data_version


def test_whoever_has_a_fold_keeps_it_when_the_cohort_grows(study):
    first = assign(study, PEOPLE[:7], "before").value.set_index("participant_id")["data_fold"]
    grown = assign(study, PEOPLE, "after").value.set_index("participant_id")["data_fold"]
    assert grown[PEOPLE[:7]].equals(first)
    assert grown.value_counts().tolist() == [4, 4, 4]


def test_families_stay_together(study):
    family = ["", "", "twins", "", "", "", "", "", "twins", "", "", ""]
    table = assign(study, PEOPLE, "videos", family_id=family).value.set_index("participant_id")["data_fold"]
    assert table["9000003"] == table["9000009"]


def test_a_damaged_assignment_is_not_taken_for_a_first_one(study):
    assign(study, PEOPLE, "videos")
    study.layout.fold_assignments.write_text("")
    with pytest.raises(dg.Failure) as failure:
        assign(study, PEOPLE, "again")
    assert failure.value.description == "assignments.csv in folds/ cannot be read (EmptyDataError): materialise its asset again"


ASSIGNED = pd.DataFrame({"participant_id": ids(5), "data_fold": [0, 1, 2, 0, 1]})


def test_a_models_split_with_the_ages(study):
    known = phenotype_table(ids(6), p50_i2=170.0)
    visit_3 = known.iloc[[1]].assign(visit=3, age=60.5)
    result = call(study, "fold_split", "1", fold_assignments=ASSIGNED, phenotypes=pd.concat([known, visit_3]))
    expected = pd.DataFrame(
        {
            "participant_id": ["9000001", "9000002", "9000002", "9000003", "9000004", "9000005"],
            "visit": [2, 2, 3, 2, 2, 2],
            "age": [age_of("9000001"), age_of("9000002"), 60.5, *map(age_of, ["9000003", "9000004", "9000005"])],
            "sex": ["M", "F", "F", "M", "F", "M"],
            "data_fold": [0, 1, 1, 2, 0, 1],
            "split": ["train", "val", "val", "test", "train", "val"],
            "for_training": [True, False, False, False, True, False],
        }
    )
    pd.testing.assert_frame_equal(result.value, expected)
    assert check_of(result) == (True, "no_leak", {"train": 2, "val": 2, "test": 1})
    assert result.metadata["for_training"] == 2


def test_a_filter_takes_rows_out_of_training_only(tmp_path):
    study = tiny_study(tmp_path, {"folds.train_filter": "sex == 'F'"})
    result = call(study, "fold_split", "1", fold_assignments=ASSIGNED, phenotypes=phenotype_table(ids(5)))
    assert result.value.set_index("participant_id")["for_training"].to_dict() == {eid: eid == "9000004" for eid in ids(5)}
    assert (result.metadata["train"], result.metadata["for_training"]) == (2, 1)


LEAKS = {
    "a participant twice": (
        pd.concat([ASSIGNED, ASSIGNED.iloc[[0]].assign(data_fold=1)]),
        [""] * 5,
        "the split leaks: 1 participant(s) in more than one split; 1 participant(s) with more than one row",
    ),
    "the same row twice": (pd.concat([ASSIGNED, ASSIGNED.iloc[[0]]]), [""] * 5, "the split leaks: 1 participant(s) with more than one row"),
    "a family on two sides": (ASSIGNED, ["", "twins", "twins", "", ""], "the split leaks: 1 family(ies) in more than one split"),
    "nobody to test": (ASSIGNED[ASSIGNED["data_fold"] != 2], [""] * 5, "the split leaks: 1 split(s) without participants"),
}


@pytest.mark.parametrize("leak", LEAKS)
def test_a_planted_leak_is_a_failure_and_nothing_is_written(study, leak):
    assigned, family, sentence = LEAKS[leak]
    with pytest.raises(dg.Failure) as failure:
        make(study, "fold_split", "1", fold_assignments=assigned, phenotypes=phenotype_table(ids(5), family_id=family))
    assert failure.value.description == sentence
    assert not study.layout.fold_split("1").exists() and study.record("fold_split", "1") is None


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("smoker == 0", "folds.train_filter cannot be answered by the phenotype table: UndefinedVariableError"),
        ("age +", "folds.train_filter cannot be answered by the phenotype table: SyntaxError"),
        ("age", "folds.train_filter must be a condition that is true or false for each row of the phenotype table"),
        ("age > 200", "folds.train_filter leaves nobody to train on"),
    ],
)
def test_a_filter_that_cannot_be_used(tmp_path, query, sentence):
    study = tiny_study(tmp_path, {"folds.train_filter": query})
    with pytest.raises(dg.Failure) as failure:
        call(study, "fold_split", "1", fold_assignments=ASSIGNED, phenotypes=phenotype_table(ids(5)))
    assert failure.value.description == sentence


def test_a_split_that_holds_is_not_written_again(study):
    inputs = {"fold_assignments": ASSIGNED, "phenotypes": phenotype_table(ids(5))}
    make(study, "fold_split", "1", **inputs)
    paths = [study.layout.fold_split("1"), study.layout.record("fold_split", "1")]
    before = [path.stat().st_mtime_ns for path in paths]
    again = make(study, "fold_split", "1", **inputs)
    assert [path.stat().st_mtime_ns for path in paths] == before
    assert record_of(again) == study.record("fold_split", "1")


def test_a_damaged_split_is_made_again_under_the_same_record(study):
    first = make(study, "fold_split", "1", fold_assignments=ASSIGNED, phenotypes=phenotype_table(ids(5)))
    study.layout.fold_split("1").write_bytes(b"")
    again = make(study, "fold_split", "1", fold_assignments=ASSIGNED, phenotypes=phenotype_table(ids(5)))
    assert "kept" not in again.metadata and again.data_version == first.data_version
    assert study.layout.fold_split("1").read_text().count("\n") == 6
