"""A network from elsewhere becomes a model folder: conversion of its file, and use in the app."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

from skinapp.attention import catalogue
from skinapp.errors import ModelError
from skinapp.images import imaging
from skinapp.inference import architecture, model_card, registry, runtime
from tests import adopted_model
from train.publish import adopt, adopt_keras, adopt_litert
from train.publish.adopted import PREPROCESSING, Converted, Head, Source, difference, recognised_outputs

PIXELS = np.random.default_rng(0).integers(0, 256, (4, adopted_model.SIDE, adopted_model.SIDE, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return adopted_model.pictures(tmp_path_factory.mktemp("pictures"), per_lesion=1)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """The file of a network by its head and format, written once."""
    folder = tmp_path_factory.mktemp("networks")

    def file(head: str, form: str) -> Path:
        path = folder / {"Keras": f"{head}.keras", "SavedModel": f"{head}-saved", "LiteRT": f"{head}.tflite"}[form]
        if path.exists():
            return path
        network = adopted_model.network(head)
        if form == "Keras":
            network.save(path)
        elif form == "SavedModel":
            network.export(path, verbose=False)
        else:
            import tensorflow as tf

            path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(network).convert())
        return path

    return file


def converted(source: Source, order: tuple[int, ...], preprocessing: str = "0-1") -> tuple[Head, Converted, np.ndarray]:
    before = PREPROCESSING[preprocessing]
    original = source.run(before.apply(PIXELS))
    head = Head(source.outputs or recognised_outputs(original), order, source.count == 1, before)
    return head, source.convert(head), original


def run(content: bytes) -> dict[str, np.ndarray]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content)
    runner = interpreter.get_signature_runner()
    rows = [{k: v.copy() for k, v in runner(image=one[np.newaxis].astype(np.float32)).items()} for one in PIXELS]
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


@pytest.mark.parametrize("form", ["Keras", "SavedModel", "LiteRT"])
@pytest.mark.parametrize(
    ("head", "outputs", "has"),
    [
        ("maps", "softmax", {"logits", "embedding", "class_maps"}),
        ("dense", "logits", {"logits", "embedding"}),
        ("single", "sigmoid", {"logits", "embedding", "class_maps"}),
        ("convolution", "softmax", {"logits"}),
    ],
)
def test_every_head_of_every_format(
    head: str, outputs: str, has: set[str], form: str, files: Callable[[str, str], Path]
) -> None:
    source = adopt.read(files(head, form), None)
    assert (source.format, source.outputs, source.size) == (form, outputs, adopted_model.SIDE)
    order = (1, 0) if head == "single" else (2, 0, 1)
    made, result, original = converted(source, order)
    values = run(result.content)
    assert values.keys() == result.shapes.keys() == has
    assert {name: list(value.shape[1:]) for name, value in values.items()} == result.shapes
    # the original network
    theirs = np.asarray(adopted_model.network(head)(adopted_model.scaled(PIXELS), training=False))
    assert original == pytest.approx(theirs, abs=1e-3)
    assert difference(theirs, values["logits"], made) < 0.01
    if "class_maps" in has:
        constants = values["logits"] - values["class_maps"].mean(axis=(1, 2))
        assert constants == pytest.approx(np.repeat(constants[:1], len(PIXELS), axis=0), abs=1e-4)
        assert values["class_maps"].std() > 1e-3


@pytest.mark.parametrize("form", ["Keras", "LiteRT"])
def test_preprocessing_is_folded_into_the_network(form: str, files: Callable[[str, str], Path]) -> None:
    source = adopt.read(files("maps", form), None)
    made, result, _ = converted(source, (0, 1, 2), "imagenet-bgr")
    bgr = PIXELS[..., ::-1].astype(np.float32) - np.array([103.939, 116.779, 123.68], np.float32)
    theirs = np.asarray(adopted_model.network("maps")(bgr, training=False))
    assert difference(theirs, run(result.content)["logits"], made) < 0.01


def test_a_last_layer_that_says_nothing_is_recognised_by_its_values(files: Callable[[str, str], Path]) -> None:
    source = adopt.read(files("odd", "Keras"), None)
    assert source.outputs is None
    made, result, original = converted(source, (0, 1, 2))
    assert made.outputs == "softmax"
    assert difference(original, run(result.content)["logits"], made) < 0.01


@pytest.fixture(scope="module")
def maps(table: Path, files: Callable[[str, str], Path]) -> registry.Model:
    models = table.parent / "models"
    assert adopted_model.adopt(files("maps", "Keras"), table, models, "maps", "--trained-on", "a clinic's photos") == 0
    return registry.model("maps", models)


def test_the_folder_is_complete(maps: registry.Model, table: Path, files: Callable[[str, str], Path]) -> None:
    registry.verify(maps)
    assert registry.problems(maps.folder.parent) == {}
    assert set(maps.card["files"]) == {"README.md", "model.tflite", "model.keras", "predictions.csv"}
    assert (maps.labels.codes, maps.labels["scar"].name) == (adopted_model.CODES, "An old scar")
    assert (maps.folder / "README.md").read_text() == model_card.markdown(maps.card)
    assert "a clinic's photos" in (maps.folder / "README.md").read_text()
    rows = pd.read_csv(maps.folder / "predictions.csv")
    assert len(rows) == maps.card["test"]["images"] == 45
    assert rows.columns.tolist() == [
        *("image", "group", "label", "p_wart", "p_nv", "p_scar", "dataset", "age", "fitzpatrick"),
    ]
    # the temperature was fitted on other lesions
    labelled = pd.read_csv(table)
    assert maps.card["training"]["images"] == {"validation": 15, "test": 45}
    assert set(rows["image"]) < {name.removesuffix(".png") for name in labelled["image"]}
    predicted = rows[["p_wart", "p_nv", "p_scar"]].to_numpy().argmax(axis=1)
    right = (np.array(adopted_model.CODES)[predicted] == rows["label"]).mean()
    assert maps.card["scores"]["accuracy"]["value"] == pytest.approx(right, abs=1e-4)
    # the app reproduces the scored probabilities
    first = runtime.Classifier(maps).predict(imaging.load(table.parent / "images" / f"{rows['image'][0]}.png", 32))
    assert rows.loc[0, ["p_wart", "p_nv", "p_scar"]].to_numpy(float) == pytest.approx(first.probabilities, abs=1e-5)


def test_gradient_methods_run_at_its_blocks(maps: registry.Model) -> None:
    blocks = architecture.blocks(maps)
    assert [(block.name, block.side, block.channels) for block in blocks] == [("block1", 16, 8), ("top", 8, 16)]
    free = catalogue.raw("last-convolution", maps, PIXELS[0], "nv")
    assert catalogue.raw("grad-cam", maps, PIXELS[0], "nv") * 64 == pytest.approx(
        free, abs=2e-3 * float(np.abs(free).max())
    )
    assert catalogue.raw("grad-cam", maps, PIXELS[0], "nv", "block1").shape == (16, 16)


def test_a_lesion_is_in_one_part(tmp_path: Path, files: Callable[[str, str], Path]) -> None:
    table = adopted_model.pictures(tmp_path, count=120, per_lesion=2)
    labels, _ = adopt.label_set("wart,nv,scar", "wart", None)
    rows = pd.read_csv(table, dtype=str).rename(columns={"lesion_id": "group"})
    parted = adopt.with_parts(rows, labels)
    assert not set(parted["group"][parted["fits"]]) & set(parted["group"][~parted["fits"]])
    assert parted["fits"].mean() == pytest.approx(0.25, abs=0.05)


@pytest.mark.slow
def test_adopting_again_makes_another_version(
    maps: registry.Model, table: Path, files: Callable[[str, str], Path], tmp_path: Path
) -> None:
    for head, version in (("maps", "1.0.0"), ("dense", "1.1.0")):
        assert adopted_model.adopt(files(head, "Keras"), table, tmp_path, "again") == 0
        assert registry.model("again", tmp_path).card["version"] == version


def two_inputs(folder: Path) -> Path:
    one, other = keras.Input((32, 32, 3), name="image"), keras.Input((4,), name="age")
    x = keras.layers.Concatenate()([keras.layers.Flatten()(one), other])
    keras.Model([one, other], keras.layers.Dense(3)(x)).save(folder / "network.keras")
    return folder / "network.keras"


def two_outputs(folder: Path) -> Path:
    image = keras.Input((32, 32, 3))
    x = keras.layers.Flatten()(image)
    keras.Model(image, [keras.layers.Dense(3)(x), keras.layers.Dense(2)(x)]).save(folder / "network.keras")
    return folder / "network.keras"


def no_image(folder: Path) -> Path:
    numbers = keras.Input((10,))
    keras.Model(numbers, keras.layers.Dense(3)(numbers)).save(folder / "network.keras")
    return folder / "network.keras"


def five_outputs(folder: Path) -> Path:
    image = keras.Input((32, 32, 3))
    keras.Model(image, keras.layers.Dense(5)(keras.layers.Flatten()(image))).save(folder / "network.keras")
    return folder / "network.keras"


def constant(folder: Path) -> Path:
    image = keras.Input((32, 32, 3))
    outputs = keras.layers.Dense(3, kernel_initializer="zeros")(keras.layers.Flatten()(image))
    keras.Model(image, outputs).save(folder / "network.keras")
    return folder / "network.keras"


class Doubled(keras.layers.Layer):
    def call(self, values: Any) -> Any:
        return 2 * values


def custom_layer(folder: Path) -> Path:
    image = keras.Input((32, 32, 3))
    keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(Doubled()(image)))).save(folder / "network.keras")
    return folder / "network.keras"


def function_layer(folder: Path) -> Path:
    image = keras.Input((32, 32, 3))
    x = keras.layers.Lambda(lambda values: 2 * values, output_shape=(32, 32, 3))(image)
    keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(x))).save(folder / "network.keras")
    return folder / "network.keras"


def written(name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(b"not a network")
        return folder / name

    return write


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "several inputs": (two_inputs, "It has 2 inputs (image, age)"),
    "several outputs": (two_outputs, "It has 2 outputs"),
    "no image": (no_image, "which is not an image"),
    "wrong number of outputs": (five_outputs, "It has 5 outputs, and --labels names 3 classes"),
    "the same for every image": (constant, "the same outputs for every image"),
    "a layer of its own": (custom_layer, "code of its own: Doubled"),
    "a function as a layer": (function_layer, "code of its own: Lambda"),
    "another format": (written("network.h5"), "is not a .keras file, a .tflite file or a SavedModel folder"),
    "no Keras file": (written("network.keras"), "is not a .keras file"),
    "no LiteRT file": (written("network.tflite"), "cannot be read as a LiteRT file"),
    "no file": (lambda folder: folder / "missing.keras", "There is no file"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_unsupported_networks_are_refused_with_a_reason(
    name: str, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, words = REFUSED[name]
    file = make(tmp_path)
    assert adopted_model.adopt(file, table, tmp_path / "models", "refused") == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "models" / "refused").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda rows: rows.assign(label=["lichen", *rows["label"][1:]]),
            "none of the model's classes (wart, nv",
        ),
        (lambda rows: rows.assign(image=["p999.png", *rows["image"][1:]]), "1 of 60 labelled images are not in"),
        (lambda rows: rows.head(39), "labels 39 lesions or patients; 40 are needed"),
        (lambda rows: rows.assign(label="nv"), "more lesions that are malignant"),
        (lambda rows: rows.drop(columns="label"), "lacks the columns label"),
    ],
)
def test_tables_that_do_not_fit_are_refused(
    change: Callable[[pd.DataFrame], pd.DataFrame],
    words: str,
    table: Path,
    files: Callable[[str, str], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "images").symlink_to(table.parent / "images")
    change(pd.read_csv(table)).to_csv(tmp_path / "table.csv", index=False)
    assert adopted_model.adopt(files("maps", "Keras"), tmp_path / "table.csv", tmp_path / "models", "refused") == 2
    assert words in capsys.readouterr().err


def test_a_model_that_was_trained_here_is_not_replaced(
    own_models: Path, table: Path, files: Callable[[str, str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    [folder] = own_models.iterdir()
    before = json.loads((folder / "model.json").read_text())
    assert adopted_model.adopt(files("maps", "Keras"), table, own_models, folder.name) == 2
    assert "which was not adopted" in capsys.readouterr().err
    assert json.loads((folder / "model.json").read_text()) == before


def test_titles_are_unique(
    maps: registry.Model, table: Path, files: Callable[[str, str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    # menus identify models by title
    assert maps.title == "backbone (maps)"
    assert adopted_model.adopt(files("maps", "Keras"), table, maps.folder.parent, "other", "--title", maps.title) == 2
    assert "choose another --title" in capsys.readouterr().err


def test_an_image_that_cannot_be_read_is_named(
    table: Path, files: Callable[[str, str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = adopted_model.pictures(tmp_path)
    (tmp_path / "images" / "p003.png").write_bytes(b"broken")
    assert adopted_model.adopt(files("maps", "Keras"), made, tmp_path / "models", "refused") == 2
    assert "p003.png: " in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:Statistics for quantized inputs")
def test_a_quantised_file_is_refused(tmp_path: Path) -> None:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(adopted_model.network("dense"))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([adopted_model.scaled(PIXELS[:1])] for _ in range(2))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    (tmp_path / "quantised.tflite").write_bytes(converter.convert())
    with pytest.raises(ModelError, match="quantised or an integer"):
        adopt_litert.read(tmp_path / "quantised.tflite")


@pytest.mark.slow
def test_a_network_of_keras_applications(table: Path, tmp_path: Path) -> None:
    layers, image = keras.layers, keras.Input((64, 64, 3))
    base = keras.applications.MobileNetV3Small(input_shape=(64, 64, 3), include_top=False, weights=None)
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(base(image)))
    network = keras.Model(image, layers.Dense(3, activation="softmax")(x))
    for layer in base.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.5
    network.compile("adam", "sparse_categorical_crossentropy")
    shown = np.random.default_rng(0).integers(0, 256, (24, 64, 64, 3)).astype(np.float32)
    network.fit(shown, np.arange(24) % 3, batch_size=8, epochs=4, verbose=0)
    network.save(tmp_path / "mobile.keras")
    source = adopt_keras.read(tmp_path / "mobile.keras")
    assert source.name == base.name
    more = ("--preprocessing", "included", *adopted_model.OPTIONS)
    assert adopted_model.adopt(tmp_path / "mobile.keras", table, tmp_path / "models", "mobile", *more) == 0
    model = registry.model("mobile", tmp_path / "models")
    assert model.has_class_maps
    assert [one.side for one in architecture.blocks(model)] == [32, 16, 8, 4, 2], "without the layers that only pad"


@pytest.mark.slow
def test_an_untrained_resnet(table: Path, tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    layers, image = keras.layers, keras.Input((64, 64, 3))
    base = keras.applications.ResNet50(input_shape=(64, 64, 3), include_top=False, weights=None)
    x = layers.GlobalAveragePooling2D()(base(image))
    keras.Model(image, layers.Dense(3, activation="softmax")(x)).save(tmp_path / "net.keras")
    more = ("--preprocessing", "imagenet-bgr", *adopted_model.OPTIONS)
    assert adopted_model.adopt(tmp_path / "net.keras", table, tmp_path / "models", "net", *more) == 0
    model = registry.model("net", tmp_path / "models")
    assert model.has_class_maps
    assert model.card["outputs"]["embedding"] == [base.output_shape[-1]]
    assert architecture.blocks(model)[-1].side == 2


@pytest.mark.slow
def test_a_convnext_with_a_hidden_layer_in_its_head(table: Path, tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    layers, image = keras.layers, keras.Input((96, 96, 3))
    base = keras.applications.ConvNeXtTiny(input_shape=(96, 96, 3), include_top=False, weights=None)
    x = layers.Dense(16, activation="gelu")(layers.GlobalAveragePooling2D()(base(image)))
    # layer scale begins at 0.000001, so that an untrained network would answer every image alike
    for layer in base.layers:
        if "layer_scale" in layer.name:
            layer.set_weights([np.ones_like(weight) for weight in layer.get_weights()])
    keras.Model(image, layers.Dense(3)(x)).save(tmp_path / "net.keras")
    more = ("--preprocessing", "included", *adopted_model.OPTIONS)
    assert adopted_model.adopt(tmp_path / "net.keras", table, tmp_path / "models", "net", *more) == 0
    model = registry.model("net", tmp_path / "models")
    assert not model.has_class_maps, "they are exact only without a layer between the pooling and the last one"
    assert model.card["outputs"]["embedding"] == [16]
