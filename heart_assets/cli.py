"""The command line: make a phantom, materialise a study, open its web UI. Arguments and printing only."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from heart_assets.errors import StudyError
from heart_assets.settings import load_settings, study_file

TABLE_COLUMNS = ["model", "view", "n", "r2", "r2_se", "rmse", "mae", "pearson_r"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; errors that a user can put right become one sentence and exit code 1."""
    options = _parser().parse_args(arguments)
    try:
        return options.command(options)
    except StudyError as error:
        print(f"heart-assets: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("heart-assets: interrupted; what was finished is kept", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="heart-assets", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")

    phantom = commands.add_parser("phantom", help="write a synthetic cohort: DICOM zips, phenotypes, ground truth")
    phantom.add_argument("--out", type=Path, required=True, help="output folder")
    phantom.add_argument("--participants", type=int, default=200)
    phantom.add_argument("--seed", type=int, default=2020)
    phantom.add_argument("--difficulty", choices=("demo", "benchmark"), default="demo")
    phantom.add_argument("--defect-rate", type=float, default=0.05, help="share of studies with a planted defect")
    phantom.set_defaults(command=_phantom)

    for name, command, text in (
        ("materialise", _materialise, "materialise whatever of a study does not hold, through Dagster runs"),
        ("ui", _ui, "open a study's web UI (dagster dev, on this machine only)"),
    ):
        one = commands.add_parser(name, help=text)
        one.add_argument("--study", type=Path, default=None, help="study file; default: $HEART_ASSETS_STUDY, else study.toml")
        one.set_defaults(command=command)
    one.add_argument("--port", type=int, default=3000)
    return parser


def _phantom(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from heart_assets.executor import available_cores
    from heart_assets.phantom import generate_cohort

    with tqdm(total=options.participants, unit="participant", desc="phantom") as bar:
        try:
            generate_cohort(
                options.out,
                options.participants,
                options.seed,
                options.difficulty,
                options.defect_rate,
                workers=available_cores(),
                progress=lambda done, _: bar.update(done - bar.n),
            )
        except (ValueError, OSError) as error:
            raise StudyError(str(error)) from None
    return 0


def _materialise(options: argparse.Namespace) -> int:
    path = (options.study or study_file()).resolve()
    settings = load_settings(path)

    import dagster as dg

    from heart_assets.compute import runs_at_once
    from heart_assets.home import prepare_home, prepare_instance
    from heart_assets.ledger import Study
    from heart_assets.materialise import materialise

    prepare_home(settings, path)
    study = Study(settings)
    with dg.DagsterInstance.get() as instance:
        prepare_instance(instance, study)
        summary = materialise(study, instance, processes=runs_at_once(study.settings.compute))
    for failure in summary.failures:
        print(failure, file=sys.stderr)
    print(f"{summary.made} runs made, {summary.kept} partitions held already.")
    if summary.failures:
        return 1
    _print_results(study)
    print("To see it all in the web UI: make ui" + (f" STUDY={os.path.relpath(path)}" if options.study else ""))
    return 0


def _print_results(study) -> None:
    from heart_assets.tables import read_table

    if study.settings.models_from is not None:
        print(f"Predictions: {os.path.relpath(study.layout.applied_predictions)}")
        return
    table = read_table(study.layout.scores)
    pooled = table[table["fold"] == "pooled"][TABLE_COLUMNS]
    print(f"\nTest scores, pooled over folds ({os.path.relpath(study.layout.scores)}):")
    print(pooled.to_string(index=False, float_format="%.3f"))


def _ui(options: argparse.Namespace) -> int:
    path = (options.study or study_file()).resolve()
    settings = load_settings(path)

    import dagster as dg

    from heart_assets.compute import pool_limits
    from heart_assets.executor import set_pool_limits
    from heart_assets.home import WORKSPACE, hold_ui, prepare_home

    hold_ui(prepare_home(settings, path))
    with dg.DagsterInstance.get() as instance:
        set_pool_limits(instance, pool_limits(settings.compute))
    command = [sys.executable, "-m", "dagster", "dev", "-w", str(WORKSPACE), "-h", "127.0.0.1", "-p", str(options.port)]
    os.execv(sys.executable, command)


if __name__ == "__main__":
    sys.exit(main())
