"""The phantom's people: who they are, and everything about them and their scan that does not depend on age.

What belongs here: ids, dates, sex, ages consistent with the dates, and nuisances drawn independently of age. What does
not: the traits' law (traits.py) and what a nuisance does to an image (scanner.py).
"""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from heart_assets.phantom.traits import AGE_HIGH, AGE_LOW, Difficulty, draw_ages, draw_scores, physical_values

FIRST_ID = 9_000_000  # beyond every UK Biobank id
DELIVERIES = 3  # two-digit prefixes, 90 and up, that ids are spread over
DAYS_PER_YEAR = 365.25


@dataclass(frozen=True)
class Scan:
    """Nuisances of one study, all independent of age. Lengths mm, angles degrees, times ms."""

    rr_ms: float
    size: float  # factor on all lengths of the heart (sex and body size)
    girth: float
    skin_fat_mm: float
    liver_dome_mm: float  # breath-hold position: diaphragm up
    heart_shift_mm: tuple[float, float, float]  # breath-hold position of the heart in the patient, LPS
    trigger_delay: float  # how late after the R wave frame 0 is taken, cycles
    axis_deg: dict[str, float]  # in-plane angle of the heart's long axis, per view
    cut: dict[str, tuple[float, float]]  # how an oblique cut widens and lengthens the heart, per view: factors
    tilt_deg: dict[str, tuple[float, float, float]]  # tilt of the plane about its row and column, and rotation in the plane
    swapped: dict[str, bool]  # rows and columns exchanged
    field_shift_mm: dict[str, tuple[float, float]]  # image centre off the heart
    shading: tuple[float, float, float]  # coil: gradient along rows, along columns, and curvature, per 150 mm
    level: float  # grey value of blood in the stored image
    noise: float  # standard deviation as a share of blood
    jet: float  # strength of the flow jets
    inflow: tuple[float, ...]  # relative change of blood's signal over the beat: cosine and sine of its first three harmonics
    texture_seed: int


@dataclass(frozen=True)
class Person:
    """One participant at the imaging visit."""

    eid: str
    male: int
    birth_year: int
    birth_month: int
    visit_date: date
    age: float  # years, exactly (visit_date - day 15 of the birth month) / 365.25
    scores: np.ndarray  # standardised traits, in the order of traits.TRAITS
    traits: dict[str, float]  # their physical values
    scan: Scan
    seed: int  # of everything else that is random about this person's study

    @property
    def delivery(self) -> str:
        return self.eid[:2]


def exact_age(birth_year: int, birth_month: int, visit_date: date) -> float:
    """Years of 365.25 days from day 15 of the birth month to the visit."""
    return (visit_date - date(birth_year, birth_month, 15)).days / DAYS_PER_YEAR


def _born(age: float, visit_date: date) -> tuple[int, int]:
    """Year and month of birth whose day 15 gives the age nearest to `age` within the prior's range."""
    birthday = visit_date - timedelta(days=age * DAYS_PER_YEAR)
    months = birthday.year * 12 + birthday.month - 1
    candidates = [((months + step) // 12, (months + step) % 12 + 1) for step in (-1, 0, 1)]
    allowed = [c for c in candidates if AGE_LOW <= exact_age(c[0], c[1], visit_date) <= AGE_HIGH]
    return min(allowed, key=lambda c: abs(exact_age(c[0], c[1], visit_date) - age))


def draw_scan(male: int, difficulty: Difficulty, rng: np.random.Generator) -> Scan:
    """Nuisances of one study; those of `demo` are milder."""
    mild = 0.3 if difficulty == "demo" else 1.0

    def normal(sd: float) -> float:
        return float(rng.standard_normal() * sd * mild)

    views = ("2ch", "3ch", "4ch")
    turn = {view: normal(3.0) + (rng.uniform(-35, 35) if rng.random() < 0.1 else 0.0) for view in views}
    return Scan(
        rr_ms=float(np.clip(950 + 130 * rng.standard_normal(), 620, 1400)),
        size=(1.10 if male else 1.03) * float(np.exp(normal(0.05))),
        girth=float(np.clip(1 + 0.05 * rng.standard_normal(), 0.9, 1.12)),
        skin_fat_mm=float(np.clip(16 + 6 * rng.standard_normal(), 6, 32)),
        liver_dome_mm=float(8 * rng.standard_normal()),
        heart_shift_mm=(normal(5.0), normal(5.0), normal(5.0)),
        trigger_delay=normal(0.03),
        axis_deg={view: normal(8.0) for view in views},
        cut={view: (float(np.exp(normal(0.05))), float(np.exp(normal(0.05)))) for view in views},
        tilt_deg={view: (normal(3.0), normal(3.0), turn[view]) for view in views},
        swapped={view: bool(rng.random() < 0.3) for view in views},
        field_shift_mm={view: (normal(10.0), normal(10.0)) for view in views},
        shading=(normal(0.25), normal(0.25), float(rng.uniform(0.0, 0.25))),
        level=float(np.exp(rng.normal(np.log(320), 0.25))),
        noise=float(rng.uniform(0.015, 0.03 if difficulty == "demo" else 0.045)),
        jet=float(rng.uniform(0, 0.5) * mild),
        inflow=tuple(normal(0.02) for _ in range(6)),
        texture_seed=int(rng.integers(2**31)),
    )


def draw_people(count: int, seed: int, difficulty: Difficulty) -> list[Person]:
    """The cohort, in the order of the ids. The same seed gives the same people; person k does not depend on `count`.

    Raises:
        ValueError: if `count` is not between 1 and 30,000.
    """
    if not 1 <= count <= 30_000:
        raise ValueError(f"the phantom makes between 1 and 30,000 participants, not {count}")
    people = [_draw_person(index, seed, difficulty) for index in range(count)]
    return sorted(people, key=lambda person: person.eid)


def _draw_person(index: int, seed: int, difficulty: Difficulty) -> Person:
    rng = np.random.default_rng([seed, index])
    male = int(rng.integers(0, 2))
    visit_date = date(2015, 1, 5) + timedelta(days=int(rng.integers(0, 5 * 365)))
    year, month = _born(float(draw_ages(1, rng)[0]), visit_date)
    age = exact_age(year, month, visit_date)
    scores = draw_scores(np.array([age]), np.array([male]), difficulty, rng)[0]
    number = (index // DELIVERIES * 7919 + seed * 131 + 1234) % 99_991  # a prime: no number comes twice
    eid = str(FIRST_ID + index % DELIVERIES * 100_000 + number)
    scan = draw_scan(male, difficulty, rng)
    return Person(eid, male, year, month, visit_date, age, scores, physical_values(scores, difficulty), scan, int(rng.integers(2**31)))
