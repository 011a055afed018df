"""Every kind of bad input that the study may meet: one clear sentence at the asset, without a traceback or an id in it."""

import json
import shutil

import dagster as dg
import pytest

from heart_assets import artefacts
from heart_assets.home import prepare_instance
from heart_assets.ledger import Study
from heart_assets_tests.tiny import add_raw, call, ids, phenotype_table, settle_videos, stores, tiny_study, write_phenotypes

PEOPLE = ids(6)


@pytest.fixture
def study(tmp_path) -> Study:
    return tiny_study(tmp_path)


def failure_of(study: Study, asset: str, partition: str | None = None, **inputs) -> str:
    """The one sentence with which an asset fails."""
    with pytest.raises(dg.Failure) as failure:
        call(study, asset, partition, **inputs)
    assert failure.value.allow_retries is False
    sentence = failure.value.description
    assert "\n" not in sentence and "900000" not in sentence and "Traceback" not in sentence
    return sentence


def folds_of(study: Study, videos: dict, known) -> str:
    return failure_of(study, "fold_assignments", heart_videos=videos, phenotypes=known)


def test_an_empty_raw_folder_before_any_run(study, tmp_path):
    folder = study.settings.raw.heart
    folder.mkdir(parents=True)
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance, pytest.raises(ValueError) as refused:
        prepare_instance(instance, study)
    assert (
        str(refused.value) == f"the raw folder {folder} holds no study: expected zips named like {{eid}}_{{field}}_{{visit}}_{{array}}.zip"
    )


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "{}: there is no such phenotype table"),
        ("", "{}: has no column of participant ids; accepted columns: "),
        ("participant,age\n9000001,50\n", "{}: has no column of participant ids; accepted columns: "),
        (
            "eid,31-0.0\n9000001,1\n",
            "{}: no participant has an age between 18 and 110 years at an imaging visit (0 row(s) have one outside); accepted columns: ",
        ),
        (
            "eid,21003-2.0\n9000001,7\n",
            "{}: no participant has an age between 18 and 110 years at an imaging visit (1 row(s) have one outside); accepted columns: ",
        ),
        ("eid,21003-2.0\n9000001,old\n", "{}: column p21003_i2 holds 1 value(s) that are not a number"),
        ("eid,21003-2.0\n9000001,50\n9000001,51\n", "{}: 1 row(s) repeat the participant_id of another"),
        ("\0\1\2", "{}: has no column of participant ids; accepted columns: "),
    ],
    ids=["missing", "empty", "no ids", "no ages", "children only", "no number", "twice", "binary"],
)
def test_phenotype_tables(study, content, sentence):
    path = write_phenotypes(study, PEOPLE)
    path.unlink() if content is None else path.write_text(content)
    assert failure_of(study, "phenotypes").startswith(sentence.format(path))


def test_no_phenotype_table_at_all(tmp_path):
    study = tiny_study(tmp_path, {"raw.phenotypes": []})
    add_raw(study, "90", PEOPLE)
    assert failure_of(study, "phenotypes").startswith("no phenotype table is named in the study; accepted columns: ")


def test_a_list_of_withdrawn_participants_that_is_missing(tmp_path):
    study = tiny_study(tmp_path, {"raw.withdrawn": "withdrawn.txt"})
    write_phenotypes(study, PEOPLE)
    assert failure_of(study, "phenotypes") == f"{tmp_path}/withdrawn.txt: the list of withdrawn participants is missing or not a text file"


def test_participants_without_images_and_the_reverse(study, tmp_path):
    """A few of either are counted (see test_folds); if none has both, somebody has mixed up something."""
    sentence = folds_of(study, stores(tmp_path / "v", PEOPLE), phenotype_table(ids(4, 9_000_101)))
    expected = (
        "none of the 6 participant visits with a video is among the 4 in the phenotype tables: check that both use the same ids and visits"
    )
    assert sentence == expected
    assert folds_of(study, stores(tmp_path / "v", PEOPLE), phenotype_table(PEOPLE, visit=3)).startswith("none of the 6 participant visits")


def test_a_view_that_nobody_has(study, tmp_path):
    videos = {**stores(tmp_path / "v", PEOPLE), "4ch": stores(tmp_path / "w", [])["4ch"]}
    expected = "no study has a usable 4ch video: see the rejected tables beside the videos, and views.4ch.series in the study file"
    assert folds_of(study, videos, phenotype_table(PEOPLE)) == expected


def test_fewer_participants_than_folds(study, tmp_path):
    expected = (
        "2 participant(s) have both a video and an age (2 have a video, 6 have an age), but the study asks for 3 folds: "
        "it needs at least one participant per fold"
    )
    assert folds_of(study, stores(tmp_path / "v", PEOPLE[:2]), phenotype_table(PEOPLE)) == expected


def test_fewer_families_than_folds(study, tmp_path):
    known = phenotype_table(PEOPLE, family_id=["a", "a", "a", "b", "b", "b"])
    expected = "1 of 3 folds would be empty, because there are too few families"
    assert folds_of(study, stores(tmp_path / "v", PEOPLE), known) == expected


def test_two_studies_with_one_id_in_two_deliveries(study):
    settle_videos(study, "90", PEOPLE)
    settle_videos(study, "91", PEOPLE[:2])
    videos = artefacts.read(study.layout, "heart_videos", ["90", "91"])
    expected = "2 study id(s) of view 3ch are stored in more than one delivery: keep each study's zip in one delivery only"
    assert folds_of(study, videos, phenotype_table(PEOPLE)) == expected


def test_two_studies_with_one_id_in_one_delivery(study, cohort, tmp_path):
    """The second is rejected with a reason; the first is cleaned."""
    eid = next(eid for eid in cohort.participants if cohort.outcome(eid, "3ch") == cohort.outcome(eid, "4ch") == "usable")
    folder = study.settings.raw.heart / "90"
    folder.mkdir(parents=True)
    for name in (f"{eid}_20208_2_0.zip", f"{eid}_20208_2_00.zip"):
        shutil.copy2(cohort.folder / "heart" / eid[:2] / f"{eid}_20208_2_0.zip", folder / name)
    result = call(study, "heart_videos", "90")
    assert (result.metadata["found"], result.metadata["stored"], result.metadata["rejected"]) == (2, 1, 1)
    assert result.metadata["reasons"] == {"duplicate_study_id": 1}
    assert result.value.rejected["file_name"].tolist() == [f"{eid}_20208_2_00.zip"]
    assert eid not in json.dumps({name: str(value) for name, value in result.metadata.items()})


def test_folds_that_no_longer_fit_the_stored_assignment(study, tmp_path):
    videos, known = stores(tmp_path / "v", PEOPLE), phenotype_table(PEOPLE)
    path = study.layout.fold_assignments
    path.parent.mkdir(parents=True)
    path.write_text("participant_id,data_fold\n" + "".join(f"{eid},{k % 4}\n" for k, eid in enumerate(PEOPLE)))
    assert folds_of(study, videos, known) == (
        "the stored fold assignment does not have the 3 folds that the study asks for; nobody changes folds once given, so set folds.count "
        "back, or delete the assignment and everything trained on it"
    )


def test_upstream_that_was_never_made(study):
    with pytest.raises(ValueError) as refused:
        artefacts.read(study.layout, "heart_videos", [])
    assert str(refused.value) == "the heart_videos of any delivery are not there: materialise heart_videos for it first"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "participant_id,visit,oracle_age\n9000001,2,50\n9000001,2,51\n",
            "1 row(s) of ground_truth repeat the participant and visit of another",
        ),
        ("participant_id,visit,age\n9000001,2,50\n", "ground_truth lacks the column(s) oracle_age"),
        ("participant_id,visit,oracle_age\n9000901,2,50\n", "oracle all: there are no test predictions to score"),
    ],
    ids=["twice", "no column", "nobody"],
)
def test_a_ground_truth_that_does_not_fit(tmp_path, made, text, sentence):
    from heart_assets_tests.assets.test_ensembles import study_with_tests

    (tmp_path / "truth.csv").write_text(text)
    study = tiny_study(tmp_path, {"raw.ground_truth": "truth.csv"})
    assert failure_of(study, "scores", **study_with_tests(study)) == sentence
