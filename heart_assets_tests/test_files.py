"""Files are the old one or the new one, whole, whatever happens to the writer."""

import errno
import hashlib
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from heart_assets.errors import StudyError
from heart_assets.files import (
    atomic_path,
    bytes_digest,
    claim_folder,
    digest,
    file_digest,
    locked,
    remove_unfinished,
    write_bytes,
    write_text,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def python(code: str, *arguments: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_a_file_appears_with_its_folders_when_the_block_ends(tmp_path):
    path = tmp_path / "a" / "b" / "table.csv"
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert not path.exists() and temporary.parent == path.parent
    assert path.read_text() == "new"
    assert names(path.parent) == ["table.csv"]


def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="in the middle"), atomic_path(path) as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError("in the middle")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["table.csv"]


def test_a_block_that_writes_nothing_is_an_error_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), atomic_path(path):
        pass
    assert path.read_text() == "old"


def test_a_killed_writer_leaves_the_old_file(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    code = """if True:
        import os, pathlib, sys
        from heart_assets.files import atomic_path
        with atomic_path(pathlib.Path(sys.argv[1])) as temporary:
            temporary.write_text("half of the n")
            os._exit(9)
    """
    assert python(code, path).wait(60) == 9
    assert path.read_text() == "old"
    (left,) = set(names(tmp_path)) - {"table.csv"}
    assert left.startswith(".tmp-") and left.endswith("-table.csv")


def test_a_claimed_folder_is_emptied_and_refused_to_another_process_until_its_owner_ends(tmp_path):
    folder = tmp_path / "scratch" / "90"
    folder.mkdir(parents=True)
    (folder / "left over").touch()
    code = """if True:
        import pathlib, sys
        from heart_assets.files import claim_folder
        folder = claim_folder(pathlib.Path(sys.argv[1]))
        print(len(list(folder.iterdir())), flush=True)
        sys.stdin.read()
    """
    owner = python(code, folder)
    assert owner.stdout.readline() == "0\n"
    (folder / "work of the owner").touch()
    with pytest.raises(StudyError) as refused:
        claim_folder(folder)
    assert str(refused.value) == "another run is already working on 90: wait for it, or cancel it"
    assert names(folder) == ["work of the owner"]
    owner.communicate(timeout=60)
    assert claim_folder(folder) == folder and names(folder) == []
    (folder / "mine").touch()
    assert names(claim_folder(folder)) == []  # the same process may start afresh


HOLD = """if True:
    import pathlib, sys
    from heart_assets.files import locked
    with locked(pathlib.Path(sys.argv[1]), 0, "refused"):
        print("held", flush=True)
        sys.stdin.read()
"""


def test_a_lock_is_waited_for_and_free_once_its_holder_is_killed(tmp_path):
    path = tmp_path / "deep" / "model.lock"
    holder = python(HOLD, path)
    assert holder.stdout.readline() == "held\n"
    begin = time.monotonic()
    with pytest.raises(StudyError, match="^somebody else has it$"), locked(path, 0.3, "somebody else has it"):
        pytest.fail("two hold one lock")
    assert time.monotonic() - begin >= 0.3
    killing = threading.Timer(0.2, holder.kill)
    killing.start()
    with locked(path, 60, "refused"):
        assert holder.poll() == -9 or holder.wait(60) == -9
        with pytest.raises(StudyError, match="refused"), locked(path, 0, "refused"):
            pytest.fail("two hold one lock")
    with locked(path, 0, "refused"):
        assert names(path.parent) == ["model.lock"]


def test_a_lock_is_free_after_an_error_in_its_block(tmp_path):
    with pytest.raises(RuntimeError, match="in the middle"), locked(tmp_path / "lock", 0, "refused"):
        raise RuntimeError("in the middle")
    with locked(tmp_path / "lock", 0, "refused"):
        pass


def test_a_file_system_without_locks_is_named_in_a_sentence(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", no_locks)
    with pytest.raises(StudyError) as refused, locked(tmp_path / "lock", 60, "refused"):
        pytest.fail("held what cannot be held")
    assert str(refused.value) == f"the file system of {tmp_path} keeps no locks (Function not implemented): mount it with flock support"


def test_what_killed_writers_have_left_of_a_file_is_removed_and_nothing_else(tmp_path):
    others = ["table.csv", ".tmp-0123456789ab-a-table.csv", ".tmp-0123456789ab-table.csv.old", ".tmp-table.csv"]
    for name in [*others, ".tmp-0123456789ab-table.csv", ".tmp-ba9876543210-table.csv"]:
        (tmp_path / name).touch()
    remove_unfinished(tmp_path / "table.csv")
    assert names(tmp_path) == sorted(others)


def test_digests(tmp_path):
    path = tmp_path / "a" / "x"
    write_text(path, "ä\n")
    expected = hashlib.sha256(b"\xc3\xa4\n").hexdigest()[:16]
    assert path.read_bytes() == b"\xc3\xa4\n"
    assert file_digest(path) == bytes_digest(path.read_bytes()) == expected
    write_bytes(path, b"\x00")
    assert file_digest(path) == hashlib.sha256(b"\x00").hexdigest()[:16]
    assert digest({"a": 1, "b": [None, 0.5]}) == digest({"b": [None, 0.5], "a": 1})
    assert len({digest(value) for value in ({"a": 1}, {"a": "1"}, {"a": 1.0}, {"b": 1}, [1], None)}) == 6
