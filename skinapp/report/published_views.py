"""Published results next to the scores of the models here, and the results of a search and of studies: tables and
sentences."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from skinapp.evaluation.bootstrap import Interval
from skinapp.evaluation.claims import AREA, SENSITIVITY, Claim, Compared, Figure
from skinapp.evaluation.head_search import HeadSearch
from skinapp.formatting import joined
from skinapp.images import removal
from skinapp.report.comparison_views import Names

TITLE = "Published accuracies, and ours"
INTRODUCTION = (
    "Accuracies reported in tutorials, next to those of the same network tested in the same way, and of networks "
    "tested on lesions that appear in none of their training images. Our scores are those of the models' cards, "
    "measured by `python -m train evaluate`."
)
REMOVALS = "The effect of removing artefacts"
SEARCH = "A search for the best head and augmentation for a pre-trained network"
SCORES = {"accuracy": "accuracy", "sensitivity_malignancy": "sensitivity (recall)", AREA: "ROC AUC"}
SAME_TEST, REPEATED, OURS = "Same network, same test", "Same network, lesions held out", "Our model, lesions held out"


def claims(compared: Sequence[Compared]) -> pd.DataFrame:
    """A row for each published score: the claim, and our scores with 95% intervals."""
    return pd.DataFrame(
        {
            "Published": claim(one.claim),
            SAME_TEST: _words(one.same_test, "not trained" if one.claim.repeated_by else "no network stated"),
            REPEATED: _words(one.repeated, _absent(one.claim) if one.claim.repeated_by else "no network stated"),
            OURS: _words(one.ours, _absent(one.claim)),
            "Network": one.claim.network,
            "How it was tested": one.claim.tested,
            "Source": one.claim.source,
        }
        for one in compared
    )


def claim(one: Claim) -> str:
    """84.3% accuracy, seven classes."""
    return f"{one.value} {SCORES[one.score]}, {one.question[0].lower()}{one.question[1:]}"


def notes(compared: Sequence[Compared], names: Names) -> list[str]:
    """Sentences on which of our models are in the table, on how many images, and at which threshold."""
    models: dict[str, dict[str, list[Figure]]] = {}
    for one in compared:
        for figure in (one.repeated, one.ours):
            if figure:
                models.setdefault(one.claim.question, {}).setdefault(figure.model, []).append(figure)
    sentences = []
    for question, figures in models.items():
        short = {name: names[name].removeprefix(f"{question}, ") for name in figures}
        images = max(figure.images for listed in figures.values() for figure in listed)
        sentences.append(
            f"{question}: ours are {joined(short[name] for name in figures)}, on {images:,} images of held-out lesions."
        )
        thresholds = {
            name: next((figure.threshold for figure in listed if figure.threshold), None)
            for name, listed in figures.items()
        }
        if chosen := {name: threshold for name, threshold in thresholds.items() if threshold}:
            each = [
                f"{threshold.value:.3f} for {short[name]} ({threshold.chosen_on[0].lower()}{threshold.chosen_on[1:]})"
                for name, threshold in chosen.items()
            ]
            sentences.append(
                f"Their accuracy and sensitivity are at the threshold that gave {SENSITIVITY:.0%} sensitivity on "
                f"lesions that were held out from training: {joined(each)}."
            )
    return sentences


def search(searched: HeadSearch) -> pd.DataFrame:
    """A row for each head that was tried, the best first, with 95% intervals."""
    rows = searched.trials

    def words(score: str) -> list[str]:
        limits = zip(rows[score], rows[f"{score}_low"], rows[f"{score}_high"], strict=True)
        return [Interval(*values).text() for values in limits]

    return pd.DataFrame(
        {
            "Balanced accuracy": words("val_balanced_accuracy"),
            "Accuracy": words("val_accuracy"),
            "Augmentation": rows["augmentation"],
            "Hidden units": rows["hidden"],
            "Dropout": rows["dropout"],
            "Learning rate": rows["learning_rate"],
            "Parameters": rows["parameters"],
            "Epoch": rows["epoch"],
        }
    )


def search_words(searched: HeadSearch) -> str:
    """Sentences on the search: its space, its images, and why the best score is optimistic."""
    images, lesions, size = searched.images, searched.lesions, searched.settings["size"]
    return (
        f"{len(searched.trials)} heads for an EfficientNetV2B0 whose other weights are frozen as trained on ImageNet, "
        f"at {size} px, each with one augmentation. They were trained on {images['train']:,} images, at most "
        f"{searched.settings['per_class']:,} of each class, and scored on {images['validation']:,} images of "
        f"{lesions['validation']:,} other lesions. These images were also used to choose the epoch and to rank "
        "the heads, so the top score is optimistic. No test image was used. `python -m train search-head` repeats the "
        "search."
    )


def _absent(claim: Claim) -> str:
    return "no operating point" if claim.at_threshold else "not here"


def _words(figure: Figure | None, absent: str) -> str:
    return figure.score.text() if figure else absent


def removals(modality: str) -> pd.DataFrame:
    """What the removal of each kind of artefact changes on validation images, and whether it is on by default; a row
    for each kind."""
    return pd.DataFrame(
        {
            "Removed": removal.KINDS[kind],
            "Probability of the right class, drawn artefacts": _change(one["drawn"]["validation"]["removed"]),
            "Probability of the right class, real artefacts": _change(one["real"]["validation"]),
            "Accuracy, real artefacts": _change(one["real"]["validation"], "accuracy"),
            "Images with real artefacts": one["real"]["validation"]["images"],
            "By default": "on" if one["on"] else "off",
        }
        for kind, one in removal.figures()[modality]["kinds"].items()
    )


def removals_words(modality: str) -> str:
    """Which model the table of `removals` is of, and the command that measures it again."""
    measured = removal.figures()[modality]
    return (
        f"Differences on validation images, with removal minus without, of {measured['model']} "
        f"{measured['version']}. Measured by `python -m train artefacts`."
    )


def _change(measured: Mapping[str, Any], score: str = "probability") -> str:
    if not measured["images"]:
        return "none found"
    limits = {name: float("nan") if value is None else value for name, value in measured[score]["difference"].items()}
    return Interval(**limits).text("+.3f")
