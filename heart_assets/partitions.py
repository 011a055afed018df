"""The partitions of the assets, and how they map to each other. Definitions only."""

import dagster as dg

from heart_assets.settings import StudySettings

HEART_DELIVERIES = dg.DynamicPartitionsDefinition(name="heart_deliveries")
LIVER_DELIVERIES = dg.DynamicPartitionsDefinition(name="liver_deliveries")

BY_PARTITION = "by_partition"


def folds(settings: StudySettings) -> dg.StaticPartitionsDefinition:
    """One partition per model of a view: "0", "1", ..."""
    return dg.StaticPartitionsDefinition([str(k) for k in range(settings.folds.count)])


def view_by_fold(settings: StudySettings) -> dg.MultiPartitionsDefinition:
    """One partition per trained model; its key reads `fold|view`, since Dagster orders dimensions by name."""
    return dg.MultiPartitionsDefinition({"view": dg.StaticPartitionsDefinition(list(settings.views)), "fold": folds(settings)})


def everything(*, by_partition: bool = False) -> dg.AssetIn:
    """An input that holds every partition of the upstream asset, if asked as a dict by partition key."""
    return dg.AssetIn(partition_mapping=dg.AllPartitionMapping(), metadata={BY_PARTITION: by_partition})


def same_fold(*, by_partition: bool = False) -> dg.AssetIn:
    """An input of the same fold: one fold's split for a view x fold, or both views of one fold for that fold's ensemble."""
    mapping = dg.MultiToSingleDimensionPartitionMapping(partition_dimension_name="fold")
    return dg.AssetIn(partition_mapping=mapping, metadata={BY_PARTITION: by_partition})
