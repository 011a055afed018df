"""Frames come in time order, incomplete cines are told apart, and resampling in time is exact."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heart_assets.dicom.errors import RejectedError
from heart_assets.dicom.headers import FrameHeader, frame_header
from heart_assets.dicom.timing import resampling_matrix, time_frames

BLANK = frame_header({})


def headers(count: int = 20, step: float = 40.0, rr: float | None = 800.0, expected: int | None = 20) -> list[FrameHeader]:
    return [
        replace(BLANK, trigger_ms=index * step, instance=index + 1, rr_ms=rr, expected_frames=expected, sop_uid=str(index))
        for index in range(count)
    ]


def timed(frames, whole=True, lost=0, reason="incomplete_series"):
    return time_frames(frames, whole, lost, reason)


@given(st.permutations(range(20)))
def test_shuffled_frames_are_put_in_order(shuffle):
    frames = headers()
    timing = timed([frames[index] for index in shuffle])
    assert [shuffle[index] for index in timing.order] == list(range(20))
    assert (timing.interval_ms, timing.rr_ms, timing.flags) == (40.0, 800.0, [])
    assert timing.covers_cycle


def test_trigger_time_decides_over_instance_number():
    frames = [replace(header, instance=20 - index) for index, header in enumerate(headers())]
    assert timed(frames[::-1]).order == list(range(19, -1, -1))


def test_without_trigger_times_instance_numbers_order_and_are_flagged():
    frames = [replace(header, trigger_ms=None) for header in headers()]
    timing = timed(frames[::-1])
    assert timing.order == list(range(19, -1, -1))
    assert timing.flags == ["order_by_instance", "interval_from_rr"] and timing.interval_ms == 40.0
    still = [replace(header, trigger_ms=0.0) for header in headers()]
    assert timed(still).flags == ["order_by_instance", "interval_from_rr"]


@pytest.mark.parametrize(
    "changes", [{"trigger_ms": None, "instance": None}, {"trigger_ms": 0.0, "instance": 4}, {"trigger_ms": None, "rr_ms": None}]
)
def test_without_any_order_or_any_time_there_is_no_cine(changes):
    with pytest.raises(RejectedError, match="no_frame_order"):
        timed([replace(header, **changes) for header in headers()])


def test_duplicates_are_dropped_the_last_acquired_is_kept():
    frames = headers()
    twice = frames + [replace(frames[3], acquisition_number=2, sop_uid="copy")] + [frames[7]]
    timing = timed(twice)
    assert len(timing.order) == 20 and timing.order[3] == 20
    assert timing.flags == ["duplicate_frames"]


def test_rr_from_the_frames_is_flagged_and_proves_no_cycle():
    timing = timed(headers(rr=None))
    assert timing.rr_ms == 800.0 and timing.flags == ["rr_from_frames"]
    assert not timing.covers_cycle


@pytest.mark.parametrize(("step", "covers"), [(40, True), (38, True), (37.9, False), (45, True), (47, False)])
def test_a_cycle_is_covered_from_95_percent(step, covers):
    assert timed(headers(step=step)).covers_cycle is covers


@pytest.mark.parametrize(
    ("keep", "expected"),
    [(lambda i: i != 9, 20), (lambda i: i != 0, 20), (lambda i: i < 19, 20), (lambda i: i != 9, None), (lambda i: i != 0, None)],
)
def test_missing_frames_make_a_series_incomplete(keep, expected):
    frames = [header for index, header in enumerate(headers(expected=expected)) if keep(index)]
    with pytest.raises(RejectedError, match="incomplete_series") as caught:
        timed(frames)
    assert "19" in caught.value.detail


def test_lost_files_count_only_where_the_headers_do_not_tell():
    assert len(timed(headers(), lost=2, reason="unreadable_dicom").order) == 20
    with pytest.raises(RejectedError, match="unreadable_dicom"):
        timed(headers(expected=None), lost=2, reason="unreadable_dicom")
    with pytest.raises(RejectedError, match="unreadable_dicom"):
        timed(headers(19), lost=1, reason="unreadable_dicom")


def test_a_plane_that_lacks_frames_of_its_series_is_inconsistent():
    with pytest.raises(RejectedError, match="inconsistent_geometry"):
        timed(headers(12), whole=False)


def test_instance_numbers_of_a_shared_series_may_start_anywhere():
    frames = [replace(header, instance=header.instance + 50) for header in headers(expected=None)]
    assert len(timed(frames, whole=False).order) == 20


def test_too_few_frames_are_no_cine():
    with pytest.raises(RejectedError, match="incomplete_series") as caught:
        timed(headers(7, expected=None))
    assert caught.value.detail == "7 frames are no cine"


def wave(count: int, harmonic: int, phase: float) -> np.ndarray:
    return np.cos(2 * np.pi * harmonic * np.arange(count) / count + phase)


@given(st.integers(8, 60), st.integers(8, 60), st.data())
def test_circular_resampling_is_exact_for_what_both_samplings_hold(found, frames, data):
    harmonic = data.draw(st.integers(0, (min(found, frames) - 1) // 2))
    phase = data.draw(st.floats(0, 6))
    resampled = resampling_matrix(found, frames, True) @ wave(found, harmonic, phase)
    np.testing.assert_allclose(resampled, wave(frames, harmonic, phase), atol=1e-5)


@given(st.integers(2, 60), st.integers(2, 60))
def test_linear_resampling_is_exact_for_lines_and_keeps_the_ends(found, frames):
    resampled = resampling_matrix(found, frames, False) @ np.linspace(3, 7, found)
    np.testing.assert_allclose(resampled, np.linspace(3, 7, frames), atol=1e-5)


def test_circular_joins_the_last_frame_to_the_first_linear_does_not():
    ramp = np.zeros(20)
    ramp[0] = 1.0
    assert abs(resampling_matrix(20, 40, True) @ ramp)[-1] > 0.5
    assert abs(resampling_matrix(20, 40, False) @ ramp)[-1] == 0


@pytest.mark.parametrize(("found", "frames"), [(8, 16), (16, 8), (9, 9), (8, 8)])
def test_circular_resampling_keeps_constants_and_does_not_double_the_fastest_harmonic(found, frames):
    matrix = resampling_matrix(found, frames, True)
    np.testing.assert_allclose(matrix @ np.ones(found), np.ones(frames), atol=1e-6)
    if found == frames:
        np.testing.assert_allclose(matrix, np.eye(found), atol=1e-6)
    if frames == 2 * found:
        np.testing.assert_allclose(matrix[::2], np.eye(found), atol=1e-6)
