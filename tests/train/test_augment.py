import numpy as np
import pytest

from tests.pictures import lesion
from train import augment
from train.fit import resize


@pytest.fixture(scope="module")
def batch() -> np.ndarray:
    return np.stack([np.asarray(lesion(60, 60, seed)) for seed in range(16)])


def augmented(batch: np.ndarray, seed: int) -> np.ndarray:
    images = resize(batch, 48).astype(np.float32)
    for layer in augment.standard(seed):
        images = layer(images, training=True) if layer.name.startswith("random") else layer(images)
    return np.asarray(images)


def test_shape_and_range_stay(batch: np.ndarray) -> None:
    for seed in range(3):
        images = augmented(batch, seed)
        assert images.shape == (16, 48, 48, 3)
        assert np.isfinite(images).all()
        assert images.min() >= 0
        assert images.max() <= 255
        assert images.max() > 2, "values 0-255, not 0-1"


def test_every_image_changes_and_stays_a_picture(batch: np.ndarray) -> None:
    images, plain = augmented(batch, 0), resize(batch, 48).astype(float)
    change = np.abs(images - plain).mean(axis=(1, 2, 3))
    assert (change > 2).all()
    assert np.abs(images.mean() - plain.mean()) < 40
    assert images.std(axis=(1, 2, 3)).min() > 5


def test_one_seed_gives_one_result(batch: np.ndarray) -> None:
    assert (augmented(batch, 0) == augmented(batch, 0)).all()
    assert (augmented(batch, 0) != augmented(batch, 1)).any()


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.4, 0.0), (0.0, 1.0), (0.4, 1.0)])
def test_mixing_shares_images_and_targets_alike(mixup: float, cutmix: float) -> None:
    # every image is of one value, its class; so the mean of a mixed image must be the mean of its mixed target
    values = np.arange(8, dtype=np.float32)
    mixed = {"images": np.ones((8, 128, 128, 3), np.float32) * values[:, None, None, None], "labels": np.eye(8)}
    for layer in augment.mixing(mixup, cutmix, seed=3):
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
