"""HAM10000's metadata.csv as its publisher has it (Tschandl et al. 2018, doi:10.1038/sdata.2018.161)."""

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
"""Not the publisher's: `train download` adds it, with the values train, test and test_sibling. The last, images that
share a lesion with a test image, are `excluded`: neither trained on nor tested."""


def parse(folder: Path) -> pd.DataFrame:
    """One row an image, see `skinapp.datasets.metadata`; `split` where the table has it."""
    table = metadata.read(folder, COLUMNS)
    frame = metadata.renamed(table, COLUMNS)
    return frame.assign(split=table[SPLIT].replace("test_sibling", "excluded")) if SPLIT in table else frame
