"""Changes of a batch of clips: one affine resampling for all geometry, and a tone curve. Vectorised, on any device.

What belongs here: what is changed and how much. What does not: which videos and frame phases make a batch (clips.py).
Random numbers are drawn on the CPU from the generator given, so that they do not depend on the device.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from heart_assets.settings import AugmentationSettings, PredictionSettings

PASS_SEED = 20208  # of prediction's passes: the same for every model, so that predictions depend on the pass number alone


@dataclass(frozen=True)
class Changes:
    """What happens to each clip of a batch of N. All float32.

    Attributes:
        rotation: (N,) radians.
        shift: (N, 2) along x and y, mm.
        scale: (N,) size relative to the original; above 1, the heart looks larger.
        gain: (N,) factor of the grey values.
        curve: (N,) c of the tone curve x + c x (1 - x): like a gamma of about 1 - c, and much cheaper.
    """

    rotation: Tensor
    shift: Tensor
    scale: Tensor
    gain: Tensor
    curve: Tensor


def no_changes(count: int) -> Changes:
    """Changes that leave `count` clips as they are."""
    one, zero = torch.ones(count), torch.zeros(count)
    return Changes(rotation=zero, shift=torch.zeros(count, 2), scale=one, gain=one, curve=zero)


def random_changes(count: int, limits: AugmentationSettings, generator: torch.Generator) -> Changes:
    """Independent uniform changes of `count` clips, up to the limits on either side."""
    draw = 2 * torch.rand(count, 6, generator=generator) - 1
    return Changes(
        rotation=draw[:, 0] * np.deg2rad(limits.rotation_deg),
        shift=draw[:, 1:3] * limits.shift_mm,
        scale=1 + draw[:, 3] * limits.scale,
        gain=1 + draw[:, 4] * limits.intensity,
        curve=draw[:, 5] * limits.intensity,
    )


def pass_changes(number: int, count: int, limits: PredictionSettings) -> Changes:
    """The changes of prediction's pass `number`, the same for all `count` clips: pass 0 changes nothing."""
    if number == 0:
        return no_changes(count)
    turn, *shift = np.random.default_rng([PASS_SEED, number]).uniform(-1, 1, 3)
    return replace(
        no_changes(count),
        rotation=torch.full((count,), float(turn * np.deg2rad(limits.rotation_deg))),
        shift=(torch.tensor(shift, dtype=torch.float32) * limits.shift_mm).expand(count, 2),
    )


def network_input(video: Tensor, changes: Changes, size: int, pixel_mm: float) -> Tensor:
    """Cut the centre out of stored videos, changed, as a network reads it.

    Frames are the channels of one `grid_sample`; outside the stored video is black.

    Args:
        video: (N, frames, H, W) uint8, on the device that computes.
        changes: of the N clips.
        size: side of the clips, pixels of `video`.
        pixel_mm: pixel spacing of `video`, mm.

    Returns:
        (N, 1, frames, size, size) float32, about -1 to 1.
    """
    count, frames, height, width = video.shape
    sides = torch.tensor([width, height], dtype=torch.float32)
    cosine, sine = torch.cos(changes.rotation), torch.sin(changes.rotation)
    turn = torch.stack((torch.stack((cosine, sine), -1), torch.stack((-sine, cosine), -1)), 1)  # output -> input
    turn = turn / changes.scale[:, None, None]
    shift = -(turn @ changes.shift[:, :, None]) * 2 / pixel_mm
    theta = torch.cat((turn * size, shift), 2) / sides[:, None]
    grid = affine_grid(theta.to(video.device), [count, frames, size, size], align_corners=False)
    clips = grid_sample(video.float().mul_(1 / 255), grid, align_corners=False)
    gain, curve = (value.to(video.device)[:, None, None, None] for value in (changes.gain, changes.curve))
    toned = torch.addcmul(clips * (1 + curve), clips.square(), curve, value=-1)
    return toned.mul_(2 * gain).sub_(1).unsqueeze(1)
