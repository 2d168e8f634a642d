"""The most important figure for each reader: one with an image, one who studies the data, one who studies models."""

from collections.abc import Iterable
from dataclasses import dataclass

from skinapp.datasets.registry import DATASETS
from skinapp.demographics import limitations, records
from skinapp.evaluation import predictions, subgroups
from skinapp.evaluation.bootstrap import Interval
from skinapp.inference.registry import Model
from skinapp.labels import guide

MELANOMA = "mel"


@dataclass(frozen=True)
class Headline:
    """A figure: its name, its value, and what was counted, with an interval if it is an estimate."""

    name: str
    value: str
    words: str


def recognised(model: Model) -> Headline:
    """The share of melanomas that the model recognises, of all cancers if it has no class for melanoma, or its balanced
    accuracy if no class is a cancer. DataError if its predictions cannot be read."""
    dataset = predictions.of_model(model).datasets[0]
    for code in guide.entry(MELANOMA).codes:
        if code in model.labels.codes and dataset in DATASETS:
            recall = subgroups.recall(subgroups.predictions(model, dataset).frame, code)
            if recall is not None:
                words = f"of {recall.images:,} test images; 95% interval {_percent(recall.share)}"
                return Headline("Melanomas that the best model recognises", f"{recall.share.value:.0%}", words)
    if "sensitivity_malignancy" not in model.card["scores"]:
        return balanced_accuracy(model)
    share = Interval(**model.card["scores"]["sensitivity_malignancy"])
    return Headline("Cancers that the best model recognises", f"{share.value:.0%}", f"95% interval {_percent(share)}")


def dark_skin(datasets: Iterable[str] = DATASETS) -> Headline:
    """The share of dark skin among the images whose skin colour is stated."""
    counts = [limitations.dark_skin(records.shipped(dataset).frame) for dataset in datasets]
    dark, stated = (sum(numbers) for numbers in zip(*counts, strict=True))
    return Headline(
        "Images of dark skin", f"{dark / stated:.0%}", f"{dark:,} of the {stated:,} images with a recorded skin colour"
    )


def balanced_accuracy(model: Model) -> Headline:
    """The model's balanced accuracy on its first test images."""
    score, test = Interval(**model.card["scores"]["balanced_accuracy"]), model.card["test"]
    classes = len(model.labels.codes)
    return Headline(
        f"Balanced accuracy of the best model, {classes} classes",
        f"{score.value:.0%}",
        f"on {test['images']:,} test images; 95% interval {_percent(score)}",
    )


def _percent(share: Interval) -> str:
    return f"{share.low:.0%} to {share.high:.0%}" if share.exists else "unknown, as there are too few images"
