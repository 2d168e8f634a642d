"""Two images of a lesion with one answer: exact maps of both, and error messages for mismatches."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skinapp.charts import architecture
from skinapp.errors import ModelError
from skinapp.images import imaging
from skinapp.inference import model_card, pair, registry, runtime
from skinapp.inference.modality import Recognised
from tests import pair as pairs
from tests.committee import member
from tests.tiny_network import SIDE


@pytest.fixture(scope="module")
def made(model: registry.Model, tmp_path_factory: pytest.TempPathFactory) -> registry.Model:
    return pairs.make(model, tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def squares(photos: list[bytes]) -> list[np.ndarray]:
    return [imaging.load(photo, SIDE) for photo in photos]


@pytest.fixture
def own(made: registry.Model, tmp_path: Path) -> Path:
    """A copy of the pair's folder, for tests that corrupt it."""
    return Path(shutil.copytree(made.folder, tmp_path / "models" / made.id))


def test_the_answer_is_the_weighted_sum_of_both_networks_logits(
    made: registry.Model, squares: list[np.ndarray]
) -> None:
    predicted = pair.predict(made, squares[:2])
    dermoscopy, close_up = registry.pictures(made)
    assert (dermoscopy.modality, close_up.modality) == ("dermoscopy", "smartphone")
    assert [network.weights for network in (dermoscopy, close_up)] == [(file,) for file in pairs.FILES]
    each = [
        runtime.Classifier(one).predict(square) for one, square in zip((dermoscopy, close_up), squares, strict=False)
    ]
    by_hand = 0.7 * each[0].logits + 0.4 * each[1].logits + np.array(made.card["pair"]["bias"])
    assert predicted.combined.logits == pytest.approx(by_hand, abs=1e-5)
    assert predicted.combined.probabilities == pytest.approx(runtime.softmax(by_hand), abs=1e-6)
    for alone, one, picture in zip(predicted.alone, each, made.card["pair"]["pictures"], strict=True):
        assert alone.probabilities == pytest.approx(
            runtime.softmax(0.9 * one.logits + picture["alone"]["bias"]), abs=1e-6
        )
    assert runtime.agreement(predicted.combined) is None
    other_way = pair.predict(made, squares[1::-1])
    assert np.abs(other_way.combined.logits - predicted.combined.logits).max() > 0.01


def test_the_maps_of_both_images_are_exact(made: registry.Model, squares: list[np.ndarray]) -> None:
    constants = []
    for first, second in ((0, 1), (2, 3), (1, 0)):
        predicted = pair.predict(made, [squares[first], squares[second]])
        assert predicted.class_maps is not None
        means = [class_map.mean(axis=(0, 1)) for class_map in predicted.class_maps]
        constants.append(predicted.combined.logits - sum(means))
        assert np.abs(means).max() > 0.1
    for constant in constants[1:]:
        assert constant == pytest.approx(constants[0], abs=1e-4)


def test_the_maps_of_a_class_have_one_scale(made: registry.Model, squares: list[np.ndarray]) -> None:
    predicted = pair.predict(made, squares[:2])
    assert predicted.class_maps is not None
    for index, code in enumerate(made.labels.codes):
        maps = pair.maps(predicted, code)
        peak = max(class_map[..., index].max() for class_map in predicted.class_maps)
        if peak > 0:
            assert max(cam.max() for cam in maps) == pytest.approx(1)
            for shown, one in zip(maps, predicted.class_maps, strict=True):
                assert shown == pytest.approx(np.maximum(one[..., index], 0) / peak)


def test_a_network_of_weight_0_does_not_count(model: registry.Model, squares: list[np.ndarray], tmp_path: Path) -> None:
    one_sided = pairs.make(model, tmp_path, weights=(1.0, 0.0))
    first, second = (pair.predict(one_sided, [squares[0], close_up]) for close_up in squares[1:3])
    assert (first.combined.probabilities == second.combined.probabilities).all()
    assert not pair.maps(first, first.combined.predicted)[1].any()


def test_a_pair_is_listed_separately_from_models_for_one_image(own: Path, model: registry.Model) -> None:
    shutil.copytree(model.folder, own.parent / model.id)
    assert [one.id for one in registry.ranked(own.parent)] == [model.id]
    assert [one.id for one in registry.pairs(own.parent)] == ["pair"]
    assert set(registry.models(own.parent)) == {model.id, "pair"}
    assert registry.size(registry.read_model(own)) == sum((own / name).stat().st_size for name in pairs.FILES)


def test_it_is_timed_and_drawn_with_both_networks(made: registry.Model) -> None:
    median, least, most = runtime.milliseconds(made)
    assert 0 < least <= median <= most
    stages = {stage.name: stage for stage in architecture.stages(made)}
    assert "weights 0.70 and 0.40" in stages["Weighted sum"].does
    assert "Each of two images" in stages


def test_the_card_compares_each_image_alone_with_both(made: registry.Model) -> None:
    text = model_card.markdown(made.card)
    assert "| score | both images | dermoscopy image alone | close-up alone |" in text
    assert "| score | minus dermoscopy image alone | minus close-up alone |" in text
    assert "0.700 times those of the dermoscopy image plus 0.400 times those of the close-up" in text
    assert "--config train/configs/pair-dermoscopy.yaml --close-up train/configs/pair-smartphone.yaml" in text


def test_one_image_is_missing_or_one_too_many(made: registry.Model, model: registry.Model) -> None:
    with pytest.raises(
        ModelError, match="One image is missing: the model 'pair' takes a dermoscopy image and a close-up"
    ):
        runtime.classifier(made)
    with pytest.raises(ModelError, match="takes one image"):
        pair.networks_of(model)


def looks(kind: str) -> Recognised:
    return Recognised(
        kind, {name: 0.9 if name == kind else 0.05 for name in ("dermoscopy", "smartphone", "neither")}, False
    )


def test_an_image_of_the_wrong_kind_is_named() -> None:
    dermoscopy, close_up, neither = (looks(kind) for kind in ("dermoscopy", "smartphone", "neither"))
    assert pair.mismatches([dermoscopy, close_up]) == []
    assert pair.mismatches([None, None]) == []
    [swapped] = pair.mismatches([close_up, dermoscopy])
    assert swapped.startswith("The two images look swapped")
    [wrong] = pair.mismatches([dermoscopy, dermoscopy])
    assert "given as the close-up looks like a dermoscopy image (90% sure)" in wrong
    [wrong] = pair.mismatches([close_up, None])
    assert "given as the dermoscopy image looks like a phone photo of skin" in wrong
    assert len(pair.mismatches([neither, dermoscopy])) == 2


def change(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    card = json.loads((folder / "model.json").read_text())
    edit(card)
    (folder / "model.json").write_text(json.dumps(card))


CORRUPTIONS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a file missing": (lambda folder: (folder / "close-up.tflite").unlink(), r"lacks its file close-up\.tflite"),
    "a file not listed": (
        lambda folder: change(folder, lambda card: card["files"].pop("dermoscopy.tflite")),
        r"does not list its file dermoscopy\.tflite",
    ),
    "a network missing in both": (
        lambda folder: (
            change(folder, lambda card: card["files"].pop("close-up.tflite")),
            (folder / "close-up.tflite").unlink(),
        ),
        r"pair 'pair' lacks its network close-up\.tflite",
    ),
    "a file shortened": (
        lambda folder: (folder / "dermoscopy.tflite").write_bytes(b"short"),
        r"dermoscopy\.tflite .* was changed after it was published",
    ),
    "too few constants": (
        lambda folder: change(folder, lambda card: card["pair"]["bias"].pop()),
        "pair 'pair' does not have one constant for each of its 7 classes",
    ),
    "a negative weight": (
        lambda folder: change(folder, lambda card: card["pair"]["pictures"][0].update(weight=-0.1)),
        "less than the minimum of 0",
    ),
    "the images in another order": (
        lambda folder: change(folder, lambda card: card["pair"]["pictures"].reverse()),
        r"\$\.pair\.pictures\[0\]",
    ),
    "without what makes it a pair": (
        lambda folder: change(folder, lambda card: card.pop("pair")),
        "'pair' is a required property",
    ),
    "not a pair": (
        lambda folder: change(folder, lambda card: card.update(kind="classifier", modality="dermoscopy")),
        "combines two images but is not a pair",
    ),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corrupted_pair_is_left_out_with_a_reason(name: str, own: Path, model: registry.Model) -> None:
    shutil.copytree(model.folder, own.parent / model.id)
    corrupt, sentence = CORRUPTIONS[name]
    corrupt(own)
    assert list(registry.models(own.parent)) == [model.id], "the other model is still there"
    assert registry.pairs(own.parent) == []
    with pytest.raises(ModelError, match=sentence):
        registry.model("pair", own.parent)


def test_a_changed_network_is_not_run(own: Path, squares: list[np.ndarray]) -> None:
    content = bytearray((own / "close-up.tflite").read_bytes())
    content[len(content) // 2] ^= 1
    (own / "close-up.tflite").write_bytes(content)
    with pytest.raises(ModelError, match=r"close-up\.tflite .* was changed after it was published"):
        pair.predict(registry.read_model(own), squares[:2])


def test_networks_that_disagree_on_their_classes_are_not_run(own: Path, squares: list[np.ndarray]) -> None:
    (own / "close-up.tflite").write_bytes(member(classes=3, seed=2))
    pairs.edit(own)
    with pytest.raises(ModelError, match=r"In the file close-up\.tflite .* logits has the shape 3, not 7"):
        pair.predict(registry.read_model(own), squares[:2])


def test_a_new_version_of_a_network_is_loaded(own: Path, squares: list[np.ndarray]) -> None:
    before = pair.predict(registry.read_model(own), squares[:2])
    (own / "close-up.tflite").write_bytes(member(classes=7, seed=9))
    pairs.edit(own)
    after = pair.predict(registry.read_model(own), squares[:2])
    assert (after.alone[0].logits == before.alone[0].logits).all()
    assert np.abs(after.alone[1].logits - before.alone[1].logits).max() > 0.01
