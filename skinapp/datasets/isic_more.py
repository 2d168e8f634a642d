"""The parser of the table of further ISIC images, as `train download isic-more` writes it."""

from pathlib import Path

import pandas as pd

from skinapp.datasets import metadata

COLUMNS = {
    "image": "image_id",
    "source": "source",
    "lesion": "lesion_id",
    "patient": "patient_id",
    "diagnosis": "dx7",
    "copy_of": "near_duplicate_of_malignant_benign",
    "age": "age",
    "sex": "sex",
    "site": "site",
}


def parse(folder: Path) -> pd.DataFrame:
    """One row per image, see `skinapp.datasets.metadata`, with the collection it is from, `source`; the image of the
    malignant/benign set that shows the same picture, `copy_of`. For an image without a known patient, the lesion, or
    else the image's own id, takes the place of the patient."""
    return arrange(metadata.read(folder, COLUMNS))


def arrange(table: pd.DataFrame) -> pd.DataFrame:
    """The published table -> the columns of `parse`."""
    frame = metadata.renamed(table, COLUMNS)
    return frame.assign(
        copy_of=frame["copy_of"].astype("string").str.rsplit(".", n=1).str[0],
        patient=frame["patient"].fillna(frame["lesion"]).fillna(frame["image"]),
    )
