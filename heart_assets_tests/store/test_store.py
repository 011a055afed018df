"""Store files: what is written is read, whole or not at all, from any process and thread, by any h5py user."""

import multiprocessing
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heart_assets.store import IMAGE_COLUMNS, VIDEO_COLUMNS, ImageStore, ImageWriter, StoreError, VideoStore, VideoWriter

FRAMES, SIZE = 6, 24
ATTRIBUTES = {"view": "4ch", "geometry": {"size_px": SIZE}, "spacing_mm": 1.8}


def row(number: int, columns=VIDEO_COLUMNS) -> dict:
    values = {str: f"ä{number}", int: number, float: number / 3, bool: bool(number % 2), list: tuple(np.arange(6) * 0.5 + number)}
    return {name: values[kind] for name, kind in columns.items()}


def videos(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, FRAMES, SIZE, SIZE), np.uint8)


def write(path: Path, pixels: np.ndarray, attributes=ATTRIBUTES, first: int = 0) -> Path:
    with VideoWriter(path, FRAMES, SIZE, attributes) as writer:
        for number, video in enumerate(pixels, start=first):
            writer.append(video, row(number))
        assert len(writer) == len(pixels)
    return path


@pytest.fixture
def pair(tmp_path):
    pixels = videos(9)
    return [write(tmp_path / "a.h5", pixels[:5]), write(tmp_path / "b.h5", pixels[5:], first=5)], pixels


def test_everything_written_is_read(pair):
    paths, pixels = pair
    store = VideoStore(paths)
    assert len(store) == 9 and store.shape == pixels.shape and store.paths == paths and store.attributes == ATTRIBUTES
    np.testing.assert_array_equal(store.read(np.arange(9)), pixels)
    assert list(store.columns.columns) == list(VIDEO_COLUMNS) and store.columns.index.tolist() == list(range(9))
    for number in range(9):
        assert store.columns.iloc[number].to_dict() == row(number)
    assert isinstance(store.columns["study_id"][0], str) and store.columns["shift_capped"].dtype == bool


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 8), max_size=12))
def test_any_order_and_repeats(tmp_path_factory, wanted):
    folder = tmp_path_factory.getbasetemp() / "order"
    pixels = videos(9)
    if not folder.exists():
        write(folder / "a.h5", pixels[:4]), write(folder / "b.h5", pixels[4:])
    found = VideoStore([folder / "a.h5", folder / "b.h5"]).read(np.array(wanted, int))
    np.testing.assert_array_equal(found, pixels[wanted] if wanted else np.empty((0, FRAMES, SIZE, SIZE)))
    assert found.dtype == np.uint8


@pytest.mark.parametrize("wanted", [[9], [-1], [0.5], [[0]], ["a"]])
def test_what_is_no_row_is_refused(pair, wanted):
    with pytest.raises(IndexError, match="indices must"):
        VideoStore(pair[0]).read(np.array(wanted))


def test_the_file_is_plain_hdf5_aligned_and_hardly_larger_than_its_pixels(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (12, 50, 80, 80), np.uint8)
    with VideoWriter(tmp_path / "a.h5", 50, 80, ATTRIBUTES) as writer:
        for number, video in enumerate(pixels):
            writer.append(video, row(number))
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["videos"].chunks is None and file["videos"].id.get_offset() % 4096 == 0
        np.testing.assert_array_equal(file["videos"][:], pixels)
        assert file["columns/orientation"].shape == (12, 6)
        assert file["columns/flags"].asstr()[3] == "ä3"
    assert os.path.getsize(tmp_path / "a.h5") <= 1.01 * pixels.nbytes


@pytest.mark.parametrize("count", [0, 1, 2])
@pytest.mark.parametrize("size", [1, 16, 31])
def test_files_of_few_tiny_rows(tmp_path, count, size):
    pixels = np.random.default_rng(0).integers(0, 256, (count, 2, size, size), np.uint8)
    with VideoWriter(tmp_path / "a.h5", 2, size, {}) as writer:
        for number, video in enumerate(pixels):
            writer.append(video, row(number))
    store = VideoStore([tmp_path / "a.h5"])
    assert store.shape == (count, 2, size, size) and len(store.columns) == count
    np.testing.assert_array_equal(store.read(np.arange(count)), pixels)
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(file["videos"][:], pixels)


def test_an_empty_file_among_others_changes_nothing(pair, tmp_path):
    paths, pixels = pair
    store = VideoStore([write(tmp_path / "none.h5", pixels[:0]), *paths, tmp_path / "none.h5"])
    np.testing.assert_array_equal(store.read(np.arange(9)), pixels)
    assert store.columns["visit"].dtype == np.int64


def test_the_same_rows_give_the_same_bytes(tmp_path):
    first, second = write(tmp_path / "a.h5", videos(3)), write(tmp_path / "b.h5", videos(3))
    assert first.read_bytes() == second.read_bytes()


def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path):
    path = write(tmp_path / "a.h5", videos(2))
    old = path.read_bytes()
    with pytest.raises(RuntimeError), VideoWriter(path, FRAMES, SIZE, {}) as writer:
        writer.append(videos(1)[0], row(0))
        raise RuntimeError
    assert path.read_bytes() == old and os.listdir(tmp_path) == ["a.h5"]


def test_a_failure_at_the_end_leaves_the_old_file_and_nothing_else(tmp_path):
    path = write(tmp_path / "a.h5", videos(2))
    old = path.read_bytes()
    with pytest.raises(TypeError), VideoWriter(path, FRAMES, SIZE, {}) as writer:
        writer.append(videos(1)[0], row(0) | {"snr": object()})
    assert path.read_bytes() == old and os.listdir(tmp_path) == ["a.h5"]


@pytest.mark.parametrize(
    ("pixels", "columns"),
    [
        (np.zeros((FRAMES, SIZE, SIZE + 1), np.uint8), row(0)),
        (np.zeros((FRAMES, SIZE, SIZE), np.uint16), row(0)),
        (np.zeros((FRAMES, SIZE, SIZE), np.uint8), {"study_id": "x"}),
        (np.zeros((FRAMES, SIZE, SIZE), np.uint8), row(0) | {"more": 1}),
    ],
)
def test_rows_that_do_not_fit_are_refused(tmp_path, pixels, columns):
    with pytest.raises(StoreError), VideoWriter(tmp_path / "a.h5", FRAMES, SIZE, {}) as writer:
        writer.append(pixels, columns)


def test_pixels_in_any_memory_order(tmp_path):
    pixels = np.asfortranarray(videos(1)[0])
    write(tmp_path / "a.h5", pixels[None])
    np.testing.assert_array_equal(VideoStore([tmp_path / "a.h5"]).read(np.array([0]))[0], pixels)


def test_damaged_missing_and_foreign_files_are_refused_in_one_sentence(tmp_path):
    with pytest.raises(StoreError, match=r"no store file none\.h5"):
        VideoStore([tmp_path / "none.h5"])
    with pytest.raises(StoreError, match="at least one file"):
        VideoStore([])
    path = write(tmp_path / "a.h5", videos(3))
    data = path.read_bytes()
    for damaged in (b"", b"junk" * 99, data[: len(data) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(StoreError, match=r"a\.h5"):
            VideoStore([path])
    with h5py.File(path, "w") as file:
        file["videos"] = np.zeros((2, 3, 4, 4), np.float32)
        file.attrs["attributes"] = "{}"
    with pytest.raises(StoreError, match="not a store of videos"):
        VideoStore([path])


@pytest.mark.parametrize("changes", [{"view": "3ch"}, {"spacing_mm": 2.0}, {"geometry": {}}])
def test_files_of_another_view_or_geometry_are_refused_together(tmp_path, changes):
    paths = [write(tmp_path / "a.h5", videos(1)), write(tmp_path / "b.h5", videos(1), ATTRIBUTES | changes)]
    with pytest.raises(StoreError, match=r"b\.h5 and a\.h5 differ"):
        VideoStore(paths)


def test_attributes_that_are_no_geometry_may_differ(tmp_path):
    assert len(VideoStore([write(tmp_path / "a.h5", videos(1)), write(tmp_path / "b.h5", videos(1), ATTRIBUTES | {"code": 2})])) == 2


def test_the_digest_follows_content_and_not_place_or_time(tmp_path):
    base = VideoStore([write(tmp_path / "a.h5", videos(3))]).digest
    assert VideoStore([write(tmp_path / "sub" / "b.h5", videos(3))]).digest == base and len(base) == 16

    def changed(**values):
        with VideoWriter(tmp_path / "c.h5", FRAMES, SIZE, ATTRIBUTES) as writer:
            for number, video in enumerate(videos(3)):
                writer.append(video, row(number) | (values if number == 1 else {}))
        return VideoStore([tmp_path / "c.h5"]).digest

    assert changed(source_mtime_ns=5, source_size=6, source_name="elsewhere") == base
    assert len({base, changed(video_digest="other"), changed(rr_ms=1.0), changed(snr=float("nan"))}) == 4


def test_rejections_are_remembered_beside_the_rows(tmp_path):
    one = {"source_size": 3, "source_mtime_ns": 4, "source_name": "n.zip", "view": "all", "reason": "empty", "detail": "é"}
    with VideoWriter(tmp_path / "a.h5", FRAMES, SIZE, ATTRIBUTES) as writer:
        writer.reject(one | {"participant_id": "not kept"})
    assert VideoStore([tmp_path / "a.h5"]).rejected.to_dict("records") == [one]
    assert b"not kept" not in (tmp_path / "a.h5").read_bytes()


def test_a_reader_keeps_the_old_file_when_it_is_replaced(tmp_path):
    path = write(tmp_path / "a.h5", videos(3))
    store = VideoStore([path])
    sent = pickle.dumps(store)
    write(path, videos(2, seed=1), first=50)
    np.testing.assert_array_equal(store.read(np.arange(3)), videos(3))
    assert store.columns["visit"].tolist() == [0, 1, 2]
    with pytest.raises(StoreError, match="was replaced"):
        pickle.loads(sent)


def test_a_file_cut_while_open_is_told(tmp_path):
    path = write(tmp_path / "a.h5", videos(3))
    store = VideoStore([path])
    os.truncate(path, 5000)
    with pytest.raises(StoreError, match="cut short"):
        store.read(np.array([2]))


def _sum_in_child(store: VideoStore, indices: np.ndarray, results) -> None:
    results.put(int(store.read(indices).astype(int).sum()) + len(store.columns))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_store_crosses_into_other_processes(pair, method):
    paths, pixels = pair
    store = VideoStore(paths)
    assert len(store.columns) == 9
    context = multiprocessing.get_context(method)
    results = context.Queue()
    child = context.Process(target=_sum_in_child, args=(store, np.array([7, 1]), results))
    child.start()
    assert results.get(timeout=60) == int(pixels[[7, 1]].astype(int).sum()) + 9
    child.join(30)


def test_threads_may_read_at_once(pair):
    paths, pixels = pair
    store = VideoStore(paths)
    orders = [np.random.default_rng(seed).permutation(9) for seed in range(40)]
    with ThreadPoolExecutor(4) as pool:
        for order, found in zip(orders, pool.map(store.read, orders), strict=True):
            np.testing.assert_array_equal(found, pixels[order])


def test_no_descriptor_is_left_open(pair):
    def count():
        return len(os.listdir("/proc/self/fd"))

    before = count()
    for _ in range(5):
        store = VideoStore(pair[0])
        store.read(np.array([0])), len(store.columns)
    del store
    assert count() == before


def test_maps_of_the_liver(tmp_path):
    maps = np.random.default_rng(0).integers(0, 3000, (3, 20, 20)).astype(np.uint16)
    with ImageWriter(tmp_path / "a.h5", 20, {"unit": "ms"}) as writer:
        for number, image in enumerate(maps):
            writer.append(image, row(number, IMAGE_COLUMNS))
    store = ImageStore([tmp_path / "a.h5"])
    assert store.shape == (3, 20, 20) and list(store.columns.columns) == list(IMAGE_COLUMNS)
    np.testing.assert_array_equal(store.read(np.array([2, 0])), maps[[2, 0]])
    with pytest.raises(StoreError, match="not a store of videos"):
        VideoStore([tmp_path / "a.h5"])
