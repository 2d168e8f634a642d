"""Scoring writes its own two files and no others, and one bad image never stops the rest."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from skinapp.errors import DataError, ImageError
from skinapp.images import imaging
from skinapp.inference import registry, scoring
from skinapp.inference.rows import Case
from skinapp.inference.runtime import Prediction
from tests.pictures import encode, lesion


class Constant:
    """In place of a loaded model: the same logits for every image."""

    def __init__(self, model: registry.Model, threads: int | None = None):
        self.model = model

    def predict(self, pixels: np.ndarray, values: object = None) -> Prediction:
        count = len(self.model.labels.codes)
        return Prediction(
            self.model, np.zeros(count), np.full(count, 1 / count), None, np.zeros(1), np.zeros((1, 1, count))
        )


@pytest.fixture(autouse=True)
def _constant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "Classifier", Constant)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(encode(lesion(64, 64), "PNG"))
    return folder


def read(file: Path) -> dict[str, dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as stream:
        return {row["image"]: row for row in csv.DictReader(stream)}


@pytest.mark.parametrize(
    "content",
    [
        b'{"a": 1}\n{"b": 2} end',
        b"image,model\nnot predictions",
        b"no line break at all",
        b"\xff\xfe\x00",
        b"image,model,predicted,malignancy\na,b,c,d\n",
    ],
)
def test_a_file_that_is_not_predictions_stays_as_it_is(
    content: bytes, images: Path, tmp_path: Path, model: registry.Model
) -> None:
    out = tmp_path / "notes.json"
    out.write_bytes(content)
    with pytest.raises(DataError, match="something other than predictions"):
        scoring.score(images, model, out)
    assert out.read_bytes() == content
    assert not (tmp_path / "notes.failed.csv").exists()


def test_predictions_of_another_model_stay_as_they_are(images: Path, tmp_path: Path, model: registry.Model) -> None:
    out = tmp_path / "p.csv"
    scoring.score(images, model, out)
    content = out.read_bytes().replace(model.id.encode(), b"another")[:-5]
    out.write_bytes(content)
    with pytest.raises(DataError, match="something other than predictions"):
        scoring.score(images, model, out)
    assert out.read_bytes() == content


def test_failures_are_named_after_the_output(images: Path, tmp_path: Path, model: registry.Model) -> None:
    (images / "empty.png").touch()
    own = tmp_path / "failed.csv"
    summary = scoring.score(images, model, own)
    assert summary.failures == tmp_path / "failed.failed.csv"
    assert list(read(own)) == ["a.png", "b.png"]
    assert list(read(summary.failures)) == ["empty.png"]
    # mended, it is scored, and no failures are left
    (images / "empty.png").write_bytes((images / "a.png").read_bytes())
    assert scoring.score(images, model, own).scored == 1
    assert not summary.failures.exists()


def test_another_file_in_the_place_of_the_failures_stays(images: Path, tmp_path: Path, model: registry.Model) -> None:
    for name in ("failed.csv", "p.failed.csv"):
        (tmp_path / name).write_text("my,own\n1,2\n")
    with pytest.raises(DataError, match=r"p\.failed\.csv, which holds something else"):
        scoring.score(images, model, tmp_path / "p.csv")
    assert not (tmp_path / "p.csv").exists()
    scoring.score(images, model, tmp_path / "q.csv")
    for name in ("failed.csv", "p.failed.csv"):
        assert (tmp_path / name).read_text() == "my,own\n1,2\n"


def test_the_list_of_images_is_never_written_to(images: Path, model: registry.Model) -> None:
    for name, out in (("list.csv", "list.csv"), ("p.failed.csv", "p.csv")):
        table = images / name
        table.write_text("image\na.png\n")
        with pytest.raises(DataError, match="is the list of images to score"):
            scoring.score(table, model, images / out)
        assert table.read_text() == "image\na.png\n"


def test_output_and_failures_are_two_files(images: Path, tmp_path: Path, model: registry.Model) -> None:
    (tmp_path / "p.failed.csv").symlink_to(tmp_path / "p.csv")
    with pytest.raises(DataError, match="are the same file"):
        scoring.score(images, model, tmp_path / "p.csv")


def test_whatever_byte_a_run_stopped_at_the_next_one_completes_it(
    images: Path, tmp_path: Path, model: registry.Model
) -> None:
    (images / 'two,"lines"\nof.png').write_bytes((images / "a.png").read_bytes())
    out = tmp_path / "p.csv"
    scoring.score(images, model, out)
    whole = out.read_bytes()
    assert len(read(out)) == 3
    for size in range(len(whole)):
        out.write_bytes(whole[:size])
        scoring.score(images, model, out)
        assert out.read_bytes() == whole, size


def test_names_that_no_csv_can_hold_are_failures(images: Path, tmp_path: Path, model: registry.Model) -> None:
    (images / os.fsdecode(b"caf\xe9.png")).write_bytes((images / "a.png").read_bytes())
    for _ in range(2):
        summary = scoring.score(images, model, tmp_path / "p.csv")
        assert list(read(tmp_path / "p.csv")) == ["a.png", "b.png"]
        assert "not valid UTF-8" in read(summary.failures)[r"caf\udce9.png"]["reason"]


def test_a_name_with_nul_is_a_failure(images: Path, tmp_path: Path, model: registry.Model) -> None:
    cases = {"x\0.png": Case(images / "x\0.png", {}), "a.png": Case(images / "a.png", {})}
    (_, error), (_, prediction) = scoring.classify_all(cases, model)
    assert "NUL" in str(error)
    assert isinstance(prediction, Prediction)


def test_only_regular_files_are_read(images: Path, tmp_path: Path, model: registry.Model) -> None:
    os.mkfifo(images / "pipe.png")
    table = images / "list.csv"
    table.write_text("image\na.png\npipe.png\n/dev/zero\n")
    summary = scoring.score(table, model, tmp_path / "p.csv")
    assert (summary.scored, summary.failed) == (1, 2)
    assert all("a device, a pipe or a socket" in row["reason"] for row in read(summary.failures).values())
    with pytest.raises(ImageError, match="a device"):
        imaging.read("/dev/zero")


def test_an_image_listed_twice_is_scored_once_or_refused(images: Path, tmp_path: Path, model: registry.Model) -> None:
    table = images / "list.csv"
    table.write_text("image,age\na.png,50\nb.png,60\na.png,50\n")
    summary = scoring.score(table, model, tmp_path / "p.csv")
    assert (summary.scored, summary.repeated) == (2, 1)
    table.write_text("image,age\na.png,50\nb.png,60\na.png,80\n")
    with pytest.raises(DataError, match=r"lists a\.png more than once, with different values"):
        scoring.score(table, model, tmp_path / "q.csv")
    assert not (tmp_path / "q.csv").exists()
