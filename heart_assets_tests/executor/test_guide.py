"""What docs/running-on-gpus.md says of the executor is so: its example loads, its table has every field of the config."""

import re

from dagster import Definitions

from heart_assets.executor import build_gpu_executor
from heart_assets.executor.declare import GPUS_TAG, SLURM_TAG
from heart_assets_tests.executor.conftest import PROJECT

GUIDE = (PROJECT / "docs" / "running-on-gpus.md").read_text()


def test_the_table_has_every_field() -> None:
    (table,) = re.findall(r"\| field \|.*?\n\n", GUIDE, re.DOTALL)
    named = {name for row in table.strip().splitlines()[2:] for name in re.findall(r"`([a-z_.]+)`", row.split("|")[1])}
    schema = build_gpu_executor().config_schema.config_type.fields  # type: ignore[union-attr]
    assert {name.removeprefix("slurm.") for name in named} == {*schema, *schema["slurm"].config_type.fields} - {"slurm"}


def test_the_example_loads() -> None:
    (example,) = re.findall(r"```python\n(import dagster.*?)```", GUIDE, re.DOTALL)
    names: dict[str, object] = {}
    exec(example, names)
    assert isinstance(names["defs"], Definitions)
    tags = {name: names[name].op.tags for name in ("model", "features")}  # type: ignore[attr-defined]
    assert [set(tags[name]) for name in ("model", "features")] == [{GPUS_TAG, SLURM_TAG}, {SLURM_TAG}]
