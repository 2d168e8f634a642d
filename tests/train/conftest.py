"""A data set, a network and runs of it, small enough to train in seconds."""

import contextlib
import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
import yaml

from skinapp.labels.sets import HAM10000
from tests.pictures import lesion
from train.config import Config, load_config
from train.fit import augmentation, cross_validation, network, training
from train.publish import evaluate, export

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="package")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of data sets with 29 images in the form of HAM10000.

    For each class there are three training images of two lesions and one test image, and one more image of a test
    lesion.
    """
    root = tmp_path_factory.mktemp("data")
    images = root / "ham10000" / "images"
    images.mkdir(parents=True)
    rows: list[tuple[str, str, str, str]] = []
    for code in HAM10000.codes:
        for lesion_id, split in (("a", "train"), ("a", "train"), ("b", "train"), ("c", "test")):
            rows.append((f"ISIC_{len(rows):07}", f"HAM_{code}_{lesion_id}", code, split))
    rows.append((f"ISIC_{len(rows):07}", "HAM_nv_c", "nv", "test_sibling"))
    for number, (image, *_) in enumerate(rows):
        lesion(120, 90, seed=number).save(images / f"{image}.webp")
    table = pd.DataFrame(rows, columns=["image_id", "lesion_id", "dx", "split"])
    table = table.assign(dx_type="histo", age=50.0, sex="female", localization="back")
    table.to_csv(root / "ham10000" / "metadata.csv", index=False)
    return root


def tiny_backbone(include_top: bool, weights: str | None, input_shape: tuple[int, int, int]) -> Any:
    """Like EfficientNet: inputs 0-255, scaled inside; convolutions that halve the size; batch normalisation."""
    import keras
    from keras import layers

    assert not include_top
    assert weights is None
    images = keras.Input(input_shape)
    x = layers.Normalization(axis=-1, name="normalization")(layers.Rescaling(1 / 127.5, offset=-1)(images))
    for filters in (8, 16):
        x = layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False)(x)
        x = layers.Activation("swish")(layers.BatchNormalization(momentum=0.5)(x))
    return keras.Model(images, x)


def light_augmentation(seed: int) -> list[Any]:
    """Replaces the full augmentation, whose tracing would dominate a tiny run."""
    import keras

    return [keras.layers.RandomFlip(seed=seed)]


@contextlib.contextmanager
def stepwise() -> Iterator[None]:
    """Networks train and predict without a graph, which takes seconds to trace and pays off only after many more
    steps."""
    import keras

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.Model, "run_eagerly", property(lambda self: True, lambda self, value: None))
        yield


@pytest.fixture(scope="module")
def without_graphs() -> Iterator[None]:
    """For a whole file that does not test training itself."""
    with stepwise():
        yield


@contextlib.contextmanager
def tiny_network_on(data: Path) -> Iterator[pytest.MonkeyPatch]:
    """Register the tiny network, and use the data sets in this folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKINAPP_DATA", str(data))
        patch.setitem(network.ARCHITECTURES, "tiny", tiny_backbone)
        yield patch


@pytest.fixture(scope="module")
def tiny(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Config]:
    """A configuration that trains the tiny network on the tiny data in two stages."""
    with tiny_network_on(tiny_data):
        yield tiny_config(tmp_path_factory.mktemp("config") / "tiny.yaml")


class Published(NamedTuple):
    """A run of the tiny network, trained in one stage, evaluated and exported; read-only, but may be copied."""

    config: Config
    runs: Path
    models: Path


@pytest.fixture(scope="package")
def published(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Published:
    """Evaluated on the test images."""
    folder = tmp_path_factory.mktemp("published")
    with tiny_network_on(tiny_data) as patch:
        patch.setitem(augmentation.POLICIES, "standard", light_augmentation)
        config = tiny_config(folder / "tiny.yaml")
        config = dataclasses.replace(config, stages=config.stages[:1])
        training.fit(config, folder / "runs")
        evaluate.evaluate(config, folder / "runs")
        export.export(config, folder / "runs", folder / "models")
    return Published(config, folder / "runs", folder / "models")


@pytest.fixture(scope="package")
def crossed(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Published:
    """Cross-validated."""
    folder = tmp_path_factory.mktemp("crossed")
    with stepwise(), tiny_network_on(tiny_data) as patch:
        patch.setitem(augmentation.POLICIES, "standard", light_augmentation)
        config = tiny_config(folder / "tiny.yaml")
        config = dataclasses.replace(config, id="crossed", fold=None, stages=config.stages[:1])
        cross_validation.fit_all(cross_validation.networks(config), folder / "runs")
        cross_validation.evaluate(config, folder / "runs")
        export.export(config, folder / "runs", folder / "models")
    return Published(config, folder / "runs", folder / "models")


@pytest.fixture(scope="package")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for untrained copies of shipped networks, which are slow to make."""
    return tmp_path_factory.mktemp("untrained")


def tiny_command(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m tests.train.tiny_command` in a separate process."""
    with start_tiny_command(*arguments, **environment) as process:
        out, messages = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, out, messages)


def start_tiny_command(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    """The same, still running."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.train.tiny_command", *map(str, arguments)],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"} | environment,
    )


def tiny_config(file: Path) -> Config:
    settings = {
        "id": "tiny",
        "title": "A tiny network",
        "dataset": "ham10000",
        "labels": "ham10000",
        "architecture": "tiny",
        "init": "none",
        "initial_weights": "random numbers",
        "cache_size": 48,
        "samples_per_epoch": 24,
        "batch_size": 8,
        "folds": 2,
        "stages": [
            {"image_size": 24, "epochs": 1, "learning_rate": 0.01},
            {"image_size": 32, "epochs": 3, "learning_rate": 0.003},
        ],
    }
    file.write_text(yaml.safe_dump(settings))
    return load_config(file)


def nth_call(patch: pytest.MonkeyPatch, owner: Any, name: str, number: int, after: bool = False) -> None:
    """Interrupt the nth call of a function, before or after it has done its work."""
    work: Callable = getattr(owner, name)
    calls = 0

    def interrupted(*arguments: object, **options: object) -> object:
        nonlocal calls
        calls += 1
        if calls == number and not after:
            raise KeyboardInterrupt
        result = work(*arguments, **options)
        if calls == number:
            raise KeyboardInterrupt
        return result

    patch.setattr(owner, name, interrupted)
