"""The networks: layers, sizes and parameters, on the meta device wherever they are large."""

import pytest
import torch
from torch import nn

from heart_assets.learning.device import forward, place
from heart_assets.learning.models import LearningError
from heart_assets.learning.networks import build_network, original_features
from heart_assets.settings import TrainingSettings

ORIGINAL = TrainingSettings(network="original", dropout=0.2)
COMPACT = TrainingSettings(width=24, dropout=0.1, precision="fp32")


def on_meta(training: TrainingSettings, frames: int, size: int) -> nn.Module:
    with torch.device("meta"):
        return build_network(training, frames, size)


def shapes(network: nn.Module, frames: int, size: int) -> list[tuple[int, ...]]:
    """Shape after every pooling of `original`, without the batch."""
    clips, found = torch.empty(2, 1, frames, size, size, device="meta"), []
    for layer in network.features:
        clips = layer(clips)
        if isinstance(layer, nn.MaxPool3d | nn.Flatten):
            found.append(tuple(clips.shape[1:]))
    return found


def test_original_is_the_network_of_2020():
    network = on_meta(ORIGINAL, 25, 150)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    statistics = 2 * 53_248  # BatchNorm's running mean and variance, which 2020's framework counted too
    assert parameters + statistics == 187_317_249
    assert shapes(network, 25, 150) == [(16, 25, 75, 75), (64, 25, 36, 36), (512, 17, 14, 14), (1024, 13, 2, 2), (53_248,)]
    assert [type(layer).__name__ for layer in network.head] == ["BatchNorm1d", "Linear", "SELU", "Dropout", "Linear"]
    assert network.head[3].p == 0.2
    assert network(torch.empty(2, 1, 25, 150, 150, device="meta")).shape == (2,)


@pytest.mark.parametrize(("frames", "size"), [(13, 122), (25, 128), (14, 133), (50, 160)])
def test_original_fits_its_head_to_the_input(frames, size):
    network = on_meta(ORIGINAL, frames, size)
    assert shapes(network, frames, size)[-1] == (original_features(frames, size),)
    assert network.head[0].num_features == original_features(frames, size)


@pytest.mark.parametrize(("frames", "size"), [(13, 121), (12, 122)])
def test_original_refuses_what_its_kernels_do_not_fit_into(frames, size):
    with pytest.raises(LearningError, match=f"at least 122 px and 13 frames; .* make them {size} px and {frames} frames"):
        on_meta(ORIGINAL, frames, size)


@pytest.mark.parametrize("size", [4, 7, 18])
def test_compact_refuses_sides_that_its_stem_does_not_divide(size):
    with pytest.raises(LearningError, match=f"multiple of 4 px and at least 8 px; .* make it {size} px"):
        on_meta(COMPACT, 25, size)


@pytest.mark.parametrize(("frames", "size"), [(8, 20), (9, 16)])
def test_compact_refuses_clips_too_small_for_bf16(frames, size):
    with pytest.raises(
        LearningError, match=f"at least 20 px and 9 frames in bf16, .* {size} px and {frames} frames; set training.precision to fp32"
    ):
        on_meta(COMPACT.model_copy(update={"precision": "bf16"}), frames, size)


@pytest.mark.parametrize(("frames", "size"), [(9, 20), (25, 32)])
def test_the_gradients_of_the_smallest_clips_in_bf16_are_those_of_fp32(frames, size):
    torch.manual_seed(0)
    network = place(build_network(COMPACT.model_copy(update={"precision": "bf16"}), frames, size), torch.device("cpu")).eval()
    clips, gradients = torch.randn(8, 1, frames, size, size), {}
    for precision in ("fp32", "bf16", "bf16 again"):
        network.zero_grad()
        forward(network, clips, precision.split()[0]).square().sum().backward()
        gradients[precision] = [parameter.grad.clone() for parameter in network.parameters()]
    for exact, coarse, again in zip(*gradients.values(), strict=True):
        assert torch.equal(coarse, again)
        assert (exact - coarse).norm() < 0.15 * exact.norm()


@pytest.mark.parametrize(("frames", "size"), [(25, 64), (25, 32), (1, 8), (2, 8), (5, 12), (7, 16)])
def test_compact_reads_any_number_of_frames(frames, size):
    assert on_meta(COMPACT, frames, size)(torch.empty(3, 1, frames, size, size, device="meta")).shape == (3,)


def test_compact_is_small_dense_and_has_no_bias_before_a_norm():
    network = on_meta(COMPACT, 25, 64)
    assert sum(parameter.numel() for parameter in network.parameters()) == 198_433
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv3d)]
    assert [layer.in_channels for layer in convolutions] == [16, 24, 24, 24, 48, 48]
    assert all(layer.bias is None and layer.groups == 1 and layer.kernel_size == (3, 3, 3) for layer in convolutions)


def test_compact_sees_when_something_happens():
    """The same flash early and late in the cine gives different outputs: time is not averaged away."""
    torch.manual_seed(0)
    network = build_network(COMPACT, 16, 8).eval()
    early, late = torch.zeros(1, 1, 16, 8, 8), torch.zeros(1, 1, 16, 8, 8)
    early[:, :, 4], late[:, :, 8] = 1, 1
    with torch.inference_mode():
        assert abs(float(network(early) - network(late))) > 1e-4
