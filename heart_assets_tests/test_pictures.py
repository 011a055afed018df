"""Pictures: the right kind, size and content, small enough for a database, and refusals instead of broken ones."""

import io
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from heart_assets.pictures import MOST_BYTES, cine_gif, learning_curve, montage, scatter, score_plot
from heart_assets.statistics import scores_table

BLUE = (0, 114, 178)


@pytest.fixture(autouse=True)
def _no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def beating(frames: int = 50, size: int = 160) -> np.ndarray:
    """A bright disc on a dark, noisy ground whose radius follows one cosine."""
    y, x = np.mgrid[:size, :size] - size / 2
    radius = size * (0.25 + 0.08 * np.cos(2 * np.pi * np.arange(frames) / frames))
    noise = np.random.default_rng(0).normal(0, 3, (frames, size, size))
    return np.clip(np.where(np.hypot(x, y) < radius[:, None, None], 200, 30) + noise, 0, 255).astype(np.uint8)


def opened(picture: bytes) -> Image.Image:
    assert len(picture) < MOST_BYTES
    return Image.open(io.BytesIO(picture))


def has_colour(picture: bytes, colour: tuple[int, int, int]) -> int:
    """Number of pixels of that colour, to the 5 levels that a palette may cost."""
    return int((np.abs(np.asarray(opened(picture).convert("RGB")).astype(int) - colour) <= 5).all(axis=-1).sum())


def test_gif_is_one_endless_cycle_of_the_cine():
    video = beating()
    image = opened(cine_gif(video))
    assert (image.format, image.size, image.n_frames) == ("GIF", (160, 160), 25)
    assert (image.info["loop"], image.info["duration"]) == (0, 40)
    for k in range(25):
        image.seek(k)
        shown = np.asarray(image.convert("L")).astype(float)
        assert np.abs(shown - video[2 * k]).mean() < 6  # half of one of 24 grey levels, and noise held back
        assert abs((shown > 115).sum() - (video[2 * k] > 115).sum()) < 30


def test_gif_keeps_short_and_small_cines():
    image = opened(cine_gif(beating(frames=5, size=20), cycle_ms=500))
    assert (image.n_frames, image.size, image.info["duration"]) == (5, (80, 80), 100)
    wide = np.concatenate([beating(), beating()], axis=2)
    assert opened(cine_gif(wide, width=320)).size == (320, 160)


def test_noise_is_made_small_enough():
    noise = np.random.default_rng(0).integers(0, 256, (50, 160, 160), dtype=np.uint8)
    assert opened(cine_gif(noise)).size[0] < 160
    assert opened(montage([noise] * 8)).format == "PNG"


def test_what_cannot_be_made_small_enough_is_refused():
    noise = np.random.default_rng(0).integers(0, 256, (4, 3000, 16), dtype=np.uint8)
    with pytest.raises(ValueError, match="cannot be made smaller than 100000 bytes"):
        cine_gif(noise, width=64)


def test_montage_has_a_row_per_study_and_a_column_per_phase():
    dark, bright = np.full((50, 64, 64), 20, np.uint8), np.full((50, 64, 64), 230, np.uint8)
    bright[25:] = 120
    image = opened(montage([dark, bright], ["", ""], phases=4))
    assert (image.format, image.size) == ("PNG", (4 * 142 - 2, 18 + 2 * 140 + 2))
    pixels = np.asarray(image.convert("L")).astype(int)
    centres = pixels[np.ix_([88, 230], [70, 212, 354, 496])]
    np.testing.assert_allclose(centres, [[20] * 4, [230, 230, 120, 120]], atol=5)
    assert (pixels[18:, 140:142] > 250).all()  # the white gap
    assert (pixels[:18] < 128).any()  # the phases' names


def test_labels_are_drawn_on_their_rows():
    video = np.full((3, 64, 64), 20, np.uint8)
    plain, labelled = (np.asarray(opened(montage([video, video], labels)).convert("L")) for labels in ([], ["4ch", "3ch"]))
    different = np.argwhere(plain != labelled)
    assert different.size and (different[:, 1] < 60).all()
    assert {int(row > 159) for row in different[:, 0]} == {0, 1}


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: montage([]), "1 to 8 rows, not 0"),
        (lambda: montage([beating(2, 16)] * 9), "1 to 8 rows, not 9"),
        (lambda: montage([beating(2, 16)] * 2, ["4ch"]), "needs as many labels, not 1"),
        (lambda: montage([np.zeros((4, 4), np.uint8)]), r"a video must be a uint8 array .* not uint8 \(4, 4\)"),
        (lambda: cine_gif(np.zeros((2, 4, 4))), "not float64"),
        (lambda: cine_gif(np.zeros((0, 4, 4), np.uint8)), "not empty"),
        (lambda: scatter(np.array([50.0]), np.array([np.nan])), "must be finite"),
        (lambda: score_plot(pd.DataFrame({"fold": ["1"]})), "no pooled score"),
    ],
)
def test_refusals(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def history(epochs: int) -> pd.DataFrame:
    e = np.arange(1, epochs + 1)
    return pd.DataFrame(
        {
            "epoch": e,
            "train_loss": 1 / e,
            "val_loss": 1.1 / e,
            "val_r2": 1 - 1 / e,
            "val_rmse": 9 / e,
            "val_mae": 7 / e,
        }
    )


@pytest.mark.parametrize("epochs", [1, 2, 200])
def test_learning_curve(epochs):
    picture = learning_curve(history(epochs), "3ch, fold 4")
    assert opened(picture).size == (900, 480)
    assert has_colour(picture, BLUE) > 100


@pytest.mark.parametrize(
    ("number", "mark"),
    [(1, (64, 149, 197)), (200, (64, 149, 197)), (900, (166, 206, 228)), (5000, (8, 48, 107))],
    ids=["one", "points", "fainter points", "hexagons"],
)
def test_scatter(number, mark):
    rng = np.random.default_rng(0)
    age = rng.uniform(45, 80, number)
    prediction = age + rng.normal(size=number) * 3
    picture = scatter(age, prediction)
    width, height = opened(picture).size
    assert width == height == 750
    assert has_colour(picture, mark) > 20
    assert picture == scatter(age, prediction)


def test_scatter_of_nobody_is_an_empty_plot():
    picture = scatter(np.array([]), np.array([]))
    assert has_colour(picture, (64, 149, 197)) == 0


def scores() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    age = rng.uniform(45, 80, 60)
    base = pd.DataFrame({"participant_id": [str(9_000_000 + k) for k in range(60)], "visit": 2, "age": age, "fold": np.arange(60) % 5})
    spreads = {("3ch", "3ch"): 4.0, ("ensemble", "all"): 3.0, ("ridge", "3ch"): 30.0}
    return scores_table({key: base.assign(prediction=age + rng.normal(size=60) * sd) for key, sd in spreads.items()}, 50, 1)


def test_score_plot_grows_with_the_models():
    few, many = scores().query("model == '3ch'"), scores()
    assert opened(score_plot(many)).size[0] == opened(score_plot(few)).size[0] == 900
    assert opened(score_plot(many)).size[1] - opened(score_plot(few)).size[1] == 2 * 63
    assert has_colour(score_plot(many), BLUE) > has_colour(score_plot(few), BLUE) > 50


def test_score_plot_with_nothing_defined():
    table = scores().assign(r2=np.nan, r2_se=np.nan, r2_low=np.nan, r2_high=np.nan)
    assert has_colour(score_plot(table), BLUE) == 0


def test_importing_it_loads_neither_matplotlib_nor_pillow():
    code = "import sys, heart_assets.pictures; print(sorted({'matplotlib', 'PIL', 'torch', 'scipy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout == "[]\n"
