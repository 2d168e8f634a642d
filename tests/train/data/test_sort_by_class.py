"""A data set laid out in class folders: nothing is overwritten, interrupted runs resume, missing images are listed."""

from pathlib import Path

import pandas as pd
import pytest

from train import __main__ as command
from train.data import sort_by_class


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "set"
    (folder / "images").mkdir(parents=True)
    for name in "abc":
        (folder / "images" / f"{name}.jpg").write_bytes(name.encode() * 10)
    table = pd.DataFrame({"image_id": list("abc"), "dx": ["mel", "nv", "nv"]})
    table.to_csv(folder / "metadata.csv", index=False)
    return folder


def sort(data: Path, out: Path, *options: str) -> int:
    return command.main(["sort-by-class", "--data", str(data), "--out", str(out), *options])


def files(out: Path) -> list[str]:
    return sorted(str(file.relative_to(out)) for file in out.rglob("*") if file.is_file())


@pytest.mark.parametrize("options", [(), ("--link",)])
def test_every_image_lands_in_the_folder_of_its_class(data: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    out = tmp_path / "out"
    assert sort(data, out, *options) == 0
    assert files(out) == ["mel/a.jpg", "nv/b.jpg", "nv/c.jpg"]
    assert (out / "nv" / "b.jpg").read_bytes() == b"b" * 10
    assert (out / "nv" / "b.jpg").is_symlink() == bool(options)


def test_it_resumes_where_it_stopped(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out"
    copy = sort_by_class.shutil.copy2

    def interrupted(source: Path, target: Path) -> None:
        if source.name == "b.jpg":
            Path(target).write_bytes(b"half")
            raise KeyboardInterrupt
        copy(source, target)

    monkeypatch.setattr(sort_by_class.shutil, "copy2", interrupted)
    assert sort(data, out) == 130
    assert files(out) == ["mel/a.jpg"]
    monkeypatch.undo()
    assert sort(data, out) == 0
    assert "2 images sorted" in capsys.readouterr().out
    assert files(out) == ["mel/a.jpg", "nv/b.jpg", "nv/c.jpg"]


def test_nothing_is_overwritten_nor_anything_else_changed(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out"
    (out / "nv").mkdir(parents=True)
    (out / "nv" / "c.jpg").write_bytes(b"another")
    assert sort(data, out) == 2
    assert "Nothing was changed" in capsys.readouterr().err
    assert files(out) == ["nv/c.jpg"]
    assert (out / "nv" / "c.jpg").read_bytes() == b"another"


def test_copies_are_not_mistaken_for_links(data: Path, tmp_path: Path) -> None:
    assert sort(data, tmp_path / "out") == 0
    assert sort(data, tmp_path / "out", "--link") == 2


def test_missing_images_are_listed_until_they_are_there(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out"
    (data / "images" / "b.jpg").unlink()
    assert sort(data, out) == 2
    assert "1 images of the table are not in" in capsys.readouterr().err
    assert pd.read_csv(out / "missing.csv")["image"].tolist() == ["b"]
    (data / "images" / "b.jpg").write_bytes(b"b" * 10)
    assert sort(data, out) == 0
    assert files(out) == ["mel/a.jpg", "nv/b.jpg", "nv/c.jpg"]


def test_the_data_set_is_not_sorted_into_itself(data: Path) -> None:
    assert sort(data, data) == 2
    assert sort(data, data / "images" / "sorted") == 2


@pytest.mark.parametrize("label", ["../up", "", "a/b"])
def test_a_class_that_is_not_a_valid_folder_name_is_refused(
    data: Path, tmp_path: Path, label: str, capsys: pytest.CaptureFixture
) -> None:
    pd.DataFrame({"image_id": ["a"], "dx": [label]}).to_csv(data / "metadata.csv", index=False)
    assert sort(data, tmp_path / "out") == 2
    assert "cannot name a folder" in capsys.readouterr().err


def test_the_table_of_pad_ufes_20_is_known_too(data: Path, tmp_path: Path) -> None:
    pd.DataFrame({"img_id": ["a.png", "b.png"], "diagnostic": ["MEL", "NEV"]}).to_csv(
        data / "metadata.csv", index=False
    )
    assert sort(data, tmp_path / "out") == 0
    assert files(tmp_path / "out") == ["MEL/a.jpg", "NEV/b.jpg"]
