from pathlib import Path

import pandas as pd
import pytest

from skinapp.datasets import duplicates
from skinapp.errors import DataError
from tests.pictures import encode
from tests.train.textures import texture
from train.data import splits
from train.data.splits.__main__ import grouped


def test_siblings_of_test_images_are_neither_test_nor_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "test.txt").write_text("b\nd\n")
    monkeypatch.setattr(splits, "HAM10000_TEST", tmp_path / "test.txt")
    images, lesions = (
        pd.Series(list("abcd"), index=[4, 5, 6, 7]),
        pd.Series(["L1", "L1", "L2", "L3"], index=[4, 5, 6, 7]),
    )
    split = splits.ham10000_split(images, lesions)
    assert split.to_dict() == {4: "test_sibling", 5: "test", 6: "train", 7: "test"}
    with pytest.raises(DataError, match="1 of the 2 test images are not in the table, d first"):
        splits.ham10000_split(images[:3], lesions[:3])


def test_the_list_of_test_images_is_whole() -> None:
    ids = splits.HAM10000_TEST.read_text().split()
    assert len(set(ids)) == len(ids) == 1503
    assert ids == sorted(ids)


@pytest.mark.data
def test_the_split_is_the_one_the_models_were_trained_with(data_root: Path) -> None:
    table = pd.read_csv(data_root / "ham10000" / "metadata.csv")
    assert list(splits.ham10000_split(table["image_id"], table["lesion_id"])) == list(table["split"])


def test_groups_of_the_malignant_benign_set() -> None:
    images = pd.Series(["malignant/768", "malignant/769", "test/benign/1", "benign/100"], index=list("wxyz"))
    groups = splits.malignant_benign_groups(images)
    assert groups["group"]["w"] == groups["group"]["x"]  # one picture, twice
    assert groups["group"]["y"] == "test/benign/1"
    assert groups["ham10000"].to_dict() == {"w": "", "x": "", "y": "", "z": "ISIC_0027338"}
    assert groups["group"]["z"].startswith("HAM_")


def test_images_of_one_lesion_are_one_group(tmp_path: Path) -> None:
    names = ["benign/1", "benign/2", "benign/30", "malignant/3", "malignant/9"]
    seeds = [0, 0, 1, 2, 3]
    paths = []
    for number, seed in enumerate(seeds):
        paths.append(tmp_path / f"{number}.jpg")
        paths[-1].write_bytes(encode(texture(seed), quality=95 - number))
    ham_paths = [tmp_path / "ham_1.jpg", tmp_path / "ham_2.jpg", tmp_path / "ham_3.jpg"]
    for path, seed in zip(ham_paths, (1, 2, 50), strict=True):
        path.write_bytes(encode(texture(seed), quality=80))
    table = pd.DataFrame({"image": names, "label": [name.split("/")[0] for name in names]})
    ham = pd.DataFrame({"image": ["I1", "I2", "I3"], "group": ["L", "L", "M"]})
    groups = grouped(table, duplicates.fingerprints(paths), ham, duplicates.fingerprints(ham_paths))
    assert list(groups["group"]) == ["benign/1", "benign/1", "L", "L", "malignant/9"]
    assert list(groups["ham10000"]) == ["", "", "I1", "I2", ""]


def test_the_malignant_benign_set_follows_ham10000_and_a_fifth_of_the_rest_is_test() -> None:
    own = [f"own{number}" for number in range(10)]
    groups = pd.DataFrame(
        {
            "group": ["L1", "L1", "L1", "L2", "L2", *own, *own],
            "ham10000": ["T", "S", "", "R", "", *[""] * 20],
        }
    )
    split = splits.part(groups, pd.Series({"T": "test", "S": "test_sibling", "R": "train"}))
    assert split[:5].tolist() == ["test", "excluded", "excluded", "train", "train"]
    rest = split[5:].groupby(groups["group"][5:]).agg(list)
    assert rest.map(tuple).value_counts().to_dict() == {("train", "train"): 8, ("test", "excluded"): 2}
