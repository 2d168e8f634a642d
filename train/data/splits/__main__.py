"""python -m train.data.splits: make malignant_benign.csv again from both data sets."""

import sys

import numpy as np
import pandas as pd

from skinapp.datasets import duplicates
from skinapp.errors import SkinappError
from train.data.datasets import read
from train.data.splits import MALIGNANT_BENIGN, ham10000_split, part

NEIGHBOURS, BURST_CORRELATION = 10, 0.35
"""Images of one label whose file numbers and correlation are within these limits are a burst of one lesion. All such
pairs were checked by eye."""


def main() -> int:
    try:
        table, ham = read("malignant_benign"), read("ham10000")
    except SkinappError as error:
        print(error, file=sys.stderr)
        return 2
    prints = duplicates.fingerprints(list(table["path"]), "malignant_benign")
    groups = grouped(table, prints, ham, duplicates.fingerprints(list(ham["path"]), "ham10000"))
    groups["split"] = part(groups, pd.Series(ham10000_split(ham["image"], ham["group"]).to_numpy(), ham["image"]))
    groups.to_csv(MALIGNANT_BENIGN, index=False)
    in_ham10000 = (groups["ham10000"] != "").sum()
    print(f"{len(groups):,} images, {groups['group'].nunique():,} groups, {in_ham10000:,} in HAM10000")
    return 0


def grouped(
    table: pd.DataFrame, prints: duplicates.Fingerprints, ham: pd.DataFrame, ham_prints: duplicates.Fingerprints
) -> pd.DataFrame:
    """`image`, `group` and `ham10000` of every image in `table`, see `malignant_benign_groups`."""
    across = duplicates.pairs(prints, ham_prints).sort_values("correlation", ascending=False)
    lesions, names = pd.factorize(ham["group"])
    # each lesion of HAM10000 is an extra row after the images, linked to the images that show it
    links = [
        _rows(duplicates.pairs(prints)),
        _rows(_bursts(table, prints)),
        (across["first"].to_numpy(), len(table) + lesions[across["second"].to_numpy()]),
    ]
    clusters = duplicates.clusters(len(table) + len(names), links)
    cluster_name = dict(zip(clusters[len(table) :], names, strict=True))
    for cluster, image in zip(clusters, table["image"], strict=False):
        cluster_name.setdefault(cluster, image)
    match = across.drop_duplicates("first").set_index("first")["second"]
    known = pd.Series(ham["image"].to_numpy()[match], match.index).reindex(range(len(table)), fill_value="")
    group = [cluster_name[cluster] for cluster in clusters[: len(table)]]
    return pd.DataFrame({"image": table["image"], "group": group, "ham10000": known})


def _bursts(table: pd.DataFrame, prints: duplicates.Fingerprints) -> pd.DataFrame:
    pairs = duplicates.pairs(prints, min_correlation=BURST_CORRELATION)
    number = table["image"].str.rsplit("/").str[-1].astype(int).to_numpy()
    label = table["label"].to_numpy()
    first, second = _rows(pairs)
    near = (np.abs(number[first] - number[second]) <= NEIGHBOURS) & (label[first] == label[second])
    return pairs[near & ~pairs["turned"]]


def _rows(pairs: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    return pairs["first"].to_numpy(), pairs["second"].to_numpy()


if __name__ == "__main__":
    sys.exit(main())
