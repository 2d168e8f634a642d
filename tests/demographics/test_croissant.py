"""The descriptions of the data sets are valid Croissant 1.0, and their records are those that Explore counts."""

from pathlib import Path

import mlcroissant
import pytest

from skinapp.__main__ import main
from skinapp.datasets.registry import DATASETS
from skinapp.demographics import croissant, records
from skinapp.errors import DataError

# rdflib, which reads JSON-LD for mlcroissant, uses classes that it has itself deprecated
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("croissant")
    croissant.write(folder)
    return folder


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=lambda dataset: dataset.id)
def test_a_description_is_valid_and_its_terms_are_the_publishers(folder: Path, dataset: records.Table) -> None:
    read = mlcroissant.Dataset(folder / f"{dataset.id}.json").metadata
    assert not read.issues.errors
    assert str(read.ctx.conforms_to.value) == "http://mlcommons.org/croissant/1.0"
    assert read.name == dataset.id
    assert read.url == dataset.publisher.address
    assert read.cite_as == dataset.attribution
    assert f"{dataset.published_images:,} images are published" in read.description


def test_the_records_count_the_images_of_the_table(folder: Path) -> None:
    rows = mlcroissant.Dataset(folder / "pad_ufes_20.json").records("images")
    table = records.shipped("pad_ufes_20").frame
    counted = [(row["images/diagnosis"].decode(), row["images/images"]) for row in rows]
    assert counted == list(zip(table["diagnosis"], table["images"], strict=True))


def test_a_changed_table_is_recognised(tmp_path: Path) -> None:
    croissant.write(tmp_path)
    (tmp_path / "pad_ufes_20.csv").write_text("lesion\n1\n")
    with pytest.raises(mlcroissant.GenerationError, match="Download"):
        list(mlcroissant.Dataset(tmp_path / "pad_ufes_20.json").records("images"))


def test_the_command_lists_data_sets_and_writes_their_descriptions(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["datasets"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(DATASETS)
    assert main(["datasets", "--croissant", str(tmp_path / "new")]) == 0
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / "new" / f"{name}.json") for name in DATASETS]


def test_a_folder_that_cannot_be_created_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be created"):
        croissant.write(tmp_path / "file" / "folder")
