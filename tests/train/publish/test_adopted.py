import json

import numpy as np
import pytest
from keras.applications import imagenet_utils

from skinapp.errors import ModelError
from skinapp.inference import model_card, registry
from train.publish import adopted
from train.publish.adopted import LOGITS, SIGMOID, SOFTMAX, Head, Preprocessing

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 3, 3, 3)).astype(np.uint8)
HEAD = Head(LOGITS, (1, 2, 0), False, Preprocessing())


@pytest.mark.parametrize(("name", "mode"), [("-1-1", "tf"), ("imagenet", "torch"), ("imagenet-bgr", "caffe")])
def test_preprocessing_is_that_of_keras_applications(name: str, mode: str) -> None:
    theirs = imagenet_utils.preprocess_input(PIXELS.astype(np.float32), data_format="channels_last", mode=mode)
    assert adopted.PREPROCESSING[name].apply(PIXELS) == pytest.approx(theirs, abs=1e-5)


def test_the_other_preprocessing_matches_its_name() -> None:
    assert (adopted.PREPROCESSING["included"].apply(PIXELS) == PIXELS).all()
    assert adopted.PREPROCESSING["0-1"].apply(PIXELS) == pytest.approx(PIXELS / 255, abs=1e-6)


def test_the_card_and_the_schema_know_the_same_names() -> None:
    schema = json.loads(registry.SCHEMA_FILE.read_text())["$defs"]["classifier"]["properties"]["adopted"]["properties"]
    assert list(adopted.PREPROCESSING) == list(model_card.PREPROCESSING) == schema["preprocessing"]["enum"]
    assert schema["outputs"]["enum"] == [LOGITS, SOFTMAX, SIGMOID]


def test_classes_are_in_the_models_order() -> None:
    assert HEAD.columns(np.array([[1, 2, 3]])).tolist() == [[2, 3, 1]]
    # one number z stands for 0 and z
    assert Head(SIGMOID, (1, 0), True, Preprocessing()).columns(np.array([[5]])).tolist() == [[5, 0]]


def test_outputs_are_recognised_by_their_values() -> None:
    assert adopted.recognised_outputs(np.array([[0.2, 0.8], [0.5, 0.5]])) == SOFTMAX
    assert adopted.recognised_outputs(np.array([[0.2, 1.8], [0.5, 0.5]])) == LOGITS
    for independent in ([[0.2, 0.9]], [[0.4]]):
        with pytest.raises(ModelError, match="without adding up to 1"):
            adopted.recognised_outputs(np.array(independent))


@pytest.mark.parametrize("outputs", [LOGITS, SOFTMAX, SIGMOID])
def test_agreement_and_disagreement(outputs: str) -> None:
    head = Head(outputs, (1, 2, 0), False, Preprocessing())
    logits = np.array([[2.0, -1.0, 0.5], [-3.0, 0.0, 1.0]])
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    original = {LOGITS: logits, SOFTMAX: softmax, SIGMOID: 1 / (1 + np.exp(-logits))}[outputs]
    assert adopted.difference(original, head.columns(logits), head) == pytest.approx(0, abs=1e-9)
    assert 0 < adopted.difference(original, head.columns(logits) + np.array([0.01, 0, 0]), head) < 0.01
    with pytest.raises(ModelError, match="differ by"):
        adopted.difference(original, head.columns(logits) + np.array([0.2, 0, 0]), head)
    with pytest.raises(ModelError, match="differ by"):
        adopted.difference(original, logits, head)


def test_a_single_output_counts_as_the_difference_of_two_logits() -> None:
    head = Head(SIGMOID, (1, 0), True, Preprocessing())
    z = np.array([[2.0], [-1.0]])
    assert adopted.difference(1 / (1 + np.exp(-z)), np.hstack([z + 4, np.full_like(z, 4)]), head) < 1e-9
    with pytest.raises(ModelError, match="differ by"):
        adopted.difference(1 / (1 + np.exp(-z)), np.hstack([np.zeros_like(z), z]), head)


def test_numbers_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ModelError, match="not finite"):
        adopted.difference(np.array([[np.nan, 0, 1.0]]), np.zeros((1, 3)), HEAD)


@pytest.mark.parametrize(
    ("shape", "size", "words"),
    [
        ((None, 10), None, "not an image"),
        ((None, 3, 64, 64), None, "Channels must come last"),
        ((None, 64, 64, 1), None, "not n x side x side x 3"),
        ((None, 64, 48, 3), None, "the app gives squares"),
        ((None, None, None, 3), None, "say with --size"),
        ((None, 64, 64, 3), 32, "leave out --size 32"),
    ],
)
def test_other_inputs_are_refused(shape: tuple[int | None, ...], size: int | None, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        adopted.checked_shape(shape, size)


def test_inputs_and_outputs_that_fit() -> None:
    assert adopted.checked_shape((None, 64, 64, 3), None) == adopted.checked_shape((None, None, None, 3), 64) == 64
    assert adopted.checked_count((None, 7)) == 7
    with pytest.raises(ModelError, match="one number for each class"):
        adopted.checked_count((None, 7, 2))
    with pytest.raises(ModelError, match=r"2 inputs \(image, age\)"):
        adopted.check_one("input", ["image", "age"])
