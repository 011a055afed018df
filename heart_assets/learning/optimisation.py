"""How one step is taken: learning rate, loss, what decays, and the running average of the weights. No loop in here."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import huber_loss, mse_loss

WARM_UP = 0.25  # share of the steps until the learning rate peaks


def one_cycle(step: int, steps: int, peak: float) -> float:
    """Learning rate of a step: up from peak / 25 to the peak along a cosine, then down to nothing along another."""
    turn = WARM_UP * steps
    if step < turn:
        return peak * (0.04 + 0.96 * (1 - math.cos(math.pi * step / turn)) / 2)
    return peak * (1 + math.cos(math.pi * (step - turn) / (steps - turn))) / 2


def loss_function(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Huber's loss (quadratic within one standard deviation of age) or the mean square."""
    return huber_loss if name == "huber" else mse_loss


def decay_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Kernels and matrices decay; biases and norms do not."""
    matrices = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]


@torch.no_grad()
def average(averaged: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the average towards the network: weights, and BatchNorm's statistics with them; counters are copied."""
    pairs = list(zip(averaged.state_dict().values(), network.state_dict().values(), strict=True))
    floats = [(old, new) for old, new in pairs if old.is_floating_point()]
    torch._foreach_lerp_([old for old, _ in floats], [new for _, new in floats], 1 - decay)
    for old, new in pairs:
        if not old.is_floating_point():
            old.copy_(new)
