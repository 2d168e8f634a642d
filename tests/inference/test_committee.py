"""Several networks and several views of an image: one answer, one exact map, and their agreement."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skinapp.errors import ModelError
from skinapp.images import imaging
from skinapp.inference import registry, runtime, views
from skinapp.inference.views import VIEWS
from tests import committee
from tests.tiny_network import SIDE


@pytest.fixture(scope="module")
def made(model: registry.Model, tmp_path_factory: pytest.TempPathFactory) -> registry.Model:
    return committee.make(model, tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def tiny_inputs(photos: list[bytes]) -> list[np.ndarray]:
    return [imaging.load(photo, SIDE) for photo in photos]


@pytest.fixture
def own(made: registry.Model, tmp_path: Path) -> Path:
    """A copy of the committee's folder, for tests that corrupt it."""
    return Path(shutil.copytree(made.folder, tmp_path / "models" / made.id))


def alone(made: registry.Model, root: Path, number: int) -> runtime.Classifier:
    """One member as a separate model."""
    folder = root / f"alone-{number}"
    folder.mkdir()
    for name in ("README.md", "predictions.csv", "history.csv"):
        shutil.copy(made.folder / name, folder)
    shutil.copy(made.folder / made.weights[number], folder / registry.WEIGHTS_FILE)
    card = {key: value for key, value in made.card.items() if key != "members"}
    card["input"] = {key: value for key, value in card["input"].items() if key != "views"}
    committee.write(folder, card | {"id": folder.name, "kind": "classifier"})
    return runtime.Classifier(registry.read_model(folder))


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_is_upright_again_exactly(name: str) -> None:
    image = np.arange(5 * 5 * 3).reshape(1, 5, 5, 3)
    [seen] = views.seen(image[0], [name])
    assert (views.upright_again(seen[np.newaxis], [name]) == image).all()
    assert (seen == image[0]).all() == (name == views.UPRIGHT)


def test_every_view_is_another_one_and_the_schema_knows_them_all() -> None:
    image = np.arange(12).reshape(2, 2, 3)
    assert len({view.tobytes() for view in views.seen(image, list(VIEWS))}) == len(VIEWS)
    schema = json.loads(registry.SCHEMA_FILE.read_text())
    listed = schema["$defs"]["classifier"]["properties"]["input"]["properties"]["views"]["items"]["enum"]
    assert listed == list(VIEWS)


def test_what_a_view_shows_by_hand() -> None:
    image = np.array([[1, 2], [3, 4]])[..., np.newaxis].repeat(3, axis=-1)
    shown = {name: view[..., 0].tolist() for name, view in zip(VIEWS, views.seen(image, list(VIEWS)), strict=True)}
    assert shown == {
        "upright": [[1, 2], [3, 4]],
        "mirrored": [[2, 1], [4, 3]],
        "upside down": [[4, 3], [2, 1]],
        "quarter turn": [[2, 4], [1, 3]],
    }


def test_the_votes_are_the_answers_of_each_member_to_each_view(
    made: registry.Model, tiny_inputs: list[np.ndarray], tmp_path: Path
) -> None:
    together = runtime.Classifier(made).predict(tiny_inputs[0])
    assert together.votes.shape == (3, len(VIEWS), len(made.labels.codes))
    for number in range(3):
        member = alone(made, tmp_path, number)
        single = [member.predict(np.ascontiguousarray(view)) for view in views.seen(tiny_inputs[0], made.views)]
        assert together.votes[number] == pytest.approx(np.stack([one.logits for one in single]), abs=1e-5)
        if number == 0:
            assert together.embedding == pytest.approx(single[0].embedding, abs=1e-5)
    assert np.ptp(together.votes, axis=(0, 1)).max() > 0.01, "members and views differ"


def test_logits_and_maps_are_means_and_the_map_is_exact(made: registry.Model, tiny_inputs: list[np.ndarray]) -> None:
    classifier = runtime.Classifier(made)
    predictions = [classifier.predict(pixels) for pixels in tiny_inputs]
    for prediction in predictions:
        assert prediction.logits == pytest.approx(prediction.votes.mean(axis=(0, 1)), abs=1e-6)
        assert prediction.probabilities == pytest.approx(
            runtime.softmax(prediction.logits.astype(np.float64) / made.temperature)
        )
    bias = [prediction.logits - prediction.class_maps.mean(axis=(0, 1)) for prediction in predictions]
    assert np.std([prediction.logits for prediction in predictions], axis=0).max() > 1e-3
    assert np.abs(bias[0]).max() > 0.1
    for one in bias[1:]:
        assert one == pytest.approx(bias[0], abs=1e-4)


def test_the_map_is_that_of_the_upright_image(made: registry.Model, tiny_inputs: list[np.ndarray]) -> None:
    card = made.card | {"input": made.card["input"] | {"views": ["upright", "mirrored"]}}
    mirroring = runtime.Classifier(registry.Model(**vars(made) | {"card": card}))
    pixels = tiny_inputs[0]
    upright, mirrored = mirroring.predict(pixels), mirroring.predict(np.ascontiguousarray(pixels[:, ::-1]))
    assert mirrored.class_maps == pytest.approx(upright.class_maps[:, ::-1], abs=1e-4)
    assert mirrored.logits == pytest.approx(upright.logits, abs=1e-5)


def test_the_number_of_threads_does_not_change_the_answer(made: registry.Model, tiny_inputs: list[np.ndarray]) -> None:
    one, two, eight = (runtime.Classifier(made, threads).predict(tiny_inputs[0]) for threads in (1, 2, 8))
    assert one.votes == pytest.approx(two.votes, abs=1e-5)
    assert one.votes == pytest.approx(eight.votes, abs=1e-5)


def test_a_single_network_may_have_views_too(
    made: registry.Model, tiny_inputs: list[np.ndarray], tmp_path: Path
) -> None:
    member = alone(made, tmp_path, 1)
    folder = member.model.folder
    card = json.loads((folder / "model.json").read_text())
    card["input"]["views"] = ["upright", "quarter turn"]
    committee.write(folder, card)
    turning = runtime.classifier(registry.read_model(folder)).predict(tiny_inputs[0])
    assert turning.votes.shape[:2] == (1, 2)
    assert turning.votes[0, 0] == pytest.approx(member.predict(tiny_inputs[0]).logits, abs=1e-5)
    assert runtime.agreement(member.predict(tiny_inputs[0])) is None


def test_other_views_are_another_classifier(made: registry.Model, own: Path) -> None:
    before = runtime.classifier(registry.read_model(own))
    card = json.loads((own / "model.json").read_text())
    card["input"]["views"] = ["upright"]
    committee.write(own, card)
    assert runtime.classifier(registry.read_model(own)) is not before


def test_agreement_by_hand(made: registry.Model) -> None:
    codes = made.labels.codes
    votes = np.zeros((3, 2, len(codes)), np.float32)
    votes[:2, :, codes.index("nv")] = 4
    votes[2, :, codes.index("mel")] = 4
    prediction = runtime.Prediction(made, votes.mean(axis=(0, 1)), np.full(7, 1 / 7), None, np.zeros(1), votes)
    agreed = runtime.agreement(prediction)
    assert agreed is not None
    assert (agreed.networks, agreed.views, agreed.agreeing) == (3, 2, 2)
    for share, vote in ((agreed.low, votes[0, 0]), (agreed.high, votes[2, 0])):
        chances = runtime.softmax(vote.astype(np.float64) / made.temperature)
        malignant = [label.malignant for label in made.labels.labels]
        assert share == pytest.approx(chances[malignant].sum())
    assert agreed.low < 0.2 < 0.8 < agreed.high


def corrupt(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    card = json.loads((folder / "model.json").read_text())
    change(card)
    (folder / "model.json").write_text(json.dumps(card))


CORRUPTIONS: dict[str, tuple[Callable[[Path], object], str]] = {
    "member missing": (lambda folder: (folder / "member-2.tflite").unlink(), r"lacks its file member-2\.tflite"),
    "member not listed as a file": (
        lambda folder: (
            corrupt(folder, lambda card: card["files"].pop("member-2.tflite")),
            (folder / "member-2.tflite").unlink(),
        ),
        r"lacks its member member-2\.tflite",
    ),
    "member shortened": (
        lambda folder: (folder / "member-3.tflite").write_bytes(b"short"),
        r"member-3\.tflite .* was changed after it was published",
    ),
    "a fourth member in the folder": (
        lambda folder: shutil.copy(folder / "member-1.tflite", folder / "member-4.tflite"),
        r"does not list its file member-4\.tflite",
    ),
    "no members": (lambda folder: corrupt(folder, lambda card: card.pop("members")), "has no members"),
    "an empty list": (lambda folder: corrupt(folder, lambda card: card.update(members=[])), "has no members"),
    "a member twice": (
        lambda folder: corrupt(folder, lambda card: card["members"].append(card["members"][0])),
        "lists a member or a fold twice",
    ),
    "a fold twice": (
        lambda folder: corrupt(folder, lambda card: card["members"][1].update(fold=0)),
        "lists a member or a fold twice",
    ),
    "not a committee": (
        lambda folder: corrupt(folder, lambda card: card.update(kind="classifier")),
        "lists members but is not a committee",
    ),
    "unknown view": (
        lambda folder: corrupt(folder, lambda card: card["input"].update(views=["upright", "askew"])),
        "'askew' is not one of",
    ),
    "without the upright view": (
        lambda folder: corrupt(folder, lambda card: card["input"].update(views=["mirrored"])),
        "does not list the upright view",
    ),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corrupted_committee_is_left_out_with_a_reason(name: str, own: Path, model: registry.Model) -> None:
    shutil.copytree(model.folder, own.parent / model.id)
    corrupt_it, sentence = CORRUPTIONS[name]
    corrupt_it(own)
    assert list(registry.models(own.parent)) == [model.id], "the other model is still there"
    with pytest.raises(ModelError, match=sentence):
        registry.model("committee", own.parent)


def test_a_changed_member_is_not_run(own: Path) -> None:
    file = own / "member-2.tflite"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(ModelError, match=r"member-2\.tflite .* was changed after it was published"):
        runtime.Classifier(registry.read_model(own))


def test_members_that_disagree_on_their_classes_or_their_input_are_not_run(own: Path) -> None:
    import keras

    from train.publish.export import to_litert

    card = json.loads((own / "model.json").read_text())
    (own / "member-2.tflite").write_bytes(committee.member(classes=3, seed=2))
    committee.write(own, card)
    with pytest.raises(ModelError, match=r"In the file member-2\.tflite .* logits has the shape 3, not 7"):
        runtime.Classifier(registry.read_model(own))

    images = keras.Input((40, 40, 3))
    features = keras.layers.Conv2D(16, 3, 4, "same")(images)
    embedding = keras.layers.GlobalAveragePooling2D(name="embedding")(features)
    larger = keras.Model(images, keras.layers.Dense(7, name="logits")(embedding))
    (own / "member-2.tflite").write_bytes(to_litert(larger))
    committee.write(own, card)
    with pytest.raises(ModelError, match=r"In the file member-2\.tflite .* image has the shape 40 x 40 x 3, not 32 x"):
        runtime.Classifier(registry.read_model(own))
