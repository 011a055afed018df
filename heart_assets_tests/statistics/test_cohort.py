"""Videos, ages and splits brought together; one sentence where they do not fit."""

import numpy as np
import pandas as pd
import pytest

from heart_assets.errors import StudyError
from heart_assets.statistics.cohort import applied_rows, check_cohort, split_with_ages, study_rows, with_video_and_age

VIDEOS = pd.DataFrame(
    {
        "study_id": ["9000003_2_0", "9000001_2_0", "9000001_3_0", "9000002_2_0", "9000009_2_0", "9000001_2_1"],
        "participant_id": ["9000003", "9000001", "9000001", "9000002", "9000009", "9000001"],
        "visit": [2, 2, 3, 2, 2, 2],
    }
)
PHENOTYPES = pd.DataFrame(
    {
        "participant_id": ["9000001", "9000002", "9000003", "9000004"],
        "visit": [2, 2, 2, 2],
        "age": [50.0, 60.0, 70.0, 55.0],
        "sex": ["F", "M", "F", "M"],
        "bmi": [22.0, 31.0, np.nan, 25.0],
    }
)
SPLIT = pd.DataFrame({"participant_id": ["9000001", "9000002", "9000003"], "data_fold": [2, 0, 1], "split": ["train", "val", "test"]})


def test_the_overlap_is_counted():
    cohort = check_cohort({"3ch": VIDEOS, "4ch": VIDEOS.head(1)}, PHENOTYPES)
    assert cohort.participants == {"9000001", "9000002", "9000003"}
    assert cohort.counts == {"visits_with_video_and_age": 3, "visits_with_video_without_age": 2, "visits_with_age_without_video": 1}
    assert with_video_and_age(VIDEOS.tail(2), PHENOTYPES) == {"9000001"}


@pytest.mark.parametrize(
    ("videos", "phenotypes", "sentence"),
    [
        ({"3ch": VIDEOS, "4ch": VIDEOS.head(0)}, PHENOTYPES, "^no study has a usable 4ch video"),
        ({"3ch": pd.concat([VIDEOS, VIDEOS.head(2)])}, PHENOTYPES, r"^2 study id\(s\) of view 3ch are stored in more than one delivery"),
        (
            {"3ch": VIDEOS},
            PHENOTYPES.assign(visit=4),
            "^none of the 5 participant visits with a video is among the 4 in the phenotype tables",
        ),
    ],
)
def test_what_does_not_fit_gets_one_sentence(videos, phenotypes, sentence):
    with pytest.raises(StudyError, match=sentence) as caught:
        check_cohort(videos, phenotypes)
    assert "\n" not in str(caught.value) and "900000" not in str(caught.value)


def test_rows_follow_the_store():
    rows = study_rows(VIDEOS, split_with_ages(SPLIT, PHENOTYPES))
    assert rows["index"].tolist() == [0, 1, 3, 5]  # no age at visit 3, no such participant
    assert rows["study_id"].tolist() == ["9000003_2_0", "9000001_2_0", "9000002_2_0", "9000001_2_1"]
    assert rows["age"].tolist() == [70.0, 50.0, 60.0, 50.0]
    assert rows["split"].tolist() == ["test", "train", "val", "train"]
    assert rows["for_training"].tolist() == [False, True, False, True]


def test_the_filter_only_takes_rows_out_of_training():
    table = split_with_ages(SPLIT.assign(split="train"), PHENOTYPES, "bmi < 30")
    assert table["participant_id"].tolist() == ["9000001", "9000002", "9000003"]
    assert table["split"].tolist() == ["train"] * 3
    assert table["for_training"].tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("smoker == 0", r"cannot be answered by the phenotype table: UndefinedVariableError"),
        ("bmi <", "cannot be answered"),
        ("bmi + 1", "must be a condition"),
        ("1 == 1", "must be a condition"),
        ("bmi > 99", "leaves nobody to train on"),
    ],
)
def test_filters_that_cannot_be_used(query, sentence):
    with pytest.raises(StudyError, match=sentence):
        split_with_ages(SPLIT, PHENOTYPES, query)
    with pytest.raises(StudyError, match="the training split is empty"):
        split_with_ages(SPLIT.assign(split="val"), PHENOTYPES)


def test_a_study_that_is_only_predicted_may_lack_ages():
    rows = applied_rows(VIDEOS, PHENOTYPES)
    assert rows["index"].tolist() == list(range(6))
    np.testing.assert_array_equal(rows["age"], [70, 50, np.nan, 60, np.nan, 50])
