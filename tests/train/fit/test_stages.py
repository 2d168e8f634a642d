"""Sampling, and the correction of the loss, with several sources."""

import dataclasses

import keras
import numpy as np
import pandas as pd
import pytest

from skinapp.errors import DataError
from train.config import Config, Stage
from train.fit import losses, stages

CODES = np.array([0] * 16 + [1] * 4 + [0] * 3 + [1] * 9 + [2] * 3)
DATASET = np.array(["ham10000"] * 20 + ["milk10k"] * 15)
TABLE = pd.DataFrame({"dataset": DATASET, "source": DATASET})


def config(tiny: Config, **settings: object) -> Config:
    return dataclasses.replace(tiny, dataset="ham10000+milk10k", **settings)


def test_each_data_set_is_sampled_by_its_share_and_by_class_within_it(tiny: Config) -> None:
    shares = {"ham10000": 0.7, "milk10k": 0.3}
    weights = stages.sampling_probabilities(config(tiny, shares=shares, sampling="square-root"), TABLE, CODES)
    assert weights.sum() == pytest.approx(1)
    for name, share in shares.items():
        assert weights[name == DATASET].sum() == pytest.approx(share)
    # 16 and 4 images of two classes: roots 4 and 2
    ham = weights[:20]
    assert [ham[CODES[:20] == code].sum() for code in (0, 1)] == pytest.approx([0.7 * 4 / 6, 0.7 * 2 / 6])


def test_without_shares_the_data_sets_are_one(tiny: Config) -> None:
    weights = stages.sampling_probabilities(config(tiny, sampling="natural"), TABLE, CODES)
    assert weights == pytest.approx(np.full(35, 1 / 35))


def test_a_share_of_nothing_is_an_error(tiny: Config) -> None:
    setting = config(tiny, shares={"ham10000": 0.5, "milk10k": 0.5})
    with pytest.raises(DataError, match="samples from milk10k, which has no training image"):
        stages.sampling_probabilities(setting, TABLE[:20], CODES[:20])


def test_offsets_are_the_logarithm_of_the_class_shares_within_a_source() -> None:
    weights = np.full(35, 1 / 35)
    offsets = stages.source_offsets("ham10000", DATASET, CODES, weights, classes=3)
    assert offsets.dtype == np.float32
    assert not offsets[:20].any(), "the reference is not corrected"
    rare = stages.RARE
    # 3, 9 and 3 of 15 images; in the reference 16 and 4 of 20
    expected = np.log(np.array([3, 9, 3]) / 15 + rare) - np.log(np.array([16, 4, 0]) / 20 + rare)
    assert offsets[20:] == pytest.approx(np.tile(expected, (15, 1)), rel=1e-6)


def test_offsets_follow_the_sampled_images_and_not_the_available_ones(tiny: Config) -> None:
    balanced = stages.sampling_probabilities(
        config(tiny, shares={"ham10000": 0.5, "milk10k": 0.5}, sampling="balanced"), TABLE, CODES
    )
    offsets = stages.source_offsets("milk10k", DATASET, CODES, balanced, classes=3)
    # a half of either class in one, a third of every class in the other
    expected = np.log(np.array([1 / 2, 1 / 2, 0]) + stages.RARE) - np.log(1 / 3 + stages.RARE)
    assert offsets[0] == pytest.approx(expected, rel=1e-6)


@pytest.fixture
def network() -> keras.Model:
    """Logits that are the mean colour of an image."""
    images = keras.Input((8, 8, 3))
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(images))


def losses_of(config: Config, stage: Stage, network: keras.Model, offsets: np.ndarray) -> np.ndarray:
    loss = losses.build("cross-entropy", np.ones(3), np.full(3, 1 / 3))
    trainer = stages.training_model(config, stage, network, loss, cache_size=8, seed=0)
    images = np.zeros((4, 8, 8, 3), np.uint8)
    images[..., 1] = np.arange(4)[:, None, None]
    inputs = {"images": images, "targets": np.eye(3, dtype=np.float32)[[0, 1, 2, 1]], "offsets": offsets}
    return keras.ops.convert_to_numpy(trainer(inputs, training=True)["loss"])


def test_the_loss_is_that_of_the_logits_plus_the_offsets(tiny: Config, network: keras.Model) -> None:
    plain = dataclasses.replace(tiny, augmentation="none")
    offsets = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    logits = offsets + [[0, value, 0] for value in range(4)]
    expected = np.log(np.exp(logits).sum(axis=1)) - logits[range(4), [0, 1, 2, 1]]
    assert losses_of(plain, Stage(8, 1, 0.1), network, offsets) == pytest.approx(expected, rel=1e-4)


def test_offsets_are_mixed_as_the_images_are(tiny: Config, network: keras.Model) -> None:
    # an equal offset for all classes does not change the softmax, so this test uses one that depends on the image
    plain, stage = dataclasses.replace(tiny, augmentation="none"), Stage(8, 1, 0.1, mixup=0.4)
    without = losses_of(plain, stage, network, np.zeros((4, 3), np.float32))
    taken_back = np.zeros((4, 3), np.float32)
    taken_back[:, 1] = -np.arange(4)
    corrected = losses_of(plain, stage, network, taken_back)
    # the offset of an image cancels its logit: every class is equally likely, whatever the mix
    assert corrected == pytest.approx(np.full(4, np.log(3)), rel=1e-4)
    assert np.abs(without - corrected).max() > 0.1
