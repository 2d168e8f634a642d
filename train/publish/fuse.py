"""python -m train fuse: make a model that also uses patient metadata from an image-only model.

The network stays the same. The contribution of the metadata was trained with it (`train.fit.trained_metadata`), and
held-out images only give the temperature; or else `train.fit.metadata` fits it on held-out logits. After a
cross-validation these are the logits of all parts, otherwise those of the exported model for the validation images.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from skinapp.errors import DataError
from skinapp.evaluation import bootstrap, significance
from skinapp.evaluation.bootstrap import RESAMPLES
from skinapp.inference import metadata, model_card, registry, runtime
from skinapp.inference.metadata import Field, Fusion
from skinapp.inference.runtime import softmax
from skinapp.labels.sets import label_set
from train.config import Config
from train.data.datasets import encode, melanomas, prepare, sources, with_validation
from train.fit import metadata as fitting
from train.fit import trained_metadata
from train.fit.cross_validation import fold_config
from train.fit.run_folder import LOGITS_FILE, best_file, last_file, open_run
from train.publish import card_content, evaluate
from train.publish.evaluate import fit_temperature, kinds
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
    """Rows that the network was not trained on: the table in the common form, logits [n, K], class indices [n], and
    the fold [n] of each row's network."""

    table: pd.DataFrame
    logits: np.ndarray
    labels: np.ndarray
    folds: np.ndarray

    def part(self, rows: np.ndarray) -> "HeldOut":
        """Select rows, boolean [n]."""
        return HeldOut(self.table[rows], self.logits[rows], self.labels[rows], self.folds[rows])


@dataclass(frozen=True)
class Fused:
    """The content of `clinical.json` and the data for the test: coded fields, fusion, temperature, probabilities [n, K]
    of the tested rows, those [m, K] of the rows to fit on, from fusions that had not seen their groups, and the card's
    description of the method."""

    fields: tuple[Field, ...]
    fusion: Fusion
    temperature: float
    probabilities: np.ndarray
    held_out: np.ndarray
    made: dict[str, float | bool]


def fuse(
    config: Config,
    title: str,
    adjustment: float,
    runs: Path,
    models: Path,
    changes: str = "",
    afterwards: bool = False,
) -> Path:
    """Write `models/<id>-clinical/` next to the exported model of a run; return the folder.

    In a run with `metadata`, the contribution of the metadata is already trained; with `afterwards` it is fitted
    anyway. DataError if the run's first data set publishes no metadata, or the run is not evaluated.
    """
    if config.is_committee:
        raise DataError(f"'{config.id}' is a committee; fuse adds metadata to single networks only.")
    table = fitting.published(sources(config.dataset)[0].id)
    fitted_on, tested = held_out(config, runs, models)
    if config.metadata and not afterwards:
        fused = trained(config, table, adjustment, runs, fitted_on, tested)
    else:
        fused = fitted(config, table, adjustment, fitted_on, tested)
    labels = label_set(config.labels)
    groups = fitted_on.table["group"].to_numpy()
    held_out_name = f"{sources(config.dataset)[0].name}, out of fold" if config.fold is None else "Validation images"
    chosen_on = measured_on(held_out_name, fitted_on, fused.held_out)
    points = evaluate.chosen_points(labels, chosen_on)
    measured: dict[str, Any] = {"conformal": evaluate.calibrated_sets(labels, chosen_on)}
    # after a cross-validation, the scores themselves are from held-out images
    if tested is not fitted_on:
        validation = bootstrap.intervals(kinds(labels), fitted_on.labels, fused.held_out, groups, RESAMPLES)
        measured["validation"] = card_content.rounded(validation)
        tests = measured_on(sources(config.dataset)[0].name, tested, fused.probabilities)
        points = evaluate.measured_points(points, labels, [tests])
    measured |= card_content.operating_points({"operating_points": points})
    base = registry.model(config.id, models)
    return write(config, base, title, adjustment, tested, fused, measured, models, changes)


def measured_on(name: str, rows: HeldOut, probabilities: np.ndarray) -> evaluate.HeldOut:
    """The rows with their name and probabilities [n, K], in the form in which operating points are chosen on them."""
    groups, melanoma = rows.table["group"].to_numpy(), melanomas(rows.table["label"])
    return evaluate.HeldOut(name, rows.labels, probabilities, groups, melanoma)


def fitted(config: Config, table: pd.DataFrame, adjustment: float, fitted_on: HeldOut, tested: HeldOut) -> Fused:
    """The fusion fitted on held-out logits."""
    result = fitting.fit(
        fitted_on.logits,
        table.loc[fitted_on.table["image"]],
        fitting.questions(table),
        fitted_on.labels,
        fitted_on.table["group"].to_numpy(),
        adjustment=adjustment,
    )
    probabilities = result.probabilities
    if tested is not fitted_on:
        probabilities = softmax(added(result.fields, result.fusion, table, tested))
    made = {"penalty": float(result.penalty), **({"afterwards": True} if config.metadata else {})}
    return Fused(result.fields, result.fusion, 1.0, probabilities, result.probabilities, made)


def trained(
    config: Config, table: pd.DataFrame, adjustment: float, runs: Path, fitted_on: HeldOut, tested: HeldOut
) -> Fused:
    """The fusion that was trained with the network, and the temperature that fits it on held-out images. After a
    cross-validation each part has the fusion trained with its own network, and the temperature of the other parts."""
    totals = trained_logits(config, table, runs, fitted_on)
    fields, fusion = trained_metadata.read(metadata_file(config, runs))
    fusion = fitting.adjusted(fusion, fitted_on.labels, adjustment)
    totals = totals + fusion.bias
    temperature = fit_temperature(totals, fitted_on.labels)
    if tested is not fitted_on:
        probabilities = softmax(added(fields, fusion, table, tested) / temperature)
        unseen = softmax(totals / temperature)
    else:
        probabilities = unseen = softmax(totals / temperatures_of_others(totals, fitted_on))
    return Fused(fields, fusion, temperature, probabilities, unseen, {"dropout": config.metadata_dropout})


def trained_logits(config: Config, table: pd.DataFrame, runs: Path, rows: HeldOut) -> np.ndarray:
    """Logits [n, K] of image and metadata combined, with the metadata weights trained with the network that held out
    each row."""
    totals = np.zeros(rows.logits.shape)
    for fold in np.unique(rows.folds):
        part = rows.folds == fold
        one = config if config.fold is not None else fold_config(config, int(fold))
        fields, fusion = trained_metadata.read(metadata_file(one, runs, last=config.fold is None))
        totals[part] = added(fields, fusion, table, rows.part(part))
    return totals


def metadata_file(config: Config, runs: Path, last: bool = False) -> Path:
    """The file with the metadata weights of the network that `best_file` chooses, or of the last one."""
    network = (last_file if last else best_file)(config, open_run(config, runs))
    return network.with_name(trained_metadata.FILES[network.stem])


def added(fields: tuple[Field, ...], fusion: Fusion, table: pd.DataFrame, rows: HeldOut) -> np.ndarray:
    """Logits [n, K] of rows with their published metadata."""
    parsed = fitting.parse(fields, table.loc[rows.table["image"]])
    return fusion.add(rows.logits, np.array([metadata.code(fields, row) for row in parsed]))


def temperatures_of_others(logits: np.ndarray, rows: HeldOut) -> np.ndarray:
    """For each row, the temperature [n, 1] fitted on the other parts."""
    temperatures = np.ones((len(logits), 1))
    for fold in np.unique(rows.folds):
        others = rows.folds != fold
        temperatures[~others] = fit_temperature(logits[others], rows.labels[others])
    return temperatures


def held_out(config: Config, runs: Path, models: Path) -> tuple[HeldOut, HeldOut]:
    """The rows of the first data set to fit on and to test on. After a cross-validation both are the same, with the
    logits that the run saved; otherwise they are the exported model's logits of the validation and of the test
    images."""
    labels = label_set(config.labels)
    data = prepare(config.dataset, config.image_size, runs, **config.pixels)
    first = data.table["dataset"].iloc[0]
    if config.fold is None:
        run = open_run(config, runs)
        try:
            saved = np.load(run / LOGITS_FILE)
        except FileNotFoundError:
            raise DataError(f"The run in {run} is not evaluated; run evaluate first.") from None
        rows = data.table.set_index("image", drop=False).loc[saved["images"]]
        of_first = (saved["folds"] >= 0) & (rows["dataset"] == first).to_numpy()
        rows = rows[of_first]
        all_rows = HeldOut(rows, saved["logits"][of_first], encode(rows["label"], labels), saved["folds"][of_first])
        return all_rows, all_rows
    divided = with_validation(data.table, **config.division)
    classifier = runtime.classifier(registry.model(config.id, models))
    parts = []
    for split in ("validation", "test"):
        chosen = np.flatnonzero((divided["split"] == split) & (divided["dataset"] == first))
        logits = [classifier.predict(data.images[row]).logits for row in tqdm(chosen, split, unit=" images")]
        rows = divided.iloc[chosen]
        folds = np.full(len(rows), config.fold)
        parts.append(HeldOut(rows, np.array(logits), encode(rows["label"], labels), folds))
    return parts[0], parts[1]


def write(
    config: Config,
    base: registry.Model,
    title: str,
    adjustment: float,
    tested: HeldOut,
    fused: Fused,
    measured: dict[str, Any],
    models: Path,
    changes: str,
) -> Path:
    """Write the model folder: the network of `base`, the fusion, the scores, and the card, with the results `measured`
    on held-out images."""
    probabilities = fused.probabilities
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
        "inputs": {"clinical": metadata.described(fused.fields)},
        "temperature": round(fused.temperature, 4),
        "test": {name: base.card["test"][name] for name in ("dataset", "images", "groups", "resamples")}
        | {"recalls": card_content.recalls(list(labels.codes), predictions)},
        "scores": card_content.rounded(together),
        "fusion": {
            "base": config.id,
            "scale": round(float(fused.fusion.scale), 4),
            "adjustment": adjustment,
            **fused.made,
            "mcnemar_p": float(f"{p_value:.3g}"),
            "differences": card_content.rounded(differences),
        },
        **measured,
        "limits": [*card_content.limits(base.card), card_content.FUSION_LIMIT],
    }
    good, bad = model_card.sensitivity_sentences(described)
    described |= {"good_at": good, "bad_at": bad}
    with draft(models, described["id"]) as folder:
        for name in ("model.tflite", "history.csv"):
            shutil.copy(base.folder / name, folder)
        (folder / metadata.WEIGHTS_FILE).write_text(metadata.to_json(fused.fusion, fused.fields))
        predictions.to_csv(folder / "predictions.csv", index=False)
        return publish(folder, described, models, changes)
