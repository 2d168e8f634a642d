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
def test_every_image_has_an_augmentation_of_its_own(policy: str, batch: np.ndarray) -> None:
    images = augmented(policy, np.repeat(batch[:1], 8, axis=0), 0)
    pairs = [(one, other) for one in range(8) for other in range(one)]
    assert all(np.abs(images[one] - images[other]).mean() > 1 for one, other in pairs)


@pytest.mark.slow
def test_keras_cv_makes_no_negatives(batch: np.ndarray) -> None:
    # flat skin, of which a negative would be dark and bluish
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
def test_mixing_shares_images_and_targets_alike(mixup: float, cutmix: float) -> None:
    # every image is of one value, its class; so the mean of a mixed image must be the mean of its mixed target
    values = np.arange(8, dtype=np.float32)
    mixed = {"images": np.ones((8, 128, 128, 3), np.float32) * values[:, None, None, None], "labels": np.eye(8)}
    for layer in augmentation.mixing(mixup, cutmix, seed=3):
        mixed = layer(mixed, training=True)
    images, targets = np.asarray(mixed["images"]), np.asarray(mixed["labels"])
    assert targets.sum(axis=1) == pytest.approx(1)
    assert targets.max(axis=1).min() < 1
    assert images.mean(axis=(1, 2, 3)) == pytest.approx(targets @ values, abs=0.15)


def test_resizing_keeps_flat_colours_and_the_range() -> None:
    flat = np.full((3, 60, 60, 3), (255, 0, 77), dtype=np.uint8)
    small = resize(flat, 24)
    assert small.dtype == np.uint8
    assert (small == (255, 0, 77)).all()
    assert resize(flat, 60) is flat
