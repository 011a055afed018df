"""Results in order on several processes, and what a dying process costs."""

import os

from heart_assets.dicom.workers import ordered_results


def square_or_die(number: int) -> int:
    if number < 0:
        os._exit(1)
    return number * number


def test_one_worker_runs_here():
    assert list(ordered_results(lambda number: number + 1, [1, 2, 3], 1)) == [2, 3, 4]
    assert list(ordered_results(square_or_die, [], 0)) == []


def test_several_workers_give_results_in_order_and_a_dead_one_costs_one_item():
    items = [*range(9), -1, *range(9, 14)]
    expected = [*(number * number for number in range(9)), None, *(number * number for number in range(9, 14))]
    assert list(ordered_results(square_or_die, items, 2)) == expected
