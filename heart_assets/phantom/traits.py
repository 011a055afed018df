"""The latent traits through which age acts on the phantom's heart, and the best possible estimate of age from them.

What belongs here: which traits exist, how each depends on age and sex, how they are drawn, and the oracle. What does
not: what a trait does to the heart's shape (anatomy.py), and everything that does not depend on age (people.py).

A trait is z = loading * g(age, sex) + sqrt(1 - loading^2) * e, with e ~ N(0, 1) independent of everything, and g one of
`SHAPES`, standardised over the age prior and both sexes; its physical value is mean + scale * z. Since the e are
independent, the traits are independent given age and sex, so E[age | traits, sex] is an integral over the age prior
alone: the oracle computes it on a grid, exactly, and nothing is fitted.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

Difficulty = Literal["demo", "benchmark"]
DIFFICULTIES: tuple[Difficulty, ...] = ("demo", "benchmark")
AGE_LOW, AGE_HIGH, AGE_MEAN, AGE_SD = 45.0, 82.0, 64.0, 9.0  # years; the prior is this normal, cut off at both ends
GRID = np.linspace(AGE_LOW, AGE_HIGH, 371)

_centred = lambda age: (age - AGE_MEAN) / AGE_SD  # noqa: E731
# Each shape: age (years), male (0 or 1) -> unstandardised g. Static loss, late onset, early saturation, a turn, and sex differences.
SHAPES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "linear": lambda age, male: _centred(age),
    "late": lambda age, male: np.exp(0.05 * (age - AGE_MEAN)),
    "early": lambda age, male: -np.exp(-0.05 * (age - AGE_MEAN)),
    "threshold": lambda age, male: np.maximum(age - 58.0, 0.0),
    "turn": lambda age, male: -((_centred(age) - 1.0) ** 2),
    "male": lambda age, male: _centred(age) * np.where(male > 0, 1.3, 0.6),
    "female": lambda age, male: _centred(age) * np.where(male > 0, 0.6, 1.3),
    "menopause": lambda age, male: np.where(male > 0, _centred(age), 2.0 / (1.0 + np.exp(-(age - 56.0) / 3.0))),
}


@dataclass(frozen=True)
class Trait:
    """One latent trait: its physical mean and scale (per standard deviation), its dependence on age, and its loadings."""

    name: str
    static: bool  # visible in a single frame; otherwise only in motion or timing
    mean: float
    scale: float
    shape: str
    demo: float  # loading, signed
    benchmark: float


_STATIC = (
    # name, mean, scale, shape, loading in demo, in benchmark
    ("septal_wall_mm", 9.0, 1.0, "linear", 0.10, 0.44),
    ("lateral_wall_mm", 7.5, 0.8, "male", 0.10, 0.41),
    ("lv_radius_mm", 24.5, 1.7, "linear", -0.10, -0.39),
    ("lv_length_mm", 90.0, 4.0, "female", -0.10, -0.41),
    ("la_size_mm", 48.0, 4.0, "threshold", 0.62, 0.43),
    ("ra_size_mm", 50.0, 3.4, "late", 0.10, 0.37),
    ("rv_radius_mm", 40.0, 2.8, "early", -0.10, -0.37),
    ("aortic_root_mm", 31.0, 2.0, "male", 0.10, 0.47),
    ("epicardial_fat_mm", 4.0, 1.0, "menopause", 0.10, 0.41),
    ("valve_plane_tilt_deg", 2.0, 4.0, "linear", 0.10, 0.39),
    ("trabeculation_mm", 1.6, 0.45, "turn", -0.10, -0.37),
    ("myocardial_signal", 58.0, 8.0, "linear", 0.78, 0.39),
)
_MOTION = (
    ("radial_shortening", 0.32, 0.036, "linear", -0.90, -0.47),
    ("long_axis_excursion_mm", 14.0, 2.2, "early", -0.76, -0.47),
    ("systole_end", 0.36, 0.025, "linear", 0.10, 0.47),
    ("ejection_skew", 1.0, 0.18, "late", 0.10, 0.45),
    ("relaxation_delay", 0.05, 0.014, "female", 0.10, 0.47),
    ("early_filling_share", 0.66, 0.09, "linear", -0.50, -0.47),
    ("early_filling_time", 0.17, 0.025, "threshold", 0.10, 0.46),
    ("atrial_kick_onset", 0.79, 0.018, "male", -0.10, -0.47),
    ("septal_delay", 0.0, 0.022, "late", 0.10, 0.44),
    ("longitudinal_delay", 0.0, 0.020, "linear", 0.10, 0.47),
    ("excursion_tilt", 0.0, 0.16, "menopause", 0.10, 0.46),
    ("septal_thickening", 0.40, 0.09, "linear", -0.10, -0.47),
    ("lateral_thickening", 0.55, 0.11, "early", -0.10, -0.45),
    ("base_apex_gradient", 0.0, 0.25, "male", 0.10, 0.47),
    ("apex_rocking_mm", 0.0, 1.8, "turn", 0.10, 0.42),
    ("bulk_motion_mm", 3.0, 1.3, "linear", -0.10, -0.46),
    ("rv_excursion_mm", 20.0, 3.0, "linear", -0.10, -0.47),
    ("rv_shortening", 0.26, 0.05, "late", -0.10, -0.42),
    ("la_reservoir", 0.17, 0.045, "linear", -0.10, -0.47),
    ("la_kick", 0.11, 0.035, "turn", 0.10, 0.44),
    ("ra_reservoir", 0.14, 0.04, "female", -0.10, -0.46),
    ("aortic_distension", 0.12, 0.035, "early", -0.10, -0.47),
    ("aortic_pulse_peak", 0.20, 0.03, "linear", -0.10, -0.47),
    ("leaflet_opening", 1.0, 0.14, "late", -0.10, -0.44),
)
TRAITS: tuple[Trait, ...] = tuple(
    Trait(name, static, mean, scale, shape, demo, benchmark)
    for static, rows in ((True, _STATIC), (False, _MOTION))
    for name, mean, scale, shape, demo, benchmark in rows
)
NAMES = tuple(trait.name for trait in TRAITS)


def age_density() -> np.ndarray:
    """Prior probability of each age of `GRID`, (371,) float64, summing to 1; the same for both sexes."""
    density = np.exp(-0.5 * _centred(GRID) ** 2)
    return density / density.sum()


def draw_ages(count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` ages from the prior, in years, by inverting its distribution function."""
    return np.interp(rng.random(count), np.cumsum(age_density()), GRID)


@cache
def _moments(shape: str) -> tuple[float, float]:
    values = np.stack([SHAPES[shape](GRID, np.full_like(GRID, male)) for male in (0.0, 1.0)])
    weights = age_density() / 2
    mean = float((values * weights).sum())
    return mean, float(np.sqrt(((values - mean) ** 2 * weights).sum()))


def expected_scores(ages: np.ndarray, male: np.ndarray, difficulty: Difficulty) -> np.ndarray:
    """E[z | age, sex]: (n, number of traits) float64, in the order of `TRAITS`."""
    columns = []
    for trait in TRAITS:
        mean, sd = _moments(trait.shape)
        columns.append(getattr(trait, difficulty) * (SHAPES[trait.shape](ages, male) - mean) / sd)
    return np.stack(columns, axis=1)


def noise_sd(difficulty: Difficulty) -> np.ndarray:
    """Standard deviation of each trait's score given age and sex, (number of traits,)."""
    return np.sqrt(1 - np.array([getattr(trait, difficulty) for trait in TRAITS]) ** 2)


def draw_scores(ages: np.ndarray, male: np.ndarray, difficulty: Difficulty, rng: np.random.Generator) -> np.ndarray:
    """Traits of people of given ages (years) and sexes (1 male): standardised scores, (n, number of traits) float64."""
    mean = expected_scores(ages, male, difficulty)
    return mean + noise_sd(difficulty) * rng.standard_normal(mean.shape)


def oracle_age(scores: np.ndarray, male: np.ndarray, difficulty: Difficulty, subset: np.ndarray | None = None) -> np.ndarray:
    """E[age | traits, sex] in years, (n,), by Bayes' rule on `GRID`: the best any model could do on the traits.

    Args:
        scores: (n, number of traits) as from `draw_scores`.
        male: (n,) 1 male, 0 female.
        subset: boolean mask over traits that the estimate may use; default all.
    """
    used = np.ones(len(TRAITS), bool) if subset is None else np.asarray(subset, bool)
    sd = noise_sd(difficulty)[used]
    ages = np.empty(len(scores))
    for sex in (0, 1):
        rows = np.flatnonzero(np.asarray(male) == sex)
        expected = expected_scores(GRID, np.full_like(GRID, sex), difficulty)[:, used] / sd
        seen = scores[rows][:, used] / sd
        # -|seen - expected|^2 / 2 without its term in `seen` alone, which does not depend on age
        log_posterior = seen @ expected.T - 0.5 * (expected**2).sum(axis=1) + np.log(age_density())
        posterior = np.exp(log_posterior - log_posterior.max(axis=1, keepdims=True))
        ages[rows] = posterior @ GRID / posterior.sum(axis=1)
    return ages


def r_squared(truth: np.ndarray, estimate: np.ndarray) -> float:
    """1 - squared error / variance."""
    return float(1 - np.mean((truth - estimate) ** 2) / np.var(truth))


@cache
def expected_oracle_r2(difficulty: Difficulty, static_only: bool = False, draws: int = 20_000) -> float:
    """R2 of the oracle over a large fixed random population (its Monte Carlo error is about 0.001)."""
    rng = np.random.default_rng(2020)
    ages = draw_ages(draws, rng)
    male = rng.integers(0, 2, draws)
    scores = draw_scores(ages, male, difficulty, rng)
    subset = np.array([trait.static for trait in TRAITS]) if static_only else None
    return r_squared(ages, oracle_age(scores, male, difficulty, subset))


def physical_values(scores: np.ndarray, difficulty: Difficulty) -> dict[str, float]:
    """Physical values, by trait name, of one person's scores (number of traits,).

    In `demo` the few strong traits vary twice as much as in life, and the others a third as much, so that the former stand out.
    """
    return {
        trait.name: trait.mean + trait.scale * _contrast(trait, difficulty) * float(score)
        for trait, score in zip(TRAITS, scores, strict=True)
    }


def _contrast(trait: Trait, difficulty: Difficulty) -> float:
    if difficulty == "benchmark":
        return 1.0
    return 2.0 if abs(trait.demo) > 0.2 else 0.35


def neutral_values() -> Mapping[str, float]:
    """Every trait at its mean."""
    return {trait.name: trait.mean for trait in TRAITS}
