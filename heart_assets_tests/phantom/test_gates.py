"""The gates: what makes `benchmark` worth its name, and `demo` easy."""

import pytest

from heart_assets.phantom.gates import cheap_baselines
from heart_assets.phantom.people import draw_people


def check_benchmark(found):
    assert found["oracle"] == pytest.approx(0.90, abs=0.03)
    assert found["simple_features"] < 0.5 * found["oracle"]
    assert found["single_frame"] < 0.75 * found["oracle"]
    assert abs(found["nuisances"]) < 0.05


def test_cheap_methods_fail_on_the_benchmark():
    check_benchmark(cheap_baselines(draw_people(200, 3, "benchmark"), "benchmark", frames=10, size_px=32, spacing_mm=6.0))


@pytest.mark.slow
def test_cheap_methods_fail_on_a_large_benchmark_at_finer_resolution():
    found = cheap_baselines(draw_people(1200, 3, "benchmark"), "benchmark", frames=16, size_px=48, spacing_mm=4.0)
    check_benchmark(found)
    assert found["simple_features"] > 0.1  # hard, not hopeless


def test_cheap_methods_do_well_on_the_demo():
    found = cheap_baselines(draw_people(120, 3, "demo"), "demo", frames=10, size_px=32, spacing_mm=6.0)
    assert found["simple_features"] > 0.6 * found["oracle"]
    assert found["single_frame"] < found["simple_features"]
    assert abs(found["nuisances"]) < 0.08
