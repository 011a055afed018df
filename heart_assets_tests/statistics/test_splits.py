"""Folds: balanced, stratified, families together, deterministic, stable; and no leak gets through."""

import numpy as np
import pandas as pd
import pytest

from heart_assets.settings import FoldSettings
from heart_assets.statistics import LeakError, SplitError, assign_folds, check_no_leak, split_of_fold


def cohort(number: int, seed: int = 0, families: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "participant_id": [str(9_000_000 + k) for k in range(number)],
            "visit": 2,
            "age": rng.uniform(45, 80, number),
            "sex": rng.choice(["F", "M"], number),
            "family_id": np.where(rng.random(number) < families, [f"f{k // 3}" for k in range(number)], ""),
        }
    )


def spread(counts: pd.Series | np.ndarray) -> int:
    return int(np.max(counts) - np.min(counts))


def strata(people: pd.DataFrame) -> pd.Series:
    decile = np.searchsorted(np.quantile(people["age"], np.arange(1, 10) / 10), people["age"], side="right")
    return people["sex"] + decile.astype(str)


@pytest.mark.parametrize(("number", "count"), [(10, 10), (11, 10), (200, 10), (203, 7), (1999, 10)])
def test_folds_and_strata_differ_by_at_most_one(number, count):
    people = cohort(number)
    folds = assign_folds(people, people["participant_id"], FoldSettings(count=count))
    assert folds["participant_id"].tolist() == people["participant_id"].tolist()
    assert spread(folds["data_fold"].value_counts().reindex(range(count), fill_value=0)) <= 1
    table = pd.crosstab(strata(people), folds["data_fold"].to_numpy()).reindex(columns=range(count), fill_value=0)
    assert (table.max(axis=1) - table.min(axis=1)).max() <= 1


def test_content_and_seed_decide_not_the_order_of_rows():
    people = cohort(300, families=0.3)
    first = assign_folds(people, set(people["participant_id"]), FoldSettings())
    again = assign_folds(people.sample(frac=1, random_state=1), people["participant_id"].tolist()[::-1], FoldSettings())
    pd.testing.assert_frame_equal(first, again)
    assert not first.equals(assign_folds(people, people["participant_id"], FoldSettings(seed=7)))


def test_families_stay_together_and_sizes_stay_even():
    people = cohort(400, families=0.5)
    folds = assign_folds(people, people["participant_id"], FoldSettings())
    of_family = people[people["family_id"] != ""].merge(folds, on="participant_id").groupby("family_id")["data_fold"].nunique()
    assert len(of_family) > 100 and (of_family == 1).all()
    assert spread(folds["data_fold"].value_counts()) <= 1
    for k in range(10):
        check_no_leak(split_of_fold(folds, k, 10), people)


def test_all_visits_of_a_person_count_once():
    people = cohort(30)
    twice = pd.concat([people, people.assign(visit=3, age=people["age"] + 3)])
    pd.testing.assert_frame_equal(
        assign_folds(twice, twice["participant_id"], FoldSettings(count=5)),
        assign_folds(people, people["participant_id"], FoldSettings(count=5)),
    )


def test_only_people_with_a_video_and_an_age_get_a_fold():
    people = cohort(20)
    folds = assign_folds(people, [*people["participant_id"][:12], "9999999"], FoldSettings(count=4))
    assert folds["participant_id"].tolist() == people["participant_id"].tolist()[:12]


def test_nobody_moves_when_the_cohort_grows_and_balance_holds():
    people = cohort(500, families=0.2)
    now = assign_folds(people.head(100), people["participant_id"].head(100), FoldSettings())
    for size in (101, 137, 250, 500):
        before, now = now, assign_folds(people.head(size), people["participant_id"].head(size), FoldSettings(), now)
        both = before.merge(now, on="participant_id", suffixes=("", "_now"))
        assert len(both) == len(before) and (both["data_fold"] == both["data_fold_now"]).all()
        assert len(now) == size
        assert spread(now["data_fold"].value_counts()) <= 2  # newcomers of a family follow it
    table = pd.crosstab(strata(people), now["data_fold"].to_numpy())
    assert (table.max(axis=1) - table.min(axis=1)).max() <= 4


def test_newcomers_fill_the_gaps_of_those_withdrawn():
    people = cohort(60)
    before = assign_folds(people.head(40), people["participant_id"].head(40), FoldSettings(count=4))
    withdrawn = set(before.loc[before["data_fold"] == 2, "participant_id"].head(8))
    rest = people[~people["participant_id"].isin(withdrawn)]
    now = assign_folds(rest, rest["participant_id"], FoldSettings(count=4), before)
    assert not set(now["participant_id"]) & withdrawn
    assert now["data_fold"].value_counts().tolist() == [13, 13, 13, 13]


def test_a_missing_video_does_not_cost_the_fold():
    people = cohort(30)
    before = assign_folds(people, people["participant_id"], FoldSettings(count=3))
    now = assign_folds(people, people["participant_id"].iloc[1:], FoldSettings(count=3), before)
    pd.testing.assert_frame_equal(now, before)


@pytest.mark.parametrize(
    ("people", "sentence"),
    [
        (cohort(9), r"^9 participant\(s\) have both a video and an age \(9 have a video, 9 have an age\), but the study asks for 10 folds"),
        (cohort(0), r"^0 participant\(s\) have both"),
        (cohort(12).assign(family_id=list("aaaabbbbcccc")), r"^7 of 10 folds would be empty, because there are too few families"),
    ],
)
def test_too_few_people(people, sentence):
    with pytest.raises(SplitError, match=sentence) as caught:
        assign_folds(people, people["participant_id"], FoldSettings())
    assert "\n" not in str(caught.value) and "900000" not in str(caught.value)


def test_as_many_families_as_folds_are_enough():
    people = cohort(12).assign(family_id=list("aaabcdefghij"))
    assert assign_folds(people, people["participant_id"], FoldSettings())["data_fold"].nunique() == 10


def test_previous_assignments_that_do_not_fit():
    people = cohort(30)
    before = assign_folds(people, people["participant_id"], FoldSettings(count=5))
    for count in (3, 6):
        with pytest.raises(SplitError, match=f"does not have the {count} folds that the study asks for"):
            assign_folds(people, people["participant_id"], FoldSettings(count=count), before)
    with pytest.raises(SplitError, match=r"1 participant\(s\) are in the stored fold assignment more than once"):
        assign_folds(people, people["participant_id"], FoldSettings(count=5), pd.concat([before, before.head(1)]))
    with pytest.raises(SplitError, match=r"1 family\(ies\) already lie in more than one fold"):
        assign_folds(people.assign(family_id="f"), people["participant_id"], FoldSettings(count=5), before)
    pd.testing.assert_frame_equal(assign_folds(people, people["participant_id"], FoldSettings(count=5), before.head(0)), before)


def test_without_family_and_sex_columns_known():
    people = cohort(25).drop(columns="family_id").assign(sex="")
    assert assign_folds(people, people["participant_id"], FoldSettings(count=5))["data_fold"].value_counts().tolist() == [5] * 5


def test_split_of_fold_is_that_of_2020():
    folds = pd.DataFrame({"participant_id": list("abcde"), "data_fold": [0, 1, 2, 3, 4]})
    assert split_of_fold(folds, 0, 5)["split"].tolist() == ["val", "test", "train", "train", "train"]
    assert split_of_fold(folds, 4, 5)["split"].tolist() == ["test", "train", "train", "train", "val"]
    tested = [split_of_fold(folds, k, 5).query("split == 'test'")["participant_id"].item() for k in range(5)]
    assert sorted(tested) == list("abcde")
    with pytest.raises(SplitError, match="fold 5 does not exist: the study has folds 0 to 4"):
        split_of_fold(folds, 5, 5)


def good_split() -> pd.DataFrame:
    people = cohort(30)
    return split_of_fold(assign_folds(people, people["participant_id"], FoldSettings(count=3)), 1, 3)


@pytest.mark.parametrize(
    ("leak", "sentence"),
    [
        (lambda s: pd.concat([s, s.head(2).assign(split=["val", "val"], data_fold=[1, 1])]), r"participant\(s\) in more than one split"),
        (lambda s: pd.concat([s, s.head(3)]), r"3 participant\(s\) with more than one row"),
        (lambda s: s.assign(split=np.where(s.index == s.index[s["split"] == "test"][0], "train", s["split"])), "1 data fold"),
        (lambda s: s.assign(split=s["split"].replace("val", "validation")), r"10 row\(s\) in no known split; 1 split\(s\) without"),
        (lambda s: s[s["split"] != "test"], r"1 split\(s\) without participants"),
    ],
)
def test_a_planted_leak_is_caught(leak, sentence):
    split = good_split()
    check_no_leak(split)
    with pytest.raises(LeakError, match=sentence) as caught:
        check_no_leak(leak(split))
    assert "900000" not in str(caught.value)


def test_a_family_on_two_sides_is_a_leak():
    split = good_split()
    siblings = [split.loc[split["split"] == name, "participant_id"].iloc[0] for name in ("train", "test")]
    people = cohort(30).assign(family_id=lambda t: np.where(t["participant_id"].isin(siblings), "twins", ""))
    check_no_leak(split, people.assign(family_id=""))
    check_no_leak(split, people.drop(columns="family_id"))
    with pytest.raises(LeakError, match=r"the split leaks: 1 family\(ies\) in more than one split"):
        check_no_leak(split, people)


def test_ten_thousand_people_take_a_moment():
    people = cohort(10_000, families=0.1)
    folds = assign_folds(people, people["participant_id"], FoldSettings())
    assert spread(folds["data_fold"].value_counts()) <= 1
