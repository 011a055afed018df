"""Where a pixel lies in the patient, and the one affine warp from the acquired picture to the stored one.

Picture coordinates are (column, row), pixel centres at whole numbers; patient coordinates are LPS in mm.
"""

from dataclasses import dataclass

import numpy as np

from heart_assets.settings import Vector3

_STEEP = 0.2  # sine of the angle below which a direction says little within the plane


@dataclass(frozen=True)
class PlaneGeometry:
    """The plane of an acquired picture.

    Attributes:
        position: (3,) centre of the first pixel (ImagePositionPatient).
        across: (3,) direction of growing column (first triple of ImageOrientationPatient); `along`: of growing row.
        spacing: (row spacing, column spacing) as in PixelSpacing.
    """

    position: np.ndarray
    across: np.ndarray
    along: np.ndarray
    spacing: tuple[float, float]

    def patient(self, column: float, row: float) -> np.ndarray:
        """(3,) patient coordinates of a picture point."""
        return self.position + self.across * (column * self.spacing[1]) + self.along * (row * self.spacing[0])

    def picture(self, point: np.ndarray) -> np.ndarray:
        """(2,) (column, row) of a patient point, projected onto the plane."""
        offset = point - self.position
        return np.array([offset @ self.across / self.spacing[1], offset @ self.along / self.spacing[0]])


@dataclass(frozen=True)
class Upright:
    """Directions of the stored picture in the patient: (3,) unit vectors to its right and down. `steep`: a poor fit."""

    right: np.ndarray
    down: np.ndarray
    steep: bool


def upright(plane: PlaneGeometry, down: Vector3, image_right: Vector3) -> Upright:
    """The stored picture's directions.

    `down` projected into the plane points down, so the picture turns continuously with the plane; of the two
    directions across it, the one with a positive share of `image_right` is the right.
    """
    normal = np.cross(plane.across, plane.along)
    wanted = np.array(down, float) / np.linalg.norm(down)
    projected = wanted - (wanted @ normal) * normal
    length = float(np.linalg.norm(projected))
    if length < 1e-6:
        projected, length = plane.along, 1e-6
    downwards = projected / np.linalg.norm(projected)
    across = np.cross(downwards, normal)
    share = float(across @ np.array(image_right, float) / np.linalg.norm(image_right))
    right = across if share >= 0 else -across
    return Upright(right, downwards, length < _STEEP or abs(share) < _STEEP)


def sampling_matrix(plane: PlaneGeometry, view: Upright, centre: np.ndarray, size_px: int, spacing_mm: float) -> np.ndarray:
    """(2, 3) float64 matrix: stored (column, row, 1) -> acquired (column, row).

    Args:
        centre: (3,) patient point that comes to lie at the middle of the stored picture, (size_px - 1) / 2.
    """
    middle = (size_px - 1) / 2

    def acquired(column: float, row: float) -> np.ndarray:
        return plane.picture(centre + view.right * ((column - middle) * spacing_mm) + view.down * ((row - middle) * spacing_mm))

    origin = acquired(0, 0)
    return np.stack([acquired(1, 0) - origin, acquired(0, 1) - origin, origin], axis=1)
