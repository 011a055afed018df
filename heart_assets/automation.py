"""The one condition under which cheap downstream assets are made again by themselves."""

import dagster as dg

# Eager, but fired by a changed data version: a rerun that gives the same data starts nothing. A failing blocking check
# of a dependency holds it back until a later run of that dependency passes.
WHEN_INPUTS_CHANGE = (
    dg.AutomationCondition.eager().replace(
        "any_deps_updated",
        dg.AutomationCondition.any_deps_updated().replace("newly_updated", dg.AutomationCondition.data_version_changed()),
    )
    & dg.AutomationCondition.all_deps_blocking_checks_passed()
).with_label("when inputs change")
