"""Images that no network was trained on, with lesion masks, for studies of attention.

Dermoscopy: HAM10000's images and published lesion masks. Phone photos: MILK10k's test close-ups, since the networks
were trained on all of PAD-UFES-20 and on MILK10k's other close-ups. Neither of these two sets has masks, so the masks
come from the app's segmentation network.
"""

import dataclasses
import hashlib
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from skinapp.datasets.registry import DATASETS
from skinapp.errors import DataError, SegmentationError
from skinapp.images import imaging
from skinapp.inference.analysis import SQUARE_SIDE
from skinapp.inference.registry import Model
from skinapp.lesion import segmentation
from train.data import datasets, masks

IMAGES = {
    "dermoscopy": DATASETS["ham10000"].title,
    "smartphone": datasets.MILK10K_CLINICAL.name,
}
"""By modality, the source of the images."""
MASK_SOURCES = {
    "dermoscopy": "the published lesion masks",
    "smartphone": "outlines by the app's segmentation network, as no masks are published",
}
"""By modality, the source of the lesion masks."""


def table(modality: str) -> pd.DataFrame:
    """Validation and test images in the common form, with the `mask` file where one is published, or None."""
    if modality == "dermoscopy":
        return masks.table(datasets.data_root() / "ham10000")
    if modality == "smartphone":
        known = datasets.milk10k_clinical(datasets.data_root() / "milk10k")
        return known[known["split"] == "test"].assign(split=lambda rows: half(rows["group"]), mask=None)
    raise DataError(f"A model for {modality} images takes more than one image; choose a model for one.")


def unseen(model: Model) -> pd.DataFrame:
    """`table`, of images that the model was not trained on: the networks of a committee were trained on each other's
    validation images, so half of the test lesions takes their place."""
    known = table(model.modality)
    if model.kind != "committee":
        return known
    return known[known["split"] == "test"].assign(split=lambda rows: half(rows["group"]))


def half(groups: pd.Series) -> np.ndarray:
    """`validation` or `test` for each row: always the same half of the groups, by a hash of their names."""
    odd = groups.map(lambda group: hashlib.sha256(str(group).encode()).digest()[0] % 2)
    return np.where(odd, "test", "validation")


def choose(modality: str, count: int | None = None, seed: int = 0) -> pd.DataFrame:
    """A seeded sample of test images, as `table` has them; by default all of them, in random order."""
    known = table(modality)
    # shuffle all rows, so that a smaller sample is the start of a larger one
    return known[known["split"] == "test"].sample(frac=1, random_state=seed).iloc[:count]


def one_member(model: Model, member: str) -> Model:
    """The committee's member with this file as a separate model; the whole model for ""."""
    if not member:
        return model
    members = [one for one in model.card["members"] if one["file"] == member]
    return dataclasses.replace(model, card=model.card | {"members": members})


def lesion_mask(record: dict[Any, Any], side: int) -> np.ndarray | None:
    """The lesion in the centre square of a record's image, bool [side, side]; None if the network finds none."""
    if record["mask"] is not None:
        return masks.square_mask(record["mask"], side)
    try:
        mask = segmentation.segment(imaging.load(record["path"], SQUARE_SIDE)).mask
    except SegmentationError:
        return None
    return np.asarray(Image.fromarray(mask).resize((side, side), Image.Resampling.NEAREST))
