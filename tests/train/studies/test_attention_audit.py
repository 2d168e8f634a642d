"""The audit of the attention methods, on four drawings with masks and one real model."""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skinapp.attention import catalogue as methods
from skinapp.attention.gradients import keras_network
from skinapp.errors import DataError, SegmentationError
from skinapp.images import imaging
from skinapp.inference import registry
from tests.train.studies.conftest import IMAGES
from train.studies import attention_audit, held_out, randomised


def run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    attention_audit.add_arguments(parser)
    return attention_audit.run(parser.parse_args([str(argument) for argument in arguments]))


@pytest.mark.slow
def test_the_table_is_written_resumes_and_is_part_of_the_model(
    data: Path, own_models: Path, model: registry.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKINAPP_MODELS", str(own_models))
    common = ("--model", model.id, "--untrained", 0, "--runs", data / "runs")
    rows = ("random", "centre", "last-convolution")
    folder = data / "runs" / "attention-audit" / model.id
    folder.mkdir(parents=True)
    # like a run that was killed before its first image
    (folder / "random.csv").touch()
    assert run(*common, "--images", 2, "--methods", *rows) == 0
    first = pd.read_csv(own_models / model.id / attention_audit.FILE).set_index("name")
    assert list(first.index) == list(rows)
    assert (first["images"] == 2).all()
    partial = folder / "last-convolution.csv"
    before = partial.read_text()

    assert run(*common, "--images", IMAGES, "--methods", *rows) == 0
    assert partial.read_text().startswith(before)
    table = pd.read_csv(own_models / model.id / attention_audit.FILE).set_index("name")
    assert (table["images"] == IMAGES).all()
    assert (table["lesions"] == IMAGES - 1).all()
    for measure in ("energy", "insertion", "deletion"):
        assert (table[f"{measure}_low"] <= table[measure]).all()
        assert (table[measure] <= table[f"{measure}_high"]).all()
    # the round mask covers a fifth of the square; a random map has as much inside, a central hill more
    share = np.pi * 30**2 / 120**2
    assert table.loc["random", "energy"] == pytest.approx(share, abs=0.03)
    assert table.loc["centre", "energy"] > share + 0.1
    assert table.loc["last-convolution", "milliseconds"] > 0
    assert table.loc["last-convolution", "answers"] > 0
    assert np.isnan(table.loc["random", "milliseconds"])

    known = registry.model(model.id)
    assert attention_audit.FILE in known.card["files"]
    registry.verify(known)
    assert not (own_models / model.id / f"partial-{attention_audit.FILE}").exists()


def test_a_model_for_phone_photos_is_measured_by_the_outlines_of_the_network(
    close_ups: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone = registry.model("smartphone-efficientnetb1-6class")
    shutil.copytree(phone.folder, tmp_path / "models" / phone.id)
    segmentation = registry.segmentation()
    shutil.copytree(segmentation.folder, tmp_path / "models" / segmentation.id)
    monkeypatch.setenv("SKINAPP_MODELS", str(tmp_path / "models"))
    common = ("--model", phone.id, "--untrained", 0, "--runs", close_ups / "runs", "--images", 2)
    assert run(*common, "--methods", "centre", "last-convolution") == 0
    table = pd.read_csv(tmp_path / "models" / phone.id / attention_audit.FILE).set_index("name")
    assert (table["images_of"] == "MILK10k close-ups").all()
    assert table["outlines"].str.contains("segmentation network").all()
    # the drawn spot is near the middle, and the network finds it
    assert table.loc["centre", "energy"] > 0.2


def test_an_image_without_an_outline_has_no_share_on_the_lesion(
    close_ups: Path, model: registry.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(square: np.ndarray) -> object:
        raise SegmentationError("nothing")

    monkeypatch.setattr(held_out.segmentation, "segment", nothing)
    [record] = held_out.choose("smartphone", 1).to_dict("records")
    row = attention_audit.measured(attention_audit.Entry("centre", "Centred blob"), model, record, {}, warm=False)
    assert row["energy"] == ""
    assert row["insertion"] != ""


def test_without_a_keras_network_only_the_head_is_randomised(tmp_path: Path) -> None:
    """This also applies to a committee."""
    model = registry.model("ham10000-efficientnetb1-clinical")
    copies = attention_audit.copies(model, tmp_path)
    assert list(copies) == ["head"]
    assert copies["head"].card["files"]["model.tflite"] != model.card["files"]["model.tflite"]
    names = ["random", "centre", "last-convolution", "occlusion", "rise"]
    assert [entry.name for entry in attention_audit.entries(model)] == names


def test_the_energy_is_that_of_the_masks(data: Path, model: registry.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def inside(*_: object, **__: object) -> np.ndarray:
        y, x = np.mgrid[0:112, 0:112]
        return ((x - 56) ** 2 + (y - 56) ** 2 < 20**2).astype(np.float32)

    monkeypatch.setattr(methods, "explain", inside)
    [record] = held_out.choose(model.modality, 1).to_dict("records")
    entry = attention_audit.Entry("rise", "RISE", "rise")
    row = attention_audit.measured(entry, model, record, {"head": model, "network": model}, warm=False)
    assert row["energy"] == 1
    assert row["head"] == row["network"] == 1
    assert row["image"] == record["image"]


def test_a_choice_of_fewer_is_the_beginning_of_one_of_more(data: Path) -> None:
    more = list(held_out.choose("dermoscopy")["image"])
    assert list(held_out.choose("dermoscopy", 3)["image"]) == more[:3]
    assert sorted(more) == [f"ISIC_{number:07}" for number in range(IMAGES)]


def test_a_mean_and_its_interval() -> None:
    value, low, high = attention_audit.mean_interval(np.arange(100.0), np.arange(100))
    assert value == 49.5
    # the standard error is 2.9
    assert 43 < low < 45
    assert 54 < high < 56
    assert attention_audit.mean_interval(np.full(9, 2.0), np.arange(9)) == (2, 2, 2)
    # one lesion has no spread
    assert attention_audit.mean_interval(np.arange(3.0), np.zeros(3)) == (1, 1, 1)
    assert np.isnan(attention_audit.mean_interval(np.array([]), np.array([]))).all()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--methods", "nonsense"), "There is no row nonsense; choose from random, centre"),
        (("--images", "0"), "--images must be at least 1"),
        (("--model", "malignancy-vgg16"), "shipped without its network"),
    ],
)
def test_impossible_requests_are_reported(arguments: tuple[str, ...], sentence: str, data: Path) -> None:
    from skinapp.errors import SkinappError

    with pytest.raises(SkinappError, match=sentence):
        run(*arguments, "--runs", data / "runs")


def test_without_masks(data: Path) -> None:
    for file in (data / "data" / "ham10000" / "masks").iterdir():
        file.unlink()
    with pytest.raises(DataError):
        held_out.choose("dermoscopy", 3)


def test_every_entry_can_be_chosen() -> None:
    for model in registry.models().values():
        names = [entry.name for entry in attention_audit.entries(model)]
        assert len(set(names)) == len(names)
        for entry in attention_audit.entries(model):
            if entry.method:
                assert set(entry.settings) <= set(methods.METHODS[entry.method].settings)
                assert methods.METHODS[entry.method].layered or not entry.layer


@pytest.mark.slow
def test_an_untrained_copy_is_complete_and_untrained(untrained: Path, photos: list[bytes]) -> None:
    from skinapp.inference import runtime

    model = registry.model("ham10000-efficientnetb1")
    inputs = [imaging.load(photos[0], model.input_size)]
    shipped = runtime.classifier(model)
    head, network = (randomised.untrained(model, part, untrained) for part in randomised.PARTS)
    for copy in (head, network):
        registry.verify(copy)
        assert json.loads((copy.folder / "model.json").read_text())["id"] == model.id
        assert not np.allclose(runtime.Classifier(copy).predict(inputs[0]).logits, shipped.predict(inputs[0]).logits)
    kernels = [keras_network(one).get_layer("logits").get_weights()[0].ravel() for one in (model, head)]
    assert abs(np.corrcoef(*kernels)[0, 1]) < 0.1
    # apart from its head, it is the same as the shipped one
    same, other = (runtime.Classifier(copy).predict(inputs[0]).embedding for copy in (head, network))
    assert same == pytest.approx(shipped.predict(inputs[0]).embedding, abs=0.02)
    assert not np.allclose(other, same, atol=0.02)
    stamp = (head.folder / "model.tflite").stat().st_mtime_ns
    assert randomised.untrained(model, "head", untrained).folder == head.folder
    assert (head.folder / "model.tflite").stat().st_mtime_ns == stamp
