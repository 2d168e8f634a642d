"""The content of `model.json` for a trained network: its run, scores and limits. `model_card` renders it."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from skinapp.datasets.registry import DATASETS, DataSet
from skinapp.errors import DataError
from skinapp.formatting import joined
from skinapp.inference import model_card
from skinapp.labels.sets import MALIGNANCY, label_set
from train.config import Config
from train.data import packed
from train.data.datasets import sources
from train.publish import compare_published
from train.publish.folder import LICENCE, RESIZE, versions

INTENDED_USE = (
    "Research and teaching on skin-lesion classifiers. Not a diagnostic device; not for decisions about a person's "
    "care."
)
LIMITS = {
    "dermoscopy": ("The images are dermoscopy images from a few clinics, mostly of light skin; {skin}.",),
    "smartphone": (
        "PAD-UFES-20's photos come from one Brazilian programme, whose patients are mostly farmers of European "
        "descent. Where skin type was recorded, it is mostly light.",
        "In PAD-UFES-20, every cancer was confirmed by biopsy, but most benign lesions were not. Benign lesions are "
        "more frequent among the blurrier photos.",
    ),
    "dermoscopy and close-up": (
        "The images come from five centres, and nearly every lesion was suspicious enough for a biopsy: the data "
        "contain hardly any of the harmless lesions that nobody would think to have examined. Most patients have "
        "light skin.",
        "The two images must show the same lesion; whether they do is not checked.",
    ),
}
MALIGNANT = {
    "dermoscopy": "melanoma, basal cell carcinoma, actinic keratosis or Bowen's disease",
    "smartphone": "basal cell carcinoma, melanoma or squamous cell carcinoma; actinic keratosis does not count",
    "dermoscopy and close-up": "melanoma, basal or squamous cell carcinoma, another cancer, actinic keratosis or "
    "Bowen's disease",
}
FUSION_LIMIT = (
    "The metadata was recorded by the doctors who made the data set, sometimes with a diagnosis in mind; how well the "
    "model does on what patients report at home was not measured."
)
VALIDATION = (
    "Validation: whole lesions of the training part, stratified by diagnosis. Only these were used to choose the "
    "epoch, the temperature and the operating points."
)
CROSS = (
    "Every network is taken from its last epoch, so no epoch was chosen on the images that are scored; the temperature "
    "for each part was fitted on the other parts. The network in this folder was then trained on all the images with "
    "the same schedule. Its scores are those of the cross-validation networks."
)
PAIR = (
    "Validation: whole lesions of the training part, stratified by diagnosis, the same for both networks. Only these "
    "were used to choose the epochs, the weights of the networks and the operating points."
)
COMMITTEE = (
    "The training images are divided into {parts} parts by lesion or patient. Each network was trained without one of "
    "the parts and is taken from its last epoch. Its predictions for that part, out of fold, were used to choose the "
    "logit adjustment and the operating points, at the temperature {single:.4f}, which was fitted to single networks "
    "on {data}. The temperature of the committee is extrapolated from that of single networks, based on how much their "
    "logits differ on images that are used neither for training nor for testing."
)
SETTINGS = (
    "samples_per_epoch",
    "sampling",
    "loss",
    "label_smoothing",
    "optimizer",
    "weight_decay",
    "augmentation",
    "dropout",
    "ema",
    "seed",
)
RATES = ("sensitivity", "specificity", "accuracy")
"""The measures at an operating point; accuracy only if its target is the positive class."""
STAGE = ("image_size", "epochs", "learning_rate", "final_rate", "mixup", "cutmix", "frozen_blocks")


def describe(
    config: Config,
    evaluation: dict[str, Any],
    beside: list[dict[str, Any]],
    parameters: int,
    outputs: dict[str, list[int]],
    run: dict[str, Any],
) -> dict[str, Any]:
    """The card of a run's network, without version, published models, conversion and files.

    `evaluation` and `run` are the contents of `evaluation.json` and `run.json`, `beside` the tests of a run under
    another protocol, `parameters` the number of all weights, and `outputs` the shape of every output without the batch.
    """
    labels, parts = label_set(config.labels), sources(config.dataset)
    first, *others = evaluation["tests"]
    card = {
        "id": config.id,
        "kind": "committee" if config.is_committee else "classifier",
        "title": config.title,
        "short_name": config.short_name or config.title,
        "task": "malignancy" if labels is MALIGNANCY else "diagnosis",
        "modality": modality(config),
        "labels": {"set": labels.id, "codes": list(labels.codes)},
        "architecture": {"name": config.architecture, "parameters": parameters},
        "initial_weights": config.initial_weights,
        "input": input_of(config),
        "outputs": outputs,
        "temperature": round(evaluation["temperature"], 4),
        "training": credits_of(parts)
        | {
            "protocol": " ".join([*(source.protocol for source in parts), _choices(config, evaluation)]),
            "images": evaluation["images"],
            "groups": evaluation["groups"],
        }
        | training_settings(config)
        | cost(run),
        "test": {
            "dataset": first["name"],
            "images": first["images"],
            "groups": first["groups"],
            "resamples": evaluation["resamples"],
        }
        | details(first),
        "scores": rounded(first["scores"]),
        "other_tests": [other_test(test) | details(test) for test in others] + [other_test(test) for test in beside],
        **({"validation": rounded(evaluation["validation"])} if "validation" in evaluation else {}),
        **operating_points(evaluation),
        **({"conformal": evaluation["conformal"]} if "conformal" in evaluation else {}),
        "logit_adjustment": tried_adjustments(evaluation["logit_adjustment"], evaluation["validation_by_adjustment"]),
        "licence": LICENCE,
        "intended_use": INTENDED_USE,
        "versions": versions(),
    }
    good, bad = model_card.sensitivity_sentences(card)
    return card | {"good_at": good, "bad_at": bad, "limits": limits(card)}


def credits_of(parts: Sequence[DataSet]) -> dict[str, str]:
    """Names, attributions and licences of the data sets trained on, as in a card's `training`."""
    names = {part.id: _one_of_several(part.name) if len(parts) > 1 else part.name for part in parts}
    by_licence: dict[str, list[str]] = {}
    for part in parts:
        by_licence.setdefault(part.licence, []).append(names[part.id])
    single = len(by_licence) == 1
    return {
        "dataset": joined(names.values()),
        "attribution": " ".join(dict.fromkeys(part.attribution for part in parts)),
        "data_licence": "; ".join(f"{'' if single else f'{joined(of)}: '}{one}" for one, of in by_licence.items()),
    }


def _one_of_several(name: str) -> str:
    """A data set's name for use in a list of names: its colon would look like those of the list."""
    return f"“{name}”" if ":" in name else name


def _choices(config: Config, evaluation: dict[str, Any]) -> str:
    """The images that were used for model selection."""
    if config.is_committee:
        return COMMITTEE.format(
            parts=config.folds, data=sources(config.dataset)[0].name, single=evaluation["single_temperature"]
        )
    return CROSS if config.fold is None else VALIDATION


def operating_points(evaluation: dict[str, Any]) -> dict[str, Any]:
    """A card's `operating_points`; empty for an evaluation without any."""
    points = [
        point
        | {"measured": [row | rounded({name: row[name] for name in RATES if name in row}) for row in point["measured"]]}
        for point in evaluation.get("operating_points", ())
    ]
    return {"operating_points": points} if points else {}


def tried_adjustments(applied: float, tried: list[dict[str, float]]) -> dict[str, Any]:
    """A card's `logit_adjustment`: the applied value, and the rows of `evaluate.by_adjustment`."""
    return {
        "applied": applied,
        "tried": [{name: round(value, 4) for name, value in row.items()} for row in tried],
    }


def training_settings(config: Config) -> dict[str, Any]:
    """Stages, settings and note of a run, as a card lists them."""
    note = config.note.strip()
    if config.packed:
        pack = packed.read(Path(config.packed))
        note += (
            f" Trained and scored on images of {pack.size} px that were saved as WebP of quality {pack.quality}, not "
            "on the published files."
        )
    return {
        "stages": [{name: getattr(stage, name) for name in STAGE} for stage in config.stages],
        "settings": {name: getattr(config, name) for name in SETTINGS},
        "note": note.strip(),
    }


def input_of(config: Config) -> dict[str, Any]:
    """A card's `input`."""
    return {
        "size": config.image_size,
        "dtype": "float32",
        "range": [0, 255],
        "channels": "RGB",
        "resize": RESIZE,
        **({"remove": list(config.remove)} if config.remove else {}),
        **({"views": list(config.views)} if len(config.views) > 1 else {}),
    }


def cost(run: dict[str, Any]) -> dict[str, Any]:
    """The duration and hardware of a run, as a card lists them; `run` is the content of `run.json`."""
    return {
        "minutes": round(run["wall_seconds"] / 60),
        "cores": run["hardware"]["cores"],
        "backend": run["hardware"]["backend"],
    }


def details(test: dict[str, Any]) -> dict[str, Any]:
    """Sensitivity by class and reliability of one evaluated test, as a card lists them."""

    def bins(rows: list[dict[str, float]]) -> list[dict[str, float]]:
        return [{name: round(value, 4) for name, value in row.items()} for row in rows]

    return {
        "recalls": {
            code: {"correct": round(recall["value"] * recall["images"]), "images": recall["images"]}
            for code, recall in test["recalls"].items()
        },
        "reliability": bins(test["reliability"]),
        "uncalibrated": rounded(test["uncalibrated"]) | {"reliability": bins(test["reliability_uncalibrated"])},
    }


def recalls(codes: list[str], predictions: pd.DataFrame) -> dict[str, dict[str, int]]:
    """How many images of each class are classified correctly, from a table with `label` and a `p_<label>` per code."""
    probabilities = predictions[[f"p_{code}" for code in codes]].to_numpy()
    correct = predictions["label"].to_numpy() == pd.Series(codes).to_numpy()[probabilities.argmax(axis=1)]
    counted = pd.Series(correct).groupby(predictions["label"].to_numpy()).agg(["sum", "size"])
    return {
        code: {"correct": int(counted["sum"][code]), "images": int(counted["size"][code])}
        for code in codes
        if code in counted.index
    }


def published(model_id: str, labels_id: str, predictions: Path) -> dict[str, Any]:
    """A card's `published`: the model compared with published ones. Empty if their predictions are not on this
    machine."""
    labels, root = label_set(labels_id), compare_published.published_root()
    if not compare_published.published_files(labels, root):
        return {}
    table = compare_published.compare(model_id, labels, predictions, root)
    table = table[table["score"].isin(compare_published.SHOWN)]
    rows = [
        {
            "model": row["model"],
            "score": row["score"],
            **{name: round(row[name], 4) for name in ("value", "low", "high")},
            "difference": round(row["ours_minus_theirs"], 4),
            "difference_low": round(row["ours_minus_theirs_low"], 4),
            "difference_high": round(row["ours_minus_theirs_high"], 4),
            "p": None if pd.isna(row["mcnemar_p_holm"]) else float(f"{row['mcnemar_p_holm']:.4g}"),
        }
        for row in table.to_dict("records")
    ]
    images = int(table["images"].iloc[0])
    return {"published": {"images": images, "protocol": compare_published.PROTOCOL, "rows": rows}}


def limits(card: dict[str, Any]) -> list[str]:
    """The warnings in every classifier's card, one or two sentences each."""
    with_tone = DATASETS["milk10k"].name in card["training"]["dataset"]
    skin = "only MILK10k's have a recorded skin tone" if with_tone else "skin type was not recorded"
    return [
        *(words.format(skin=skin) for words in LIMITS[card["modality"]]),
        *limits_of_any(len(card["labels"]["codes"])),
        f"Malignant means {MALIGNANT[card['modality']]}.",
    ]


def limits_of_any(classes: int) -> list[str]:
    """The warnings that every classifier needs, wherever it was trained."""
    return [
        f"It always answers with one of its {classes} classes, whatever the image shows.",
        "Probabilities depend on the mix of diagnoses in the training data and will be off where the mix is different.",
    ]


def modality(config: Config) -> str:
    """The modality of a run's images, dermoscopy or smartphone. DataError if its data sets differ."""
    modalities = {source.modality for source in sources(config.dataset)}
    if len(modalities) > 1:
        raise DataError(f"The data sets '{config.dataset}' have different modalities: {', '.join(sorted(modalities))}.")
    return modalities.pop()


def rounded(scores: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Scores, as dicts or bootstrap.Interval, with four decimals."""
    plain = {name: score if isinstance(score, dict) else dataclasses.asdict(score) for name, score in scores.items()}
    return {name: {key: round(value, 4) for key, value in score.items()} for name, score in plain.items()}


def other_test(test: dict[str, Any]) -> dict[str, Any]:
    listed = {name: test[name] for name in ("name", "protocol", "predictions", "images", "groups") if name in test}
    return listed | {"scores": rounded(test["scores"])}
