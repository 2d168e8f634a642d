"""The registry of data sets, and the parsers of their publishers' metadata."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest

from skinapp.datasets import isic_more, registry
from skinapp.datasets.metadata import SYMPTOMS
from skinapp.datasets.registry import DATASETS
from skinapp.errors import DataError
from tests.sources import write_isic_more
from train.data import datasets, download

HAM10000 = {
    "lesion_id": ["L1", "L1"],
    "image_id": ["I1", "I2"],
    "dx": ["mel", "mel"],
    "dx_type": ["histo", "histo"],
    "age": [60.0, None],
    "sex": ["male", "unknown"],
    "localization": ["back", "back"],
}
PAD_UFES_20 = {
    "img_id": ["P1_1_9.png", "P1_1_8.png"],
    "lesion_id": [1, 1],
    "patient_id": ["P1", "P1"],
    "diagnostic": ["BCC", "BCC"],
    "biopsed": [True, False],
    "age": [70, 70],
    "gender": ["FEMALE", None],
    "region": ["NOSE", "NOSE"],
    "fitspatrick": [2.0, None],
    **{name: ["True", "UNK"] for name in SYMPTOMS},
    "diameter_1": [6.0, 0.0],
    "diameter_2": [5.0, 0.0],
}


def written(folder: Path, columns: Mapping[str, object]) -> Path:
    folder.mkdir()
    pd.DataFrame(columns).to_csv(folder / "metadata.csv", index=False)
    return folder


MILK10K = {
    "image_id": ["I1", "I2"],
    "lesion_id": ["L1", "L1"],
    "modality": ["dermoscopy", "clinical"],
    "dx": ["AKIEC", "AKIEC"],
    "dx7": ["akiec", None],
    "dx6": [None, "SCC"],
    "age": [60.0, 60.0],
    "sex": ["male", "male"],
    "site": ["head_neck_face", "upper_extremity"],
    "skin_tone_class": [3, None],
    "confirmation": ["histopathology", "single contributor clinical assessment"],
    "near_duplicate_of_ham10000_train": ["I9", None],
    "split": ["train", "train"],
}


@pytest.mark.parametrize("key", DATASETS)
def test_every_data_set_can_be_shown_trained_on_and_downloaded(key: str) -> None:
    entry = DATASETS[key]
    assert entry.id == key
    assert key in datasets.READERS
    assert entry.publisher.host == download.ISIC or key in download.ARRANGE
    assert entry.licence in download.LICENCES
    assert entry.group in ("lesion", "patient")
    assert registry.title(key) == entry.title
    assert entry.credit.endswith(entry.licence)
    assert {"image", "diagnosis"} <= set(entry.columns or ("image", "diagnosis"))


def test_an_unknown_data_set_is_reported_or_keeps_its_id() -> None:
    assert registry.title("elsewhere") == "elsewhere"
    with pytest.raises(DataError, match="There is no data set 'elsewhere'; choose one of ham10000"):
        registry.dataset("elsewhere")


def test_ham10000_is_parsed(tmp_path: Path) -> None:
    folder = written(tmp_path / "ham10000", HAM10000)
    frame = registry.published("ham10000", tmp_path)
    assert frame["lesion"].tolist() == ["L1", "L1"]
    assert frame[["diagnosis", "confirmation", "site"]].iloc[0].tolist() == ["mel", "histo", "back"]
    assert "split" not in frame
    pd.DataFrame(HAM10000 | {"split": ["test", "test_sibling"]}).to_csv(folder / "metadata.csv", index=False)
    assert registry.published("ham10000", tmp_path)["split"].tolist() == ["test", "excluded"]


def test_a_lesion_without_a_stated_biopsy_is_not_taken_for_a_biopsied_one(tmp_path: Path) -> None:
    written(tmp_path / "pad_ufes_20", PAD_UFES_20 | {"biopsed": [None, "False"]})
    first, second = registry.published("pad_ufes_20", tmp_path)["confirmation"]
    assert pd.isna(first)
    assert second == "clinical"


def test_pad_ufes_20_is_parsed(tmp_path: Path) -> None:
    written(tmp_path / "pad_ufes_20", PAD_UFES_20)
    first, second = registry.published("pad_ufes_20", tmp_path).to_dict("records")
    assert (first["image"], first["lesion"], first["patient"]) == ("P1_1_9", "P1_1", "P1")
    assert (first["confirmation"], second["confirmation"]) == ("biopsy", "clinical")
    assert (first["skin_type"], first["itch"], first["diameter_1"]) == ("2", "yes", 6.0)
    assert all(pd.isna(second[name]) for name in ("sex", "skin_type", "itch", "diameter_1"))


def test_milk10k_is_parsed(tmp_path: Path) -> None:
    folder = written(tmp_path / "milk10k", MILK10K)
    frame = registry.published("milk10k", tmp_path)
    assert frame["image"].tolist() == ["dermoscopy/I1", "clinical/I2"]
    assert frame["site"].tolist() == ["head, neck or face", "upper extremity"]
    assert frame["skin_tone"].tolist() == ["3", pd.NA]
    assert frame.loc[0, ["dx7", "copy_of"]].tolist() == ["akiec", "I9"]
    (folder / "clinical").mkdir()
    (folder / "clinical" / "I2.webp").touch()
    assert registry.image_files("milk10k", tmp_path) == {"clinical/I2": folder / "clinical" / "I2.webp"}


def test_further_images_of_the_archive_are_parsed(tmp_path: Path) -> None:
    write_isic_more(tmp_path, copy_of="malignant/7.webp", patient="P1")
    frame = isic_more.parse(tmp_path / "isic_more")
    assert frame["copy_of"].iloc[0] == "malignant/7"
    assert frame["patient"].iloc[:3].tolist() == [frame["image"].iloc[0], "P1", "L0"]
    assert registry.ISIC_MORE.id not in DATASETS, "nobody is counted in it"


def test_a_malignant_benign_image_has_the_label_of_its_folder(tmp_path: Path) -> None:
    for name in ("malignant/2.jpg", "benign/1.jpg", "benign/notes.txt"):
        (tmp_path / "malignant_benign" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "malignant_benign" / name).touch()
    frame = registry.published("malignant_benign", tmp_path)
    assert frame.to_dict("list") == {"image": ["benign/1", "malignant/2"], "diagnosis": ["benign", "malignant"]}
    files = registry.image_files("malignant_benign", tmp_path)
    assert files["malignant/2"] == tmp_path / "malignant_benign" / "malignant" / "2.jpg"
    (tmp_path / "malignant_benign" / "benign" / "1.png").touch()
    with pytest.raises(DataError, match="two images named benign/1"):
        registry.published("malignant_benign", tmp_path)


def test_a_table_from_another_program_is_the_same_data_set(tmp_path: Path) -> None:
    written(tmp_path / "ham10000", HAM10000)
    plain = registry.published("ham10000", tmp_path)
    text = (tmp_path / "ham10000" / "metadata.csv").read_text()
    (tmp_path / "ham10000" / "metadata.csv").write_bytes(text.replace(",", ";").replace(".0", ",0").encode("utf-16"))
    pd.testing.assert_frame_equal(registry.published("ham10000", tmp_path), plain)
