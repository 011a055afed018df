"""A cine becomes a video: upright, centred on the heart, of the study's spacing, frames and grey range.

Grey values and geometry in, uint8 and quality measures out. Which frames, and in which order, is decided before.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from heart_assets.dicom.centring import heart_centre, motion_map
from heart_assets.dicom.errors import RejectedError
from heart_assets.dicom.geometry import PlaneGeometry, Upright, sampling_matrix, upright
from heart_assets.dicom.timing import Timing, resampling_matrix
from heart_assets.settings import GeometrySettings, Vector3

_ALIAS_RATIO = 1.1
_OUTSIDE_LIMIT = 0.1
_MAD = 1.4826  # median absolute deviation -> standard deviation of a normal distribution


@dataclass(frozen=True)
class Cleaned:
    """The video (frames, size_px, size_px) uint8, and what was measured on the way."""

    video: np.ndarray
    shift_mm: tuple[float, float]
    shift_capped: bool
    snr: float
    motion_energy: float
    flags: list[str]


def clean_cine(frames: np.ndarray, plane: PlaneGeometry, timing: Timing, geometry: GeometrySettings, image_right: Vector3) -> Cleaned:
    """Clean one cine.

    Args:
        frames: (T, rows, columns) float32 grey values in time order.

    Raises:
        RejectedError: no_contrast.
    """
    flags = list(timing.flags)
    view = upright(plane, geometry.down, image_right)
    if view.steep:
        flags.append("steep_plane")
    motion = motion_map(frames, plane.spacing)
    centre, shift, capped = _centre(motion, plane, view, geometry.max_shift_mm)
    if centre is None:
        flags.append("no_motion")
        centre = _middle(plane, motion.shape)
    if capped:
        flags.append("shift_capped")
    matrix = sampling_matrix(plane, view, centre, geometry.size_px, geometry.spacing_mm)
    warped = _warp(_without_aliases(frames, plane.spacing, geometry.spacing_mm), matrix, geometry.size_px)
    crop, inside = _crop(matrix, motion.shape, geometry)
    if inside.mean() < 1 - _OUTSIDE_LIMIT:
        flags.append("outside_picture")
    heart = warped[:, crop, crop][:, inside]
    low, high = _grey_range(heart, geometry)
    snr = _snr(heart)
    energy = float(_warp(motion[None], matrix, geometry.size_px)[0][crop, crop][inside].mean()) / (high - low)
    if len(frames) != geometry.frames:
        flags.append("time_circular" if timing.covers_cycle else "time_linear")
        resampling = resampling_matrix(len(frames), geometry.frames, timing.covers_cycle)
        warped = (resampling @ warped.reshape(len(frames), -1)).reshape(geometry.frames, *warped.shape[1:])
    return Cleaned(_to_bytes(warped, low, high), shift, capped, snr, energy, flags)


def _middle(plane: PlaneGeometry, shape: tuple[int, ...]) -> np.ndarray:
    return plane.patient((shape[1] - 1) / 2, (shape[0] - 1) / 2)


def _centre(
    motion: np.ndarray, plane: PlaneGeometry, view: Upright, max_shift_mm: float
) -> tuple[np.ndarray | None, tuple[float, float], bool]:
    """Patient point of the heart, its shift (right, down) from the picture's middle in mm, and whether it was capped."""
    found = heart_centre(motion, plane.spacing)
    if found is None:
        return None, (0.0, 0.0), False
    middle = _middle(plane, motion.shape)
    shift = plane.patient(*found) - middle
    length = float(np.linalg.norm(shift))
    capped = length > max_shift_mm
    if capped:
        shift = shift * (max_shift_mm / length)
    return middle + shift, (float(shift @ view.right), float(shift @ view.down)), capped


def _without_aliases(frames: np.ndarray, spacing: tuple[float, float], target_mm: float) -> np.ndarray:
    """Blur along axes that will be sampled more coarsely: a Gaussian of half the ratio's excess, in quadrature."""
    ratios = [target_mm / one for one in spacing]
    if max(ratios) <= _ALIAS_RATIO:
        return frames
    sigma_y, sigma_x = (0.5 * max(ratio**2 - 1, 1e-4) ** 0.5 for ratio in ratios)
    return np.stack([cv2.GaussianBlur(frame, (0, 0), sigmaX=sigma_x, sigmaY=sigma_y) for frame in frames])


def _warp(frames: np.ndarray, matrix: np.ndarray, size_px: int) -> np.ndarray:
    """(T, size_px, size_px) float32: each frame sampled linearly through one affine matrix; the lowest grey outside."""
    out = np.empty((len(frames), size_px, size_px), np.float32)
    border = float(frames.min())
    for frame, target in zip(frames, out, strict=True):
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        cv2.warpAffine(frame, matrix, (size_px, size_px), dst=target, flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=border)
    return out


def _crop(matrix: np.ndarray, shape: tuple[int, ...], geometry: GeometrySettings) -> tuple[slice, np.ndarray]:
    """The square of crop_mm around the heart, and which of its pixels lie inside the acquired picture."""
    margin = max(0, round((geometry.size_px - geometry.crop_mm / geometry.spacing_mm) / 2))
    crop = slice(margin, geometry.size_px - margin)
    along = np.arange(geometry.size_px)[crop].astype(float)
    columns = matrix[0, 0] * along[None] + matrix[0, 1] * along[:, None] + matrix[0, 2]
    rows = matrix[1, 0] * along[None] + matrix[1, 1] * along[:, None] + matrix[1, 2]
    return crop, (columns >= 0) & (columns <= shape[1] - 1) & (rows >= 0) & (rows <= shape[0] - 1)


def _grey_range(pixels: np.ndarray, geometry: GeometrySettings) -> tuple[float, float]:
    if pixels.size == 0:
        raise RejectedError("no_contrast", "the crop lies outside the picture")
    low, high = np.percentile(pixels, (geometry.low_percentile, geometry.high_percentile))
    if not high > low:
        raise RejectedError("no_contrast", f"percentiles {geometry.low_percentile} and {geometry.high_percentile} are both {low:.6g}")
    return float(low), float(high)


def _snr(pixels: np.ndarray) -> float:
    """Mean grey value in the crop over the noise in time.

    Noise: second differences in time, x[t-1] - 2 x[t] + x[t+1], have sqrt(6) times the standard deviation of white noise
    and little of the smooth beat; their median absolute value is robust against what moves fast. NaN without noise.

    Args:
        pixels: (T, n) float32.
    """
    sample = pixels[:, ::7]
    noise = _MAD * float(np.median(np.abs(np.diff(sample, 2, axis=0)))) / 6**0.5
    return float(sample.mean()) / noise if noise > 0 else float("nan")


def _to_bytes(pixels: np.ndarray, low: float, high: float) -> np.ndarray:
    pixels = pixels - np.float32(low)
    pixels *= np.float32(255 / (high - low))
    np.clip(pixels, 0, 255, out=pixels)
    pixels += np.float32(0.5)  # whole numbers are cut off next: rounds to the nearest
    return pixels.astype(np.uint8)
