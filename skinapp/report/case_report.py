"""The report on one analysed image, or on two of one lesion: the answer, what it means, where the model looked, and the
model's limits."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from PIL import Image

from skinapp.attention import heatmap, picture, sanity_check
from skinapp.attention.sanity_check import Evidence
from skinapp.charts import probabilities
from skinapp.errors import DataError, ModelError, SegmentationError
from skinapp.evaluation import observed_risk
from skinapp.evaluation.bootstrap import Interval
from skinapp.formatting import percent
from skinapp.images import removal
from skinapp.inference import analysis as analyses
from skinapp.inference import conformal, modality, pair, runtime, warnings
from skinapp.inference.analysis import Analysis
from skinapp.inference.conformal import COVERAGE
from skinapp.inference.model_card import IMAGES_OF_PAIR
from skinapp.inference.pair import PairAnalysis
from skinapp.inference.registry import Model
from skinapp.inference.runtime import Prediction
from skinapp.lesion import segmentation
from skinapp.lesion.segmentation import Segmentation
from skinapp.report import document, feature_views, operating_point_views
from skinapp.report.document import Block, Heading, Picture, Section, png

TITLE = "A model's answer for one image"
PAIR_TITLE = "A model's answer for two images of a lesion"
CAUTION = (
    "A research tool, not a diagnostic device. It can miss a cancer. Ask a doctor about any lesion that worries you, "
    "whatever this report says."
)
LONGER_SIDE = 720
"""The longer side of the picture, in pixels."""


def write(
    analysis: Analysis,
    coverage: float = COVERAGE,
    prevalence: float | None = None,
    doubt: str = "",
    lesion: Segmentation | None = None,
) -> str:
    """The report of one analysed image as one HTML file. Arguments and errors are those of `sections`."""
    return document.render(TITLE, sections(analysis, coverage, prevalence, doubt, lesion), CAUTION)


def sections(
    analysis: Analysis,
    coverage: float = COVERAGE,
    prevalence: float | None = None,
    doubt: str = "",
    lesion: Segmentation | None = None,
) -> list[Section]:
    """The report of one analysed image. DataError for a coverage that is not stored, or an impossible prevalence.

    `doubt` says why the image is not of the kind that the model was trained on, if so: the prediction set and the
    observed risk are then left out, as both hold only for images like the test images. `lesion` is the segmentation of
    the square if the user has checked or corrected it; without it, the lesion is segmented here.
    """
    return [
        Section("Answer", _answer(analysis, coverage, prevalence, doubt)),
        Section("Image", [*_image(analysis), *warnings.cautions(analysis).values()]),
        _explanation(analysis, lesion),
        Section("Every class", _classes(analysis)),
        Section("Model", _model(analysis)),
    ]


def write_pair(
    made: PairAnalysis, coverage: float = COVERAGE, prevalence: float | None = None, doubts: Sequence[str] = ()
) -> str:
    """The report of two analysed images of one lesion as one HTML file; see `pair_sections`."""
    return document.render(PAIR_TITLE, pair_sections(made, coverage, prevalence, doubts), CAUTION)


def pair_sections(
    made: PairAnalysis, coverage: float = COVERAGE, prevalence: float | None = None, doubts: Sequence[str] = ()
) -> list[Section]:
    """The report of two analysed images of one lesion. Arguments and errors are those of `sections`, but there may be
    several `doubts`, those of `pair.mismatches`."""
    names = list(IMAGES_OF_PAIR.values())
    alone = [
        f"From the {name} alone: {analyses.most_likely(one)}; {_shares(one)}."
        for name, one in zip(names, made.prediction.alone, strict=True)
    ]
    return [
        Section("Answer", [*_answer(made.combined, coverage, prevalence, " ".join(doubts)), *alone]),
        *(Section(name.capitalize(), _image(one)) for name, one in zip(names, made.alone, strict=True)),
        Section("Where the model looked", _maps_of_pair(made)),
        Section("Every class", _classes_of_pair(made)),
        Section("Model", _model(made.combined)),
    ]


def _answer(analysis: Analysis, coverage: float, prevalence: float | None, doubt: str) -> list[Block]:
    prediction, model = analysis.prediction, analysis.model
    blocks: list[Block] = [Heading(f"Most likely: {analyses.most_likely(prediction)}"), f"{_shares(prediction)}."]
    blocks.append(" ".join(analyses.next_step(prediction)))
    if doubt:
        blocks.insert(0, doubt)
    if analysis.metadata:
        alone = analysis.image_prediction
        blocks.append(
            f"This answer takes details about the patient into account ({_metadata(analysis)}). From the image alone: "
            f"{analyses.most_likely(alone)}; {_shares(alone)}."
        )
    if not doubt:
        blocks += _meaning(prediction, coverage, prevalence)
    if agreement := analyses.agreement(prediction):
        blocks.append(agreement)
    by_class = dict(zip(model.labels.codes, prediction.probabilities, strict=True))
    return [*blocks, *operating_point_views.published(model, by_class)]


def _meaning(prediction: Prediction, coverage: float, prevalence: float | None) -> list[Block]:
    """The prediction set and the observed risk."""
    blocks: list[Block] = []
    if conformal.of_model(prediction.model):
        blocks.append(conformal.in_words(prediction, coverage))
    try:
        observed = observed_risk.observed_risk(prediction)
    except DataError as error:
        if prevalence is not None:
            raise
        return [*blocks, str(error)]
    blocks.append(observed_risk.sentence(observed))
    if prevalence is not None:
        blocks.append(observed_risk.prevalence_sentence(observed, prevalence))
    return blocks


def _image(analysis: Analysis) -> list[Block]:
    recognised = analysis.modality
    measured = analysis.quality
    kind = f"{modality.looks(recognised)} " if recognised else ""
    used_for = analysis.model.modality
    problems = [*warnings.of_quality(measured, used_for).values(), *warnings.hints(measured, used_for)]
    small = analysis.image.copy()
    small.thumbnail((LONGER_SIDE, LONGER_SIDE))
    caption = "The image. The model saw only what is inside the square."
    if analysis.removed and analysis.removed.any_detected:
        caption += f" {removal.sentence(analysis.removed)}"
    return [
        Picture(png(picture.in_image(small, analysis.crop)), caption),
        f"{kind}The square is {measured.side:,} pixels wide. Sharpness {measured.sharpness:.3f}; "
        f"brightness {measured.brightness:.0f} of 255; glare on {measured.glare:.1%} of the square.",
        *(problems or ["No problems found with sharpness, light or glare."]),
    ]


def no_map(model: Model) -> str:
    """The reason why there is no map for a model without class maps."""
    if model.is_network:
        return "This network ends in dense layers, so there is no map of where it looked."
    return "This model measures the lesion and classifies the measurements, so there is no map of where it looked."


def _explanation(analysis: Analysis, lesion: Segmentation | None) -> Section:
    if analysis.model.is_network:
        return Section("Where the model looked", _map(analysis, lesion))
    return Section("What the model measured", _features(analysis))


def _features(analysis: Analysis) -> list[Block]:
    """A features model's measurements, and how they led to the most likely class."""
    prediction = analysis.prediction
    return [
        no_map(prediction.model),
        feature_views.chart(prediction, prediction.predicted),
        feature_views.READING,
    ]


def _map(analysis: Analysis, lesion: Segmentation | None) -> list[Block]:
    prediction = analysis.prediction
    if prediction.class_maps is None:
        return [no_map(prediction.model)]
    name = prediction.model.labels[prediction.predicted].name
    cam = heatmap.grad_cam(prediction.class_maps, _index(prediction))
    if not cam.any():
        return [_nothing(name)]
    note = ""
    if lesion is None:
        try:
            lesion = segmentation.segment(analysis.square)
        except (SegmentationError, ModelError) as error:
            note = str(error)
    if lesion:
        note = lesion.note
    evidence = check_map(analysis, cam, lesion)
    return [
        Picture(
            png(Image.fromarray(heatmap.overlay(analysis.square, cam, 0.6))),
            _reading(name),
        ),
        Heading(evidence.badge),
        sanity_check.sentence(evidence, prediction.model.labels),
        *([note] if note else []),
        *_border(analysis, lesion),
        "Grad-CAM at the last convolution: it shows where the evidence for a class is, not whether that evidence is "
        "good. Details about the patient do not affect it.",
    ]


def _border(analysis: Analysis, lesion: Segmentation | None) -> list[Block]:
    if lesion is None:
        return []
    drawn = Image.fromarray(segmentation.with_border(analysis.square, lesion))
    return [Picture(png(drawn), "The border of the lesion, which the map's sanity check uses.")]


def _reading(name: str) -> str:
    return f"Yellow areas counted most towards “{name}”, dark areas less, and uncoloured areas not at all."


def _nothing(name: str) -> str:
    return f"No part of the image counted towards “{name}”."


def _maps_of_pair(made: PairAnalysis) -> list[Block]:
    prediction = made.prediction.combined
    if made.prediction.class_maps is None:
        return [no_map(prediction.model)]
    name = prediction.model.labels[prediction.predicted].name
    return [
        *(
            Picture(
                png(Image.fromarray(heatmap.overlay(one.square, cam, 0.6))),
                f"{image.capitalize()}. {_reading(name) if cam.any() else _nothing(name)}",
            )
            for image, one, cam in zip(
                IMAGES_OF_PAIR.values(), made.alone, pair.maps(made.prediction, prediction.predicted), strict=True
            )
        ),
        "Grad-CAM at the last convolution of each network. Both maps share one scale, so the image that counted more "
        "looks brighter. These maps have no sanity check.",
    ]


def check_map(analysis: Analysis, cam: np.ndarray, lesion: Segmentation | None) -> Evidence:
    """The sanity check of the map `cam` [h, w] of the most likely class, with the segmentation of the square, if there
    is one."""
    classifier, index = runtime.classifier(analysis.model), _index(analysis.prediction)

    def explain(pixels: np.ndarray) -> np.ndarray:
        class_maps = classifier.predict_input(pixels).class_maps
        assert class_maps is not None
        return heatmap.grad_cam(class_maps, index)

    mask = lesion.mask if lesion else None
    return sanity_check.gather(
        lambda pixels: classifier.predict_input(pixels).probabilities,
        explain,
        analysis.pixels,
        index,
        cam,
        mask,
        sanity_check.trusted(analysis.model),
    )


def _classes(analysis: Analysis) -> list[Block]:
    frame = probabilities.probability_frame(analysis.prediction)
    columns = {
        "Class": frame["class"],
        "Kind": frame["kind"],
        "Probability": [f"{share:.1%}" for share in frame["probability"]],
    }
    if analysis.metadata:
        alone = dict(zip(analysis.model.labels.codes, analysis.image_prediction.probabilities, strict=True))
        columns["From the image alone"] = [f"{alone[code]:.1%}" for code in frame["code"]]
    return [pd.DataFrame(columns)]


def _classes_of_pair(made: PairAnalysis) -> list[Block]:
    frame = probabilities.probability_frame(made.prediction.combined)
    columns = {
        "Class": frame["class"],
        "Kind": frame["kind"],
        "Both images": [f"{p:.1%}" for p in frame["probability"]],
    }
    for name, one in zip(IMAGES_OF_PAIR.values(), made.prediction.alone, strict=True):
        of_class = dict(zip(one.model.labels.codes, one.probabilities, strict=True))
        columns[f"{name.capitalize()} alone"] = [f"{of_class[code]:.1%}" for code in frame["code"]]
    return [pd.DataFrame(columns)]


def _model(analysis: Analysis) -> list[Block]:
    card = analysis.model.card
    score = Interval(**card["scores"]["balanced_accuracy"])
    counted = "lesions" if card["kind"] == "pair" else "images"
    return [
        f"{card['title']} ({card['id']}, version {card['version']}), for {modality.IMAGES[card['modality']]}. Balanced "
        f"accuracy {score.text()} on {card['test']['images']:,} test {counted} of {card['test']['dataset']}.",
        card["intended_use"],
        Heading("Limits"),
        *card["limits"],
        *([Heading("What it is bad at"), *card["bad_at"]] if card["bad_at"] else []),
        Heading("Licence"),
        f"{card['licence']}. {card['training']['attribution']}",
    ]


def _shares(prediction: Prediction) -> str:
    return "; ".join(f"{name} {percent(share)}" for name, share in analyses.shares(prediction).items())


def _metadata(analysis: Analysis) -> str:
    fields = {field.name: field for field in analysis.model.clinical}
    return "; ".join(
        f"{fields[name].title.lower()}: {fields[name].categories.get(str(value), value)}"
        for name, value in analysis.metadata.items()
    )


def _index(prediction: Prediction) -> int:
    return prediction.model.labels.codes.index(prediction.predicted)
