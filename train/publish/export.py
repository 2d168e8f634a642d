"""Export: a trained network and its evaluation become a complete model folder, checked before it is put in place."""

import hashlib
import importlib.metadata
import json
import math
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from ai_edge_litert.interpreter import Interpreter

from skinapp.errors import DataError, ModelError
from skinapp.inference import registry
from skinapp.inference.runtime import softmax
from skinapp.labels.sets import MALIGNANCY, label_set
from train.config import Config
from train.data.datasets import prepare, sources, with_validation
from train.fit.training import MONITOR, best_file, epochs, open_run, predict
from train.publish import compare_published
from train.publish.evaluate import best_network

AGREEMENT = 0.02
"""The largest difference in a probability that is allowed between the trained network and what is exported."""
CHECKED_IMAGES = 64


def export(config: Config, runs: Path, models: Path) -> Path:
    """Write `models/<id>/` from the run's best network and evaluation, replacing an older one; give the folder.

    Raises ModelError, and leaves the older folder alone, where LiteRT and Keras disagree or the folder is not valid.
    """
    if keras.backend.backend() != "tensorflow":
        raise DataError("Export needs TensorFlow; run it with KERAS_BACKEND=tensorflow, whatever trained the network.")
    run = open_run(config, runs)
    evaluation = read_evaluation(run)
    if evaluation["epochs"] != epochs(config, run):
        raise DataError(f"Training has gone on since the run in {run} was evaluated; run evaluate again.")
    for name, value in (("logit_adjustment", config.logit_adjustment), ("input_size", config.image_size)):
        if evaluation.get(name, value) != value:
            raise DataError(
                f"The run in {run} was evaluated with {name}={evaluation[name]}, not {value}; run evaluate again."
            )
    beside = read_evaluation(runs / config.beside)["tests"] if config.beside else []
    data = prepare(config.dataset, config.image_size, runs, config.hair_removal)
    divided = with_validation(data.table, config.folds, config.fold, config.seed)
    network = best_network(config, best_file(config, run), divided)
    images = data.images[
        np.flatnonzero(divided["split"] == ("train" if config.fold is None else "test"))[:CHECKED_IMAGES]
    ]
    trained = predict(network, images)

    models.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=models) as partial:
        folder = Path(partial) / config.id
        folder.mkdir()
        difference = None
        if config.ship_weights:
            round_kernels(network)
            content = to_litert(network)
            difference = float(np.abs(softmax(run_litert(content, images)) - softmax(trained)).max())
            if difference > AGREEMENT:
                raise ModelError(f"LiteRT and Keras differ by {difference:.3f} in a probability; nothing was exported.")
            (folder / "model.tflite").write_bytes(content)
            if has_class_maps(network):
                save_compressed(network, folder / "model.keras")

        shutil.copy(run / "predictions.csv", folder)
        history(config, run).to_csv(folder / "history.csv", index=False)
        card = model_card(config, evaluation, beside, network)
        published = ""
        if config.dataset == config.labels:
            published = compare_published.section(config.id, label_set(config.labels), folder / "predictions.csv")
        text = readme(config, card, evaluation, beside, difference, read_run(run), published)
        (folder / "README.md").write_text(text)
        card["files"] = {
            file.name: {"sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "size": file.stat().st_size}
            for file in sorted(folder.iterdir())
        }
        (folder / "model.json").write_text(json.dumps(card, indent=2) + "\n")
        registry.verify(registry.read_model(folder))
        shutil.rmtree(models / config.id, ignore_errors=True)
        folder.rename(models / config.id)
    return models / config.id


def read_evaluation(run: Path) -> dict[str, Any]:
    """What `evaluate` found for a run. DataError where it has not been evaluated."""
    try:
        return json.loads((run / "evaluation.json").read_text())
    except FileNotFoundError:
        raise DataError(f"The run in {run} is not evaluated; run evaluate first.") from None


def read_run(run: Path) -> dict[str, Any]:
    """`run.json`, which `fit` leaves however it ends."""
    return json.loads((run / "run.json").read_text())


def round_kernels(network: keras.Model) -> None:
    """Round the kernels, in place, to what half precision can hold: what LiteRT stores, and half the bytes to keep."""
    for variable in network.variables:
        if len(variable.shape) > 1:
            variable.assign(keras.ops.cast(keras.ops.cast(variable, "float16"), variable.dtype))


def save_compressed(network: keras.Model, file: Path) -> None:
    """A whole-model `.keras` file, deflated: the zeros that `round_kernels` leaves in float32 take no room."""
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.keras"
        network.save(plain)
        with zipfile.ZipFile(plain) as source, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target:
            for name in source.namelist():
                target.writestr(name, source.read(name))


def has_class_maps(network: keras.Model) -> bool:
    """Whether global average pooling and one dense layer end the network, so that class maps are exact."""
    return isinstance(network.get_layer("embedding"), keras.layers.GlobalAveragePooling2D)


def with_outputs(network: keras.Model) -> keras.Model:
    """The network with the outputs `logits` [n, K], `embedding` [n, D] and, where there are any, `class_maps`.

    `class_maps` [n, h, w, K] are the last features times the dense weights, so that logits = mean(class_maps) + bias.
    """
    embedding = network.get_layer("embedding")
    outputs = {"logits": network.output, "embedding": embedding.output}
    if has_class_maps(network):
        kernel, _ = network.get_layer("logits").get_weights()
        project = keras.layers.Conv2D(kernel.shape[1], 1, use_bias=False, name="class_maps")
        outputs["class_maps"] = project(embedding.input)
        project.set_weights([kernel[np.newaxis, np.newaxis]])
    return keras.Model(network.input, outputs)


def to_litert(network: keras.Model) -> bytes:
    """The network with all its outputs as a LiteRT file: half-precision weights, float32 [1, size, size, 3] in."""
    import tensorflow as tf

    outputs = with_outputs(network)
    archive = keras.export.ExportArchive()
    archive.track(outputs)
    archive.add_endpoint(
        "serve",
        lambda image: outputs(image, training=False),
        input_signature=[tf.TensorSpec((1, *network.input_shape[1:]), tf.float32, name="image")],
    )
    with tempfile.TemporaryDirectory() as folder:
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serve"])
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
        return converter.convert()


def run_litert(content: bytes, images: np.ndarray) -> np.ndarray:
    """Logits [n, K] that a LiteRT file gives for uint8 images [n, size, size, 3]."""
    interpreter = Interpreter(model_content=content)
    run = interpreter.get_signature_runner()
    return np.concatenate([run(image=image[np.newaxis].astype(np.float32))["logits"] for image in images])


def history(config: Config, run: Path) -> pd.DataFrame:
    """The epochs of all stages, one row each, numbered on; `chosen` marks the one whose weights were exported."""
    stages = []
    for number, stage in enumerate(config.stages, 1):
        file = run / f"stage-{number}" / "history.csv"
        # a run that was stopped lacks its later stages
        if file.exists():
            rows = pd.read_csv(file)
            rows.insert(0, "image_size", stage.image_size)
            rows.insert(0, "stage", number)
            stages.append(rows)
    table = pd.concat(stages, ignore_index=True)
    table["epoch"] = range(1, len(table) + 1)
    # without validation the last epoch is kept
    best = int(stages[-1][MONITOR].argmin()) if MONITOR in table else len(stages[-1]) - 1
    table["chosen"] = np.arange(len(table)) == best + len(table) - len(stages[-1])
    return table.round(6)


MEMBERS = {"dermoscopy": "lesions", "smartphone": "patients"}
"""What images are grouped by."""

LIMITS = {
    "dermoscopy": "- Dermoscopy from a few clinics; mostly light skin, which the data do not record.",
    "smartphone": (
        "- Phone photographs of one Brazilian programme, its patients mostly farmers of European descent; light skin "
        "types prevail where they are recorded.\n"
        "- In these data every cancer was confirmed by biopsy and most benign lesions were not; some pictures are "
        "softer than others, and benign lesions are more frequent among those."
    ),
}

MALIGNANT = {
    "dermoscopy": "melanoma, basal cell carcinoma, or actinic keratosis and Bowen's disease (`akiec`)",
    "smartphone": "basal cell carcinoma, melanoma or squamous cell carcinoma; actinic keratosis does not count",
}


def limits(card: dict[str, Any]) -> str:
    """What a card warns of, a line each."""
    return f"""{LIMITS[card["modality"]]}
- It answers with one of its {len(card["labels"]["codes"])} classes whatever it is shown.
- Probabilities are calibrated on data with this data set's mix of diagnoses; in another clinic they will be off.
- Malignant means {MALIGNANT[card["modality"]]}."""


def model_card(
    config: Config, evaluation: dict[str, Any], beside: list[dict[str, Any]], network: keras.Model
) -> dict[str, Any]:
    """What `model.json` holds, but for the hashes of the files."""
    labels, parts = label_set(config.labels), sources(config.dataset)
    first, *others = evaluation["tests"]
    codes = list(labels.codes)
    outputs = {name: list(tensor.shape[1:]) for name, tensor in with_outputs(network).output.items()}
    return {
        "id": config.id,
        "title": config.title,
        "task": "malignancy" if labels is MALIGNANCY else "diagnosis",
        "modality": modality(config),
        "labels": {"set": labels.id, "codes": codes},
        "architecture": {"name": config.architecture, "parameters": network.count_params()},
        "initial_weights": config.initial_weights,
        "input": {
            "size": config.image_size,
            "dtype": "float32",
            "range": [0, 255],
            "channels": "RGB",
            "resize": "the centre square, or the square that was chosen; bicubic with antialiasing",
            **({"hair_removal": True} if config.hair_removal else {}),
        },
        "outputs": outputs,
        "temperature": round(evaluation["temperature"], 4),
        "training": {
            "dataset": " and ".join(source.name for source in parts),
            "attribution": " ".join(source.attribution for source in parts),
            "data_licence": "; ".join(source.licence for source in parts),
            "protocol": " ".join(
                [*(source.protocol for source in parts), CROSS if config.fold is None else VALIDATION]
            ),
            "images": evaluation["images"],
            "groups": evaluation["groups"],
        },
        "test": {"images": first["images"], "groups": first["groups"], "resamples": evaluation["resamples"]},
        "scores": rounded(first["scores"]),
        "other_tests": [
            {name: test[name] for name in ("name", "protocol", "images", "groups")}
            | {"scores": rounded(test["scores"])}
            for test in others + beside
        ],
        "licence": "CC BY-NC 4.0",
        "intended_use": (
            "Research and teaching on skin-lesion classifiers. Not a diagnostic device; not for decisions about a "
            "person's care."
        ),
        "versions": {name: importlib.metadata.version(name) for name in ("keras", "tensorflow", "ai-edge-litert")},
        "files": {},
    }


VALIDATION = (
    "Validation: whole lesions of the training part, stratified by diagnosis; they alone chose the epoch, input size, "
    "logit adjustment and temperature."
)


CROSS = (
    "Every network was kept as its last epoch left it, so no epoch was chosen by what it is scored on; the temperature "
    "of each part's probabilities fits the other parts. The network that is shipped was then trained on all the images "
    "by the same schedule: nothing is left to test it on, and the scores are those of the networks of the parts."
)


def modality(config: Config) -> str:
    """What the images of a run were taken with. DataError where its data sets differ in that."""
    found = {source.modality for source in sources(config.dataset)}
    if len(found) > 1:
        raise DataError(f"The data sets '{config.dataset}' are of several modalities: {', '.join(sorted(found))}.")
    return found.pop()


def rounded(scores: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    return {name: {key: round(value, 4) for key, value in score.items()} for name, score in scores.items()}


def readme(
    config: Config,
    card: dict[str, Any],
    evaluation: dict[str, Any],
    beside: list[dict[str, Any]],
    difference: float | None,
    run: dict[str, Any],
    published: str,
) -> str:
    """The model card for people, every figure of it from `evaluation` and `run`; `published` is a section of it."""
    images, groups = card["training"]["images"], card["training"]["groups"]
    splits = table(
        ["part", "images", MEMBERS[card["modality"]]],
        [[split, f"{images[split]:,}", f"{groups[split]:,}"] for split in images],
    )
    stages = table(
        ["stage", "image size", "epochs", "images an epoch", "learning rate", "MixUp", "CutMix", "frozen blocks"],
        [
            [
                str(number),
                f"{stage.image_size} px",
                str(stage.epochs),
                f"{config.samples_per_epoch:,}",
                f"{stage.learning_rate:g} to {stage.final_rate:g}",
                f"{stage.mixup:g}" if stage.mixup else "-",
                f"{stage.cutmix:g}" if stage.cutmix else "-",
                str(stage.frozen_blocks or "-"),
            ]
            for number, stage in enumerate(config.stages, 1)
        ],
    )
    adjustments = table(
        ["logit adjustment", "balanced accuracy", "accuracy"],
        [
            [str(row["logit_adjustment"]), f"{row['balanced_accuracy']:.3f}", f"{row['accuracy']:.3f}"]
            for row in evaluation["validation_by_adjustment"]
        ],
    )
    crossed = config.fold is None
    tests = "\n\n".join(tested(test, card, crossed) for test in evaluation["tests"])
    if beside:
        tests += (
            "\n\n## The same network under another protocol\n\nFor comparison only; the model here was not trained so."
            "\n\n" + "\n\n".join(f"{test['protocol']}\n\n{score_table(rounded(test['scores']))}" for test in beside)
        )
    if difference is None:
        shipped = (
            "The weights are not shipped: this is a baseline, too large for what it is worth. The commands below make "
            "them."
        )
    else:
        shipped = (
            f"The exported LiteRT file differs from the trained network by at most "
            f"{math.ceil(difference * 1e5) / 1e5:.5f} in any probability over {CHECKED_IMAGES} test images."
        )
    note = f"\n\n{config.note.strip()}" if config.note else ""
    made = (
        f"{config.sampling.capitalize()} sampling, loss {config.loss} with label smoothing {config.label_smoothing:g}, "
        f"{config.optimizer} with weight decay {config.weight_decay:g}, augmentation {config.augmentation}, dropout "
        f"{config.dropout:g}, {f'moving average of the weights of momentum {config.ema:g}, ' if config.ema else ''}"
        f"seed {config.seed}. {run['wall_seconds'] / 60:,.0f} minutes of training on {run['hardware']['cores']} cores, "
        f"{run['hardware']['backend']}."
    )
    validated = (
        ""
        if crossed
        else f"""
## Scores on the validation images

These made the choices, so they flatter.

{score_table(rounded(evaluation["validation"]))}
"""
    )
    maps = (
        "global average pooling and one dense layer, so its class maps are exact"
        if "class_maps" in card["outputs"]
        else "ending in dense layers, so it has no class maps"
    )
    return f"""# {card["title"]}

{card["intended_use"]}

- **Network**: {card["architecture"]["name"]}, {card["architecture"]["parameters"]:,} parameters, {maps}.
- **Initial weights**: {card["initial_weights"]}.
- **Input**: RGB, {card["input"]["size"]} x {card["input"]["size"]} px, values 0-255; {card["input"]["resize"]}.
- **Output**: {", ".join(f"`{name}` {shape}" for name, shape in card["outputs"].items())}. Probabilities are the softmax
  of logits / {card["temperature"]}.
- **Licence**: {card["licence"]}, as the training data asks.

## Data

{card["training"]["dataset"]}; {card["training"]["data_licence"]}. {card["training"]["attribution"]}

{card["training"]["protocol"]}

{splits}

## Training

{stages}

{made}

To make it again, `prepare`, `fit`, `evaluate` and `export` with `--config train/configs/{config.id}.yaml`; see
docs/training.md.{note}

{tests}
{published}{validated}
Logit adjustment, the multiple of each class's log share of the training draws that is taken off its logit: here
{evaluation["logit_adjustment"]}, by these figures.

{adjustments}

## Limits

{limits(card)}

{shipped}
"""


def tested(test: dict[str, Any], card: dict[str, Any], crossed: bool) -> str:
    """The card's section on the test images of one data set, or on all of them by cross-validation."""
    members = MEMBERS[card["modality"]]
    title = "Scores by cross-validation" if crossed else "Scores on the test images"
    labels = label_set(card["labels"]["set"])
    recalls = table(
        ["class", "found"],
        [
            [f"{labels[code].name} (`{code}`)", f"{round(recall['value'] * recall['images'])} of {recall['images']}"]
            for code, recall in test["recalls"].items()
        ],
    )
    before = test["uncalibrated"]["expected_calibration_error"]
    bins = {row["low"]: row for row in test["reliability_uncalibrated"]}
    empty = {"images": 0, "confidence": math.nan, "accuracy": math.nan}
    reliability = table(
        ["confidence", "images before", "mean confidence", "right", "images after", "mean confidence", "right"],
        [
            [
                f"{row['low']:.1f} to {row['high']:.1f}",
                *(
                    cell
                    for side in (bins.get(row["low"], empty), row)
                    for cell in (f"{side['images']:,}", f"{side['confidence']:.2f}", f"{side['accuracy']:.2f}")
                ),
            ]
            for row in test["reliability"]
        ],
    ).replace("nan", "-")
    return f"""## {title}: {test["name"]}

{test["images"]:,} images of {test["groups"]:,} {members}, one network, no test-time augmentation. Intervals are 95%,
from {card["test"]["resamples"]:,} bootstrap resamples of {members}.

{score_table(rounded(test["scores"]))}

Found, by class (of the images whose label it is):

{recalls}

Reliability of the most probable class, before the temperature (expected calibration error {before["value"]:.3f},
{before["low"]:.3f} to {before["high"]:.3f}) and after it:

{reliability}"""


def score_table(scores: dict[str, dict[str, float]]) -> str:
    return table(
        ["score", "value", "95% interval"],
        [
            [name.replace("_", " "), f"{score['value']:.3f}", f"{score['low']:.3f} to {score['high']:.3f}"]
            for name, score in scores.items()
        ],
    )


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows])
