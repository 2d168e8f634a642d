from pathlib import Path

import keras
import numpy as np
import pytest

from skinapp.errors import DataError, ModelError
from train.fit import network


@pytest.mark.parametrize(
    ("architecture", "size", "classes", "parameters"),
    [
        # by hand: 896 + 18,496 + 73,856 of convolutions, 4 a filter of normalisation, 6 x 6 x 128 x 128 + 128, 128 + 1
        ("cnn64", 64, 2, 684_225),
        # 12,288 x 256 + 256, 256 x 128 + 128, 128 + 1
        ("mlp64", 64, 2, 3_179_009),
        # 7,168 + 295,040 + 73,792 of convolutions, 2 x 2 x 64 x 32 + 32, 32 x 7 + 7
        ("cnn32", 32, 7, 384_455),
    ],
)
def test_the_small_networks_are_the_tutorials(architecture: str, size: int, classes: int, parameters: int) -> None:
    built = network.build(architecture, size, classes, "none", 0.3)
    assert built.count_params() == parameters
    assert built.output_shape == (None, classes)
    assert built.get_layer("embedding").output.shape == (None, 32 if architecture == "cnn32" else 128)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_one_output_stands_for_two_classes() -> None:
    built = network.build("cnn64", 64, 2, "none", 0.0)
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3)).astype(np.float32)
    logits = np.asarray(built.predict(images, verbose=0))
    assert (logits[:, 0] == 0).all()
    z = keras.Model(built.input, built.get_layer("malignant").output).predict(images, verbose=0)
    assert logits[:, 1] == pytest.approx(np.asarray(z)[:, 0], abs=1e-6)
    assert logits[:, 1].std() > 0


def test_initial_weights_that_are_not_there_are_named() -> None:
    with pytest.raises(DataError, match=r"no weights file .*absent\.h5"):
        network.initial_file("absent.h5")
    with pytest.raises(ModelError, match="no model 'absent'"):
        network.initial_file("absent")
    assert network.initial_file("none") is network.initial_file("imagenet") is None


def test_vgg16_subtracts_the_means_of_its_own_weights() -> None:
    built = network.build("vgg16", 32, 2, "none")
    [scaling] = [layer for layer in built.layers if isinstance(layer, keras.layers.Rescaling)]
    red = np.zeros((1, 32, 32, 3), np.float32)
    red[..., 0] = 255
    expected = keras.applications.vgg16.preprocess_input(red.copy())
    scaled = keras.Model(built.input, scaling.output)
    assert np.asarray(scaled.predict(red, verbose=0)) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("blocks", "trained"),
    [
        (5, set()),
        (3, {f"block{block}_conv{number}" for block in (4, 5) for number in (1, 2, 3)}),
    ],
)
def test_a_new_head_trains_on_a_frozen_base(blocks: int, trained: set[str]) -> None:
    built = network.build("vgg16", 32, 2, "none")
    network.freeze(built, blocks)
    assert {layer.name for layer in built.layers if layer.trainable_weights} == trained | {"logits"}


def test_initial_weights_of_another_network_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKINAPP_WEIGHTS", str(tmp_path))
    network.build("mlp64", 8, 2, "none").save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(DataError, match=r"init 'other\.weights\.h5' do not fit the network 'efficientnetv2b0'"):
        network.build("efficientnetv2b0", 32, 7, "other.weights.h5")
    (tmp_path / "torn.h5").write_bytes(b"no HDF5")
    with pytest.raises(DataError, match="do not fit"):
        network.build("efficientnetv2b0", 32, 7, "torn.h5")
