"""From ages and predictions to folds, ensembles and scores, in numpy, pandas and SciPy.

What belongs in this room: phenotypes, splits, ensembles, metrics and their errors, and the counts behind checks. What does not: Dagster,
torch, DICOM, files other than phenotype tables, pictures.
"""

from heart_assets.statistics.checks import (
    CheckCounts,
    ensemble_complete,
    every_participant_tested_once,
    folds_stable,
    phenotypes_plausible,
    study_once_per_split,
)
from heart_assets.statistics.ensembles import EnsembleError, EnsembleWeights, PatternWeights, apply_ensemble, fit_ensemble
from heart_assets.statistics.fields import PhenotypeError
from heart_assets.statistics.metrics import regression_scores
from heart_assets.statistics.phenotypes import PhenotypeTable, from_demographics, read_phenotypes, read_withdrawn
from heart_assets.statistics.scores import ScoreError, scores_table
from heart_assets.statistics.splits import LeakError, SplitError, assign_folds, check_no_leak, split_of_fold

__all__ = [
    "CheckCounts",
    "EnsembleError",
    "EnsembleWeights",
    "LeakError",
    "PatternWeights",
    "PhenotypeError",
    "PhenotypeTable",
    "ScoreError",
    "SplitError",
    "apply_ensemble",
    "assign_folds",
    "check_no_leak",
    "ensemble_complete",
    "every_participant_tested_once",
    "fit_ensemble",
    "folds_stable",
    "from_demographics",
    "phenotypes_plausible",
    "read_phenotypes",
    "read_withdrawn",
    "regression_scores",
    "scores_table",
    "split_of_fold",
    "study_once_per_split",
]
