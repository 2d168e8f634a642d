"""Files are whole or not there, however many write them."""

from pathlib import Path

import pytest

from skinapp.errors import DataError
from skinapp.files import replacing


def test_a_file_is_replaced_at_the_end(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("older")
    with replacing(file) as partial:
        partial.write_text("newer")
        assert file.read_text() == "older"
        # what chooses its format by the ending finds it
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
