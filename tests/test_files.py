"""Files are complete or absent, however many processes write them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from skinapp.errors import DataError
from skinapp.files import locked, replacing


def test_a_file_is_replaced_at_the_end(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("older")
    with replacing(file) as partial:
        partial.write_text("newer")
        assert file.read_text() == "older"
        # keeps the extension, for code that chooses the format by it
        assert partial.suffix == ".txt"
    assert file.read_text() == "newer"
    assert list(tmp_path.iterdir()) == [file]


def test_a_failure_leaves_the_older_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("older")

    def write() -> None:
        with replacing(file) as partial:
            partial.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(DataError, match="No space left on device"):
        write()
    assert file.read_text() == "older"
    assert list(tmp_path.iterdir()) == [file]


def test_two_writers_do_not_share_a_partial_file(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    with replacing(file) as first:
        first.write_text("the first writer's text")
        with replacing(file) as second:
            second.write_text("second")
        assert file.read_text() == "second"
        assert first.read_text() == "the first writer's text"
    assert file.read_text() == "the first writer's text"
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_is_on_the_disk_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.txt"
    synced = []

    def fsync(descriptor: int) -> None:
        synced.append((os.fstat(descriptor).st_ino, file.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    with replacing(file) as partial:
        partial.write_text("new")
    assert synced == [(file.stat().st_ino, False), (tmp_path.stat().st_ino, True)]


def test_a_disk_that_cannot_be_synced_leaves_the_older_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.txt"
    file.write_text("older")

    def fsync(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(DataError, match="Input/output error"), replacing(file) as partial:
        partial.write_text("newer")
    assert file.read_text() == "older"
    assert list(tmp_path.iterdir()) == [file]


def test_a_second_writer_is_refused_until_the_first_is_done(tmp_path: Path) -> None:
    target = tmp_path / "scores.csv"
    with locked(target):
        with pytest.raises(DataError, match=r"Another process is writing to .*scores\.csv"), locked(target):
            pass
        with locked(tmp_path / "other.csv"):
            pass
    with locked(target):
        pass
    assert not list(tmp_path.iterdir())


def test_a_lock_ends_with_the_block_that_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "run"):
        raise ZeroDivisionError
    with locked(tmp_path / "run"):
        pass


def test_a_process_that_dies_leaves_no_lock(tmp_path: Path) -> None:
    target = tmp_path / "run"
    code = (
        "import sys, time; from pathlib import Path; from skinapp.files import locked\n"
        "with locked(Path(sys.argv[1])):\n    print('locked', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, target], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        with pytest.raises(DataError, match="Another process"), locked(target):
            pass
        process.send_signal(signal.SIGKILL)
    with locked(target):
        pass
    assert not list(tmp_path.iterdir())


def test_a_path_that_cannot_be_locked_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="run cannot be written: "), locked(tmp_path / "file" / "run"):
        pass
