"""Dermoscopy, phone photo or neither: recognition, and the choice of the model."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from skinapp.errors import ModelError
from skinapp.images import imaging
from skinapp.inference import modality, registry
from skinapp.inference.modality import KINDS, Recognised, Recogniser
from tests.metadata_model import make
from tests.pictures import lesion
from train.data import datasets

PHONE = Recognised("smartphone", {"dermoscopy": 0.01, "smartphone": 0.98, "neither": 0.01}, unlike=False)
DERMOSCOPY = Recognised("dermoscopy", {"dermoscopy": 0.995, "smartphone": 0.004, "neither": 0.001}, unlike=False)
UNSURE = Recognised("smartphone", {"dermoscopy": 0.35, "smartphone": 0.63, "neither": 0.02}, unlike=False)
NEITHER = Recognised("neither", {"dermoscopy": 0.1, "smartphone": 0.0, "neither": 0.9}, unlike=False)


@pytest.fixture
def smartphone(model: registry.Model, tmp_path: Path) -> registry.Model:
    return make(model, tmp_path, "phone", "smartphone", 0.1)


def recognised(image: Image.Image) -> str:
    result = modality.recognise(image)
    assert sum(result.probabilities.values()) == pytest.approx(1)
    return result.kind


def test_the_recogniser_belongs_to_its_network() -> None:
    known, hashes = modality.recogniser(), modality.card()["files"]
    assert known.weights.shape == (*modality.features(lesion()).shape, len(KINDS))
    for file in (modality.NETWORK_FILE, modality.WEIGHTS_FILE):
        assert hashlib.sha256(file.read_bytes()).hexdigest() == hashes[file.name]
    assert 0 < known.limit < np.inf


def test_photographs_of_other_things_are_neither() -> None:
    for photograph in load_sample_images().images:
        assert recognised(Image.fromarray(photograph)) == "neither"


@pytest.mark.parametrize("seed", range(3))
def test_noise_and_blank_pages_are_neither(seed: int) -> None:
    generator = np.random.default_rng(seed)
    assert recognised(Image.fromarray(generator.integers(0, 256, (300, 300, 3), dtype=np.uint8))) == "neither"
    assert recognised(Image.new("RGB", (300, 300), tuple(generator.integers(0, 256, 3).tolist()))) == "neither"


def test_drawn_lesions_are_not_turned_away() -> None:
    for seed in range(3):
        assert recognised(lesion(400, 300, seed)) == "dermoscopy"


def test_an_image_is_neither_when_it_is_far_or_when_that_is_likelier_than_for_nearly_all_skin() -> None:
    known = Recogniser(np.eye(2, 3), np.zeros(3), np.zeros(2), np.eye(2), np.array([[1.0, 0.0], [0.0, 1.0]]), 2.0, 0.3)
    near, far = known.recognise(np.array([3.0, 0.0])), known.recognise(np.array([3.1, 0.0]))
    assert (near.kind, near.unlike) == ("dermoscopy", False)
    assert near.distance == pytest.approx(2)
    assert (far.kind, far.unlike) == ("neither", True)
    assert "sure" in near.reason
    assert "differs from nearly all images of either kind" in far.reason
    # one third each: neither is not the most probable, but above its limit
    open_kind = known.recognise(np.array([0.01, 0.0]))
    assert (open_kind.kind, open_kind.unlike) == ("neither", False)
    assert "differs from nearly all images of either kind" in open_kind.reason


def test_a_recogniser_is_the_same_after_it_was_saved(tmp_path: Path) -> None:
    known = modality.recogniser()
    modality.save(known, tmp_path / "again.npz")
    again = modality.load((tmp_path / "again.npz").read_bytes())
    for name, value in vars(known).items():
        np.testing.assert_array_equal(vars(again)[name], value)


@pytest.mark.parametrize("file", [modality.NETWORK_FILE, modality.WEIGHTS_FILE], ids=lambda file: file.suffix)
def test_a_changed_file_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(modality.card()["files"], file.name, "0" * 64)
    with pytest.raises(ModelError, match=f"{file.name} was changed"):
        modality.recognise(lesion())


def test_the_model_for_the_kind_of_image_answers(model: registry.Model, smartphone: registry.Model) -> None:
    models = [model, smartphone]
    phone, dermoscopy = modality.route(models, PHONE), modality.route(models, DERMOSCOPY)
    assert (phone.models, phone.doubt, phone.can_ask) == ((smartphone,), "", False)
    assert phone.words() == f"Phone photo, 98% sure. Answered by “{smartphone.title}”."
    assert (dermoscopy.models, dermoscopy.doubt) == ((model,), "")
    assert "over 99% sure" in dermoscopy.sentence


def test_below_90_percent_both_models_answer_and_the_visitor_is_asked(
    model: registry.Model, smartphone: registry.Model
) -> None:
    models = [model, smartphone]
    found = modality.route(models, UNSURE)
    assert (found.models, found.can_ask, found.doubt) == ((smartphone, model), True, "")
    assert f"If it is a dermoscopy image, choose “{model.title}” instead." in found.words()
    stated = modality.route(models, UNSURE, stated="dermoscopy")
    # the question stays, so that the choice can be changed
    assert (stated.models, stated.can_ask, stated.sentence) == ((model,), True, "Dermoscopy, as you said")
    # no question: the model was chosen, or there is none for the other kind
    assert modality.route(models, UNSURE, model).models == (model,)
    assert not modality.route(models, UNSURE, model).can_ask
    assert modality.route([smartphone], UNSURE).models == (smartphone,)


def test_a_chosen_model_answers_for_the_other_kind_with_a_warning(
    model: registry.Model, smartphone: registry.Model
) -> None:
    route = modality.route([model, smartphone], PHONE, model)
    assert route.model == model
    assert "was trained on dermoscopy images, so its scores do not apply here" in route.doubt
    assert route.doubt in route.words()
    assert not modality.route([model, smartphone], PHONE, smartphone).doubt


def test_without_a_model_for_phone_photos_the_other_one_answers_with_a_note(model: registry.Model) -> None:
    route = modality.route([model], PHONE)
    assert route.model == model
    assert "No model for phone photos is installed" in route.doubt


def test_neither_and_unrecognised_pictures(model: registry.Model) -> None:
    neither = modality.route([model], NEITHER)
    assert neither.unknown
    assert neither.words() == neither.doubt
    assert "would mean nothing" in neither.doubt
    assert modality.route([model], None) == modality.Route((model,))


@pytest.mark.data
@pytest.mark.parametrize(("name", "kind"), [("ham10000", "dermoscopy"), ("pad_ufes_20", "smartphone")])
def test_published_images_are_recognised(data_root: Path, name: str, kind: str) -> None:
    table: pd.DataFrame = datasets.READERS[name](data_root / name)
    if name == "ham10000":
        table = table[table["split"] == "test"]
    files = table["path"].sample(40, random_state=3)
    kinds = [recognised(imaging.decode(imaging.read(file))) for file in files]
    assert kinds.count(kind) >= 34
