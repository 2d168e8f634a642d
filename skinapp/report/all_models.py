"""All models in one document: the data, each model's protocol and figures, and where models look in given images.

Every figure is read from the model folders and the tables that come with the project, so the document says what the
models' own cards say.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from skinapp import formatting
from skinapp.attention import heatmap
from skinapp.charts import performance, probabilities
from skinapp.datasets.registry import SOURCES
from skinapp.demographics import limitations, records
from skinapp.errors import ImageError
from skinapp.evaluation import comparison, error_analysis, operating_points
from skinapp.evaluation.comparison import CLASSES, MEASURES, Shared
from skinapp.evaluation.metrics import Interval
from skinapp.evaluation.predictions import Predictions
from skinapp.images import imaging
from skinapp.inference import modality, registry
from skinapp.inference.analysis import Analysis, analyse
from skinapp.inference.registry import Model
from skinapp.report import comparison_report, comparison_views, population_views
from skinapp.report.document import Block, Chart, Heading, Picture, Section

TITLE = "Skin-lesion classifiers: data, protocols and results"
OVERVIEW = ("balanced_accuracy", "roc_auc_malignancy")
THRESHOLD = 0.5
SHOWN = 3
"""Classes whose probabilities stand below an attention map."""
SIDE, GAP = 336, 12
"""Pixels of each of the two squares of an attention map, and between them."""


def read_images(files: Sequence[Path]) -> tuple[dict[Path, Image.Image], dict[Path, str]]:
    """The images that can be read, upright, and for each other file a sentence."""
    found, failed = {}, {}
    for file in files:
        try:
            found[file] = imaging.decode(imaging.read(file))
        except ImageError as error:
            failed[file] = str(error)
    return found, failed


def sections(
    known: Mapping[str, Predictions],
    images: Mapping[Path, Image.Image],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Section]:
    """The whole document about the models of `known`. `progress` is called with the models done and in all."""
    models = [known[model_id].model for model_id in known]
    parts = [overview([model for model in models if model])]
    parts += [data(dataset) for dataset in SOURCES]
    for number, predictions in enumerate(known.values()):
        progress(number, len(known))
        parts.append(one_model(predictions))
    progress(len(known), len(known))
    if images:
        parts.append(attention_maps(images))
    return [*parts, limits()]


def overview(models: Sequence[Model]) -> Section:
    """What each model is, and its first scores with those of the others."""
    table = pd.DataFrame(
        {
            "Model": model.id,
            "What it is": model.title,
            "Images": model.modality,
            "Learnt from": model.card["training"]["dataset"],
            "Tested on": f"{model.card['test']['images']:,} images",
            **{MEASURES[score].name: _score_words(model, score) for score in OVERVIEW},
        }
        for model in models
    )
    return Section(
        "All models",
        [
            f"{len(models)} models. Their figures are of images of lesions or patients that they had not seen, with "
            "95% intervals from a bootstrap over whole lesions or patients.",
            table,
            "Models that were tested on other images cannot be compared by these figures; each model's part below says "
            "on which. The command python -m skinapp compare compares models on the images that they share.",
            *(_forest(models, score) for score in OVERVIEW),
        ],
    )


def data(dataset: str) -> Section:
    """Who is in a data set, and what it cannot tell."""
    table, source = records.shipped(dataset), SOURCES[dataset]
    frame = table.frame
    headline = pd.DataFrame(limitations.headline(table)).rename(
        columns={"name": "Figure", "here": "Counted here", "count": "Of", "published": "As published"}
    )
    blocks: list[Block] = [source.about, f"{source.citation}.", headline]
    blocks += [Heading("Diagnoses"), population_views.diagnoses(table, frame)]
    if frame["age"].notna().any():
        blocks += [Heading("Age in years, by diagnosis"), population_views.ages(table, frame)]
    columns = {"sex": "Sex", "confirmation": "How the diagnosis was confirmed", "skin_type": "Fitzpatrick skin type"}
    for column, title in columns.items():
        if column in frame and frame[column].notna().any():
            blocks += [Heading(title), population_views.by_diagnosis(table, frame, column, title)]
    blocks += [Heading("Not stated"), population_views.not_stated(frame), Heading("What these data cannot tell")]
    return Section(f"Data: {source.title}", [*blocks, *(f"{head}. {text}" for head, text in limitations.limits(table))])


def one_model(predictions: Predictions) -> Section:
    """A model's card, protocol, scores, and charts of its answers to the test images."""
    model = predictions.model
    assert model is not None
    names = {model.id: model.id}
    shared = tested(predictions)
    weights = shared.weights()
    roc = operating_points.curve(shared, weights, model.id, "roc")
    blocks: list[Block] = [
        f"{model.id}. {model.card['intended_use']}",
        facts_of(model),
        Heading("Protocol"),
        model.card["training"]["protocol"],
        Heading("Scores"),
        f"Of {model.card['test']['images']:,} images of {model.card['test']['groups']:,} lesions or patients; 95% "
        f"intervals from {model.card['test']['resamples']:,} resamples of those.",
        scores_of(model),
        Heading("Confusion matrix"),
        "Each row is a label. A cell has how many of its images were given the class above, and their share.",
        comparison_views.confusion(shared, model.id, names),
    ]
    if shared.question == CLASSES:
        blocks += [
            Heading("Named wrongly, by class"),
            comparison_views.wrong(shared, error_analysis.wrong_by_class(shared, weights), model.id, names),
        ]
    blocks += [
        Heading("ROC, malignant against the rest"),
        f"With its 95% band; the dot is where a malignant probability of {THRESHOLD:.0%} or more is called malignant.",
        comparison_views.curve(shared, {model.id: roc}, "roc", None, {model.id: THRESHOLD}, names),
        Heading("Calibration"),
        "On the dotted line, the most probable class is right as often as its probability says.",
        comparison_report.calibration(shared, weights, {model.id: predictions}, [model.id], names),
        Heading("Training"),
        *comparison_report.training(model, model.id),
        Heading("Limits"),
        *limits_of(model),
    ]
    return Section(model.title, blocks)


def tested(predictions: Predictions) -> Shared:
    """The answers that the scores of the model's card are of: those to the first of its data sets."""
    dataset = predictions.table["dataset"].iloc[0] if "dataset" in predictions.table else None
    return comparison.share([predictions], comparison.questions([predictions])[0], dataset)


def facts_of(model: Model) -> pd.DataFrame:
    """What a model is and what it learnt from, in words."""
    card = model.card
    training, groups = card["training"], card["training"]["groups"]
    asked = ", ".join(field.title.lower() for field in model.clinical)
    rows = {
        "Made for": modality.IMAGES[model.modality],
        "Answers with": ", ".join(f"{label.name} ({label.code})" for label in model.labels.labels),
        "Network": f"{card['architecture']['name']}, {card['architecture']['parameters']:,} parameters",
        "Initial weights": card["initial_weights"],
        "Input": f"{model.input_size} x {model.input_size} px; {card['input']['resize']}",
        **({"May also be told": asked} if asked else {}),
        "Probabilities": f"softmax of logits / {model.temperature:g}",
        "Learnt from": training["dataset"],
        "Images": "; ".join(
            f"{part}: {count:,} of {groups[part]:,} lesions or patients" for part, count in training["images"].items()
        ),
        "Licence": card["licence"],
        "Attribution": training["attribution"],
    }
    return pd.DataFrame({"": list(rows), " ": list(rows.values())})


def scores_of(model: Model) -> pd.DataFrame:
    """The scores of the card, as it has them."""
    return pd.DataFrame(
        {
            "Score": MEASURES[name].name if name in MEASURES else name.replace("_", " ").capitalize(),
            "Value": score["value"],
            "95% from": score["low"],
            "to": score["high"],
        }
        for name, score in model.card["scores"].items()
    )


def limits_of(model: Model) -> list[str]:
    """The limits that the model's README.md names, a paragraph each."""
    _, _, text = (model.folder / "README.md").read_text(encoding="utf-8").partition("\n## Limits\n")
    text = re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", text.partition("\n## ")[0])
    text = text.replace("`", "").replace("\n- ", "\n\n")
    return [" ".join(part.removeprefix("- ").split()) for part in text.split("\n\n") if part.strip()]


def attention_maps(images: Mapping[Path, Image.Image]) -> Section:
    """Each image beside where the model for its kind found support for the class that it names."""
    models = [model for model in registry.ranked() if model.has_class_maps]
    blocks: list[Block] = [
        "Grad-CAM of the most probable class at the last convolution, with the model for the kind of image. A map says "
        "where the network found support for a class; it does not say that this is the lesion, nor why.",
    ]
    for file, image in images.items():
        recognised = modality.recognise(image)
        blocks.append(Heading(file.name))
        if recognised and recognised.kind == "neither":
            blocks.append(f"This looks like {modality.KINDS['neither']} ({recognised.reason}), so no map is drawn.")
        elif not models:
            blocks.append("No model here can draw a map.")
        else:
            route = modality.route(models, recognised)
            blocks += [
                *([route.sentence] if route.sentence else []),
                attention_map(analyse(image, route.model, modality=recognised)),
            ]
    return Section("Where the models looked", blocks)


def attention_map(analysis: Analysis) -> Picture:
    """The square of the image that the model is shown, and the same with its map over it."""
    model, prediction = analysis.model, analysis.prediction
    assert prediction.class_maps is not None
    shown = imaging.crop_resize(analysis.image, SIDE)
    cam = heatmap.grad_cam(prediction.class_maps, int(prediction.probabilities.argmax()))
    gap = np.full((SIDE, GAP, 3), 255, np.uint8)
    both = Image.fromarray(np.concatenate([shown, gap, heatmap.overlay(shown, cam)], axis=1))
    buffer = io.BytesIO()
    both.save(buffer, "PNG")
    classes = probabilities.probability_frame(prediction).head(SHOWN)
    named = ", ".join(f"{row['class']} {formatting.percent(row['probability'])}" for row in classes.to_dict("records"))
    return Picture(
        buffer.getvalue(),
        f"Left, the square that was answered; right, support for {classes['class'].iloc[0]}, from none (clear) to most "
        f"(yellow). {model.id}: {named}.",
    )


def limits() -> Section:
    """What holds of all of them."""
    shares = [
        f"{row['right']['value']:.0%} ({row['right']['low']:.0%} to {row['right']['high']:.0%}) of {row['images']:,} "
        f"images: {row['name']}"
        for row in modality.card()["tests"]
    ]
    return Section(
        "Limits of all of this",
        [
            comparison_report.CAUTION,
            "Test images are of the same collections, cameras and people as those that the models learnt from. "
            "Elsewhere, expect less.",
            "A data set holds what somebody chose to photograph. Shares of diagnoses in it are no risks, and "
            "probabilities are calibrated to it.",
            "Which kind of image it is, the app recognises itself, rightly in " + "; ".join(shares) + ".",
        ],
    )


def _score_words(model: Model, score: str) -> str:
    found = model.card["scores"].get(score)
    return comparison_views.words(Interval(**found)) if found else ""


def _forest(models: Sequence[Model], score: str) -> Chart:
    """One score of every model that has it, as its card gives it."""
    rows = [(model, model.card["scores"][score]) for model in models if score in model.card["scores"]]
    rows.sort(key=lambda row: (row[0].modality, row[0].task, -row[1]["value"]))
    frame = pd.DataFrame(
        {
            "row": model.id,
            "series": model.id,
            **found,
            "note": f"{found['value']:.3f}",
        }
        for model, found in rows
    )
    measure = MEASURES[score]
    return Chart(
        performance.forest(frame, measure.name, list(frame["row"]), one_each=True),
        frame.drop(columns=["series", "note"]).rename(columns={"row": "model"}),
        f"{measure.name} with 95% intervals: "
        + "; ".join(f"{model.id} {_score_words(model, score)}" for model, _ in rows),
    )
