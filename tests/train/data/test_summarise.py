"""The shipped tables are what `summarise` makes of the publishers'."""

from pathlib import Path

import pandas as pd
import pytest

from skinapp.datasets import registry
from skinapp.demographics import records
from skinapp.errors import DataError
from train import __main__ as command
from train.data import summarise


def published(root: Path) -> None:
    folder = root / "ham10000"
    folder.mkdir(parents=True)
    images = summarise.splits.HAM10000_TEST.read_text().split()
    rows = [(f"HAM_{number // 2}", image, "nv", "histo", 50, "male", "back") for number, image in enumerate(images)]
    columns = ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "metadata.csv", index=False)


def test_images_of_a_lesion_with_the_same_metadata_become_one_row_with_their_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(tmp_path)
    monkeypatch.setenv("SKINAPP_DATA", str(tmp_path))
    assert command.main(["summarise", "ham10000", "--out", str(tmp_path / "out")]) == 0
    file = tmp_path / "out" / "ham10000.csv.gz"
    table = pd.read_csv(file)
    assert list(table.columns) == [
        *("lesion", "diagnosis", "confirmation", "sex", "age", "site", "split", "images", "ids")
    ]
    assert table["ids"].str.split().map(len).tolist() == table["images"].tolist()
    assert table["images"].sum() == 1503
    assert table["images"].max() == 2
    assert table["lesion"].is_unique
    before = file.read_bytes()
    assert command.main(["summarise", "ham10000", "--out", str(tmp_path / "out")]) == 0
    assert file.read_bytes() == before


def test_an_unknown_data_set_is_reported(capsys: pytest.CaptureFixture) -> None:
    assert command.main(["summarise", "isic"]) == 2
    assert "There is no data set 'isic'" in capsys.readouterr().err


@pytest.mark.data
@pytest.mark.parametrize("dataset", registry.DATASETS)
def test_the_shipped_tables_are_up_to_date(dataset: str, data_root: Path, tmp_path: Path) -> None:
    try:
        table = summarise.summarise(dataset, data_root)
    except DataError as error:
        pytest.skip(str(error))
    summarise.write(table, tmp_path / "table.csv.gz")
    ours = pd.read_csv(records.TABLES / f"{dataset}.csv.gz")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "table.csv.gz"), ours)
