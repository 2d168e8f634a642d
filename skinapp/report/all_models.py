"""A report on all models: the data, each model's protocol and scores, and attention maps of some images.

Every figure is read from the model folders and the tables that come with the project, so the report agrees with the
model cards.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from skinapp import formatting
from skinapp.attention import heatmap
from skinapp.charts import performance, probabilities
from skinapp.datasets.registry import DATASETS
from skinapp.demographics import limitations, records
from skinapp.errors import ImageError
from skinapp.evaluation import claims, comparison, curves, error_analysis, head_search, studies
from skinapp.evaluation.bootstrap import Interval
from skinapp.evaluation.comparison import CLASSES, Shared
from skinapp.evaluation.measures import MEASURES
from skinapp.evaluation.operating_points import Threshold
from skinapp.evaluation.predictions import Predictions
from skinapp.images import imaging
from skinapp.inference import modality, registry
from skinapp.inference.analysis import Analysis, analyse
from skinapp.inference.registry import Model
from skinapp.report import (
    calibration_views,
    checklist,
    comparison_report,
    error_views,
    operating_point_views,
    population_views,
    published_views,
    training_views,
)
from skinapp.report.document import Block, Chart, Heading, Picture, Section, png

TITLE = "Skin-lesion classifiers: data, protocols and results"
OVERVIEW = ("balanced_accuracy", "roc_auc_malignancy")
THRESHOLD = 0.5
SHOWN = 3
"""How many classes are listed below an attention map."""
SIDE, GAP = 336, 12
"""Pixels of each of the two squares of an attention map, and between them."""


def read_images(files: Sequence[Path]) -> tuple[dict[Path, Image.Image], dict[Path, str]]:
    """The readable images, upright, and the error for each other file."""
    images, failed = {}, {}
    for file in files:
        try:
            images[file] = imaging.decode(imaging.read(file))
        except ImageError as error:
            failed[file] = str(error)
    return images, failed


def sections(
    known: Mapping[str, Predictions],
    images: Mapping[Path, Image.Image],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Section]:
    """The whole document about the models of `known`. `progress` gets the models done and their number."""
    models = [known[model_id].model for model_id in known]
    parts = [overview([model for model in models if model]), published(known), measured()]
    parts += [data(dataset) for dataset in DATASETS]
    for number, predictions in enumerate(known.values()):
        progress(number, len(known))
        parts.append(one_model(predictions))
    progress(len(known), len(known))
    if images:
        parts.append(attention_maps(images))
    return [*parts, checklist.section([model for model in models if model]), limits()]


def overview(models: Sequence[Model]) -> Section:
    """A description of each model, and the main scores of all models side by side."""
    table = pd.DataFrame(
        {
            "Model": model.id,
            "Title": model.title,
            "Kind of image": modality.IMAGES[model.modality],
            "Trained on": model.card["training"]["dataset"],
            "Tested on": f"{model.card['test']['images']:,} images",
            **{MEASURES[score].name: _score_words(model, score) for score in OVERVIEW},
        }
        for model in models
    )
    return Section(
        checklist.OVERVIEW,
        [
            f"{len(models)} models, scored on images of lesions or patients that they were not trained on, with 95% "
            "intervals from a bootstrap over whole lesions or patients.",
            table,
            "Scores on different test images cannot be compared; each model's section says which images it was tested "
            "on. To compare models on the images they share, run python -m skinapp compare.",
            *(_forest(models, score) for score in OVERVIEW),
        ],
    )


def published(known: Mapping[str, Predictions]) -> Section:
    """Published accuracies next to those of the models."""
    compared = claims.compare(known)
    names = {name: name for name in known}
    return Section(
        published_views.TITLE,
        [
            published_views.INTRODUCTION.replace("`", ""),
            published_views.claims(compared),
            *published_views.notes(compared, names),
        ],
    )


def measured() -> Section:
    """The tables of studies that belong to no single model."""
    blocks: list[Block] = []
    for study in studies.measured():
        blocks += [Heading(study.title), f"{study.about} Measured by {study.command}.", studies.read(study)]
    if searched := head_search.read():
        words = published_views.search_words(searched).replace("`", "")
        blocks += [Heading(published_views.SEARCH), words, published_views.search(searched)]
    blocks += [Heading(published_views.REMOVALS), published_views.removals_words("dermoscopy").replace("`", "")]
    return Section("Studies", [*blocks, published_views.removals("dermoscopy")])


def data(dataset: str) -> Section:
    """Who is in a data set, and its limits."""
    table, source = records.shipped(dataset), DATASETS[dataset]
    frame = table.frame
    headline = pd.DataFrame(limitations.headline(table)).rename(
        columns={"name": "Figure", "here": "Counted here", "count": "Details", "published": "As published"}
    )
    blocks: list[Block] = [source.about, f"{source.credit}.", headline]
    blocks += [Heading("Diagnoses"), population_views.diagnoses(table, frame)]
    if frame["age"].notna().any():
        blocks += [Heading("Age in years, by diagnosis"), population_views.ages(table, frame)]
    columns = {"sex": "Sex", "confirmation": "How the diagnosis was confirmed"} | population_views.SKIN
    for column, title in columns.items():
        if column in frame and frame[column].notna().any():
            blocks += [Heading(title), population_views.by_diagnosis(table, frame, column, title)]
    blocks += [Heading("Not stated"), population_views.not_stated(frame), Heading("Limits of these data")]
    return Section(f"Data: {source.title}", [*blocks, *(f"{head}. {text}" for head, text in limitations.limits(table))])


def one_model(predictions: Predictions) -> Section:
    """A model's card, protocol, scores, and charts of its predictions for the test images."""
    model = predictions.model
    assert model is not None
    names = {model.id: model.id}
    shared = tested(predictions)
    weights = shared.weights()
    roc = curves.curve(shared, weights, model.id, "roc")
    blocks: list[Block] = [
        f"{model.id}. {model.card['intended_use']}",
        card_of(model),
        Heading("Protocol"),
        model.card["training"]["protocol"],
        Heading("Scores"),
        f"On {model.card['test']['images']:,} images of {model.card['test']['groups']:,} lesions or patients; 95% "
        f"intervals from {model.card['test']['resamples']:,} resamples of lesions or patients.",
        scores_of(model),
        Heading("Confusion matrix"),
        "Rows are labels, columns predicted classes. Each cell shows the number of images and their share of the row.",
        error_views.confusion(shared, model.id, names),
    ]
    if shared.question == CLASSES:
        blocks += [
            Heading("Error rate by class"),
            error_views.error_rates(shared, error_analysis.error_rates(shared, weights), model.id, names),
        ]
    blocks += [
        Heading("ROC, malignant versus the rest"),
        f"With a 95% band; the dot marks a threshold of {THRESHOLD:.0%} on the malignant probability.",
        operating_point_views.curve(shared, {model.id: roc}, "roc", {model.id: Threshold(THRESHOLD)}, names),
        Heading("Calibration"),
        "On the dotted line, the most likely class is correct as often as its probability says.",
        calibration_views.reliability(shared, weights, {model.id: predictions}, [model.id], names),
        Heading("Training"),
        *training_views.blocks(model, model.id),
        Heading("Limits"),
        *model.card["limits"],
    ]
    return Section(model.title, blocks)


def tested(predictions: Predictions) -> Shared:
    """The predictions behind the scores of the model's card: those for the first of its data sets."""
    dataset = predictions.table["dataset"].iloc[0] if "dataset" in predictions.table else None
    return comparison.share([predictions], comparison.questions([predictions])[0], dataset)


def card_of(model: Model) -> pd.DataFrame:
    """A description of a model and its training data."""
    card = model.card
    training, groups = card["training"], card["training"]["groups"]
    metadata = ", ".join(field.title.lower() for field in model.clinical)
    rows = {
        "Kind of image": modality.IMAGES[model.modality],
        "Classes": ", ".join(f"{label.name} ({label.code})" for label in model.labels.labels),
        ("Network" if model.is_network else "Classifier"): f"{card['architecture']['name']}, "
        f"{card['architecture']['parameters']:,} {'parameters' if model.is_network else 'leaves'}",
        "Initial weights": card["initial_weights"],
        "Input": f"{'two images, each ' if model.kind == 'pair' else ''}{model.input_size} x {model.input_size} px; "
        f"{card['input']['resize']}",
        **({"Patient metadata (optional)": metadata} if metadata else {}),
        "Probabilities": f"softmax of logits / {model.temperature:g}",
        "Trained on": training["dataset"],
        "Images": "; ".join(
            f"{part}: {count:,} of {groups[part]:,} lesions or patients" for part, count in training["images"].items()
        ),
        "Licence": card["licence"],
        "Attribution": training["attribution"],
    }
    return pd.DataFrame({"": list(rows), " ": list(rows.values())})


def scores_of(model: Model) -> pd.DataFrame:
    """The scores in the card."""
    return pd.DataFrame(
        {
            "Score": MEASURES[name].name if name in MEASURES else name.replace("_", " ").capitalize(),
            "Value": score["value"],
            "95% interval from": score["low"],
            "to": score["high"],
        }
        for name, score in model.card["scores"].items()
    )


def attention_maps(images: Mapping[Path, Image.Image]) -> Section:
    """Each image next to the attention map of the model for its kind."""
    models = [model for model in registry.ranked() if model.has_class_maps]
    blocks: list[Block] = [
        "Grad-CAM of the most likely class at the last convolution, from the best model for the kind of image. A map "
        "shows which areas counted towards a class. It does not show that these areas are the lesion, or why they "
        "counted.",
    ]
    for file, image in images.items():
        recognised = modality.recognise(image)
        blocks.append(Heading(file.name))
        if recognised.kind == "neither":
            blocks.append(f"{modality.looks(recognised)} No map was made.")
        elif not models:
            blocks.append("No model here can make a map.")
        else:
            route = modality.route(models, recognised)
            analysis = analyse(image, route.model, modality=recognised)
            blocks += [*filter(None, [route.words(analysis.model)]), attention_map(analysis)]
    return Section("Where the models looked", blocks)


def attention_map(analysis: Analysis) -> Picture:
    """The square that the model saw, next to the same square with its map."""
    model, prediction = analysis.model, analysis.prediction
    assert prediction.class_maps is not None
    shown = imaging.crop_resize(Image.fromarray(analysis.square), SIDE)
    cam = heatmap.grad_cam(prediction.class_maps, int(prediction.probabilities.argmax()))
    gap = np.full((SIDE, GAP, 3), 255, np.uint8)
    both = Image.fromarray(np.concatenate([shown, gap, heatmap.overlay(shown, cam)], axis=1))
    classes = probabilities.probability_frame(prediction).head(SHOWN)
    listed = ", ".join(f"{row['class']} {formatting.percent(row['probability'])}" for row in classes.to_dict("records"))
    return Picture(
        png(both),
        f"Left, the square that the model saw. Right, its attention map: yellow areas counted most towards "
        f"{classes['class'].iloc[0]}. {model.id}: {listed}.",
    )


def limits() -> Section:
    """Limits of all models."""
    shares = [
        f"{row['right']['value']:.0%}"
        + (f" ({row['right']['low']:.0%} to {row['right']['high']:.0%})" if row["right"]["low"] is not None else "")
        + f" of {row['images']:,} images: {row['name']}"
        for row in modality.card()["tests"]
    ]
    return Section(
        "Limits",
        [
            comparison_report.CAUTION,
            "Test images come from the same collections, cameras and groups of people as the training images. Expect "
            "lower scores elsewhere.",
            "A data set contains what people chose to photograph. The share of a diagnosis in it is not anyone's risk, "
            "but the probabilities are calibrated to these shares.",
            "The app recognises the kind of image correctly for " + "; ".join(shares) + ".",
        ],
    )


def _score_words(model: Model, score: str) -> str:
    value = model.card["scores"].get(score)
    return Interval(**value).text() if value else ""


def _forest(models: Sequence[Model], score: str) -> Chart:
    """One score of every model that has it, as its card gives it."""
    rows = [(model, model.card["scores"][score]) for model in models if score in model.card["scores"]]
    rows.sort(key=lambda row: (row[0].modality, row[0].task, -row[1]["value"]))
    frame = pd.DataFrame(
        {
            "row": model.id,
            "series": model.id,
            **value,
            "note": f"{value['value']:.3f}",
        }
        for model, value in rows
    )
    measure = MEASURES[score]
    return Chart(
        performance.forest(frame, measure.name, list(frame["row"]), one_each=True),
        frame.drop(columns=["series", "note"]).rename(columns={"row": "model"}),
        f"{measure.name} with 95% intervals: "
        + "; ".join(f"{model.id} {_score_words(model, score)}" for model, _ in rows),
    )
