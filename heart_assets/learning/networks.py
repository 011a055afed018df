"""The networks by name: `compact`, and `original`, the one of 2020.

A network maps clips (N, 1, frames, size, size), float32, to standardised ages (N,). What belongs here: layers, and what
sizes they accept. What does not: weights, losses, optimisers.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle, relu

from heart_assets.learning.models import LearningError
from heart_assets.settings import TrainingSettings

ORIGINAL_LEAST_PX, ORIGINAL_LEAST_FRAMES = 122, 13
STEM_PX = 4
# Below these, `compact` meets shapes that oneDNN 3.12 (in torch 2.13) miscomputes in bf16 on CPUs, writing beyond its buffers
# at that: a stride to a grid one pixel wide (pytorch #169688), and the kernel's gradient at a depth of 2 under a 3 x 3 x 3 kernel.
BF16_LEAST_PX, BF16_LEAST_FRAMES = 20, 9


def build_network(training: TrainingSettings, frames: int, size: int) -> nn.Module:
    """The network that the settings name, freshly initialised from torch's global random state.

    Args:
        training: `network`, `width`, `dropout` and `precision` are used.
        frames: frames per clip.
        size: height and width of a clip, pixels.

    Raises:
        LearningError: the network cannot read clips of this size.
    """
    if training.network == "original":
        return Original(frames, size, training.dropout)
    if training.precision == "bf16" and (size < BF16_LEAST_PX or frames < BF16_LEAST_FRAMES):
        raise LearningError(
            f"the network `compact` needs clips of at least {BF16_LEAST_PX} px and {BF16_LEAST_FRAMES} frames in bf16, but crop_px, "
            f"downsample and frame_step make them {size} px and {frames} frames; set training.precision to fp32"
        )
    return Compact(frames, size, training.width, training.dropout)


class Original(nn.Module):
    """The network of 2020 (shared facts: design, section 1): 187.3 M parameters at 25 x 150 x 150, SELU throughout.

    The flattened size follows the input: 53,248 at 25 x 150 x 150.
    """

    def __init__(self, frames: int, size: int, dropout: float):
        super().__init__()
        if size < ORIGINAL_LEAST_PX or frames < ORIGINAL_LEAST_FRAMES:
            raise LearningError(
                f"the network `original` needs clips of at least {ORIGINAL_LEAST_PX} px and {ORIGINAL_LEAST_FRAMES} frames; "
                f"crop_px, downsample and frame_step make them {size} px and {frames} frames"
            )
        self.features = nn.Sequential(
            *_selu_conv(1, 16, (3, 3, 3), "same"),
            nn.MaxPool3d((1, 2, 2), (1, 2, 2)),
            *_selu_conv(16, 64, (3, 3, 3), "same"),
            nn.MaxPool3d((1, 5, 5), (1, 2, 2)),
            *_selu_conv(64, 512, (5, 5, 5), "valid"),
            nn.MaxPool3d((5, 5, 5), (1, 2, 2)),
            *_selu_conv(512, 1024, (5, 7, 7), "valid"),
            nn.MaxPool3d((1, 5, 5), (1, 2, 2)),
            nn.Flatten(),
        )
        self.head = nn.Sequential(
            nn.BatchNorm1d(original_features(frames, size)),
            nn.Linear(original_features(frames, size), 1024),
            nn.SELU(),
            nn.Dropout(dropout),
            nn.Linear(1024, 1),
        )

    def forward(self, clips: Tensor) -> Tensor:
        return self.head(self.features(clips)).squeeze(1)


def original_features(frames: int, size: int) -> int:
    """Length of `original`'s flattened feature vector."""
    side = (((size // 2 - 5) // 2 + 1 - 4) - 5) // 2 + 1 - 6
    return 1024 * (frames - 12) * ((side - 5) // 2 + 1) ** 2


def _selu_conv(inputs: int, outputs: int, kernel: tuple[int, int, int], padding: str) -> tuple[nn.Module, nn.Module]:
    convolution = nn.Conv3d(inputs, outputs, kernel, padding=padding)
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="linear")  # LeCun's, as SELU wants
    return convolution, nn.SELU()


class Compact(nn.Module):
    """A small dense 3D residual network: space-to-depth 1 x 4 x 4, two stages, each halving every axis on its way in.

    Features are averaged over space and kept over time, because a cine begins at the R wave: when something happens is
    as telling as that it happens (on the demo's phantom the mean over time reaches half the R2). BatchNorm before the
    last layer, since after the mean over space people differ little beside what they have in common.
    """

    def __init__(self, frames: int, size: int, width: int, dropout: float):
        super().__init__()
        if size % STEM_PX or size < 2 * STEM_PX:
            raise LearningError(
                f"the network `compact` needs clips whose side is a multiple of {STEM_PX} px and at least {2 * STEM_PX} px; "
                f"crop_px and downsample make it {size} px"
            )
        self.stem = _conv_norm(STEM_PX**2, width, stride=2)
        self.stages = nn.Sequential(Residual(width), _conv_norm(width, 2 * width, stride=2), Residual(2 * width))
        features = 2 * width * math.ceil(frames / 4)
        self.head = nn.Sequential(nn.BatchNorm1d(features), nn.Dropout(dropout), nn.Linear(features, 1))

    def forward(self, clips: Tensor) -> Tensor:
        pixels = pixel_unshuffle(clips.transpose(1, 2), STEM_PX).transpose(1, 2)
        features = self.stages(self.stem(pixels.contiguous(memory_format=torch.channels_last_3d)))
        return self.head(features.mean(dim=(3, 4)).flatten(1)).squeeze(1)


class Residual(nn.Module):
    """Two 3 x 3 x 3 convolutions with BatchNorm beside an identity."""

    def __init__(self, width: int):
        super().__init__()
        self.first = _conv_norm(width, width)
        self.second = _conv_norm(width, width)[:2]

    def forward(self, features: Tensor) -> Tensor:
        return relu(features + self.second(self.first(features)))


def _conv_norm(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv3d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm3d(outputs), nn.ReLU())
