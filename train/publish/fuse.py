"""python -m train fuse: make a model that also uses patient metadata from one that uses the image alone.

The network stays the same; `train.fit.metadata` fits what the metadata add to its logits. After a cross-validation it
is fitted on the logits of held-out images, otherwise on the exported model's logits of the validation images.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from skinapp.errors import DataError
from skinapp.evaluation import bootstrap, conformal, significance
from skinapp.inference import metadata, model_card, registry, runtime
from skinapp.inference.runtime import softmax
from skinapp.labels.sets import label_set
from train.config import Config
from train.data.datasets import encode, prepare, sources, with_validation
from train.fit import metadata as fitting
from train.fit.run_folder import LOGITS_FILE, open_run
from train.publish import card_content
from train.publish.evaluate import RESAMPLES, kinds
from train.publish.folder import draft, publish

INHERITED = (
    "kind",
    "task",
    "modality",
    "labels",
    "architecture",
    "initial_weights",
    "input",
    "outputs",
    "licence",
    "intended_use",
    "versions",
)
TRAINING = ("dataset", "attribution", "data_licence", "protocol", "images", "groups")
"""The parts of `training` that the card shares with the base model's."""


@dataclass(frozen=True)
class HeldOut:
    """Rows that the network was not trained on: the table in the common form, logits [n, K], class indices [n]."""

    table: pd.DataFrame
    logits: np.ndarray
    labels: np.ndarray


def fuse(config: Config, title: str, adjustment: float, runs: Path, models: Path, changes: str = "") -> Path:
    """Write `models/<id>-clinical/` beside the exported model of a run; return the folder.

    DataError if its data set publishes no metadata, or the run is not evaluated.
    """
    if config.is_committee:
        raise DataError(f"'{config.id}' is a committee; fuse adds metadata to single networks only.")
    table = fitting.published(config.dataset)
    fields = fitting.questions(table)
    fitted_on, tested = held_out(config, runs, models)
    fitted = fitting.fit(
        fitted_on.logits,
        table.loc[fitted_on.table["image"]],
        fields,
        fitted_on.labels,
        fitted_on.table["group"].to_numpy(),
        adjustment=adjustment,
    )
    probabilities = fitted.probabilities
    if tested is not fitted_on:
        rows = fitting.parse(fitted.fields, table.loc[tested.table["image"]])
        coded = np.array([metadata.code(fitted.fields, row) for row in rows])
        probabilities = softmax(fitted.fusion.add(tested.logits, coded))
    # the fitted fusion has seen all these images; `fitted.probabilities` are from fusions that had not seen the group
    sets = conformal.calibrate(
        label_set(config.labels),
        fitted_on.labels,
        fitted.probabilities,
        fitted_on.table["group"].to_numpy(),
        f"{sources(config.dataset)[0].name}, out of fold" if config.fold is None else "Validation images",
    )
    base = registry.model(config.id, models)
    return write(config, base, title, adjustment, tested, probabilities, fitted, sets, models, changes)


def held_out(config: Config, runs: Path, models: Path) -> tuple[HeldOut, HeldOut]:
    """The rows to fit on and the rows to test on. After a cross-validation both are the same, with the logits that the
    run saved; otherwise they are the exported model's logits of the validation and of the test images."""
    labels = label_set(config.labels)
    data = prepare(config.dataset, config.image_size, runs)
    if config.fold is None:
        run = open_run(config, runs)
        try:
            saved = np.load(run / LOGITS_FILE)
        except FileNotFoundError:
            raise DataError(f"The run in {run} is not evaluated; run evaluate first.") from None
        rows = data.table.set_index("image", drop=False).loc[saved["images"]]
        all_rows = HeldOut(rows, saved["logits"], encode(rows["label"], labels))
        return all_rows, all_rows
    divided = with_validation(data.table, config.folds, config.fold, config.seed)
    classifier = runtime.classifier(registry.model(config.id, models))
    parts = []
    for split in ("validation", "test"):
        chosen = np.flatnonzero(divided["split"] == split)
        logits = [classifier.predict(data.images[row]).logits for row in tqdm(chosen, split, unit=" images")]
        rows = divided.iloc[chosen]
        parts.append(HeldOut(rows, np.array(logits), encode(rows["label"], labels)))
    return parts[0], parts[1]


def write(
    config: Config,
    base: registry.Model,
    title: str,
    adjustment: float,
    tested: HeldOut,
    probabilities: np.ndarray,
    fitted: fitting.Fitted,
    sets: dict[str, Any],
    models: Path,
    changes: str,
) -> Path:
    """Write the model folder: the network of `base`, the fitted fusion, the scores, and the card."""
    labels = base.labels
    scores = kinds(labels)
    groups = tested.table["group"].to_numpy()
    predictions = pd.read_csv(base.folder / "predictions.csv").set_index("image")
    columns = [f"p_{code}" for code in labels.codes]
    image_alone = predictions.loc[tested.table["image"], columns].to_numpy()
    together = bootstrap.intervals(scores, tested.labels, probabilities, groups, RESAMPLES)
    differences = bootstrap.paired_differences(scores, tested.labels, probabilities, image_alone, groups, RESAMPLES)
    p_value = significance.mcnemar(
        probabilities.argmax(axis=1) == tested.labels, image_alone.argmax(axis=1) == tested.labels
    )
    predictions = predictions.loc[tested.table["image"]].reset_index()
    predictions[columns] = probabilities.round(6)
    base_card = {name: base.card[name] for name in INHERITED}
    described = base_card | {
        "id": f"{base.id}-clinical",
        "title": title,
        "short_name": f"{base.short_name} + metadata",
        "training": {name: base.card["training"][name] for name in TRAINING},
        "inputs": {"clinical": metadata.described(fitted.fields)},
        "temperature": 1.0,
        "test": {name: base.card["test"][name] for name in ("dataset", "images", "groups", "resamples")}
        | {"recalls": card_content.recalls(list(labels.codes), predictions)},
        "scores": card_content.rounded(together),
        "fusion": {
            "base": config.id,
            "scale": round(float(fitted.fusion.scale), 4),
            "penalty": float(fitted.penalty),
            "adjustment": adjustment,
            "mcnemar_p": float(f"{p_value:.3g}"),
            "differences": card_content.rounded(differences),
        },
        "conformal": sets,
        "limits": [*card_content.limits(base.card), card_content.FUSION_LIMIT],
    }
    good, bad = model_card.sensitivity_sentences(described)
    described |= {"good_at": good, "bad_at": bad}
    with draft(models, described["id"]) as folder:
        for name in ("model.tflite", "history.csv"):
            shutil.copy(base.folder / name, folder)
        (folder / metadata.WEIGHTS_FILE).write_text(metadata.to_json(fitted.fusion, fitted.fields))
        predictions.to_csv(folder / "predictions.csv", index=False)
        return publish(folder, described, models, changes)
