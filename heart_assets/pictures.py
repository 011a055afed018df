"""Pictures as bytes, small enough for a database: montages and animations of cines, learning curves, scatter and score plots.

What belongs here: arrays and tables to PNG or GIF bytes below MOST_BYTES, readable at 600 pixels' width, in colours that the
colour-blind can tell apart (Okabe and Ito 2008). What does not: Dagster, files, and the decision whether a picture of a person
may be shown; labels come from the caller and hold no participant id.

Matplotlib and Pillow are imported inside the functions, so that the code location loads fast, and no global state of theirs is touched.
"""

import io
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL import Image

IMPORTS = ("matplotlib.figure", "matplotlib.backends.backend_agg", "PIL.Image")  # what plots load late
MOST_BYTES = 100_000
MOST_ROWS = 8
BLUE, ORANGE, GREY, INK = "#0072B2", "#D55E00", "#8A8A8A", "#222222"
_POINTS_AT_MOST = 1000  # more people are shown as hexagons


def cine_gif(video: np.ndarray, width: int = 160, cycle_ms: int = 1000) -> bytes:
    """An endless animation of one cine.

    Frames, grey levels and size are reduced, in this order, until it fits. A pixel keeps its grey level until it differs by
    three quarters of one, which keeps noise from costing bytes.

    Args:
        video: (T, H, W) uint8.
        width: of the animation at most, pixels.
        cycle_ms: duration of one heart cycle.

    Raises:
        ValueError: not a video, or one that cannot be made small enough.
    """
    _check_video(video)

    def encode(size: int, frames: int, levels: int) -> bytes:
        chosen = [_resized(video[k], size) for k in _phases(len(video), frames)]
        images = [_palette_image(level, levels) for level in _steady_levels(chosen, levels)]
        duration = max(20, round(cycle_ms / len(images) / 10) * 10)
        buffer = io.BytesIO()
        images[0].save(buffer, "GIF", save_all=True, append_images=images[1:], duration=duration, loop=0, optimize=True, disposal=1)
        return buffer.getvalue()

    sizes = [width, *(size for size in (256, 224, 192, 160, 128, 112, 96, 80, 64) if size < width)]
    choices = product(sizes, ((25, 24), (25, 16), (20, 16), (20, 12)))
    return _first_small_enough(encode, ((size, *rest) for size, rest in choices))


def montage(videos: Sequence[np.ndarray], labels: Sequence[str] = (), phases: int = 6) -> bytes:
    """A PNG with one row per study and one column per phase of the heart cycle.

    Args:
        videos: 1 to 8 arrays (T, H, W) uint8.
        labels: one short text per row (a view, a flag), or none.
        phases: columns, spread evenly over the cycle.

    Raises:
        ValueError: not that many videos or labels, or not videos.
    """
    if not 1 <= len(videos) <= MOST_ROWS:
        raise ValueError(f"a montage has 1 to {MOST_ROWS} rows, not {len(videos)}")
    if labels and len(labels) != len(videos):
        raise ValueError(f"a montage of {len(videos)} rows needs as many labels, not {len(labels)}")
    for video in videos:
        _check_video(video)
    return _first_small_enough(partial(_montage_png, videos, labels, phases), product((140, 120, 100, 84, 70, 56), (32, 16)))


def learning_curve(history: pd.DataFrame, title: str = "Learning curve") -> bytes:
    """PNG of a training: the loss on training and validation, and the validation error in years.

    Args:
        history: epoch, train_loss, val_loss, val_rmse, val_mae, val_r2.
    """
    figure, (left, right) = _figure(title, 6.0, 3.2, columns=2)
    epoch = history["epoch"].to_numpy()
    _curve(left, epoch, history["train_loss"], "training", GREY, "--")
    _curve(left, epoch, history["val_loss"], "validation", BLUE, "-")
    _labelled(left, "epoch", "loss (standardised age)")
    _curve(right, epoch, history["val_rmse"], "RMSE", BLUE, "-")
    _curve(right, epoch, history["val_mae"], "MAE", ORANGE, "--")
    _labelled(right, "epoch", "validation error (years)")
    last = history.iloc[-1]
    right.set_title(f"at the end: R² {last['val_r2']:.2f}, RMSE {last['val_rmse']:.1f}", fontsize=9, color=INK, loc="left")
    for axes in (left, right):
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False, fontsize=9, loc="upper right")
    return _plot_png(figure)


def scatter(age: np.ndarray, prediction: np.ndarray, title: str = "Predicted against true age") -> bytes:
    """PNG of predicted against true age with the line of identity; R2, RMSE and n stand under the title. Above 1,000 points as hexagons.

    Raises:
        ValueError: as statistics.regression_scores.
    """
    from heart_assets.statistics.metrics import regression_scores

    age, prediction = np.asarray(age, dtype=float), np.asarray(prediction, dtype=float)
    scores = regression_scores(age, prediction)
    figure, (axes,) = _figure(title, 5.0, 5.0)
    values = np.concatenate([age, prediction]) if len(age) else np.array([40.0, 80.0])
    low, high = values.min() - 2, values.max() + 2
    axes.plot([low, high], [low, high], color=INK, linewidth=1, zorder=3)
    if len(age) > _POINTS_AT_MOST:
        axes.hexbin(age, prediction, gridsize=45, extent=(low, high, low, high), mincnt=1, cmap="Blues", bins="log", linewidths=0.1)
    else:
        axes.scatter(age, prediction, s=22, color=BLUE, alpha=0.75 if len(age) < 300 else 0.35, linewidths=0)
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    axes.annotate("line: predicted = true", (0.99, 0.02), xycoords="axes fraction", ha="right", fontsize=9, color=INK)
    _labelled(axes, "age (years)", "predicted age (years)")
    r2 = "undefined" if np.isnan(scores["r2"]) else f"{scores['r2']:.3f}".replace("-", "−")
    error = f"RMSE {scores['rmse']:.2f} years, " if len(age) else ""
    axes.set_title(f"R² {r2}, {error}n = {len(age):,}", fontsize=10, color=INK, loc="left")
    return _plot_png(figure)


def score_plot(scores: pd.DataFrame, title: str = "Test R² of every model") -> bytes:
    """PNG of the pooled test R2 of every model with its 95 % interval, and of its single folds behind it.

    A fold left of the axis is drawn as an arrow head at its edge. A model whose R2 is not defined is named without a mark.

    Args:
        scores: as statistics.scores_table returns it.

    Raises:
        ValueError: there is no pooled row.
    """
    pooled = scores[scores["fold"].astype(str) == "pooled"]
    if pooled.empty:
        raise ValueError("there is no pooled score to draw")
    folds = scores[scores["fold"].astype(str) != "pooled"]
    figure, (axes,) = _figure(title, 6.0, 1.2 + 0.42 * len(pooled))
    defined = pooled[pooled["r2"].notna()]
    low = max(-1.0, min([0.0, *defined["r2_low"].fillna(defined["r2"])]))
    for place, row in enumerate(pooled.itertuples()):
        own = folds.loc[(folds["model"] == row.model) & (folds["view"] == row.view), "r2"].dropna().to_numpy()
        seen, hidden = own[own >= low], own[own < low]
        axes.plot(seen, np.full_like(seen, place + 0.24), "|", color=GREY, markersize=7)
        axes.plot(
            np.full_like(hidden, low), np.full_like(hidden, place + 0.24), "<", color=GREY, markersize=5, markeredgewidth=0, clip_on=False
        )
        axes.plot([row.r2_low, row.r2_high], [place, place], color=BLUE, linewidth=2, marker="|", markersize=9)
        axes.plot([row.r2], [place], "o", color=BLUE, markersize=6)
        text = f"{row.r2:.3f} ± {row.r2_se:.3f}".replace("-", "−") if np.isfinite(row.r2) else "undefined"
        axes.annotate(text, (1.02, place), xycoords=("axes fraction", "data"), fontsize=10, color=INK, va="center")
    axes.set(xlim=(low, 1.0), ylim=(len(pooled) - 0.45, -0.55))
    axes.set_yticks(range(len(pooled)), [_model_label(row.model, row.view) for row in pooled.itertuples()])
    _labelled(axes, "dot: R² of all folds together, with 95 % interval; grey: single folds", "")
    axes.grid(axis="x", color="#E4E4E4", linewidth=0.8)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0, labelsize=11)
    return _plot_png(figure)


def _model_label(model: str, view: str) -> str:
    return model if view in ("all", model) else f"{model} {view}"


def _check_video(video: np.ndarray) -> None:
    if video.ndim != 3 or video.dtype != np.uint8 or not video.size:
        raise ValueError(f"a video must be a uint8 array (T, H, W) that is not empty, not {video.dtype} {video.shape}")


def _first_small_enough(encode: Callable[..., bytes], choices: Iterable[tuple[int, ...]]) -> bytes:
    for choice in choices:
        picture = encode(*choice)
        if len(picture) < MOST_BYTES:
            return picture
    raise ValueError(f"the picture cannot be made smaller than {MOST_BYTES} bytes")


def _phases(frames: int, number: int) -> np.ndarray:
    return np.arange(min(number, frames)) * frames // min(number, frames)


def _resized(frame: np.ndarray, width: int) -> np.ndarray:
    """A frame (H, W) uint8 at the given width, never enlarged by more than 4."""
    from PIL import Image

    height, old = frame.shape
    width = min(width, 4 * old)
    image = Image.fromarray(frame).resize((width, max(1, round(height * width / old))), Image.Resampling.LANCZOS)
    return np.asarray(image)


def _steady_levels(frames: Sequence[np.ndarray], levels: int) -> list[np.ndarray]:
    """Frames as grey levels 0..levels-1 that change only with a difference of three quarters of a level."""
    step = 255 / (levels - 1)
    steady: list[np.ndarray] = []
    for frame in frames:
        value = frame / step
        level = np.rint(value).astype(np.uint8)
        steady.append(np.where(np.abs(value - steady[-1]) < 0.75, steady[-1], level) if steady else level)
    return steady


def _palette_image(level: np.ndarray, levels: int) -> "Image.Image":
    from PIL import Image

    image = Image.fromarray(level.astype(np.uint8)).convert("L")
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette([grey for k in range(levels) for grey in (round(k * 255 / (levels - 1)),) * 3])
    return image


def _montage_png(videos: Sequence[np.ndarray], labels: Sequence[str], phases: int, tile: int, levels: int) -> bytes:
    from PIL import Image, ImageDraw, ImageFont

    gap, header = 2, 18
    rows = [[_resized(video[k], tile) for k in _phases(len(video), phases)] for video in videos]
    heights = [max(frame.shape[0] for frame in row) for row in rows]
    columns = max(len(row) for row in rows)
    width, height = columns * (tile + gap) - gap, header + sum(heights) + gap * len(rows) - gap
    sheet = Image.new("L", (width, height), 255)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    for k in range(columns):
        draw.text((k * (tile + gap) + tile // 2, header // 2), f"{round(100 * k / columns)} %", fill=0, font=font, anchor="mm")
    top = header
    for place, row in enumerate(rows):
        for k, frame in enumerate(row):
            sheet.paste(Image.fromarray(frame), (k * (tile + gap), top))
        if labels:
            draw.text((4, top + 3), labels[place], fill=255, font=font, stroke_width=2, stroke_fill=0)
        top += heights[place] + gap
    buffer = io.BytesIO()
    _palette_image(_steady_levels([np.asarray(sheet)], levels)[0], levels).save(buffer, "PNG")
    return buffer.getvalue()


def _figure(title: str, width: float, height: float, columns: int = 1) -> "tuple[Figure, list[Axes]]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    figure.suptitle(title, fontsize=12, color=INK, x=0.01, ha="left", fontweight="bold")
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def _labelled(axes: "Axes", x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=10, color=INK)
    axes.set_ylabel(y, fontsize=10, color=INK)
    axes.tick_params(labelsize=9, colors=INK)
    axes.spines[["top", "right"]].set_visible(False)


def _curve(axes: "Axes", x: np.ndarray, y: pd.Series, label: str, colour: str, style: str) -> None:
    axes.plot(x, y.to_numpy(dtype=float), style, color=colour, linewidth=1.8, label=label, marker="o" if len(x) == 1 else "")


def _plot_png(figure: "Figure") -> bytes:
    """The figure in 128 colours, which a plot does not miss and which make it a third of the size."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    def encode(dpi: int) -> bytes:
        figure.set_dpi(dpi)
        canvas, buffer = FigureCanvasAgg(figure), io.BytesIO()
        canvas.draw()
        image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
        image.quantize(128, dither=Image.Dither.NONE).save(buffer, "PNG")
        return buffer.getvalue()

    return _first_small_enough(encode, ((150,), (120,), (100,), (75,)))
