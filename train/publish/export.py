"""Export a trained network and its evaluation as a complete model folder, checked before it is put in place."""

import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from ai_edge_litert.interpreter import Interpreter

from skinapp.errors import DataError, ModelError
from skinapp.inference.runtime import softmax
from train.config import Config
from train.data.datasets import prepare, sources, with_validation
from train.fit.run_folder import best_file, epochs, open_run
from train.fit.validation import MONITOR, predict
from train.publish import card_content
from train.publish.evaluate import best_network
from train.publish.folder import draft, publish

AGREEMENT = 0.02
"""The largest difference in a probability that is allowed between the trained and the exported network."""
CHECKED_IMAGES = 64


def export(config: Config, runs: Path, models: Path, changes: str = "") -> Path:
    """Write `models/<id>/` from the run's best network and evaluation, replacing an older one; return the folder.

    `changes` is the sentence for the changelog. If LiteRT and Keras disagree, or the new folder is not valid,
    ModelError is raised and the older folder stays.
    """
    run = open_run(config, runs)
    evaluation = checked_evaluation(config, run, epochs(config, run))
    beside = read_evaluation(runs / config.beside)["tests"] if config.beside else []
    data = prepare(config.dataset, config.image_size, runs, **config.pixels)
    divided = with_validation(data.table, **config.division)
    network = best_network(config, best_file(config, run), divided)
    images = data.images[
        np.flatnonzero(divided["split"] == ("train" if config.fold is None else "test"))[:CHECKED_IMAGES]
    ]
    described = card_content.describe(
        config, evaluation, beside, network.count_params(), output_shapes(network), read_run(run)
    )
    with draft(models, config.id) as folder:
        if config.ship_weights:
            content, difference = checked_litert(network, images)
            described["conversion"] = {"difference": round(difference, 7), "images": len(images)}
            (folder / "model.tflite").write_bytes(content)
            if has_class_maps(network):
                save_compressed(network, folder / "model.keras")
        for file in run.glob("predictions*.csv"):
            shutil.copy(file, folder)
        history(config, run).to_csv(folder / "history.csv", index=False)
        if sources(config.dataset)[0].id == config.labels:
            described |= card_content.published(config.id, config.labels, folder / "predictions.csv")
        return publish(folder, described, models, changes)


def checked_evaluation(config: Config, run: Path, trained: dict[str, int]) -> dict[str, Any]:
    """The `evaluation.json` of a run. DataError if there is none, if it does not match the current network and
    settings, or if it cannot be exported; `trained` is the current number of epochs."""
    require_tensorflow()
    if config.colour_constancy:
        raise DataError(
            f"'{config.id}' has colour_constancy, which the app does not do to an image; it is for studies."
        )
    evaluation = read_evaluation(run)
    if evaluation["epochs"] != trained:
        raise DataError(f"The run in {run} was trained further after its evaluation; run evaluate again.")
    settings = (
        ("logit_adjustment", config.logit_adjustment),
        ("input_size", config.image_size),
        ("views", list(config.views)),
    )
    for name, value in settings:
        if evaluation.get(name, value) != value:
            raise DataError(
                f"The run in {run} was evaluated with {name}={evaluation[name]}, not {value}; run evaluate again."
            )
    return evaluation


def require_tensorflow() -> None:
    """DataError if this process cannot export."""
    if keras.backend.backend() != "tensorflow":
        raise DataError(
            "Export needs TensorFlow; run it with KERAS_BACKEND=tensorflow, even if you trained with another."
        )


def checked_litert(network: keras.Model, images: np.ndarray) -> tuple[bytes, float]:
    """The network as a LiteRT file, with its kernels rounded in place, and the largest difference in a probability
    between the two for uint8 images [n, size, size, 3]. ModelError if that exceeds AGREEMENT."""
    trained = predict(network, images)
    round_kernels(network)
    content = to_litert(network)
    difference = float(np.abs(softmax(run_litert(content, images)) - softmax(trained)).max())
    if difference > AGREEMENT:
        raise ModelError(f"LiteRT and Keras differ by {difference:.3f} in a probability; nothing was exported.")
    return content, difference


def read_evaluation(run: Path) -> dict[str, Any]:
    """The `evaluation.json` of a run. DataError if it has not been evaluated."""
    try:
        return json.loads((run / "evaluation.json").read_text())
    except FileNotFoundError:
        raise DataError(f"The run in {run} is not evaluated; run evaluate first.") from None


def read_run(run: Path) -> dict[str, Any]:
    """`run.json`, which `fit` always writes at the end, even after an error."""
    return json.loads((run / "run.json").read_text())


def round_kernels(network: keras.Model) -> None:
    """Round the kernels, in place, to half precision, as LiteRT stores them; this also halves the files."""
    for variable in network.variables:
        if len(variable.shape) > 1:
            variable.assign(keras.ops.cast(keras.ops.cast(variable, "float16"), variable.dtype))


def save_compressed(network: keras.Model, file: Path) -> None:
    """Save a compressed `.keras` file; the zeros that `round_kernels` leaves in float32 then need no space."""
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.keras"
        network.save(plain)
        with zipfile.ZipFile(plain) as source, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target:
            for name in source.namelist():
                target.writestr(name, source.read(name))


def has_class_maps(network: keras.Model) -> bool:
    """Whether the network ends in global average pooling and one dense layer, so that class maps are exact."""
    return isinstance(_embedding(network), keras.layers.GlobalAveragePooling2D)


def _embedding(network: keras.Model) -> keras.layers.Layer | None:
    """The second to last layer; an adopted network may have none."""
    return next((layer for layer in network.layers if layer.name == "embedding"), None)


def with_outputs(network: keras.Model) -> keras.Model:
    """The network with the outputs `logits` [n, K] and, if it has them, `embedding` [n, D] and `class_maps`.

    `class_maps` [n, h, w, K] are the last features times the dense weights, so that logits = mean(class_maps) + bias.
    """
    embedding = _embedding(network)
    outputs = {"logits": network.output}
    if embedding is not None:
        outputs["embedding"] = embedding.output
    if embedding is not None and has_class_maps(network):
        kernel, _ = network.get_layer("logits").get_weights()
        project = keras.layers.Conv2D(kernel.shape[1], 1, use_bias=False, name="class_maps")
        outputs["class_maps"] = project(embedding.input)
        project.set_weights([kernel[np.newaxis, np.newaxis]])
    return keras.Model(network.input, outputs)


def output_shapes(network: keras.Model) -> dict[str, list[int]]:
    """The shape of every exported output, without the batch."""
    return {name: list(tensor.shape[1:]) for name, tensor in with_outputs(network).output.items()}


def to_litert(network: keras.Model) -> bytes:
    """The network with all its outputs as a LiteRT file."""
    outputs = with_outputs(network)
    return converted(outputs, lambda image: outputs(image, training=False))


def converted(network: keras.Model, outputs: Callable[[Any], dict[str, Any]]) -> bytes:
    """A network as a LiteRT file: half-precision weights, float32 [1, size, size, 3] as `image` in, and the result of
    `outputs` as the outputs, by name."""
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    archive.track(network)
    image = tf.TensorSpec((1, *network.input_shape[1:]), tf.float32, name="image")
    archive.add_endpoint("serve", outputs, input_signature=[image])
    with tempfile.TemporaryDirectory() as folder:
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serve"])
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
        return converter.convert()


def run_litert(content: bytes, images: np.ndarray) -> np.ndarray:
    """Logits [n, K] of a LiteRT file for uint8 images [n, size, size, 3]."""
    interpreter = Interpreter(model_content=content)
    run = interpreter.get_signature_runner()
    return np.concatenate([run(image=image[np.newaxis].astype(np.float32))["logits"] for image in images])


def history(config: Config, run: Path) -> pd.DataFrame:
    """One row per epoch, numbered across stages; `chosen` marks the epoch whose weights were exported."""
    stages = []
    for number, stage in enumerate(config.stages, 1):
        file = run / f"stage-{number}" / "history.csv"
        # a stopped run lacks its later stages
        if file.exists():
            rows = pd.read_csv(file)
            rows.insert(0, "image_size", stage.image_size)
            rows.insert(0, "stage", number)
            stages.append(rows)
    table = pd.concat(stages, ignore_index=True)
    table["epoch"] = range(1, len(table) + 1)
    # without validation the last epoch is used
    best = int(stages[-1][MONITOR].argmin()) if MONITOR in table else len(stages[-1]) - 1
    table["chosen"] = np.arange(len(table)) == best + len(table) - len(stages[-1])
    return table.round(6)
