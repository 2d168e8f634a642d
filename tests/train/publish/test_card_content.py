"""How a card names, credits and licenses the data sets that a model was trained on."""

from train.data.datasets import TRAINABLE, sources
from train.publish import card_content


def test_data_sets_are_listed_as_in_a_sentence_and_each_licence_once() -> None:
    credits_ = card_content.credits_of(sources("ham10000+malignant_benign+milk10k+isic_more"))
    assert credits_["dataset"] == (
        "HAM10000, “Skin Cancer: Malignant vs. Benign”, MILK10k and ISIC images from other collections"
    )
    assert credits_["data_licence"] == (
        "HAM10000 and MILK10k: CC BY-NC 4.0; “Skin Cancer: Malignant vs. Benign”: ISIC archive terms of use, "
        "non-commercial; ISIC images from other collections: CC BY-NC 4.0, CC BY 4.0 or CC0"
    )
    assert credits_["attribution"].count("MILK study team") == 1


def test_a_part_of_a_data_set_is_named() -> None:
    assert card_content.credits_of(sources("pad_ufes_20+milk10k-clinical"))["dataset"] == (
        "PAD-UFES-20 and MILK10k close-ups"
    )


def test_one_licence_and_one_attribution_are_stated_once_without_names() -> None:
    credits_ = card_content.credits_of(sources("milk10k+milk10k-pairs"))
    assert credits_["data_licence"] == TRAINABLE["milk10k"].licence
    assert credits_["attribution"] == TRAINABLE["milk10k"].attribution


def test_a_single_data_set_has_the_name_of_its_publisher() -> None:
    assert card_content.credits_of(sources("malignant_benign"))["dataset"] == TRAINABLE["malignant_benign"].name


def test_limits_say_whether_skin_tone_was_recorded() -> None:
    card = {"modality": "dermoscopy", "labels": {"codes": ["benign", "malignant"]}}
    without = card_content.limits(card | {"training": {"dataset": "HAM10000"}})
    some = card_content.limits(card | {"training": {"dataset": "HAM10000 and MILK10k"}})
    assert without[0].endswith("skin type was not recorded.")
    assert some[0].endswith("only MILK10k's have a recorded skin tone.")
