"""Real cines of one volunteer, where they lie beside the repository: the right series, upright, centred, in time order."""

from pathlib import Path

import numpy as np
import pydicom
import pytest

from heart_assets.dicom import clean_study, list_studies
from heart_assets.dicom.decoding import decode
from heart_assets.settings import GeometrySettings, SeriesSettings, ViewSettings

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "siemens_lax_cine"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the real cines are not beside the repository")

THREE_CHAMBER_SERIES = "1.2.826.0.1.3680043.9.1400.1.4232746890.20340.1747185566.0"  # Se7, labelled 4CH by the scanner
VIEWS = {
    "3ch": ViewSettings(series=("LAX_3Ch$", "3CH$"), usual_normal=(-0.741, 0.259, -0.620), image_right=(0, 1, 0)),
    "4ch": ViewSettings(series=("LAX_4Ch$", "4CH$"), usual_normal=(0.055, 0.822, -0.567), image_right=(1, 0, 0)),
}
GEOMETRY = GeometrySettings()


@pytest.fixture(scope="module")
def source():
    (study,), _ = list_studies(DATA, "all", "dicom_folders", "20208", 2)
    return study


@pytest.fixture(scope="module")
def overridden(source):
    return clean_study(source, VIEWS, SeriesSettings(overrides={THREE_CHAMBER_SERIES: "3ch"}), GEOMETRY)


def test_without_an_override_the_true_four_chamber_wins_and_the_other_is_reported(source):
    result = clean_study(source, VIEWS, SeriesSettings(), GEOMETRY)
    row = result.videos["4ch"].row
    assert row["orientation"][0] == pytest.approx(0.9954, abs=1e-4) and row["rr_ms"] == 876
    assert row["flags"].split(",") == ["other_series_mislabelled", "several_series", "time_circular"]
    (rejection,) = result.rejections
    assert (rejection.view, rejection.reason) == ("3ch", "no_series") and THREE_CHAMBER_SERIES in rejection.detail


def test_with_an_override_both_views_are_there(overridden):
    assert overridden.rejections == []
    three, four = overridden.videos["3ch"].row, overridden.videos["4ch"].row
    assert (three["rr_ms"], four["rr_ms"], three["frames_found"]) == (924, 876, 25)
    assert three["flags"] == "override,time_circular" and four["flags"] == "time_circular"
    assert three["frame_interval_ms"] == pytest.approx(36.96, abs=0.01) and three["spacing_row_mm"] == 1.40625


@pytest.mark.parametrize("view", ["3ch", "4ch"])
def test_the_blood_pool_is_large_first_small_in_systole_and_large_again(overridden, view):
    video = overridden.videos[view].video[:, 50:110, 50:110].astype(float)
    difference = np.abs(video - video[0]).mean(axis=(1, 2))
    assert 12 <= difference.argmax() <= 26  # end systole, at about 0.35 of the beat
    assert difference[-1] < 0.4 * difference.max()  # the beat closes


def test_upright_the_apex_is_below_the_atria_and_the_chest_wall_at_the_left_of_3ch(overridden):
    four = overridden.videos["4ch"].video.mean(axis=0)
    three = overridden.videos["3ch"].video.mean(axis=0)
    # 4ch: lung beside the heart at the right, the chest wall below it; 3ch: the belly below at the right (posterior), nothing at the left
    assert four[64:96, 128:].mean() < 20 < 40 < four[96:128, 128:].mean()
    assert three[96:, 96:].mean() > 40 > 10 > three[96:, :32].mean()


@pytest.mark.parametrize("view", ["3ch", "4ch"])
def test_the_heart_is_in_the_middle(overridden, view):
    video = overridden.videos[view].video.astype(float)
    moving = video.std(axis=0)
    moving[moving < np.percentile(moving, 95)] = 0
    row, column = ((grid * moving).sum() / moving.sum() for grid in np.mgrid[:160, :160])
    assert np.hypot(row - 79.5, column - 79.5) * 1.8 < 25


def test_pixels_equal_pydicoms():
    for path in sorted((DATA / "patient1" / "Se7").glob("*.dcm"))[::6]:
        (frame,) = decode(path.name, path.read_bytes())
        np.testing.assert_array_equal(frame.grey(), pydicom.dcmread(path).pixel_array)
