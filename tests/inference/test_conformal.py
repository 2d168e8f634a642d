"""Prediction sets in words."""

from skinapp.inference.conformal import sentence
from skinapp.labels.sets import HAM10000, MALIGNANCY


def test_a_set_in_words() -> None:
    assert sentence(HAM10000, ["mel", "nv"], 0.95) == ("With 95% certainty one of: melanoma; mole (melanocytic nevus).")
    assert sentence(HAM10000, ["mel"], 0.8) == "With 80% certainty melanoma."


def test_a_set_of_every_class_says_that_the_model_cannot_tell() -> None:
    assert "The model cannot tell" in sentence(MALIGNANCY, ["malignant", "benign"], 0.99)
    assert "The model cannot tell" not in sentence(MALIGNANCY, ["malignant"], 0.99)
