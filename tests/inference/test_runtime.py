import json
import shutil
import subprocess
import sys
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from skinapp.errors import ModelError
from skinapp.images import imaging
from skinapp.inference import pair, registry, runtime
from tests.conftest import CHECKOUT
from tests.metadata_model import make
from tests.pictures import encode, lesion


@pytest.fixture(scope="module")
def classifier(model: registry.Model) -> runtime.Classifier:
    return runtime.classifier(model)


def test_a_prediction_has_the_shapes_of_the_card(classifier: runtime.Classifier, inputs: list[np.ndarray]) -> None:
    prediction, outputs = classifier.predict(inputs[0]), classifier.model.card["outputs"]
    assert list(prediction.logits.shape) == outputs["logits"]
    assert list(prediction.class_maps.shape) == outputs["class_maps"]
    assert list(prediction.embedding.shape) == outputs["embedding"]
    assert prediction.probabilities.dtype == np.float64


@pytest.mark.parametrize("model_id", sorted(registry.models()))
def test_every_model_answers_as_its_card_says_or_says_why_not(model_id: str, photos: list[bytes]) -> None:
    model = registry.model(model_id)
    if not model.runnable:
        with pytest.raises(ModelError, match="only its scores are here"):
            runtime.classifier(model)
        return
    if model.kind == "pair":
        with pytest.raises(ModelError, match="One image is missing"):
            runtime.classifier(model)
        pixels = imaging.crop_resize(imaging.decode(photos[0]), model.input_size)
        assert list(pair.predict(model, [pixels, pixels]).combined.logits.shape) == model.card["outputs"]["logits"]
        return
    prediction = runtime.classifier(model).predict(imaging.crop_resize(imaging.decode(photos[0]), model.input_size))
    assert list(prediction.logits.shape) == model.card["outputs"]["logits"] == [len(model.labels.codes)]
    assert list(prediction.embedding.shape) == model.card["outputs"].get("embedding", [0])
    assert (prediction.measured is None) == model.is_network
    assert model.has_class_maps == (prediction.class_maps is not None)


def test_probabilities_are_the_softmax_of_calibrated_logits(
    classifier: runtime.Classifier, inputs: list[np.ndarray]
) -> None:
    for pixels in inputs:
        prediction = classifier.predict(pixels)
        assert prediction.probabilities.sum() == pytest.approx(1)
        odds = np.log(prediction.probabilities) * classifier.model.temperature
        assert odds - odds[0] == pytest.approx(prediction.logits - prediction.logits[0], abs=1e-4)


def test_prediction_and_malignancy_follow_the_labels(classifier: runtime.Classifier, inputs: list[np.ndarray]) -> None:
    labels = classifier.model.labels
    for pixels in inputs:
        prediction = classifier.predict(pixels)
        share = dict(zip(labels.codes, prediction.probabilities, strict=True))
        assert share[prediction.predicted] == max(share.values())
        malignant = sum(share[label.code] for label in labels.labels if label.malignant)
        assert prediction.malignancy == pytest.approx(malignant)


def test_logits_are_the_mean_of_the_class_maps_and_a_constant(
    classifier: runtime.Classifier, inputs: list[np.ndarray]
) -> None:
    predictions = [classifier.predict(pixels) for pixels in inputs]
    constants = [prediction.logits - prediction.class_maps.mean(axis=(0, 1)) for prediction in predictions]
    assert np.std([prediction.logits for prediction in predictions], axis=0).max() > 0.01
    for constant in constants[1:]:
        assert constant == pytest.approx(constants[0], abs=2e-3)


def test_different_images_give_different_answers(classifier: runtime.Classifier, inputs: list[np.ndarray]) -> None:
    first, second = (classifier.predict(pixels) for pixels in inputs[:2])
    assert np.abs(first.logits - second.logits).max() > 0.01
    # the first answer is a copy, not a view of memory that the second call overwrote
    assert (classifier.predict(inputs[0]).class_maps == first.class_maps).all()


def test_threads_get_the_answers_that_one_caller_gets(classifier: runtime.Classifier, inputs: list[np.ndarray]) -> None:
    work = inputs * 6
    serial = [classifier.predict(pixels).logits for pixels in work]
    with ThreadPoolExecutor(8) as pool:
        parallel = list(pool.map(lambda pixels: classifier.predict(pixels).logits, work))
    assert (np.stack(serial) == np.stack(parallel)).all()


def test_the_number_of_threads_does_not_change_the_answer(model: registry.Model, inputs: list[np.ndarray]) -> None:
    one, two = (runtime.Classifier(model, threads).predict(inputs[0]) for threads in (1, 2))
    assert one.probabilities == pytest.approx(two.probabilities, abs=1e-4)


def test_a_model_is_loaded_once(model: registry.Model) -> None:
    assert runtime.classifier(model) is runtime.classifier(registry.model(model.id))


def test_every_shipped_model_stays_loaded() -> None:
    runnable = registry.ranked()
    first = [runtime.classifier(one) for one in runnable]
    assert all(runtime.classifier(one) is loaded for one, loaded in zip(runnable, first, strict=True))


def test_loaded_models_take_a_bounded_amount_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    small = sorted(registry.ranked(), key=registry.size)[:3]
    sizes = [registry.size(one) for one in small]
    monkeypatch.setattr(runtime, "_loaded", OrderedDict())
    monkeypatch.setattr(registry, "MAX_ROOT_BYTES", sizes[1] + sizes[2])
    loaded = [runtime.classifier(one) for one in small]
    assert list(runtime._loaded.values()) == loaded[1:]
    # recently used, so the other one is evicted first
    runtime.classifier(small[1])
    runtime.classifier(small[0])
    assert loaded[1] in runtime._loaded.values()
    assert loaded[2] not in runtime._loaded.values()


def test_changed_metadata_weights_are_loaded_again(own_models: Path, model: registry.Model) -> None:
    clinical = make(model, own_models, "clinical", "dermoscopy")
    before = runtime.classifier(clinical)
    shutil.rmtree(clinical.folder)
    other = make(model, own_models, "clinical", "dermoscopy", older=-3.0)
    assert runtime.classifier(other) is not before


def test_a_changed_card_applies_to_the_next_image(
    own_models: Path, model: registry.Model, inputs: list[np.ndarray]
) -> None:
    folder = own_models / model.id
    runtime.classifier(registry.read_model(folder)).predict(inputs[0])
    card = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(card | {"temperature": 3.0}))
    prediction = runtime.classifier(registry.read_model(folder)).predict(inputs[0])
    assert prediction.model.temperature == 3.0
    assert prediction.probabilities == pytest.approx(runtime.softmax(prediction.logits.astype(np.float64) / 3))


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((1, 0, 0, 3), np.uint8), ((0, 0), np.uint8), ((0, 0, 4), np.uint8), ((0, 0, 3), np.float32)],
    ids=["batch", "grey", "alpha", "floats"],
)
def test_anything_but_an_input_is_a_programming_error(
    classifier: runtime.Classifier, shape: tuple[int, ...], dtype: type
) -> None:
    size = classifier.model.input_size
    pixels: np.ndarray = np.zeros([length or size for length in shape], dtype)
    with pytest.raises(ValueError, match=rf"expected uint8 \[{size}, {size}, 3\]"):
        classifier.predict(pixels)


def test_another_size_is_a_programming_error(classifier: runtime.Classifier) -> None:
    size = classifier.model.input_size + 1
    with pytest.raises(ValueError, match="expected uint8"):
        classifier.predict(np.zeros((size, size, 3), np.uint8))


@pytest.mark.parametrize("name", ["model.tflite", "README.md"])
def test_an_altered_model_is_not_run(name: str, own_models: Path, model: registry.Model) -> None:
    file = own_models / model.id / name
    content = bytearray(file.read_bytes())
    content[-100] ^= 1
    file.write_bytes(content)
    with pytest.raises(ModelError, match=f"{name} .* was changed after it was published"):
        runtime.Classifier(registry.model(model.id, own_models))


def test_classifying_does_not_import_tensorflow(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(encode(lesion()))
    script = (
        "import sys\n"
        "from skinapp.__main__ import main\n"
        "assert main(['classify', sys.argv[1], '--json', '--cam-dir', sys.argv[2]]) == 0\n"
        "heavy = {'tensorflow', 'keras', 'torch', 'streamlit'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "photo.jpg", tmp_path],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert '"probabilities"' in done.stdout


@pytest.mark.parametrize("logits", [[0.0, 0.0], [1000.0, 0.0, -1000.0], [-5000.0, -5001.0]])
def test_softmax_of_any_size_of_logits(logits: list[float]) -> None:
    probabilities = runtime.softmax(np.array(logits))
    assert probabilities.sum() == pytest.approx(1)
    assert probabilities.argmax() == int(np.argmax(logits))


def test_softmax_by_hand() -> None:
    assert runtime.softmax(np.log([[1.0, 3.0], [2.0, 2.0]])) == pytest.approx(np.array([[0.25, 0.75], [0.5, 0.5]]))


@pytest.mark.parametrize("model_id", ["smartphone-efficientnetb1-6class-clinical", "ham10000-efficientnetb1-clinical"])
def test_without_metadata_the_base_answers(model_id: str) -> None:
    classifier = runtime.classifier(registry.model(model_id))
    base = runtime.classifier(registry.model(classifier.model.card["fusion"]["base"]))
    pixels = np.random.default_rng(0).integers(0, 256, (classifier.model.input_size,) * 2 + (3,), dtype=np.uint8)
    alone, expected = classifier.predict(pixels), base.predict(pixels)
    assert alone.model.id == base.model.id
    np.testing.assert_array_equal(alone.probabilities, expected.probabilities)
    known = classifier.with_metadata(alone, {"age": 60.0})
    assert known.model.id == model_id
    assert not np.allclose(known.probabilities, expected.probabilities, atol=1e-3)
    assert classifier.with_metadata(known, {}).model.id == base.model.id


def test_a_base_with_another_network_does_not_answer(tmp_path: Path) -> None:
    root, model_id = registry.default_root(), "smartphone-efficientnetb1-6class-clinical"
    shutil.copytree(root / model_id, tmp_path / model_id)
    base = registry.model(registry.model(model_id).card["fusion"]["base"])
    shutil.copytree(base.folder, tmp_path / base.id)
    card = json.loads((tmp_path / base.id / "model.json").read_text())
    card["files"]["model.tflite"]["sha256"] = "0" * 64
    (tmp_path / base.id / "model.json").write_text(json.dumps(card))
    classifier = runtime.Classifier(registry.read_model(tmp_path / model_id), threads=1)
    pixels = np.zeros((classifier.model.input_size,) * 2 + (3,), np.uint8)
    assert classifier.predict(pixels).model.id == model_id
