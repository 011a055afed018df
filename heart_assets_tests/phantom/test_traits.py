"""The law of the traits and the oracle."""

import numpy as np
import pytest

from heart_assets.phantom.traits import (
    AGE_HIGH,
    AGE_LOW,
    DIFFICULTIES,
    GRID,
    NAMES,
    SHAPES,
    TRAITS,
    Trait,
    age_density,
    draw_ages,
    draw_scores,
    expected_oracle_r2,
    expected_scores,
    neutral_values,
    noise_sd,
    oracle_age,
    physical_values,
    r_squared,
)


def population(difficulty, count=20_000, seed=1):
    rng = np.random.default_rng(seed)
    ages, male = draw_ages(count, rng), rng.integers(0, 2, count)
    return ages, male, draw_scores(ages, male, difficulty, rng)


def test_there_are_enough_traits_and_most_are_in_motion():
    assert len(TRAITS) >= 20 and len(set(NAMES)) == len(TRAITS)
    assert sum(not trait.static for trait in TRAITS) > sum(trait.static for trait in TRAITS)
    assert {trait.shape for trait in TRAITS} == set(SHAPES)  # non-linear ones and sex differences are in use


def test_ages_follow_the_prior():
    ages = draw_ages(50_000, np.random.default_rng(0))
    assert ages.min() >= AGE_LOW and ages.max() <= AGE_HIGH
    assert ages.mean() == pytest.approx((GRID * age_density()).sum(), abs=0.15)


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_scores_are_standardised_and_independent_given_age_and_sex(difficulty):
    ages, male, scores = population(difficulty)
    assert np.abs(scores.mean(axis=0)).max() < 0.04
    assert scores.std(axis=0) == pytest.approx(np.ones(len(TRAITS)), abs=0.03)
    noise = (scores - expected_scores(ages, male, difficulty)) / noise_sd(difficulty)
    correlations = np.corrcoef(noise.T) - np.eye(len(TRAITS))
    assert np.abs(correlations).max() < 0.035


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_the_oracle_reaches_0_90_and_static_traits_0_70(difficulty):
    assert expected_oracle_r2(difficulty) == pytest.approx(0.90, abs=0.01)
    assert expected_oracle_r2(difficulty, static_only=True) == pytest.approx(0.70, abs=0.02)


def test_no_trait_of_the_benchmark_correlates_above_one_half_with_age():
    ages, _, scores = population("benchmark", 50_000)
    correlations = [abs(np.corrcoef(ages, column)[0, 1]) for column in scores.T]
    assert min(correlations) > 0.25 and max(correlations) < 0.5


def test_a_few_traits_carry_the_demo():
    strong = [trait for trait in TRAITS if abs(trait.demo) > 0.2]
    assert 3 <= len(strong) <= 7
    ages, male, scores = population("demo")
    only_strong = np.array([trait in strong for trait in TRAITS])
    assert r_squared(ages, oracle_age(scores, male, "demo", only_strong)) > 0.85


def test_the_oracle_beats_a_fitted_line_and_is_unbiased():
    ages, male, scores = population("benchmark")
    design = np.c_[scores, male, np.ones(len(ages))]
    line = design @ np.linalg.lstsq(design, ages, rcond=None)[0]
    oracle = oracle_age(scores, male, "benchmark")
    assert r_squared(ages, oracle) > r_squared(ages, line)
    assert np.polyfit(oracle, ages, 1) == pytest.approx([1.0, 0.0], abs=0.7)  # E[age | oracle] = oracle


def test_the_oracle_is_bayes_rule_for_one_linear_trait(monkeypatch):
    """With one linear trait, E[age | z] is that of a normal cut off at both ends, here integrated by hand."""
    from heart_assets.phantom import traits

    monkeypatch.setattr(traits, "TRAITS", (Trait("x", True, 0.0, 1.0, "linear", 0.6, 0.6),))
    score = np.array([[0.8]])
    mean = expected_scores(GRID, np.ones_like(GRID), "demo")[:, 0]
    likelihood = np.exp(-0.5 * ((0.8 - mean) / 0.8) ** 2)
    by_hand = (GRID * likelihood * age_density()).sum() / (likelihood * age_density()).sum()
    assert oracle_age(score, np.array([1]), "demo")[0] == pytest.approx(by_hand, abs=1e-9)


def test_without_traits_the_oracle_knows_the_prior_alone():
    _, male, scores = population("demo", 10)
    assert oracle_age(scores, male, "demo", np.zeros(len(TRAITS), bool)) == pytest.approx((GRID * age_density()).sum())


def test_physical_values_are_means_and_scales():
    zero, one = np.zeros(len(TRAITS)), np.ones(len(TRAITS))
    assert physical_values(zero, "demo") == dict(neutral_values()) == {trait.name: trait.mean for trait in TRAITS}
    assert physical_values(one, "benchmark") == {trait.name: pytest.approx(trait.mean + trait.scale) for trait in TRAITS}
    demo = physical_values(one, "demo")
    assert demo["radial_shortening"] - neutral_values()["radial_shortening"] == pytest.approx(2 * 0.036)  # strong: twice
    assert demo["ra_size_mm"] - neutral_values()["ra_size_mm"] == pytest.approx(0.35 * 3.4)  # weak: a third
