"""Images are found in folders, tables and lists, and each shard gets its part."""

import io
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from skinapp import tables
from skinapp.errors import DataError
from skinapp.inference import cases
from skinapp.inference.cases import STANDARD_INPUT, Shard


def names(source: Path, shard: Shard = cases.WHOLE) -> list[str]:
    opened = cases.open_source(source, shard)
    found = [name for name, _ in opened.cases]
    assert opened.total in (len(set(found)), None)
    return found


def touch(folder: Path, *files: str) -> None:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_a_folder_is_listed_sorted_and_recursively(tmp_path: Path) -> None:
    touch(tmp_path, "b.JPG", "a/c.png", "a/notes.txt", "a/deep/x.webp", "é.tif")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "link.png").symlink_to(tmp_path / "b.JPG")
    (tmp_path / "folder.png").mkdir()
    assert names(tmp_path) == ["a/c.png", "a/deep/x.webp", "b.JPG", "link.png", "é.tif"]
    assert cases.find_cases(tmp_path)["a/c.png"].path == tmp_path / "a" / "c.png"


def test_a_folder_that_cannot_be_listed_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(cases.os, "scandir", refused)
    with pytest.raises(DataError, match=r"cannot be listed \(Permission denied\)"):
        cases.open_source(tmp_path)


def test_every_image_is_in_one_shard_by_its_name_alone(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{number}.png" for number in range(200)))
    shards = [names(tmp_path, Shard(number, 4)) for number in range(1, 5)]
    assert sorted(name for shard in shards for name in shard) == sorted(names(tmp_path))
    assert min(map(len, shards)) > 30
    table = tmp_path / "list.csv"
    table.write_text("image\n" + "".join(f"{number}.png\n" for number in range(199, -1, -1)))
    assert [sorted(names(table, Shard(number, 4))) for number in range(1, 5)] == [sorted(shard) for shard in shards]


@pytest.mark.parametrize("text", ["5/4", "0/4", "-1/4", "1/0", "2", "a/b", "1/2/3", "", "1.5/2"])
def test_a_shard_that_does_not_exist_is_reported(text: str) -> None:
    with pytest.raises(DataError, match="shard"):
        cases.parse_shard(text)


def test_a_shard_is_read(tmp_path: Path) -> None:
    assert cases.parse_shard("4/4") == Shard(4, 4)


def test_a_parquet_file_is_read_as_a_csv_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "CHUNK_ROWS", 2)
    columns = {"image": ["a.png", "b.png", "a.png", "", None], "age": [50, None, 50, 1, 2], "boxes": [[1]] * 5}
    pq.write_table(pa.table(columns), tmp_path / "list.parquet")
    assert names(tmp_path / "list.parquet") == ["a.png", "b.png", "a.png"]
    found = cases.find_cases(tmp_path / "list.parquet")
    assert found["a.png"].row == {"image": "a.png", "age": 50}
    assert found["b.png"].path == tmp_path / "b.png"
    assert cases.open_source(tmp_path / "list.parquet").columns == {"image", "age"}
    columns["age"][2] = 60
    pq.write_table(pa.table(columns), tmp_path / "list.parquet")
    with pytest.raises(DataError, match=r"lists a\.png more than once, with different values"):
        cases.open_source(tmp_path / "list.parquet")


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (pa.table({"path": ["a.png"]}), "lacks the column image; it has path"),
        (pa.table({"image": [7]}), "holds int64; it must hold the paths"),
        (pa.table({"image": [{"bytes": b"", "path": "a.png"}]}), "holds struct<.*it must hold the paths"),
        (pa.table({"image": pa.array([], pa.string())}), "is empty"),
    ],
)
def test_a_parquet_file_with_a_wrong_schema_is_reported(table: pa.Table, sentence: str, tmp_path: Path) -> None:
    pq.write_table(table, tmp_path / "list.parquet")
    with pytest.raises(DataError, match=sentence):
        cases.open_source(tmp_path / "list.parquet")


def test_a_truncated_parquet_file_is_reported(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": ["a.png"]}), tmp_path / "list.parquet")
    (tmp_path / "list.parquet").write_bytes((tmp_path / "list.parquet").read_bytes()[:-20])
    with pytest.raises(DataError, match="cannot be read as a Parquet file"):
        cases.open_source(tmp_path / "list.parquet")


def test_standard_input_is_read_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = io.BytesIO(b"/data/a.png\n\nb c.png\r\ncaf\xe9.png")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(lines))
    listed = cases.open_source(STANDARD_INPUT)
    assert listed.total is None
    assert [name for name, _ in listed.cases] == ["/data/a.png", "b c.png", "caf\udce9.png"]


def test_an_empty_standard_input_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\n")))
    with pytest.raises(DataError, match="lists no images"):
        list(cases.open_source(STANDARD_INPUT).cases)
