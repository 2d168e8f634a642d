"""The parser of the malignant/benign set, which has no table: the folder of an image is its label."""

from pathlib import Path

import pandas as pd

from skinapp.errors import DataError
from skinapp.images import imaging


def parse(folder: Path) -> pd.DataFrame:
    """One row per image of the training half, `image` ("malignant/768") and `diagnosis`, in the order of the files.

    DataError if there are no images, or two files have the same name.
    """
    files = sorted(
        file for file in folder.glob("*/*") if file.suffix.lower() in imaging.EXTENSIONS and file.parent.name[0] != "."
    )
    if not files:
        raise DataError(
            f"There are no images in the folders of {folder}; set SKINAPP_DATA to the folder of the data sets."
        )
    image = pd.Series([f"{file.parent.name}/{file.stem}" for file in files])
    if image.duplicated().any():
        raise DataError(f"{folder} holds two images named {image[image.duplicated()].iloc[0]}. Remove one of them.")
    return pd.DataFrame({"image": image, "diagnosis": [file.parent.name for file in files]})
