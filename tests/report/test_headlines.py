"""The figures on the home page agree with the cards and tables."""

import dataclasses

from skinapp.demographics import limitations, records
from skinapp.inference import registry
from skinapp.report import headlines


def test_melanomas_are_counted_as_the_card_does() -> None:
    model = registry.ranked()[0]
    recall = model.card["test"]["recalls"]["mel"]
    headline = headlines.recognised(model)
    assert headline.value == f"{recall['correct'] / recall['images']:.0%}"
    assert headline.words.startswith(f"of {recall['images']} test images; 95% interval ")


def test_a_model_without_a_class_for_melanoma_has_its_share_of_cancers() -> None:
    model = registry.model("malignancy-cnn64")
    score = model.card["scores"]["sensitivity_malignancy"]
    headline = headlines.recognised(model)
    assert headline.name.startswith("Cancers")
    assert headline.value == f"{score['value']:.0%}"


def test_a_model_without_a_cancer_class_shows_its_balanced_accuracy() -> None:
    model = registry.model("malignancy-cnn64")
    scores = {"balanced_accuracy": model.card["scores"]["balanced_accuracy"]}
    alone = dataclasses.replace(model, card=model.card | {"scores": scores})
    assert headlines.recognised(alone) == headlines.balanced_accuracy(alone)


def test_dark_skin_is_counted_among_the_images_that_state_its_colour() -> None:
    frame = records.shipped("milk10k").frame
    dark = frame.loc[frame["skin_tone"].isin(["0", "1"]), "images"].sum()
    assert limitations.dark_skin(frame) == (dark, frame["images"].sum())
    assert limitations.dark_skin(records.shipped("ham10000").frame) == (0, 0)
    stated = frame["images"].sum()
    assert headlines.dark_skin(["milk10k"]).words == f"{dark:,} of the {stated:,} images with a recorded skin colour"


def test_a_score_without_an_interval_says_so() -> None:
    model = registry.ranked()[0]
    score = {"balanced_accuracy": {"value": 0.5, "low": float("nan"), "high": float("nan")}}
    alone = dataclasses.replace(model, card=model.card | {"scores": score})
    assert "unknown" in headlines.balanced_accuracy(alone).words
