"""Scoring writes only its own two files, and a bad image never stops the rest."""

import csv
import dataclasses
import hashlib
import io
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from skinapp.errors import DataError, ImageError
from skinapp.images import imaging
from skinapp.inference import parts, registry, scoring
from skinapp.inference.cases import STANDARD_INPUT, Shard
from skinapp.inference.rows import Case, Extras
from skinapp.inference.runtime import Prediction
from tests import full_disk
from tests.pictures import encode, lesion

CHECKOUT = Path(__file__).parents[2]


class Constant:
    """A stub for a loaded model: the same logits for every image, whose pixels it collects."""

    classified: ClassVar[list[np.ndarray]] = []

    def __init__(self, model: registry.Model, threads: int | None = None):
        self.model = model

    def predict(self, pixels: np.ndarray, values: object = None) -> Prediction:
        self.classified.append(pixels)
        count = len(self.model.labels.codes)
        return Prediction(
            self.model, np.zeros(count), np.full(count, 1 / count), None, np.zeros(1), np.zeros((1, 1, count))
        )


@pytest.fixture(autouse=True)
def _constant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "Classifier", Constant)


@pytest.fixture
def classified() -> list[np.ndarray]:
    """The images classified by this test's model."""
    Constant.classified.clear()
    return Constant.classified


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
def test_a_file_that_is_not_predictions_is_not_changed(
    content: bytes, images: Path, tmp_path: Path, model: registry.Model
) -> None:
    out = tmp_path / "notes.json"
    out.write_bytes(content)
    with pytest.raises(DataError, match="something other than predictions"):
        scoring.score(images, model, out)
    assert out.read_bytes() == content
    assert not (tmp_path / "notes.failed.csv").exists()


def test_predictions_of_another_model_are_not_changed(images: Path, tmp_path: Path, model: registry.Model) -> None:
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
    # once repaired, it is scored, and no failures are left
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


@pytest.mark.parametrize("content", ["{}", "[]", "not JSON", '{"model": {}, "extras": {"a": 1}}'])
def test_another_file_in_the_place_of_the_manifest_stays(
    content: str, images: Path, tmp_path: Path, model: registry.Model
) -> None:
    (tmp_path / "p.manifest.json").write_text(content)
    with pytest.raises(DataError, match=r"p\.manifest\.json is not the manifest"):
        scoring.score(images, model, tmp_path / "p.csv")
    assert (tmp_path / "p.manifest.json").read_text() == content


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


@pytest.fixture
def short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows per part."""
    monkeypatch.setattr(parts, "ROWS", 2)


@pytest.fixture
def five(images: Path) -> Path:
    """A folder of five different images."""
    for seed, name in enumerate("cde", start=1):
        (images / f"{name}.png").write_bytes(encode(lesion(64, 64, seed), "PNG"))
    (images / "b.png").write_bytes(encode(lesion(64, 64, 9), "PNG"))
    return images


def table(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "predictions").set_index("image")


def content(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*.parquet")}


@pytest.mark.usefixtures("short_parts")
def test_parts_hold_what_a_csv_does(five: Path, tmp_path: Path, model: registry.Model) -> None:
    (five / "empty.png").touch()
    summary = scoring.score(five, model, tmp_path / "out")
    scoring.score(five, model, tmp_path / "p.csv")
    assert (summary.scored, summary.failed, summary.failures) == (5, 1, tmp_path / "out" / "failures")
    found, rows = table(tmp_path / "out"), read(tmp_path / "p.csv")
    assert list(found.index) == list(rows) == ["a.png", "b.png", "c.png", "d.png", "e.png"]
    assert [f"{value:.6f}" for value in found["p_mel"]] == [row["p_mel"] for row in rows.values()]
    assert found.loc["a.png", "sha256"] == hashlib.sha256((five / "a.png").read_bytes()).hexdigest()
    assert len(list((tmp_path / "out" / "predictions").iterdir())) == 3
    failed = pd.read_parquet(tmp_path / "out" / "failures")
    assert failed["image"].tolist() == ["empty.png"]
    assert "empty" in failed["reason"][0]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["model"]["id"] == model.id
    assert manifest["complete"]
    assert manifest["images"] == {"predicted": 5, "failed": 1}
    assert {"python", "ai-edge-litert", "numpy"} <= manifest["libraries"].keys()
    assert json.loads((tmp_path / "p.manifest.json").read_text())["images"] == {"predicted": 5, "failed": 1}


@pytest.mark.usefixtures("short_parts")
def test_a_run_that_was_killed_is_completed_part_by_part(five: Path, tmp_path: Path, model: registry.Model) -> None:
    (five / "empty.png").touch()
    out = tmp_path / "out"
    scoring.score(five, model, out)
    whole = content(out)
    second = out / "predictions" / "part-00001.parquet"
    # killed while it wrote the second part
    for name in ("predictions/part-00001.parquet", "predictions/part-00002.parquet", "failures/part-00002.parquet"):
        (out / name).unlink()
    (out / "predictions" / "partial-0123456789abcdef-part-00001.parquet").write_bytes(
        whole[f"predictions/{second.name}"][:99]
    )
    summary = scoring.score(five, model, out)
    assert (summary.scored, summary.skipped, summary.failed) == (3, 2, 1)
    assert content(out) == whole


def test_finished_rows_are_kept_when_a_run_is_stopped(five: Path, tmp_path: Path, model: registry.Model) -> None:
    def stop(done: int, total: int | None) -> None:
        assert total == 5
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scoring.score(five, model, tmp_path / "out", stop)
    assert list(table(tmp_path / "out").index) == ["a.png", "b.png", "c.png"]
    assert not json.loads((tmp_path / "out" / "manifest.json").read_text())["complete"]
    summary = scoring.score(five, model, tmp_path / "out")
    assert (summary.scored, summary.skipped) == (2, 3)
    assert list(table(tmp_path / "out").index) == ["a.png", "b.png", "c.png", "d.png", "e.png"]


IN_SMALL_STEPS = """
import sys
from skinapp.__main__ import main
from skinapp.inference import parts, scoring
parts.ROWS = scoring.AHEAD = 8
sys.exit(main())
"""
"""`python -m skinapp` with eight rows per part, and eight images in progress."""


def start_scoring(out: Path, model: registry.Model) -> subprocess.Popen[str]:
    """The command `score`, reading the list of images from standard input."""
    command = [sys.executable, "-c", IN_SMALL_STEPS, "score", "-", "--model", model.id, "--out", str(out)]
    return subprocess.Popen(command, cwd=CHECKOUT, text=True, stdin=subprocess.PIPE, stderr=subprocess.PIPE)


def has_rows(out: Path) -> bool:
    """Whether a run has written six rows to a CSV, or a part to a folder."""
    if out.is_file():
        return len(out.read_bytes().splitlines()) > 6
    return any((out / parts.PREDICTIONS).glob("part-*.parquet"))


def results(out: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows and the failures of a run."""
    if out.is_file():
        return pd.read_csv(out), pd.read_csv(out.with_suffix(".failed.csv"))
    return pd.read_parquet(out / parts.PREDICTIONS), pd.read_parquet(out / parts.FAILURES)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["out", "p.csv"])
def test_a_killed_process_loses_and_doubles_nothing(name: str, tmp_path: Path, model: registry.Model) -> None:
    files = [tmp_path / f"{number:02}.jpg" for number in range(60)]
    for number, file in enumerate(files):
        file.write_bytes(encode(lesion(96, 80, number)) if number not in (1, 30, 50) else b"not an image")
    listed = [f"{file}\n" for file in files]
    out, uninterrupted = tmp_path / name, tmp_path / "uninterrupted" / name
    with start_scoring(out, model) as killed:
        # the list stays open, so that the run cannot end before it is killed
        killed.stdin.writelines(listed[:40])
        killed.stdin.flush()
        while not has_rows(out):
            assert killed.poll() is None, killed.stderr.read()
            time.sleep(0.01)
        killed.kill()
    assert killed.returncode == -signal.SIGKILL

    for target in (out, uninterrupted):
        with start_scoring(target, model) as process:
            _, messages = process.communicate("".join(listed))
        assert process.returncode == 0, messages
        assert (" 0 already scored" in messages) == (target == uninterrupted), messages
    (rows, failures), (expected_rows, expected_failures) = results(out), results(uninterrupted)
    pd.testing.assert_frame_equal(rows, expected_rows, check_exact=True)
    pd.testing.assert_frame_equal(failures, expected_failures)
    assert sorted([*rows["image"], *failures["image"]]) == list(map(str, files))
    assert len(failures) == 3


def test_failures_are_tried_again(images: Path, tmp_path: Path, model: registry.Model) -> None:
    (images / "empty.png").touch()
    out = tmp_path / "out"
    for _ in range(2):
        assert scoring.score(images, model, out).failed == 1
        assert pd.read_parquet(out / "failures")["image"].tolist() == ["empty.png"]
    (images / "empty.png").write_bytes((images / "a.png").read_bytes())
    assert scoring.score(images, model, out).failed == 0
    assert not list((out / "failures").iterdir())
    assert set(table(out).index) == {"a.png", "b.png", "empty.png"}


def test_shards_share_a_folder(five: Path, tmp_path: Path, model: registry.Model) -> None:
    out = tmp_path / "out"
    with ThreadPoolExecutor(3) as pool:
        shards = [Shard(number, 3) for number in (1, 2, 3)]
        summaries = list(pool.map(lambda shard: scoring.score(five, model, out, shard=shard), shards))
    assert sum(summary.scored for summary in summaries) == 5
    assert sorted(table(out).index) == ["a.png", "b.png", "c.png", "d.png", "e.png"]
    assert scoring.score(five, model, out, shard=Shard(2, 3)).scored == 0
    for shard in (Shard(1, 4), scoring.WHOLE):
        with pytest.raises(DataError, match=f"made in 3 shards, not {shard.of}"):
            scoring.score(five, model, out, shard=shard)
    with pytest.raises(DataError, match="name a folder"):
        scoring.score(five, model, tmp_path / "p.csv", shard=Shard(1, 3))


@pytest.mark.parametrize("name", ["out", "p.csv"])
def test_a_second_run_at_the_same_time_is_refused(
    name: str, images: Path, tmp_path: Path, model: registry.Model
) -> None:
    refused = []

    def again(done: int, total: int | None) -> None:
        with pytest.raises(DataError, match="Another process is writing"):
            scoring.score(images, model, tmp_path / name)
        refused.append(done)

    scoring.score(images, model, tmp_path / name, again)
    assert refused == [1, 2]
    assert scoring.score(images, model, tmp_path / name).skipped == 2


@pytest.mark.parametrize("name", ["out", "p.csv"])
def test_predictions_of_another_version_are_not_continued(
    name: str, images: Path, tmp_path: Path, model: registry.Model
) -> None:
    scoring.score(images, model, tmp_path / name)
    with pytest.raises(DataError, match=f"not the '{model.id}' that is here now"):
        scoring.score(images, dataclasses.replace(model, temperature=2.0), tmp_path / name)
    # the scores in the card do not matter
    card = model.card | {"scores": {}}
    assert scoring.score(images, dataclasses.replace(model, card=card), tmp_path / name).skipped == 2


def test_parts_with_other_columns_are_not_continued(images: Path, tmp_path: Path, model: registry.Model) -> None:
    scoring.score(images, model, tmp_path / "out")
    with pytest.raises(DataError, match="other columns"):
        scoring.score(images, model, tmp_path / "out", extras=Extras(coverages=(0.9,)))
    (tmp_path / "out" / "manifest.json").unlink()
    with pytest.raises(DataError, match=r"part-00000.parquet holds predictions of another model"):
        scoring.score(images, model, tmp_path / "out", extras=Extras(coverages=(0.9,)))


def test_a_folder_of_other_files_is_not_changed(images: Path, model: registry.Model) -> None:
    before = sorted(images.iterdir())
    with pytest.raises(DataError, match="holds other files, such as"):
        scoring.score(images, model, images)
    assert sorted(images.iterdir()) == before


def test_a_damaged_part_is_named(images: Path, tmp_path: Path, model: registry.Model) -> None:
    scoring.score(images, model, tmp_path / "out")
    part = tmp_path / "out" / "predictions" / "part-00000.parquet"
    part.write_bytes(part.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"part-00000.parquet cannot be read .*delete it"):
        scoring.score(images, model, tmp_path / "out")


@full_disk.only_where_there_is_one
@pytest.mark.usefixtures("short_parts")
def test_a_full_disk_in_the_middle_loses_nothing_that_is_done(
    five: Path, tmp_path: Path, model: registry.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        full_disk.full_disk_from_now(patch, out / "predictions" / "part-00001.parquet")
        with pytest.raises(DataError, match=r"part-00001.parquet cannot be written: No space left"):
            scoring.score(five, model, out)
    assert list(table(out).index) == ["a.png", "b.png"]
    assert [file.name for file in (out / "predictions").iterdir()] == ["part-00000.parquet"]
    assert scoring.score(five, model, out).scored == 3


def test_a_list_in_a_parquet_file(five: Path, tmp_path: Path, model: registry.Model) -> None:
    listed = pd.DataFrame({"image": ["a.png", "gone.png", "c.png", "a.png"]})
    listed.to_parquet(five / "list.parquet")
    summary = scoring.score(five / "list.parquet", model, tmp_path / "p.csv")
    assert (summary.scored, summary.failed, summary.repeated) == (2, 1, 1)


def test_a_list_on_standard_input(
    five: Path, tmp_path: Path, model: registry.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = f"{five}/a.png\n{five}/b.png\n{five}/a.png\n".encode()
    for expected in ((2, 0, 1), (0, 2, 1)):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines)))
        summary = scoring.score(STANDARD_INPUT, model, tmp_path / "out")
        assert (summary.scored, summary.skipped, summary.repeated) == expected


def test_copies_are_classified_once(five: Path, tmp_path: Path, model: registry.Model, classified: list) -> None:
    for name in ("copy.png", "other copy.png"):
        (five / name).write_bytes((five / "a.png").read_bytes())
    summary = scoring.score(five, model, tmp_path / "out")
    assert (summary.scored, summary.duplicates, len(classified)) == (7, 2, 5)
    found = table(tmp_path / "out")
    assert found.loc["copy.png"].equals(found.loc["a.png"])


def test_a_file_that_changes_while_it_is_read_is_a_failure(
    images: Path, tmp_path: Path, model: registry.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = imaging.read

    def changing(path: Path) -> bytes:
        data = reading(path)
        if path.name == "a.png":
            path.write_bytes(data + b"\0")
        return data

    with monkeypatch.context() as patch:
        patch.setattr(imaging, "read", changing)
        summary = scoring.score(images, model, tmp_path / "out")
    assert (summary.scored, summary.failed) == (1, 1)
    assert "changed while it was read" in pd.read_parquet(tmp_path / "out" / "failures")["reason"][0]
    assert scoring.score(images, model, tmp_path / "out").scored == 1


def test_results_keep_their_order_and_input_is_taken_only_as_needed() -> None:
    taken = []

    def numbers() -> Iterator[int]:
        for number in itertools.count():
            taken.append(number)
            yield number

    results = scoring._in_order(lambda number: time.sleep(0.002 * (number % 3 == 0)) or number, numbers(), 2)
    assert list(itertools.islice(results, 50)) == list(range(50))
    assert len(taken) <= 50 + scoring.AHEAD + 1
