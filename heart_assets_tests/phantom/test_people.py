"""Who the phantom's people are: ids, dates, nuisances."""

from dataclasses import asdict, replace
from datetime import date

import numpy as np
import pytest

from heart_assets.phantom.gates import _numbers
from heart_assets.phantom.people import _born, draw_people, exact_age
from heart_assets.phantom.traits import AGE_HIGH, AGE_LOW


@pytest.fixture(scope="module")
def people():
    return draw_people(900, 3, "benchmark")


def test_ids_are_unique_seven_digits_beyond_uk_biobanks_and_in_three_deliveries(people):
    ids = [int(person.eid) for person in people]
    assert len(set(ids)) == 900 and min(ids) >= 9_000_000 and max(ids) <= 9_999_999
    assert ids == sorted(ids)
    assert {person.delivery: sum(p.delivery == person.delivery for p in people) for person in people} == {"90": 300, "91": 300, "92": 300}


def test_age_is_exactly_that_of_the_dates(people):
    for person in people[:200]:
        days = (person.visit_date - date(person.birth_year, person.birth_month, 15)).days
        assert person.age == days / 365.25
        assert AGE_LOW <= person.age <= AGE_HIGH


def test_births_are_within_half_a_month_of_the_age_asked_for_except_at_the_ends():
    for age in np.linspace(46, 81, 71):
        assert exact_age(*_born(age, date(2016, 2, 29)), date(2016, 2, 29)) == pytest.approx(age, abs=0.045)
    assert exact_age(*_born(AGE_LOW, date(2016, 2, 29)), date(2016, 2, 29)) == pytest.approx(AGE_LOW, abs=0.09)


def test_a_person_depends_on_seed_and_number_alone(people):
    few = {person.eid: person for person in draw_people(30, 3, "benchmark")}
    many = {person.eid: person for person in people}
    for eid, person in few.items():
        assert replace(person, scores=0) == replace(many[eid], scores=0)
        assert np.array_equal(person.scores, many[eid].scores)
    assert {person.seed for person in draw_people(30, 4, "benchmark")}.isdisjoint(person.seed for person in people)


def test_nuisances_do_not_depend_on_age(people):
    ages = np.array([person.age for person in people])
    numbers = np.array([_numbers(asdict(person.scan)) for person in people])
    correlations = [np.corrcoef(ages, column)[0, 1] for column in numbers.T]
    assert np.abs(correlations).max() < 0.11  # 3.3 standard errors of 900


def test_planes_vary(people):
    swapped = [person.scan.swapped["4ch"] for person in people]
    assert 0.2 < np.mean(swapped) < 0.4
    turned = [abs(person.scan.tilt_deg["3ch"][2]) > 12 for person in people]
    assert 0.02 < np.mean(turned) < 0.12


@pytest.mark.parametrize("count", [0, 30_001])
def test_absurd_counts_are_refused(count):
    with pytest.raises(ValueError, match=f"between 1 and 30,000 participants, not {count}"):
        draw_people(count, 1, "demo")
