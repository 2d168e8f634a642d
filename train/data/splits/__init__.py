"""Splits by image id, so that a newly downloaded table is split as it was for the models here."""

from pathlib import Path

import numpy as np
import pandas as pd

from skinapp.errors import DataError

HAM10000_TEST = Path(__file__).with_name("ham10000_test.txt")
MALIGNANT_BENIGN = Path(__file__).with_name("malignant_benign.csv")


def ham10000_split(images: pd.Series, lesions: pd.Series) -> pd.Series:
    """`test`, `test_sibling` or `train` for each row of HAM10000's table, from its image and lesion ids.

    `test` are the 1,503 images on which the DermFM-Zero repository reports foundation models; `test_sibling` share a
    lesion with one of them, so they belong to neither part; `train` is the rest. DataError if test images are
    missing from the table.
    """
    test = set(HAM10000_TEST.read_text().split())
    missing = sorted(test - set(images))
    if missing:
        raise DataError(f"{len(missing)} of the {len(test):,} test images are not in the table, {missing[0]} first.")
    is_test = images.isin(test)
    is_sibling = lesions.isin(set(lesions[is_test])) & ~is_test
    return pd.Series(np.select([is_test, is_sibling], ["test", "test_sibling"], "train"), images.index, name="split")


def listed(dataset: str) -> pd.DataFrame:
    """The images of milk10k or isic_more that the ISIC archive publishes: one row per image, as text, "" if empty.

    `image_id` and the columns of the data set's table that training needs and the archive does not state: its part, the
    collection that it is from, its class in HAM10000 or PAD-UFES-20, and the image of another data set that shows the
    same picture (found by features, not only by a hash, since many are cropped or recoloured).
    """
    return pd.read_csv(Path(__file__).with_name(f"{dataset}.csv.gz"), dtype=str, keep_default_na=False)


def malignant_benign_test() -> list[str]:
    """The images of the malignant/benign set that are tested, or whose lesion has a tested image, named as in
    "malignant/768"."""
    known = pd.read_csv(MALIGNANT_BENIGN, keep_default_na=False)
    return known.loc[known["split"] != "train", "image"].tolist()


def malignant_benign_groups(images: pd.Series) -> pd.DataFrame:
    """`group`, `ham10000` and `split` for each image of the malignant/benign set, named as in "malignant/768".

    Three in four of its images are also in HAM10000. `ham10000` is the id there, "" if there is none, so that no image
    tested in one set is trained on in the other. Images of one lesion have the same `group`: the lesion's id in
    HAM10000, or the first of its images here. `split` is train, test or excluded, see `part`. An image that is not in
    the list is a separate group and excluded, since it may be a test image of HAM10000. `python -m train.data.splits`
    makes the list.
    """
    known = pd.read_csv(MALIGNANT_BENIGN, keep_default_na=False).set_index("image")
    matched = known.reindex(images).set_index(images.index)
    return pd.DataFrame(
        {
            "group": matched["group"].fillna(images),
            "ham10000": matched["ham10000"].fillna(""),
            "split": matched["split"].fillna("excluded"),
        }
    )


def part(groups: pd.DataFrame, ham10000: pd.Series, seed: int = 0) -> pd.Series:
    """The part of each image of the malignant/benign set: train, test or excluded.

    `groups` has the columns `group` and `ham10000`; `ham10000` is HAM10000's split by image id. An image in HAM10000
    keeps its part there; another image of such a lesion is trained on if the lesion is, and otherwise excluded. A
    random fifth of the other groups is test. All images of a test group but the first are excluded.
    """
    split = groups["ham10000"].map(ham10000.replace("test_sibling", "excluded"))
    known: dict[str, set[str]] = {str(group): set(parts.dropna()) for group, parts in split.groupby(groups["group"])}
    others = np.array(sorted(group for group, parts in known.items() if not parts))
    test_groups = set(np.random.default_rng(seed).permutation(others)[: len(others) // 5])
    by_group = {group: "train" if parts <= {"train"} else "excluded" for group, parts in known.items()}
    by_group |= dict.fromkeys(test_groups, "test")
    split = split.fillna(groups["group"].map(by_group))
    further = groups[split == "test"].duplicated("group")
    return split.mask(further.reindex(split.index, fill_value=False), "excluded")
