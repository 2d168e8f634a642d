"""Whether a model was trained on a published image."""

import dataclasses
from pathlib import Path

import pytest

from skinapp.inference import registry, training_images
from skinapp.inference.registry import Model

ROWS = "image,group,label\nTESTED,1,nv\n"


def folder(model: Model, root: Path, *names: str, **card: object) -> Model:
    """A copy of the card, with the files that name images."""
    for name in names:
        (root / name).write_text(ROWS if name == "predictions.csv" else ROWS.replace("TESTED", "HELD_OUT"))
    training = {"dataset": "HAM10000", "images": {"validation": 5}}
    changed = model.card | {"training": training, "files": {name: {} for name in names}} | card
    return dataclasses.replace(model, folder=root, card=changed)


def test_a_test_image_was_not_trained_on(model: Model, tmp_path: Path) -> None:
    one = folder(model, tmp_path, "predictions.csv")
    assert training_images.trained_on(one, "ham10000", "TESTED") is False
    assert "was not trained on this image" in training_images.sentence(one, "ham10000", "TESTED")


def test_other_images_of_its_data_may_have_been(model: Model, tmp_path: Path) -> None:
    one = folder(model, tmp_path, "predictions.csv")
    assert training_images.trained_on(one, "ham10000", "OTHER") is None
    assert "may have been trained" in training_images.sentence(one, "ham10000", "OTHER")
    assert training_images.trained_on(one, "", "OTHER") is None


def test_other_data_sets_were_not(model: Model, tmp_path: Path) -> None:
    one = folder(model, tmp_path, "predictions.csv")
    assert training_images.trained_on(one, "pad_ufes_20", "OTHER") is False
    assert training_images.trained_on(one, "isic_more", "OTHER") is False


def test_after_a_cross_validation_all_were(model: Model, tmp_path: Path) -> None:
    one = folder(model, tmp_path, "predictions.csv", training={"dataset": "PAD-UFES-20", "images": {}})
    assert training_images.trained_on(one, "pad_ufes_20", "TESTED") is True
    assert "was trained on this image" in training_images.sentence(one, "pad_ufes_20", "TESTED")


def test_a_committees_members_were_trained_on_what_one_of_them_held_out(model: Model, tmp_path: Path) -> None:
    one = folder(model, tmp_path, "predictions.csv", "out_of_fold.csv", kind="committee")
    assert training_images.trained_on(one, "ham10000", "HELD_OUT") is True
    assert training_images.trained_on(one, "ham10000", "TESTED") is False


@pytest.mark.parametrize("one", registry.ranked(), ids=lambda one: one.id)
def test_every_bundled_model_knows_its_own_images(one: Model) -> None:
    image = (one.folder / "predictions.csv").read_text().splitlines()[1].split(",")[0]
    assert training_images.trained_on(one, one.card["test"]["dataset"], image) is not None
