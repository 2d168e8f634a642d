"""Whether a model was trained on a published image, as far as its folder says."""

import functools
from pathlib import Path

import pandas as pd

from skinapp.datasets.registry import DATASETS, ISIC_MORE
from skinapp.inference import model_card
from skinapp.inference.registry import Model

TESTED, OUT_OF_FOLD = "predictions.csv", "out_of_fold.csv"


def trained_on(model: Model, dataset: str, image: str) -> bool | None:
    """Whether the model was trained on an image of the data set with this id; None if its folder does not say, as
    for the images that chose its settings.

    After a cross-validation, all its images trained the final network, or members of the committee. The training images
    of an adopted network are unknown.
    """
    if "adopted" in model.card:
        return None
    known = DATASETS | {ISIC_MORE.id: ISIC_MORE}
    # the name of a part of a data set follows a comma
    named = dataset in known and known[dataset].name.split(",")[0] in model.card["training"]["dataset"]
    if image in _listed(model, OUT_OF_FOLD):
        return True
    if image in _listed(model, TESTED):
        return model_card.cross_validated(model.card)
    if dataset in known and not named:
        return False
    return None


def sentence(model: Model, dataset: str, image: str) -> str:
    """The same as a sentence."""
    known = trained_on(model, dataset, image)
    if known is None:
        return (
            "The model may have been trained on this image, so its answer may be better here than for an image it has "
            "never seen."
        )
    if known:
        return (
            "The model was trained on this image, so its answer is likely to be better here than for an image it has "
            "never seen."
        )
    return "The model was not trained on this image."


def _listed(model: Model, name: str) -> frozenset[str]:
    file = model.folder / name
    return _images(file, file.stat().st_mtime) if name in model.card["files"] and file.exists() else frozenset()


@functools.lru_cache(maxsize=16)
def _images(file: Path, changed: float) -> frozenset[str]:
    return frozenset(pd.read_csv(file, usecols=["image"], dtype=str)["image"])
