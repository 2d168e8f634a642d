"""A map as a picture, and the record of how it was made."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from skinapp.attention import catalogue as methods
from skinapp.attention import heatmap, picture, record
from skinapp.attention.targets import code, name
from skinapp.images import imaging
from skinapp.inference import registry


def test_the_contour_encloses_the_fewest_pixels_with_a_share_of_the_sum() -> None:
    cam = np.zeros((8, 8), np.float32)
    cam[0, 0], cam[4:, 4:] = 1, 0.5
    # 1 + 16 * 0.5 = 9 in all; the one strong cell holds a ninth
    assert picture.strongest(cam, 0.1, 8).sum() == 1
    assert picture.strongest(cam, 0.1, 8)[0, 0]
    assert picture.strongest(cam, 0.99, 8).sum() == 17
    assert not picture.strongest(np.zeros((3, 3)), 0.5, 24).any()


def test_the_contour_of_a_speckled_map_is_in_few_pieces() -> None:
    # two hills under specks, as in gradient maps: nine in ten pixels are almost zero
    generator = np.random.default_rng(0)
    y, x = np.mgrid[0:224, 0:224]
    hills = sum(np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * 25**2)) for row, column in ((70, 70), (150, 160)))
    cam = (hills * generator.exponential(1, (224, 224)) * (generator.random((224, 224)) < 0.1)).astype(np.float32)
    cam /= cam.max()
    specks = ndimage.label(cam >= np.sort(cam.ravel())[-2000])[1]
    region = picture.strongest(cam, 0.5, 512)
    assert specks > 500
    assert ndimage.label(region)[1] <= 4
    # and it is around the hills
    scale = 512 / 224
    assert region[round(70 * scale), round(70 * scale)]
    assert region[round(150 * scale), round(160 * scale)]
    assert not region[:40, -40:].any()


def test_the_contour_of_a_coarse_map_follows_its_cells() -> None:
    cam = np.zeros((14, 14), np.float32)
    cam[3, 3] = 1
    assert picture.strongest(cam, 0.9, 14).sum() == 1


@pytest.mark.parametrize("size", [(720, 540), (540, 720), (720, 360), (720, 576)])
def test_the_square_is_marked_in_the_image(size: tuple[int, int]) -> None:
    marked = picture.in_image(Image.new("RGB", size, (100, 60, 40)), imaging.Crop(0.5, 0.5, 0.5))
    pixels = np.asarray(marked)
    assert tuple(pixels[marked.height // 2, marked.width // 2]) == (100, 60, 40)
    assert pixels[2, 2].min() > 150  # pale outside


def test_a_map_alone_keeps_its_cells() -> None:
    cam = np.array([[0, 1], [0.5, 0]], np.float32)
    shown = picture.map_alone(cam, 40)
    assert shown.shape == (40, 40, 3)
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) == 3
    assert (shown[:20, 20:] == heatmap.coloured(np.ones((1, 1)))).all()


def test_the_contour_is_inside_the_region_and_nothing_else_changes() -> None:
    pixels = np.full((40, 40, 3), 128, np.uint8)
    region = np.zeros((40, 40), bool)
    region[10:30, 10:30] = True
    shown = picture.with_contour(pixels, region)
    assert (pixels == 128).all()
    assert (shown[~region] == 128).all()
    assert (shown[10, 10:30] == picture.DARK).all()
    assert (shown[12, 13:27] == picture.LIGHT).all()
    assert (shown[18:22, 18:22] == 128).all()
    assert (picture.with_contour(pixels, np.zeros_like(region)) == pixels).all()


def test_the_record_says_how_to_make_the_same_map(model: registry.Model, inputs: list[np.ndarray]) -> None:
    raw = methods.raw("occlusion", model, inputs[0], ("mel", "nv"), cells=3, patch=1)
    crop = imaging.Crop(0.4, 0.5, 0.8)
    described = record.describe("occlusion", model, inputs[0], ("mel", "nv"), None, {"cells": 3, "patch": 1}, raw, crop)
    again = json.loads(record.to_json(described))
    assert again == described
    target = (again["target"]["class"], again["target"]["rather_than"])
    assert (
        methods.raw(again["method"]["id"], registry.model(again["model"]["id"]), inputs[0], target, **again["settings"])
        == raw
    ).all()
    assert again["image"]["square"] == {"x": 0.4, "y": 0.5, "side": 0.8}
    assert len(again["image"]["sha256_of_rgb_pixels"]) == 64
    other = record.describe("occlusion", model, inputs[1], "mel", None, {}, raw, crop)
    assert other["image"]["sha256_of_rgb_pixels"] != again["image"]["sha256_of_rgb_pixels"]
    assert set(again["versions"]) == {"ai-edge-litert", "numpy"}
    with np.load(io.BytesIO(record.to_npz(raw, described))) as file:
        assert (file["raw"] == raw).all()
        assert (file["map"] == methods.scaled(raw)).all()
        assert json.loads(str(file["json"])) == described


def test_the_record_names_the_layer_and_what_made_it(model: registry.Model, inputs: list[np.ndarray]) -> None:
    raw = np.array([[-1.0, -2.0]], np.float32)
    described = record.describe("grad-cam", model, inputs[0], "mel", None, {}, raw, imaging.CENTRE)
    assert described["layer"] == "top_activation"
    assert described["model"]["file"] == "model.keras"
    assert described["map"]["maximum"] == 0
    assert set(described["versions"]) == {"ai-edge-litert", "numpy", "tensorflow", "keras"}


@pytest.mark.parametrize(
    ("target", "words", "short"),
    [("mel", "Melanoma", "mel"), (("mel", "nv"), "Melanoma rather than Melanocytic nevus", "mel-not-nv")],
)
def test_a_target_in_words(model: registry.Model, target: str | tuple[str, str], words: str, short: str) -> None:
    assert name(model, target) == words
    assert code(target) == short
