"""The baseline: features as documented, fitted on the training split alone."""

import numpy as np
import pytest

from heart_assets.learning import LearningError, ridge_features, ridge_predictions
from heart_assets_tests.learning.conftest import Videos, ageing_videos


def test_features_of_a_pulsing_checkerboard():
    """Left half still at 51, right half 102 + 51 cos: mean, sd and first harmonic are known."""
    pixels = np.full((1, 8, 33, 32), 51.0)
    pixels[:, :, :, 16:] = 102 + 51 * np.cos(2 * np.pi * np.arange(8) / 8)[None, :, None, None]
    features = ridge_features(Videos(np.round(pixels).astype(np.uint8)), np.array([0, 0]))
    assert features.shape == (2, 774) and features.dtype == np.float32
    np.testing.assert_array_equal(features[0], features[1])
    mean, sd, first = features[0, :768].reshape(3, 16, 16)
    for image, left, right in [(mean, 0.2, 0.4), (sd, 0, 0.2 / np.sqrt(2)), (first, 0, 0.1)]:
        np.testing.assert_allclose(image, np.repeat([[left] * 8 + [right] * 8], 16, 0), atol=2e-3)
    np.testing.assert_allclose(features[0, 768:], [0.05, 0, 0, 0, 0, 0], atol=1e-3)


def test_many_videos_are_read_in_blocks_in_the_order_asked():
    videos = Videos(np.random.default_rng(0).integers(0, 256, (70, 4, 16, 16), np.uint8))
    order = np.random.default_rng(1).permutation(70)
    features = ridge_features(videos, order)
    assert videos.reads == 2
    np.testing.assert_allclose(features[:, :256].reshape(70, 16, 16), videos.pixels[order].mean(1) / 255, atol=1e-6)


def test_it_learns_from_the_training_split_alone(rows):
    videos = ageing_videos(rows.sort_values("index")["age"].to_numpy())
    features = ridge_features(videos, rows["index"].to_numpy())
    table = ridge_predictions(features, rows)
    assert list(table.columns) == ["study_id", "participant_id", "visit", "age", "split", "prediction"]
    assert table["study_id"].tolist() == rows["study_id"].tolist()
    test = table["split"] == "test"
    assert np.abs(table["prediction"] - table["age"])[test].max() < 3
    moved = rows.assign(age=rows["age"] + 30 * (rows["split"] != "train"))
    assert ridge_predictions(features, moved)["prediction"].tolist() == table["prediction"].tolist()


@pytest.mark.parametrize(("shape", "indices"), [((2, 4, 15, 20), [0]), ((2, 4, 16, 16), [])])
def test_nothing_to_read_is_refused(shape, indices):
    with pytest.raises(LearningError, match="at least one video, of at least 16 x 16"):
        ridge_features(Videos(np.zeros(shape, np.uint8)), np.array(indices, int))


def test_rows_and_features_must_belong_together(rows):
    with pytest.raises(LearningError, match="35 rows of features, but 36 rows"):
        ridge_predictions(np.zeros((35, 3)), rows)
    with pytest.raises(LearningError, match="table of rows is empty"):
        ridge_predictions(np.zeros((0, 3)), rows[:0])
