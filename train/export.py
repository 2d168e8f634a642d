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

from skinapp import registry
from skinapp.errors import DataError, ModelError
from skinapp.labels import label_set
from skinapp.runtime import softmax
from train.config import Config
from train.datasets import DATASETS, prepare, with_validation
from train.evaluate import best_network
from train.fit import MONITOR, open_run, predict

AGREEMENT = 0.02
"""The largest difference in a probability that is allowed between the trained network and what is exported."""
CHECKED_IMAGES = 64


def export(config: Config, runs: Path, models: Path) -> Path:
    """Write `models/<id>/` from the run's best network and evaluation, replacing an older one; give the folder.

    Raises ModelError, and leaves the older folder alone, where LiteRT and Keras disagree or the folder is not valid.
    """
    run = open_run(config, runs)
    if not (run / "evaluation.json").exists():
        raise DataError(f"The run in {run} is not evaluated; run evaluate first.")
    evaluation = json.loads((run / "evaluation.json").read_text())
    data = prepare(config.dataset, config.image_size, runs)
    network = best_network(config, run, with_validation(data.table, config.folds, config.fold, config.seed))
    test = np.flatnonzero(data.table["split"] == "test")[:CHECKED_IMAGES]
    images = data.images[test]
    trained = predict(network, images)

    models.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=models) as partial:
        folder = Path(partial) / config.id
        folder.mkdir()
        round_kernels(network)
        save_compressed(network, folder / "model.keras")
        (folder / "model.tflite").write_bytes(to_litert(network))
        exported = run_litert((folder / "model.tflite").read_bytes(), images)
        difference = float(np.abs(softmax(exported) - softmax(trained)).max())
        if difference > AGREEMENT:
            raise ModelError(f"LiteRT and Keras differ by {difference:.3f} in a probability; nothing was exported.")

        shutil.copy(run / "predictions.csv", folder)
        history(config, run).to_csv(folder / "history.csv", index=False)
        card = model_card(config, evaluation, network)
        (folder / "README.md").write_text(readme(card, evaluation, difference))
        card["files"] = {
            file.name: {"sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "size": file.stat().st_size}
            for file in sorted(folder.iterdir())
        }
        (folder / "model.json").write_text(json.dumps(card, indent=2) + "\n")
        registry.verify(registry.read_model(folder))
        shutil.rmtree(models / config.id, ignore_errors=True)
        folder.rename(models / config.id)
    return models / config.id


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


def with_class_maps(network: keras.Model) -> keras.Model:
    """The network with three outputs: `logits` [n, K], `class_maps` [n, h, w, K] and `embedding` [n, D].

    `class_maps` are the last features times the dense weights, so that logits = mean(class_maps) + bias.
    """
    embedding = network.get_layer("embedding")
    kernel, _ = network.get_layer("logits").get_weights()
    project = keras.layers.Conv2D(kernel.shape[1], 1, use_bias=False, name="class_maps")
    class_maps = project(embedding.input)
    project.set_weights([kernel[np.newaxis, np.newaxis]])
    return keras.Model(
        network.input, {"logits": network.output, "class_maps": class_maps, "embedding": embedding.output}
    )


def to_litert(network: keras.Model) -> bytes:
    """The network with its class maps as a LiteRT file: half-precision weights, float32 [1, size, size, 3] in."""
    import tensorflow as tf

    outputs = with_class_maps(network)
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
        epochs = pd.read_csv(run / f"stage-{number}" / "history.csv")
        epochs.insert(0, "image_size", stage.image_size)
        epochs.insert(0, "stage", number)
        stages.append(epochs)
    table = pd.concat(stages, ignore_index=True)
    table["epoch"] = range(1, len(table) + 1)
    table["chosen"] = np.arange(len(table)) == int(stages[-1][MONITOR].argmin()) + len(table) - len(stages[-1])
    return table.round(6)


def model_card(config: Config, evaluation: dict[str, Any], network: keras.Model) -> dict[str, Any]:
    """What `model.json` holds, but for the hashes of the files."""
    labels, source = label_set(config.labels), DATASETS[config.dataset]
    features = network.get_layer("embedding").input.shape
    codes = list(labels.codes)
    return {
        "id": config.id,
        "title": config.title,
        "task": "diagnosis",
        "modality": "dermoscopy",
        "labels": {"set": labels.id, "codes": codes},
        "architecture": {"name": config.architecture, "parameters": network.count_params()},
        "initial_weights": config.initial_weights,
        "input": {
            "size": config.image_size,
            "dtype": "float32",
            "range": [0, 255],
            "channels": "RGB",
            "resize": "the centre square, or the square that was chosen; bicubic with antialiasing",
        },
        "outputs": {
            "logits": [len(codes)],
            "class_maps": [*features[1:3], len(codes)],
            "embedding": [features[3]],
        },
        "temperature": round(evaluation["temperature"], 4),
        "training": {
            "dataset": source.name,
            "attribution": source.attribution,
            "data_licence": source.licence,
            "protocol": source.protocol,
            "images": evaluation["images"],
            "groups": evaluation["groups"],
        },
        "test": {
            "images": evaluation["images"]["test"],
            "groups": evaluation["groups"]["test"],
            "resamples": evaluation["resamples"],
        },
        "scores": {
            name: {key: round(value, 4) for key, value in score.items()} for name, score in evaluation["scores"].items()
        },
        "licence": "CC BY-NC 4.0",
        "intended_use": (
            "Research and teaching on skin-lesion classifiers. Not a diagnostic device; not for decisions about a "
            "person's care."
        ),
        "versions": {name: importlib.metadata.version(name) for name in ("keras", "tensorflow", "ai-edge-litert")},
        "files": {},
    }


def readme(card: dict[str, Any], evaluation: dict[str, Any], difference: float) -> str:
    """The model card for people, every figure of it from `evaluation`."""
    labels = label_set(card["labels"]["set"])

    def row(name: str, scores: dict[str, Any]) -> str:
        score = scores[name]
        return f"| {name.replace('_', ' ')} | {score['value']:.3f} | {score['low']:.3f} to {score['high']:.3f} |"

    images, groups = card["training"]["images"], card["training"]["groups"]
    test = "\n".join(row(name, evaluation["scores"]) for name in evaluation["scores"])
    validation = "\n".join(row(name, evaluation["validation"]) for name in evaluation["validation"])
    before = row("expected_calibration_error", evaluation["uncalibrated"])
    splits = "\n".join(f"| {split} | {images[split]:,} | {groups[split]:,} |" for split in images)
    adjustments = "\n".join(
        f"| {row['logit_adjustment']} | {row['balanced_accuracy']:.3f} | {row['accuracy']:.3f} |"
        for row in evaluation["validation_by_adjustment"]
    )
    recalls = "\n".join(
        f"| {labels[code].name} (`{code}`) | {round(recall['value'] * recall['images'])} of {recall['images']} |"
        for code, recall in evaluation["recalls"].items()
    )
    return f"""# {card["title"]}

{card["intended_use"]}

- **Network**: {card["architecture"]["name"]}, {card["architecture"]["parameters"]:,} parameters, global average pooling
  and one dense layer.
- **Initial weights**: {card["initial_weights"]}.
- **Input**: RGB, {card["input"]["size"]} x {card["input"]["size"]} px, values 0-255; {card["input"]["resize"]}.
- **Output**: logits of {len(labels.codes)} classes, their class maps and the embedding. Probabilities are the softmax
  of logits / {card["temperature"]}.
- **Licence**: {card["licence"]}, as the training data asks.

## Data

{card["training"]["dataset"]}, {card["training"]["data_licence"]}. {card["training"]["attribution"]}

{card["training"]["protocol"]}

| part | images | lesions |
|---|---|---|
{splits}

## Scores on the test images

{card["test"]["images"]:,} images of {card["test"]["groups"]:,} lesions, one network, no test-time augmentation.
Intervals are 95%, from {card["test"]["resamples"]:,} bootstrap resamples of lesions.

| score | value | 95% interval |
|---|---|---|
{test}

Before the temperature:

| score | value | 95% interval |
|---|---|---|
{before}

Found, by class (of the images whose label it is):

| class | found |
|---|---|
{recalls}

## Scores on the validation images

These made the choices, so they flatter.

| score | value | 95% interval |
|---|---|---|
{validation}

Logit adjustment, the multiple of each class's log share of the training draws that is taken off its logit: here
{evaluation["logit_adjustment"]}, by these figures.

| logit adjustment | balanced accuracy | accuracy |
|---|---|---|
{adjustments}

## Limits

- Dermoscopy from two clinics, in Austria and Australia; mostly light skin, which the data do not record.
- It knows seven kinds of lesion and answers with one of them whatever it is shown.
- Probabilities are calibrated on data with this data set's mix of diagnoses; in another clinic they will be off.
- Malignant means melanoma, basal cell carcinoma, or actinic keratosis and Bowen's disease (`akiec`).

The exported LiteRT file differs from the trained network by at most {math.ceil(difference * 1e5) / 1e5:.5f} in any
probability over {CHECKED_IMAGES} test images.
"""
