"""The parts of one step, by exact numbers."""

import pytest
import torch

from heart_assets.learning.optimisation import average, decay_groups, loss_function, one_cycle


def test_one_cycle_rises_to_the_peak_and_falls_to_nothing():
    rates = [one_cycle(step, 100, 0.5) for step in range(100)]
    assert rates[0] == pytest.approx(0.02) and rates[25] == pytest.approx(0.5) and rates[99] < 0.001
    assert rates[:26] == sorted(rates[:26]) and rates[25:] == sorted(rates[25:], reverse=True)


def test_the_average_moves_by_its_decay_with_the_statistics_of_batchnorm():
    old, new = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    with torch.no_grad():
        new.weight += 1
        new.running_mean += 2
    new.num_batches_tracked += 5
    average(old, new, decay=0.75)
    assert old.weight.tolist() == [1.25, 1.25] and old.running_mean.tolist() == [0.5, 0.5] and int(old.num_batches_tracked) == 5


def test_biases_and_norms_do_not_decay():
    network = torch.nn.Sequential(torch.nn.Conv3d(1, 2, 3), torch.nn.BatchNorm3d(2), torch.nn.Linear(3, 1))
    kernels, rest = decay_groups(network, 0.3)
    assert (kernels["weight_decay"], rest["weight_decay"]) == (0.3, 0.0)
    assert [tuple(value.shape) for value in kernels["params"]] == [(2, 1, 3, 3, 3), (1, 3)]
    assert len(rest["params"]) == 4


def test_the_two_losses():
    output, target = torch.tensor([0.5, 3.0]), torch.zeros(2)
    assert float(loss_function("mse")(output, target)) == pytest.approx((0.25 + 9) / 2)
    assert float(loss_function("huber")(output, target)) == pytest.approx((0.125 + 2.5) / 2)
