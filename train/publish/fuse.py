"""python -m train fuse: a model that also takes what is known about the patient, from one that takes the image alone.

The network stays as it is. What the answers add to its logits is fitted by `train.fit.metadata`: after a
cross-validation on the logits of the images that each part's network had not seen, otherwise on what the exported model
says of the validation images.
"""

import hashlib
import json
import shlex
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from skinapp.errors import DataError
from skinapp.evaluation import bootstrap, significance
from skinapp.inference import metadata, registry, runtime
from skinapp.inference.runtime import softmax
from skinapp.labels.sets import label_set
from train.config import Config
from train.data.datasets import data_root, encode, prepare, sources, with_validation
from train.fit import metadata as fitting
from train.fit.cross_validation import LOGITS_FILE
from train.fit.training import open_run
from train.publish.evaluate import RESAMPLES, kinds
from train.publish.export import MEMBERS, limits, rounded, score_table, table

ANSWERS = {"ham10000": fitting.ham10000, "pad_ufes_20": fitting.pad_ufes_20}
"""Which data sets publish answers, and how they are read."""


@dataclass(frozen=True)
class Held:
    """Rows that the network has not seen: the table in the common form, its logits [n, K], class indices [n]."""

    table: pd.DataFrame
    logits: np.ndarray
    labels: np.ndarray


def fuse(config: Config, title: str, adjustment: float, runs: Path, models: Path) -> Path:
    """Write `models/<id>-clinical/` beside the exported model of a run; give the folder.

    DataError where its data set publishes no answers, or the run is not evaluated.
    """
    answers = published_answers(config)
    fields = fitting.questions(answers)
    learnt, tested = held_out(config, runs, models)
    found = fitting.fit(
        learnt.logits,
        answers.loc[learnt.table["image"]],
        fields,
        learnt.labels,
        learnt.table["group"].to_numpy(),
        adjustment=adjustment,
    )
    probabilities = found.probabilities
    if tested is not learnt:
        given = fitting.parse(found.fields, answers.loc[tested.table["image"]])
        coded = np.array([metadata.code(found.fields, row) for row in given])
        probabilities = softmax(found.fusion.add(tested.logits, coded))
    return write(config, registry.model(config.id, models), title, adjustment, tested, probabilities, found, models)


def published_answers(config: Config) -> pd.DataFrame:
    """What the data set of a run publishes about its patients, one row an image id. DataError where it is nothing."""
    if config.dataset not in ANSWERS:
        raise DataError(f"'{config.dataset}' publishes no answers about patients; {' and '.join(ANSWERS)} do.")
    (source,) = sources(config.dataset)
    return ANSWERS[config.dataset](data_root() / source.folder)


def held_out(config: Config, runs: Path, models: Path) -> tuple[Held, Held]:
    """The rows to learn from and those to judge by: the same ones after a cross-validation, which its run keeps;
    otherwise what the exported model says of the validation and of the test images."""
    labels = label_set(config.labels)
    data = prepare(config.dataset, config.image_size, runs)
    if config.fold is None:
        run = open_run(config, runs)
        try:
            kept = np.load(run / LOGITS_FILE)
        except FileNotFoundError:
            raise DataError(f"The run in {run} is not evaluated; run evaluate first.") from None
        rows = data.table.set_index("image", drop=False).loc[kept["images"]]
        all_rows = Held(rows, kept["logits"], encode(rows["label"], labels))
        return all_rows, all_rows
    divided = with_validation(data.table, config.folds, config.fold, config.seed)
    classifier = runtime.classifier(registry.model(config.id, models))
    parts = []
    for split in ("validation", "test"):
        chosen = np.flatnonzero(divided["split"] == split)
        logits = [classifier.predict(data.images[row]).logits for row in tqdm(chosen, split, unit=" images")]
        rows = divided.iloc[chosen]
        parts.append(Held(rows, np.array(logits), encode(rows["label"], labels)))
    return parts[0], parts[1]


def write(
    config: Config,
    base: registry.Model,
    title: str,
    adjustment: float,
    tested: Held,
    probabilities: np.ndarray,
    found: fitting.Fitted,
    models: Path,
) -> Path:
    """The model folder: the network of `base`, what was fitted, the scores, and the card."""
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
    card = {
        **{key: value for key, value in base.card.items() if key != "other_tests"},
        "id": f"{base.id}-clinical",
        "title": title,
        "inputs": {"clinical": metadata.described(found.fields)},
        "temperature": 1.0,
        "scores": rounded({name: vars(score) for name, score in together.items()}),
    }
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=models) as partial:
        folder = Path(partial) / card["id"]
        folder.mkdir()
        for name in ("model.tflite", "history.csv"):
            shutil.copy(base.folder / name, folder)
        (folder / metadata.WEIGHTS_FILE).write_text(metadata.to_json(found.fusion, found.fields))
        fused = predictions.loc[tested.table["image"]].reset_index()
        fused[columns] = probabilities.round(6)
        fused.to_csv(folder / "predictions.csv", index=False)
        (folder / "README.md").write_text(readme(config, card, base, adjustment, found, differences, p_value))
        card["files"] = {
            file.name: {"sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "size": file.stat().st_size}
            for file in sorted(folder.iterdir())
        }
        (folder / "model.json").write_text(json.dumps(card, indent=2) + "\n")
        registry.verify(registry.read_model(folder))
        shutil.rmtree(models / card["id"], ignore_errors=True)
        folder.rename(models / card["id"])
    return models / card["id"]


def readme(
    config: Config,
    card: dict[str, Any],
    base: registry.Model,
    adjustment: float,
    found: fitting.Fitted,
    differences: dict[str, bootstrap.Interval],
    p_value: float,
) -> str:
    """The model card for people."""
    members = MEMBERS[base.modality]
    asked = table(
        ["question", "answer"],
        [
            [
                field.title,
                f"{field.low:g} to {field.high:g} {field.unit}"
                if field.kind == "number"
                else ", ".join(field.categories.values()) or "yes or no",
            ]
            for field in found.fields
        ],
    )
    compared = table(
        ["score", "difference", "95% interval"],
        [
            [name.replace("_", " "), f"{score.value:+.3f}", f"{score.low:+.3f} to {score.high:+.3f}"]
            for name, score in differences.items()
        ],
    )
    learnt = (
        "the logits that cross-validation gave to images whose patients the network had not seen; the scores are of "
        "patients that this fit had not seen either"
        if config.fold is None
        else "the validation images, and is scored on the test images"
    )
    command = (
        f"python -m train fuse --config train/configs/{config.id}.yaml --title {shlex.quote(card['title'])} "
        f"--adjustment {adjustment:g}"
    )
    return f"""# {card["title"]}

{card["intended_use"]}

The network of [{base.id}](../{base.id}/README.md), whose answer to the image may be joined by what is known about the
patient. Nothing is required: an answer that is missing adds nothing.

- **Logits**: {found.fusion.scale:.3f} times the image's logits, plus a weight for each answer
  (`{metadata.WEIGHTS_FILE}`). Every class map is still exact for what the image contributes.
- **Fit**: multinomial logistic regression with an L2 penalty of {found.penalty:g}, on {learnt}.
  Rows are also learnt from with some or all of their answers taken away. Logit adjustment {adjustment:g}.
- **Never asked**: whether a biopsy was taken. It is known to give the diagnosis away.
- **Licence**: {card["licence"]}. {card["training"]["attribution"]}

{asked}

## Scores

{card["test"]["images"]:,} images of {card["test"]["groups"]:,} {members}, with the published answers.
Intervals are 95%, from {card["test"]["resamples"]:,} bootstrap resamples of {members}.

{card["training"]["protocol"]}

{score_table(card["scores"])}

## What the answers add

The same images, this model less the one that takes the image alone; McNemar's exact test of accuracy gives p =
{p_value:.2g}.

{compared}

To make it again: `{command}`.

## Limits

{limits(card)}
- The answers were given to the doctors who made the data set, some of them by asking with a diagnosis in mind; how a
  visitor answers at home was not measured.
"""
