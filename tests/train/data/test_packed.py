import dataclasses
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from skinapp.errors import DataError
from skinapp.images import imaging
from tests.full_disk import full_disk_from_now, only_where_there_is_one
from tests.sources import write_milk10k
from tests.train.conftest import tiny_network_on
from train.__main__ import main
from train.config import Config
from train.data import datasets, packed
from train.fit import run_folder, training
from train.publish.card_content import training_settings

SIZE = 64


@pytest.fixture(scope="module")
def several(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two data sets; a melanoma of one is a copy of an image of the other."""
    root = tmp_path_factory.mktemp("several")
    (root / "ham10000").symlink_to(tiny_data / "ham10000")
    write_milk10k(root, copy_of="ISIC_0000000")
    return root


@pytest.fixture(scope="module")
def file(several: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both data sets in one file."""
    out = tmp_path_factory.mktemp("packed") / "both.parquet"
    with tiny_network_on(several):
        assert main(["pack", "ham10000+milk10k", "--size", str(SIZE), "--out", str(out)]) == 0
    return out


@pytest.fixture
def without_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate a machine without data sets."""
    monkeypatch.setenv("SKINAPP_DATA", str(tmp_path / "nothing"))


@pytest.mark.parametrize("name", ["ham10000", "milk10k", "ham10000+milk10k"])
def test_rows_groups_and_folds_are_those_of_the_files(
    name: str, several: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKINAPP_DATA", str(several))
    published, stored = datasets.read(name), datasets.read(name, str(file))
    assert stored["path"].isna().all()
    columns = [column for column in datasets.COLUMNS if column != "path"]
    pd.testing.assert_frame_equal(stored[columns].astype(object), published[columns].astype(object))
    for fold in (0, 1):
        parts = [datasets.with_validation(table, 2, fold, seed=1)["split"] for table in (published, stored)]
        assert (parts[0] == parts[1]).all()


@pytest.mark.parametrize("size", [SIZE, 40])
def test_the_cache_holds_each_packed_image_and_is_not_that_of_the_files(
    size: int, several: Path, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKINAPP_DATA", str(several))
    files = datasets.prepare("milk10k+ham10000", size, tmp_path)
    data = datasets.prepare("milk10k+ham10000", size, tmp_path, pack=str(file))
    assert not np.array_equal(data.images, files.images)
    # lossy, but closer to its own image than to others
    different = np.abs(data.images.astype(int) - files.images).mean(axis=(1, 2, 3))
    swapped = np.abs(data.images.astype(int) - files.images[::-1]).mean(axis=(1, 2, 3))
    assert different.max() < 4 < np.median(swapped)
    again = io.BytesIO(packed.encoded(imaging.load(files.table["path"].iloc[-1], SIZE), 85))
    assert (data.images[-1] == imaging.crop_resize(Image.open(again).convert("RGB"), size)).all()


def test_a_machine_without_the_data_sets_trains_on_the_file_and_the_run_knows_it(
    tiny: Config, file: Path, tmp_path: Path, without_data: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dataclasses.replace(tiny, packed=str(file))
    trained_on = []

    def stopped_at_once(config: Config, data: datasets.Dataset, *_: object) -> None:
        trained_on.append(data)
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "fit_stages", stopped_at_once)
    with pytest.raises(KeyboardInterrupt, match="Stopped before the first epoch"):
        training.fit(config, tmp_path / "runs")
    (data,) = trained_on
    assert (data.images == datasets.prepare("ham10000", 48, tmp_path / "again", pack=str(file)).images).all()
    # not resumed with the original files
    with pytest.raises(DataError, match="started with other settings"):
        run_folder.open_run(dataclasses.replace(config, packed=""), tmp_path / "runs")
    moved = tmp_path / "moved.parquet"
    moved.write_bytes(file.read_bytes())
    run_folder.open_run(dataclasses.replace(config, packed=str(moved)), tmp_path / "runs")
    assert training_settings(config)["note"] == (
        "Trained and scored on images of 64 px that were saved as WebP of quality 85, not on the published files."
    )
    assert training_settings(tiny)["note"] == ""


def test_another_quality_is_another_file_to_a_run(several: Path, file: Path, tiny: Config, tmp_path: Path) -> None:
    other = tmp_path / "other.parquet"
    with tiny_network_on(several):
        arguments = ["pack", "ham10000+milk10k", "--size", str(SIZE), "--quality", "60", "--out", str(other)]
        assert main(arguments) == 0
    assert other.stat().st_size < file.stat().st_size
    prints = {dataclasses.replace(tiny, packed=name).fingerprint for name in ("", str(file), str(other))}
    assert len(prints) == 3


def test_the_file_holds_attribution_and_licence(file: Path) -> None:
    terms = packed.read(file).terms
    assert terms.keys() == {"ham10000", "milk10k"}
    assert terms["ham10000"].startswith("Tschandl")
    assert terms["ham10000"].endswith("CC BY-NC 4.0.")


def test_images_larger_than_the_packed_ones_are_refused_before_training(tiny: Config, file: Path) -> None:
    sentence = r"images in .*both.parquet are 64 px; set cache_size=64 or less"
    with pytest.raises(DataError, match=sentence):
        dataclasses.replace(tiny, packed=str(file), cache_size=80)
    with pytest.raises(DataError, match=sentence):
        dataclasses.replace(tiny, packed=str(file), input_size=80)


def test_a_data_set_that_is_not_packed_is_named(file: Path) -> None:
    with pytest.raises(DataError, match="has the data sets ham10000, milk10k, but not pad_ufes_20; pack together"):
        datasets.read("ham10000+pad_ufes_20", str(file))


@pytest.mark.parametrize("content", [None, b"", b"not Parquet", "half", "foreign"])
def test_another_file_is_refused(content: bytes | str | None, file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.parquet"
    if content == "half":
        other.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    elif content == "foreign":
        pd.DataFrame({"image": ["a"]}).to_parquet(other)
    elif isinstance(content, bytes):
        other.write_bytes(content)
    with pytest.raises(DataError, match="There is no file" if content is None else "was not written by"):
        packed.read(other)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--size", "32"], "--size is 32; it must be at least 64."),
        (["--quality", "0"], "--quality is 0; it must be from 1 to 100."),
        (["--out", "nowhere/at/all.parquet"], "There is no folder nowhere/at"),
    ],
)
def test_impossible_options_are_reported(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pack", "ham10000", *arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_unreadable_images_are_listed_and_no_file_is_left(several: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.webp"
    broken.write_bytes(b"")
    with tiny_network_on(several):
        table = datasets.read("ham10000")
    table.loc[3, "path"] = broken
    with pytest.raises(DataError, match=r"1 of 29 images cannot be read:\nISIC_0000003: The file is empty"):
        packed.write(tmp_path / "out.parquet", table, SIZE, 85, {})
    assert not list(tmp_path.glob("*.parquet"))


@only_where_there_is_one
def test_a_full_disk_is_reported(several: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out.parquet"
    with tiny_network_on(several):
        full_disk_from_now(monkeypatch, out)
        with pytest.raises(DataError, match=r"out.parquet cannot be written: .*No space left on device"):
            packed.write(out, datasets.read("ham10000"), SIZE, 85, {})
    assert not out.exists()
