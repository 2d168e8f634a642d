"""The parser of HAM10000's published metadata.csv (Tschandl et al. 2018, doi:10.1038/sdata.2018.161)."""

from pathlib import Path

import pandas as pd

from skinapp.datasets import metadata

COLUMNS = {
    "image": "image_id",
    "lesion": "lesion_id",
    "diagnosis": "dx",
    "confirmation": "dx_type",
    "age": "age",
    "sex": "sex",
    "site": "localization",
}
SPLIT = "split"
"""Not published: `train download` adds this column, with the values train, test and test_sibling. The last is for
images that share a lesion with a test image; they are `excluded`, neither trained on nor tested."""


def parse(folder: Path) -> pd.DataFrame:
    """One row per image, see `skinapp.datasets.metadata`; with `split` if the table has it."""
    return arrange(metadata.read(folder, COLUMNS))


def arrange(table: pd.DataFrame) -> pd.DataFrame:
    """The published table -> the columns of `parse`."""
    frame = metadata.renamed(table, COLUMNS)
    return frame.assign(split=table[SPLIT].replace("test_sibling", "excluded")) if SPLIT in table else frame
