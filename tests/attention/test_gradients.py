"""The closed form of Grad-CAM against the gradient that defines it, and LiteRT against Keras."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skinapp.attention import heatmap
from skinapp.attention.gradients import from_verified_bytes, keras_network
from skinapp.inference import registry, runtime


@pytest.fixture(scope="module")
def network(model: registry.Model) -> Any:
    return keras_network(model)


@pytest.fixture(scope="module")
def head_gradients(network: Any, inputs: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Features [h, w, D] and gradients [K, h, w, D] of the logits with respect to them."""
    import keras
    import tensorflow as tf

    pooling = network.get_layer("embedding")
    features_and_logits = keras.Model(network.input, [pooling.input, network.output])
    with tf.GradientTape(persistent=True) as tape:
        features, logits = features_and_logits(inputs[0][np.newaxis].astype(np.float32), training=False)
        # apply the head again, so that the tape records the logits as a function of the features
        tape.watch(features)
        again = network.get_layer("logits")(pooling(features))
        each = [again[0, index] for index in range(again.shape[1])]
    of_features = np.stack([tape.gradient(logit, features)[0].numpy() for logit in each])
    assert again.numpy() == pytest.approx(logits.numpy(), abs=1e-4)
    return features[0].numpy(), of_features


def test_closed_form_grad_cam_is_the_gradient_computation(
    model: registry.Model, inputs: list[np.ndarray], head_gradients: tuple[np.ndarray, np.ndarray]
) -> None:
    features, of_features = head_gradients
    class_maps = runtime.classifier(model).predict(inputs[0]).class_maps
    some_positive = False
    for index in range(len(model.labels.codes)):
        # Selvaraju et al. 2017, equations 1 and 2
        weights = of_features[index].mean(axis=(0, 1))
        expected = np.maximum(features @ weights, 0)
        some_positive |= expected.max() > 0
        expected = expected / expected.max() if expected.max() > 0 else expected
        assert heatmap.grad_cam(class_maps, index) == pytest.approx(expected, abs=0.02)
    assert some_positive


@pytest.mark.slow
def test_litert_predicts_like_keras(model: registry.Model, network: Any, inputs: list[np.ndarray]) -> None:
    logits = np.asarray(network.predict(np.stack(inputs).astype(np.float32), verbose=0))
    expected = runtime.softmax(logits.astype(np.float64) / model.temperature)
    by_litert = np.stack([runtime.classifier(model).predict(pixels).probabilities for pixels in inputs])
    assert by_litert == pytest.approx(expected, abs=0.01)


def test_the_network_is_flat_and_whole(model: registry.Model, network: Any) -> None:
    assert network.input_shape == (None, model.input_size, model.input_size, 3)
    assert network.output_shape == (None, len(model.labels.codes))
    assert network.count_params() == model.card["architecture"]["parameters"]


def test_a_network_that_is_replaced_after_its_hash_was_checked_is_not_loaded(
    own_models: Path, model: registry.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = registry.read_model(own_models / model.id)
    check = registry.verified_bytes

    def replaced_at_once(model: registry.Model, name: str) -> bytes:
        content = check(model, name)
        (model.folder / name).write_bytes(b"another network")
        return content

    monkeypatch.setattr(registry, "verified_bytes", replaced_at_once)
    monkeypatch.setattr("keras.saving.load_model", lambda file, **_: file.read_bytes())
    assert from_verified_bytes(copied) == (model.folder / "model.keras").read_bytes()
