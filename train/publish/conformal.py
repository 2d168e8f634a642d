"""python -m train conformal: add prediction sets and operating points to an exported model, from images that it has not
seen.

`evaluate`, `export`, `fuse` and `pair` do this for a new model. For an older model, the probabilities of held-out
images are in its folder, after a cross-validation, or are recomputed from the validation images. Existing operating
points in a card are kept.
"""

import argparse
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from skinapp.errors import DataError, ModelError, SkinappError
from skinapp.evaluation import conformal, metrics, predictions
from skinapp.inference import model_card, registry
from skinapp.inference.registry import Model
from skinapp.inference.rows import Case
from skinapp.inference.scoring import classify_all
from skinapp.inference.training_images import OUT_OF_FOLD
from train.config import Config, load_config
from train.data.datasets import TRAINABLE, encode, read, sources, with_validation
from train.fit import metadata as fitting
from train.options import add_models
from train.publish import card_content, evaluate
from train.publish.evaluate import HeldOut
from train.publish.folder import draft, publish

CONFIGS = Path(__file__).parents[1] / "configs"
MAX_DIFFERENCE = 0.01
"""Maximum difference in accuracy between the card and these images: with a larger one, they are not the model's
validation images."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, metavar="ID", help="an exported model")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="the settings of its run (default: train/configs/<ID>.yaml)"
    )
    add_models(parser)
    parser.add_argument(
        "--changes",
        default="Prediction sets and operating points.",
        metavar="TEXT",
        help="a sentence for the model's changelog",
    )


def run(options: argparse.Namespace) -> int:
    model = registry.model(options.model, options.models)
    truth, probabilities, groups, name = held_out(model, options.config)
    sets = conformal.calibrate(model.labels, truth, probabilities, groups, name)
    card = model.card | {"conformal": sets}
    if "operating_points" not in card:
        card |= operating_points(model, HeldOut(name, truth, probabilities, groups, np.zeros(len(truth), dtype=bool)))
    with draft(options.models, model.id) as folder:
        for file in model.card["files"]:
            shutil.copy2(model.folder / file, folder)
        print(publish(folder, card, options.models, options.changes))
    return 0


def operating_points(model: Model, held_out: HeldOut) -> dict[str, Any]:
    """A card's `operating_points`, chosen on held-out images and measured on every test set that did not choose them.

    There are none for melanoma in a model that only tells malignant from benign, as its test images are not labelled
    with melanoma.
    """
    tested = predictions.of_model(model)
    unseen = tested.further if model_card.cross_validated(model.card) else tested.datasets
    tests = []
    for dataset in unseen:
        rows = tested.rows_of(dataset)
        name = TRAINABLE[dataset].name if dataset in TRAINABLE else dataset
        truth, groups = encode(rows["label"], model.labels), rows["group"].to_numpy()
        tests.append(HeldOut(name, truth, rows[tested.columns].to_numpy(), groups, np.zeros(len(rows), dtype=bool)))
    points = [
        point | {"measured": [*point["measured"], *(evaluate.measured(point, model.labels, test) for test in tests)]}
        for point in evaluate.chosen_points(model.labels, held_out)
    ]
    return card_content.operating_points({"operating_points": points})


def held_out(model: Model, config_file: Path | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    """Class indices [n], probabilities [n, classes] and groups [n] of images that the model has not seen, and their
    name. ModelError for a model without weights, DataError if the images are missing or not those of the model."""
    if OUT_OF_FOLD in model.card["files"]:
        return *_saved(model, OUT_OF_FOLD), f"{model.card['test']['dataset']}, out of fold"
    if model_card.cross_validated(model.card):
        return *_saved(model, "predictions.csv"), f"{model.card['test']['dataset']}, out of fold"
    if not model.runnable:
        raise ModelError(f"The weights of '{model.id}' are not here, so its validation images cannot be classified.")
    base = model.card["fusion"]["base"] if "fusion" in model.card else model.id
    return *_computed(model, load_config(config_file or CONFIGS / f"{base}.yaml", ())), "Validation images"


def _saved(model: Model, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    registry.verified_bytes(model, name)
    table = pd.read_csv(model.folder / name)
    columns = [f"p_{code}" for code in model.labels.codes]
    return encode(table["label"], model.labels), table[columns].to_numpy(), table["group"].to_numpy()


def _computed(model: Model, config: Config) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same for the validation images of the first data set, which are read and classified as in the app."""
    first = sources(config.dataset)[0].id
    table = with_validation(read(config.dataset), **config.division)
    table = table[(table["split"] == "validation") & (table["dataset"] == first)]
    fusion = model.card.get("fusion", {})
    # weights for metadata that were trained with the network have not seen these images either
    trained = "dropout" in fusion
    facts = fitting.published(first).loc[table["image"]].to_dict("index") if trained else {}
    cases = {
        image: Case(Path(path), {str(name): cell for name, cell in facts.get(image, {}).items()})
        for image, path in zip(table["image"], table["path"], strict=True)
    }
    predictions = []
    for image, prediction in tqdm(classify_all(cases, model), total=len(cases), unit="image", disable=None):
        if isinstance(prediction, SkinappError):
            raise DataError(f"The validation image {image} cannot be used. {prediction}")
        predictions.append(prediction)
    truth, groups = encode(table["label"], model.labels), table["group"].to_numpy()
    probabilities = np.stack([prediction.probabilities for prediction in predictions])
    if fusion and not trained:
        # the model's own fusion was fitted on these images, so fusions that have not seen the lesion are fitted instead
        published = fitting.published(first)
        return (
            truth,
            fitting.fit(
                np.stack([prediction.logits for prediction in predictions]),
                published.loc[table["image"]],
                fitting.questions(published),
                truth,
                groups,
                adjustment=fusion["adjustment"],
            ).probabilities,
            groups,
        )
    accuracy = float(metrics.accuracy(truth, probabilities, np.ones((1, len(truth))))[0])
    expected = model.card["validation"]["accuracy"]["value"]
    if abs(accuracy - expected) > MAX_DIFFERENCE:
        raise DataError(
            f"The accuracy on the validation images here is {accuracy:.3f}; the card of '{model.id}' says "
            f"{expected:.3f}. The images or the settings are not those of the model; pass its --config."
        )
    return truth, probabilities, groups
