import dataclasses
import importlib.util
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from skinapp.errors import DataError
from tests.pictures import lesion
from train.config import Config
from train.fit import augmentation
from train.fit.training import fit
from train.fit.validation import resize

POLICIES = ["standard", pytest.param("kerascv", marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def batch() -> np.ndarray:
    return np.stack([np.asarray(lesion(60, 60, seed)) for seed in range(16)])


def augmented(policy: str, batch: np.ndarray, seed: int) -> np.ndarray:
    keras.utils.set_random_seed(seed)
    images = resize(batch, 48).astype(np.float32)
    for layer in augmentation.POLICIES[policy](seed):
        images = layer(images, training=True) if layer.name.startswith("random") else layer(images)
    return np.asarray(images)


@pytest.mark.parametrize("policy", POLICIES)
def test_shape_and_range_stay(policy: str, batch: np.ndarray) -> None:
    for seed in range(3):
        images = augmented(policy, batch, seed)
        assert images.shape == (16, 48, 48, 3)
        assert np.isfinite(images).all()
        assert images.min() >= 0
        assert images.max() <= 255
        assert images.max() > 2, "values 0-255, not 0-1"


@pytest.mark.parametrize("policy", POLICIES)
def test_every_image_changes_and_stays_a_picture(policy: str, batch: np.ndarray) -> None:
    images, plain = augmented(policy, batch, 0), resize(batch, 48).astype(float)
    change = np.abs(images - plain).mean(axis=(1, 2, 3))
    assert (change > 2).all()
    assert np.abs(images.mean() - plain.mean()) < 40
    assert images.std(axis=(1, 2, 3)).min() > 5


@pytest.mark.parametrize("policy", POLICIES)
def test_one_seed_gives_one_result(policy: str, batch: np.ndarray) -> None:
    first = augmented(policy, batch, 0)
    assert (first == augmented(policy, batch, 0)).all()
    assert (first != augmented(policy, batch, 1)).any()


@pytest.mark.parametrize("policy", POLICIES)
def test_every_image_is_augmented_differently(policy: str, batch: np.ndarray) -> None:
    images = augmented(policy, np.repeat(batch[:1], 8, axis=0), 0)
    pairs = [(one, other) for one in range(8) for other in range(one)]
    assert all(np.abs(images[one] - images[other]).mean() > 1 for one, other in pairs)


@pytest.mark.slow
def test_keras_cv_does_not_invert_images(batch: np.ndarray) -> None:
    # uniform skin, whose negative would be dark and bluish
    skin = np.full_like(batch, (220, 170, 150))
    images = augmented("kerascv", skin, 0)
    shown = images[images.sum(axis=-1) > 1]
    assert (shown[:, 0] > shown[:, 2]).mean() > 0.99


@pytest.mark.slow
def test_a_network_trained_with_keras_cv_does_not_contain_it(tiny: Config, tmp_path: Path) -> None:
    stage = dataclasses.replace(tiny.stages[0], mixup=0.2, cutmix=1.0)
    file = fit(dataclasses.replace(tiny, augmentation="kerascv", stages=(stage,)), tmp_path)
    for saved in file.parent.glob("*.keras"):
        text = zipfile.ZipFile(saved).read("config.json").decode()
        assert "Conv2D" in text
        assert "keras_cv" not in text
        assert "Lambda" not in text


def test_keras_cv_that_cannot_run_is_named_before_anything_is_done(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dataclasses.replace(tiny, augmentation="kerascv")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"not installed; run pip install -r requirements-train\.txt"):
        fit(config, tmp_path)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(DataError, match=r"not on jax; set KERAS_BACKEND=tensorflow"):
        fit(config, tmp_path)
    augmentation.check("standard")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.4, 0.0), (0.0, 1.0), (0.4, 1.0)])
def test_mixing_treats_images_and_targets_equally(mixup: float, cutmix: float) -> None:
    # every image has its class as its only value, so the mean of a mixed image must be the mean of its mixed target
    values = np.arange(8, dtype=np.float32)
    mixed = {"images": np.ones((8, 128, 128, 3), np.float32) * values[:, None, None, None], "labels": np.eye(8)}
    for layer in augmentation.mixing(mixup, cutmix, seed=3):
        mixed = layer(mixed, training=True)
    images, targets = np.asarray(mixed["images"]), np.asarray(mixed["labels"])
    assert targets.sum(axis=1) == pytest.approx(1)
    assert targets.max(axis=1).min() < 1
    assert images.mean(axis=(1, 2, 3)) == pytest.approx(targets @ values, abs=0.15)


def around(matrix: tuple[float, float, float, float], shift: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """A random image of 32 pixels through `augmentation.affine`."""
    image = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3)).astype(np.float32)
    matrices = keras.ops.convert_to_tensor(np.array([matrix], np.float32).reshape(1, 2, 2))
    shifts = keras.ops.convert_to_tensor(np.array([shift], np.float32))
    return keras.ops.convert_to_numpy(augmentation.affine(keras.ops.convert_to_tensor(image), matrices, shifts))[0]


IMAGE = np.random.default_rng(0).uniform(0, 255, (32, 32, 3)).astype(np.float32)


def test_affine_maps_by_hand() -> None:
    assert around((1, 0, 0, 1)) == pytest.approx(IMAGE, abs=1e-2)
    assert around((-1, 0, 0, 1)) == pytest.approx(IMAGE[:, ::-1], abs=1e-2)
    # a quarter turn takes the pixel at (x, y) from (-y, x)
    assert around((0, -1, 1, 0)) == pytest.approx(np.rot90(IMAGE), abs=1e-2)
    # four of 32 pixels are a quarter of half the width; new pixels are mirrored at the edge
    moved = around((1, 0, 0, 1), (0.25, 0.0))
    assert moved[:, :28] == pytest.approx(IMAGE[:, 4:], abs=1e-2)
    assert moved[:, 28:] == pytest.approx(IMAGE[:, :-5:-1], abs=1e-2)


@pytest.mark.parametrize("turns", [0.1, 0.37, -0.2])
def test_rotation_is_that_of_keras(turns: float) -> None:
    angle = 2 * np.pi * turns
    layer = keras.layers.RandomRotation((turns, turns), fill_mode="reflect", dtype="float32")
    expected = keras.ops.convert_to_numpy(layer(IMAGE[None], training=True))[0]
    turned = around((np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)))
    assert np.abs(turned - expected).mean() < 0.1


@pytest.mark.parametrize("zoom", [-0.35, 0.1])
def test_zoom_is_that_of_keras(zoom: float) -> None:
    layer = keras.layers.RandomZoom((zoom, zoom), fill_mode="reflect", dtype="float32")
    expected = keras.ops.convert_to_numpy(layer(IMAGE[None], training=True))[0]
    assert np.abs(around((1 + zoom, 0, 0, 1 + zoom)) - expected).mean() < 0.1


def test_the_matrices_have_the_range_of_the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setattr(augmentation, "affine", lambda images, *parts: drawn.append(parts) or images)
    layer = augmentation.RandomAffine(seed=0)
    layer(np.zeros((500, 4, 4, 3), np.float32), training=True)
    layer(np.zeros((500, 4, 4, 3), np.float32), training=False)
    ((matrix, shift),) = ([keras.ops.convert_to_numpy(part) for part in parts] for parts in drawn)
    zoom = np.sqrt(np.abs(np.linalg.det(matrix)))
    assert (zoom.min(), zoom.max()) == pytest.approx((0.65, 1.1), abs=0.01)
    assert np.abs(matrix @ matrix.transpose(0, 2, 1) - zoom[:, None, None] ** 2 * np.eye(2)).max() < 1e-5
    assert 0.4 < (np.linalg.det(matrix) < 0).mean() < 0.6, "half of them are mirrored"
    # a tenth of the width is 0.2 of half of it
    assert (shift.min(), shift.max()) == pytest.approx((-0.2, 0.2), abs=0.01)


def test_resizing_keeps_flat_colours_and_the_range() -> None:
    flat = np.full((3, 60, 60, 3), (255, 0, 77), dtype=np.uint8)
    small = resize(flat, 24)
    assert small.dtype == np.uint8
    assert (small == (255, 0, 77)).all()
    assert resize(flat, 60) is flat
