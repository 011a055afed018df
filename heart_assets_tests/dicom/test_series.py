"""Which frames form a plane, and which plane is which view."""

from dataclasses import replace

import numpy as np
import pytest

from heart_assets.dicom.decoding import Frame, Image
from heart_assets.dicom.errors import RejectedError
from heart_assets.dicom.headers import frame_header
from heart_assets.dicom.series import choose, labels, nearest_view, split_planes
from heart_assets.settings import SeriesSettings
from heart_assets_tests.dicom.builder import FOUR, OUTFLOW, SERIES, THREE, TWO, VIEWS

BLANK = replace(frame_header({}), position=(0.0, 0.0, 0.0), spacing=(1.0, 1.0))
IMAGE = Image("x", [{}], b"")


def unit(orientation):
    across, along = np.array(orientation).reshape(2, 3)
    return (*(across / np.linalg.norm(across)), *(along / np.linalg.norm(along)))


def frames(uid, description, orientation, count=3, **changes):
    header = replace(BLANK, series_uid=uid, description=description, orientation=unit(orientation), **changes)
    return [Frame(header, IMAGE, index) for index in range(count)]


def chosen(*groups, series=SERIES):
    return choose(split_planes([frame for group in groups for frame in group], {}), VIEWS, series)


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("CINE_segmented_LAX_3Ch", ["3ch"]),
        ("cine_SEGMENTED_lax_4CH", ["4ch"]),
        ("CINE_segmented_LAX", ["3ch", "4ch"]),
        ("CINE_segmented_LAX_2Ch", []),
        ("CINE_segmented_SAX_b1", []),
        ("LAX_4Ch_InlineVF", []),
        ("inlinevf_LAX_4Ch", []),
        ("", []),
    ],
)
def test_labels_by_description(description, expected):
    assert labels("1.2", description, VIEWS, SERIES) == expected


def test_labels_by_override():
    overrides = SeriesSettings(overrides={"1": "3ch", "2": "none"})
    assert [labels(uid, "LAX_4Ch", VIEWS, overrides) for uid in ("1", "2", "3")] == [["3ch"], [], ["4ch"]]


@pytest.mark.parametrize(("orientation", "expected"), [(THREE, "3ch"), (FOUR, "4ch"), (OUTFLOW, "3ch")])
def test_nearest_view_whatever_the_sign(orientation, expected):
    across, along = np.array(unit(orientation)).reshape(2, 3)
    normal = np.cross(across, along)
    assert nearest_view(normal, VIEWS) == nearest_view(-normal, VIEWS) == expected


def test_frames_are_split_by_direction_and_place_but_not_by_rounding():
    nearly = tuple(np.array(unit(FOUR)) + 1e-4)
    groups = [
        frames("1", "a", FOUR),
        [replace(frame, header=replace(frame.header, orientation=nearly)) for frame in frames("1", "a", FOUR)],
        frames("1", "a", TWO),
        frames("1", "a", FOUR, position=(0.0, 3.0, 0.0)),
        frames("2", "a", FOUR),
    ]
    planes = split_planes([frame for group in groups for frame in group], {"2": (4, "corrupt_zip")})
    assert [(plane.series_uid, len(plane.frames), plane.planes_in_series) for plane in planes] == [
        ("1", 6, 3),
        ("1", 3, 3),
        ("1", 3, 3),
        ("2", 3, 1),
    ]
    assert [(plane.lost, plane.lost_reason) for plane in planes] == [(0, "incomplete_series")] * 3 + [(4, "corrupt_zip")]


def test_frames_without_a_plane_are_lost_frames():
    good, bad = frames("1", "a", FOUR), frames("1", "a", FOUR, position=None)
    (plane,) = split_planes(good + bad, {})
    assert (plane.lost, plane.lost_reason) == (3, "inconsistent_geometry")
    with pytest.raises(RejectedError, match="inconsistent_geometry"):
        split_planes(bad, {})
    assert split_planes([], {}) == []


def test_the_last_acquired_comes_first():
    early = frames("9", "LAX_4Ch", FOUR, acquired="20200101120000")
    late = frames("1", "LAX_4Ch", FOUR, acquired="20200101130000")
    assert [plane.series_uid for plane in chosen(late, early)["4ch"].planes] == ["1", "9"]
    by_number = [frames(uid, "LAX_4Ch", FOUR, series_number=number) for uid, number in (("5", 2), ("4", 10), ("6", 3))]
    assert [plane.series_uid for plane in chosen(*by_number)["4ch"].planes] == ["4", "6", "5"]


def test_a_fitting_series_is_preferred_and_the_other_never_used():
    choice = chosen(frames("1", "LAX_4Ch", FOUR), frames("2", "LAX_4Ch", THREE, series_number=9))
    assert [plane.series_uid for plane in choice["4ch"].planes] == ["1"]
    assert choice["4ch"].flags == ["other_series_mislabelled", "several_series"] and choice["4ch"].series_count == 2
    assert choice["3ch"].planes == [] and "probably mislabelled: series 2 is called like 4ch" in choice["3ch"].hint


def test_an_override_beats_a_fitting_series_and_its_own_label():
    choice = chosen(
        frames("1", "LAX_3Ch", THREE),
        frames("2", "LAX_4Ch", THREE),
        frames("3", "LAX_4Ch", FOUR),
        series=SeriesSettings(overrides={"2": "3ch"}),
    )
    assert [plane.series_uid for plane in choice["3ch"].planes] == ["2"] and choice["3ch"].flags == ["override", "several_series"]
    assert choice["4ch"].flags == []


def test_a_mixed_series_gives_each_view_its_plane_and_no_plane_to_none():
    mixed = [frames("1", "CINE_segmented_LAX", orientation) for orientation in (TWO, THREE, FOUR)]
    choice = chosen(*mixed)
    for view, orientation in (("3ch", THREE), ("4ch", FOUR)):
        (plane,) = choice[view].planes
        assert plane.frames[0].header.orientation == unit(orientation) and choice[view].flags == ["mixed_series"]
