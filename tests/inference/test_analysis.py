"""The analysis of an image: the same prediction as from its parts, and a single rule for removals."""

import dataclasses
import json

import numpy as np
import pytest

from skinapp.images import hair, imaging, quality, removal, synthetic
from skinapp.images.imaging import Crop
from skinapp.inference import analysis, registry, runtime


def test_it_agrees_with_its_parts(model: registry.Model, photos: list[bytes]) -> None:
    image, crop = imaging.decode(photos[0]), Crop(0.4, 0.5, 0.8)
    made = analysis.analyse(image, model, crop)
    pixels = imaging.crop_resize(image, model.input_size, crop)
    assert (made.pixels == pixels).all()
    assert (made.prediction.logits == runtime.classifier(model).predict(pixels).logits).all()
    assert made.prediction.probabilities.tolist() == made.image_prediction.probabilities.tolist()
    assert made.quality == quality.measure(image, crop)
    assert made.square.shape == (analysis.SQUARE_SIDE, analysis.SQUARE_SIDE, 3)
    assert (made.model, made.metadata, made.modality) == (model, {}, None)


@pytest.mark.parametrize("model", registry.ranked(), ids=lambda model: model.id)
def test_shares_are_named_and_add_up_to_one(model: registry.Model, photos: list[bytes]) -> None:
    shares = analysis.shares(analysis.analyse(imaging.decode(photos[0]), model).prediction)
    assert sum(shares.values()) == pytest.approx(1)
    if len(model.labels.codes) > 2:
        assert list(shares) == ["Cancer, all types together", "Pre-cancer", "Harmless"]
    # in a phone photo, actinic keratosis does not count as malignant
    assert ("Cancer or pre-cancer" in shares) == (len(model.labels.codes) == 2 and model.modality == "dermoscopy")


def test_artefacts_are_removed_once_where_chosen_or_where_the_model_learnt_so(model: registry.Model) -> None:
    image = synthetic.with_hairs(synthetic.draw(0), np.random.default_rng(0), 12)
    raw = imaging.crop_resize(image, model.input_size)
    bare = hair.remove(raw)
    assert (raw != bare).any()
    untouched = analysis.analyse(image, model, remove=())
    assert (untouched.pixels == raw).all()
    assert untouched.removed is None
    chosen = analysis.analyse(image, model, remove=["hair"])
    assert (chosen.pixels == bare).all()
    assert (chosen.square == hair.remove(imaging.crop_resize(image, analysis.SQUARE_SIDE))).all()
    assert chosen.removed is not None
    assert list(chosen.removed.shares) == ["hair"]

    card = json.loads(json.dumps(model.card))
    card["input"]["remove"] = ["hair"]
    hairless = dataclasses.replace(model, card=card)
    for remove in ((), ("hair",)):
        assert (analysis.analyse(image, hairless, remove=remove).pixels == bare).all()


def test_removals_that_help_are_on_by_default(model: registry.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    image = synthetic.with_hairs(synthetic.draw(0), np.random.default_rng(0), 12)
    assert analysis.analyse(image, model).remove == removal.by_default(model.modality)
    monkeypatch.setattr(analysis, "by_default", lambda modality: ("hair",))
    made = analysis.analyse(image, model)
    assert made.remove == ("hair",)
    assert (made.pixels == hair.remove(imaging.crop_resize(image, model.input_size))).all()


def test_a_removal_that_finds_nothing_changes_no_probability(model: registry.Model, photos: list[bytes]) -> None:
    image = imaging.decode(photos[0])
    plain = analysis.analyse(image, model)
    searched = analysis.analyse(image, model, remove=["sticker", "ink"])
    assert searched.removed is not None
    assert searched.removed.shares == {"sticker": 0.0, "ink": 0.0}
    assert searched.prediction.probabilities.tolist() == plain.prediction.probabilities.tolist()
