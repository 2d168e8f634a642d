"""The parser of MILK10k's metadata (MILK study team 2025, doi:10.34970/648456), as `train download` writes it."""

from pathlib import Path

import pandas as pd

from skinapp.datasets import metadata

COLUMNS = {
    "image": "image_id",
    "lesion": "lesion_id",
    "modality": "modality",
    "diagnosis": "dx",
    "dx7": "dx7",
    "dx6": "dx6",
    "split": "split",
    "copy_of": "near_duplicate_of_ham10000_train",
    "confirmation": "confirmation",
    "age": "age",
    "sex": "sex",
    "site": "site",
    "skin_tone": "skin_tone_class",
}
SITES = {"head_neck_face": "head, neck or face"}


def parse(folder: Path) -> pd.DataFrame:
    """One row per image, see `skinapp.datasets.metadata`, with these additional columns:

    - `modality`, dermoscopy or clinical (a close-up); an image's id begins with it
    - `dx7`, HAM10000's class of a dermoscopy image, or `scc`, which is none of them; `dx6`, PAD-UFES-20's class of a
      close-up; both missing for an image of another class or modality
    - `copy_of`, the image of HAM10000's training part that shows the same picture
    - `skin_tone`, "0" (very dark) to "5" (very light), which is not Fitzpatrick's scale
    """
    return arrange(metadata.read(folder, COLUMNS))


def arrange(table: pd.DataFrame) -> pd.DataFrame:
    """The published table -> the columns of `parse`."""
    frame = metadata.renamed(table, COLUMNS)
    site = frame["site"]
    return frame.assign(
        image=frame["modality"] + "/" + frame["image"],
        site=site.map(SITES).fillna(site.str.replace("_", " ")),
        skin_tone=pd.to_numeric(frame["skin_tone"], errors="coerce").astype("Int64").astype("string"),
    )
