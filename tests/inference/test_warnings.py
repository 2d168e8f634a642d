"""Which warnings are shown, their wording, and when networks disagree."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from skinapp.images import imaging
from skinapp.images.imaging import Crop
from skinapp.inference import analysis, registry, warnings
from skinapp.inference.modality import Recognised
from skinapp.inference.runtime import Prediction
from tests.pictures import lesion

MEASURED = {
    "images_with": 80,
    "images_without": 85,
    "with": {"value": 0.65, "low": 0.55, "high": 0.75},
    "without": {"value": 0.22, "low": None, "high": None},
}


def use(monkeypatch: pytest.MonkeyPatch, **predicts: bool) -> None:
    known = {name: {"predicts_errors": value, "test": MEASURED} for name, value in predicts.items()}
    card: dict[str, Any] = {"dermoscopy": {"distance_limit": 5.0, "warnings": known}}
    monkeypatch.setattr(warnings, "card", lambda: card)


def recognised(distance: float) -> Recognised:
    return Recognised("dermoscopy", {"dermoscopy": 0.98, "smartphone": 0.01, "neither": 0.01}, False, distance)


def test_a_warning_comes_with_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, dark=False, sharpness=True)
    assert not warnings.predicts_errors("dark", "dermoscopy")
    assert warnings.predicts_errors("sharpness", "dermoscopy")
    assert warnings.rates("sharpness", "dermoscopy") == (
        "In tests of the default model for dermoscopy images, 65% (55% to 75%) of 80 answers with this warning were "
        "wrong, compared with 22% of 85 without it."
    )
    # not measured: shown, without figures
    assert warnings.predicts_errors("sharpness", "smartphone")
    assert warnings.rates("sharpness", "smartphone") == ""


def test_an_image_far_from_the_training_images_gets_a_warning(
    model: registry.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warnings, "disagrees", lambda _: False)
    use(monkeypatch, distance=True)
    near, far = (analysis.analyse(lesion(), model, modality=recognised(distance)) for distance in (4.9, 5.1))
    assert warnings.cautions(near) == {}
    [sentence] = warnings.cautions(far).values()
    assert sentence.startswith(warnings.FAR)
    assert "65%" in sentence
    use(monkeypatch, distance=False)
    assert warnings.cautions(far) == {}
    assert not warnings.is_far(None, "dermoscopy")


def test_disagreement_is_shown_only_where_it_predicts_errors(
    model: registry.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = analysis.analyse(lesion(), model)
    monkeypatch.setattr(warnings, "disagrees", lambda _: True)
    use(monkeypatch, disagreement=True)
    assert warnings.cautions(made)["disagreement"].startswith(warnings.UNSTABLE)
    use(monkeypatch, disagreement=False)
    assert warnings.cautions(made) == {}


def test_networks_that_name_different_classes_disagree(model: registry.Model) -> None:
    image = lesion()
    prediction = analysis.analyse(image, model).prediction
    classes = len(model.labels.codes)
    first, second = np.eye(classes, dtype=np.float32)[:2]

    def with_votes(*votes: np.ndarray) -> Prediction:
        stacked = np.stack(votes)[:, np.newaxis]
        return dataclasses.replace(prediction, votes=stacked, logits=stacked.mean(axis=(0, 1)))

    assert warnings.is_open(with_votes(first, first, second), model, image)
    assert not warnings.is_open(with_votes(first, first, first), model, image)


def test_a_network_that_names_another_class_for_a_moved_square_disagrees(model: registry.Model) -> None:
    image = lesion()
    prediction = analysis.analyse(image, model).prediction
    other = np.roll(prediction.logits, 1)
    assert other.argmax() != prediction.logits.argmax()
    # the moved squares name the image's class, so they disagree with a prediction of another one
    assert warnings.is_open(dataclasses.replace(prediction, logits=other), model, image)


def test_moved_squares_stay_within_the_square() -> None:
    image = lesion(400, 300)
    crop = Crop(0.4, 0.5, 0.8)
    left, top, right, bottom = crop.box(*image.size)
    first, second = (square.box(*image.size) for square in warnings.moved(image, crop))
    assert first == pytest.approx((left, top, right - 12, bottom - 12))
    assert second == pytest.approx((left + 12, top + 12, right, bottom))
    assert imaging.crop_resize(image, 64, warnings.moved(image, crop)[0]).shape == (64, 64, 3)


def test_the_error_rates_are_those_of_the_shipped_networks() -> None:
    for known in json.loads(warnings.CARD_FILE.read_text()).values():
        # a third number is a release with the same networks
        assert known["version"].split(".")[:2] == registry.model(known["model"]).card["version"].split(".")[:2]
