"""The IO manager as Dagster calls it: provenance in the metadata, files on disk, upstream values sorted, refusals in a sentence."""

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from heart_assets.artefacts import parts_of
from heart_assets.io_managers import StudyIOManager
from heart_assets.ledger import Study
from heart_assets.partitions import BY_PARTITION, everything, same_fold, view_by_fold
from heart_assets.provenance import Inputs, Record, as_json, read_record
from heart_assets_tests.tiny import delivery_of, ids, model, phenotype_table, prediction_table, split_table, tiny_study, video_of


@pytest.fixture
def study(tmp_path) -> Study:
    return tiny_study(tmp_path)


def save(study: Study, asset: str, partition: str, value: object) -> None:
    """What Dagster does with an output."""
    record = Record(asset, partition, Inputs({}, "", "1"), parts_of(asset, value))
    metadata = {"provenance": dg.MetadataValue.json(as_json(record))}
    context = dg.build_output_context(asset_key=dg.AssetKey(asset), partition_key=partition or None, output_metadata=metadata)
    StudyIOManager(study).handle_output(context, value)
    assert read_record(study.layout.record(asset, partition)) == record


def load(study: Study, asset: str, partitions: list[str] | None = None, by_partition: bool = False) -> object:
    """What Dagster does for an input; the keys reach the manager in the order given."""
    context = dg.build_input_context(
        asset_key=dg.AssetKey(asset),
        asset_partition_key_range=dg.PartitionKeyRange(partitions[0], partitions[-1]) if partitions else None,
        asset_partitions_def=dg.StaticPartitionsDefinition(partitions) if partitions else None,
        definition_metadata={BY_PARTITION: by_partition},
    )
    return StudyIOManager(study).load_input(context)


def test_a_table_without_partitions(study):
    save(study, "phenotypes", "", phenotype_table(ids(3)))
    pd.testing.assert_frame_equal(load(study, "phenotypes"), phenotype_table(ids(3)), check_exact=True)


def test_one_partition_comes_bare_or_by_partition_as_declared(study):
    save(study, "fold_split", "1", split_table(ids(3), 1))
    pd.testing.assert_frame_equal(load(study, "fold_split", ["1"]), split_table(ids(3), 1), check_exact=True)
    assert list(load(study, "fold_split", ["1"], by_partition=True)) == ["1"]


def test_several_partitions_arrive_sorted(study):
    tables = {split: prediction_table(ids(2)) for split in ("train", "val", "test")}
    for key in ("0|3ch", "0|4ch", "1|3ch"):
        save(study, "predictions", key, tables)
    found = load(study, "predictions", ["1|3ch", "0|4ch", "0|3ch"], by_partition=True)
    assert list(found) == ["0|3ch", "0|4ch", "1|3ch"] and list(found["0|4ch"]) == ["train", "val", "test"]
    pd.testing.assert_frame_equal(found["1|3ch"]["val"], tables["val"], check_exact=True)


def test_a_model(study):
    save(study, "trained_model", "1|4ch", model(0.5))
    found = load(study, "trained_model", ["1|4ch"])
    assert found.weights["w"].tobytes() == model(0.5).weights["w"].tobytes() and found.card == model(0.5).card


def test_videos_are_one_store_per_view_for_one_delivery_or_several(study):
    save(study, "heart_videos", "91", delivery_of(study, ids(1, 9_000_101)))
    assert {view: len(store) for view, store in load(study, "heart_videos", ["91"]).items()} == {"3ch": 1, "4ch": 1}
    save(study, "heart_videos", "90", delivery_of(study, ids(2)))
    stores = load(study, "heart_videos", ["91", "90"])
    assert stores["3ch"].columns["participant_id"].tolist() == ["9000001", "9000002", "9000101"]
    np.testing.assert_array_equal(stores["4ch"].read(np.array([2]))[0], video_of("9000101"))


def test_a_missing_upstream_is_a_failure_of_one_sentence(study):
    with pytest.raises(dg.Failure) as failure:
        load(study, "fold_split", ["0", "1"], by_partition=True)
    assert failure.value.description == "Fold0.csv is missing from folds/: materialise the asset that makes it"
    assert failure.value.allow_retries is False


def test_nothing_is_written_again_under_the_same_record(study):
    save(study, "fold_split", "1", split_table(ids(3), 1))
    paths = [study.layout.fold_split("1"), study.layout.record("fold_split", "1")]
    before = [path.stat().st_mtime_ns for path in paths]
    save(study, "fold_split", "1", split_table(ids(3), 1))
    assert [path.stat().st_mtime_ns for path in paths] == before


def test_mappings_bring_each_fold_what_belongs_to_it(study):
    """A toy graph with the study's partitions, mappings and names, run by Dagster in this process."""
    seen: dict[str, list] = {}

    def result(context: dg.AssetExecutionContext, value: object) -> dg.MaterializeResult:
        asset = context.asset_key.path[-1]
        record = Record(asset, str(context.partition_key), Inputs({}, "", "1"), parts_of(asset, value))
        return dg.MaterializeResult(value=value, metadata={"provenance": dg.MetadataValue.json(as_json(record))})

    folds = dg.StaticPartitionsDefinition(study.folds)

    @dg.asset(partitions_def=folds, dagster_type=dg.Any)
    def fold_split(context):
        return result(context, split_table(ids(3), int(context.partition_key)))

    @dg.asset(partitions_def=view_by_fold(study.settings), ins={"fold_split": same_fold()}, dagster_type=dg.Any)
    def predictions(context, fold_split):
        val = fold_split.loc[fold_split["split"] == "val", "participant_id"].tolist()
        return result(context, {split: prediction_table(val) for split in ("train", "val", "test")})

    @dg.asset(partitions_def=folds, ins={"predictions": same_fold(by_partition=True)}, dagster_type=dg.Any)
    def ensemble_predictions(context, predictions):
        seen[context.partition_key] = [(key, tables["val"]["participant_id"].tolist()) for key, tables in predictions.items()]
        tables = predictions[f"{context.partition_key}|3ch"]
        return result(context, {"val": tables["val"], "test": tables["test"], "weights": pd.DataFrame({"view": ["3ch"]})})

    @dg.asset(ins={"ensemble_predictions": everything(by_partition=True)}, io_manager_key="plain")
    def scores(ensemble_predictions):
        seen["all"] = list(ensemble_predictions)

    manager = dg.IOManagerDefinition.hardcoded_io_manager(StudyIOManager(study))
    resources = {"io_manager": manager, "plain": dg.mem_io_manager}
    assets = [fold_split, predictions, ensemble_predictions, scores]
    with dg.DagsterInstance.ephemeral() as instance:

        def run(asset: str, partition: str | None = None) -> None:
            dg.materialize(assets, selection=[asset], partition_key=partition, resources=resources, instance=instance)

        for fold in study.folds:
            run("fold_split", fold)
        for key in study.view_folds:
            run("predictions", key)
        for fold in reversed(study.folds):
            run("ensemble_predictions", fold)
        run("scores")
    # participant k lies in data fold k, and model k validates on it
    assert seen == {
        **{k: [(f"{k}|3ch", [f"900000{int(k) + 1}"]), (f"{k}|4ch", [f"900000{int(k) + 1}"])] for k in "012"},
        "all": ["0", "1", "2"],
    }
