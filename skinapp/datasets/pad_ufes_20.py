"""The parser of PAD-UFES-20's published metadata.csv (Pacheco et al. 2020, doi:10.1016/j.dib.2020.106221)."""

from pathlib import Path

import pandas as pd

from skinapp.datasets import metadata
from skinapp.datasets.metadata import DIAMETERS, SYMPTOMS

COLUMNS = {
    "image": "img_id",
    "lesion": "lesion_id",
    "patient": "patient_id",
    "diagnosis": "diagnostic",
    "confirmation": "biopsed",
    "age": "age",
    "sex": "gender",
    "site": "region",
    "skin_type": "fitspatrick",
    **{name: name for name in (*SYMPTOMS, *DIAMETERS)},
}
YES_NO = {True: "yes", False: "no", "True": "yes", "False": "no"}
BIOPSIED = {"yes": "biopsy", "no": "clinical"}


def parse(folder: Path) -> pd.DataFrame:
    """One row per image, see `skinapp.datasets.metadata`. `confirmation` is biopsy or clinical. All cancers but few
    other lesions were biopsied, so it is only for demographics, never a model input."""
    return arrange(metadata.read(folder, COLUMNS))


def arrange(table: pd.DataFrame) -> pd.DataFrame:
    """The published table -> the columns of `parse`."""
    frame = metadata.renamed(table, COLUMNS)
    diameters = frame[list(DIAMETERS)]
    return frame.assign(
        # the table has file names, and a lesion's number is unique only within its patient
        image=frame["image"].str.rsplit(".", n=1).str[0],
        lesion=frame["patient"].astype(str) + "_" + frame["lesion"].astype(str),
        confirmation=frame["confirmation"].map(YES_NO).map(BIOPSIED),
        skin_type=pd.to_numeric(frame["skin_type"], errors="coerce").round().astype("Int64").astype("string"),
        **{name: frame[name].map(YES_NO) for name in SYMPTOMS},
        # 0 stands for not measured
        **diameters.mask(diameters == 0),
    )
