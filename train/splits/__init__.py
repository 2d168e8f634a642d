"""Splits that are known by image id, so that a table fresh from its publisher is divided as the models here were."""

from pathlib import Path

import numpy as np
import pandas as pd

from skinapp.errors import DataError

HAM10000_TEST = Path(__file__).with_name("ham10000_test.txt")
MALIGNANT_BENIGN = Path(__file__).with_name("malignant_benign.csv")


def ham10000_split(images: pd.Series, lesions: pd.Series) -> pd.Series:
    """`test`, `test_sibling` or `train` for each row of HAM10000's table, of its image and lesion ids.

    `test` are the 1,503 images on which the DermFM-Zero repository reports foundation models; `test_sibling` share a
    lesion with one of them, so they belong to neither part; `train` is the rest. DataError where test images are
    missing from the table.
    """
    test = set(HAM10000_TEST.read_text().split())
    missing = sorted(test - set(images))
    if missing:
        raise DataError(f"{len(missing)} of the {len(test):,} test images are not in the table, {missing[0]} first.")
    is_test = images.isin(test)
    is_sibling = lesions.isin(set(lesions[is_test])) & ~is_test
    return pd.Series(np.select([is_test, is_sibling], ["test", "test_sibling"], "train"), images.index, name="split")


def malignant_benign_groups(images: pd.Series) -> pd.DataFrame:
    """`group` and `ham10000` for each image of the malignant/benign set, named as in "malignant/768".

    Three of four of its images are HAM10000's: `ham10000` is that image's id, "" where there is none, so that
    what is tested in the one set is not trained on in the other. `group` is shared by the images of one lesion: the
    lesion's id in HAM10000, or the first of its images here. An image that is not in the list is a group of its own.
    `python -m train.splits` makes the list.
    """
    known = pd.read_csv(MALIGNANT_BENIGN, keep_default_na=False).set_index("image")
    found = known.reindex(images)
    return (
        pd.DataFrame(
            {"group": found["group"].fillna(pd.Series(images.to_numpy(), found.index)), "ham10000": found["ham10000"]}
        )
        .fillna("")
        .set_index(images.index)
    )
