import dataclasses
import gc
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

from skinapp.errors import DataError
from skinapp.labels import label_set
from skinapp.runtime import softmax
from train import augment, evaluate, export, fit, network
from train.config import SAMPLING, Config
from train.datasets import prepare, with_validation

CODES = np.array([0] * 16 + [1] * 4 + [2])


@pytest.mark.parametrize(
    ("sampling", "shares"),
    [("natural", (16, 4, 1)), ("square-root", (4, 2, 1)), ("balanced", (1, 1, 1))],
)
def test_sampling_gives_each_class_its_share(sampling: str, shares: tuple[int, ...]) -> None:
    weights = fit.sampling_weights(CODES, SAMPLING[sampling])
    assert weights.sum() == pytest.approx(1)
    found = [weights[np.equal(CODES, code)].sum() for code in range(3)]
    assert found == pytest.approx(np.array(shares) / sum(shares))


def test_batches_are_those_of_the_epoch() -> None:
    images = np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1)
    targets = np.eye(10, dtype=np.float32)
    batches = fit.Batches(images, targets, lambda epoch: np.random.default_rng(epoch).permutation(10), batch=4)
    assert len(batches) == 2
    first = [batches[number][0]["images"].ravel().tolist() for number in (0, 1)]
    drawn = np.random.default_rng(0).permutation(10)
    assert [sorted(part) for part in first] == [sorted(drawn[:4]), sorted(drawn[4:8])]
    inputs, answers = batches[1]
    assert (inputs["targets"].argmax(axis=1) == inputs["images"].ravel()).all()
    assert (answers["logits"] == inputs["targets"]).all()
    batches.start(1)
    assert batches[0][0]["images"].ravel().tolist() != first[0]


def test_validation_scores_weigh_classes_alike() -> None:
    labels = np.array([0, 0, 0, 1])
    probabilities = np.array([[0.8, 0.2], [0.8, 0.2], [0.8, 0.2], [0.6, 0.4]])
    scores = fit.validation_scores(labels, probabilities)
    assert scores["val_accuracy"] == pytest.approx(3 / 4)
    assert scores["val_balanced_accuracy"] == pytest.approx(1 / 2)
    assert scores[fit.MONITOR] == pytest.approx(-(np.log(0.8) + np.log(0.4)) / 2)


def test_the_published_network_takes_0_to_255_and_is_flat() -> None:
    model = network.build("efficientnetb1", 32, 7, "none", dropout=0.3)
    assert model.input_shape == (None, 32, 32, 3)
    assert model.output_shape == (None, 7)
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)
    assert [layer.name for layer in model.layers[-3:]] == ["embedding", "head_dropout", "logits"]
    # without top-level rescaling inside, the first convolution would see values of 0-255
    assert any(isinstance(layer, keras.layers.Rescaling) and layer.scale == 1 / 255 for layer in model.layers)


def test_missing_initial_weights_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKINAPP_WEIGHTS", str(tmp_path))
    with pytest.raises(DataError, match=r"no weights file .*; set SKINAPP_WEIGHTS"):
        network.build("efficientnetb1", 32, 7, "none.weights.h5")


def test_another_size_keeps_the_weights(tiny: Config) -> None:
    small = network.build("tiny", 24, 7, "none")
    # as in published weights: a mean and variance that the layer derives its factors from
    normalization = small.get_layer("normalization")
    normalization.set_weights([np.full(3, 0.4), np.full(3, 0.2), np.array(0)])
    normalization.finalize_state()
    large = network.resized(small, "tiny", 40, dropout=0.2)
    assert large.input_shape == (None, 40, 40, 3)
    for one, other in zip(small.get_weights(), large.get_weights(), strict=True):
        assert (one == other).all()
    again = network.resized(large, "tiny", 24, dropout=0.2)
    images = np.random.default_rng(0).integers(0, 256, (2, 24, 24, 3), dtype=np.uint8)
    assert fit.predict(again, images) == pytest.approx(fit.predict(small, images), abs=1e-5)


def best_weights(run: Path, config: Config) -> list[np.ndarray]:
    file = run / config.id / f"stage-{len(config.stages)}" / "best.keras"
    return keras.saving.load_model(file, compile=False).get_weights()


def epochs(run: Path, config: Config) -> list[tuple[int, int]]:
    table = export.history(config, run / config.id)
    assert table["epoch"].tolist() == list(range(1, len(table) + 1))
    return [(stage, size) for stage, size in zip(table["stage"], table["image_size"], strict=True)]


EVERY_EPOCH = [(1, 24), (2, 32), (2, 32), (2, 32)]


@pytest.fixture(scope="module", autouse=True)
def light_augmentation() -> Iterator[None]:
    """Tracing the whole augmentation takes most of a tiny run; the pipeline's test does it once."""

    def standard(seed: int) -> list[keras.layers.Layer]:
        return [keras.layers.RandomFlip(seed=seed)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(augment.POLICIES, "standard", standard)
        yield


@pytest.fixture(scope="module")
def unbroken(tiny: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("unbroken")
    assert fit.fit(tiny, runs) == runs / "tiny" / "stage-2" / "best.keras"
    return runs


def nth_call(patch: pytest.MonkeyPatch, owner: Any, name: str, number: int, after: bool = False) -> None:
    """The nth call of a method is interrupted, before or after it has done its work."""
    work: Callable = getattr(owner, name)
    calls = 0

    def interrupted(*arguments: object, **options: object) -> object:
        nonlocal calls
        calls += 1
        if calls == number and not after:
            raise KeyboardInterrupt
        result = work(*arguments, **options)
        if calls == number:
            raise KeyboardInterrupt
        return result

    patch.setattr(owner, name, interrupted)


INTERRUPTIONS: dict[str, tuple[Any, str, int, bool]] = {
    "in the first epoch": (fit.Batches, "__getitem__", 1, True),
    "between the stages": (fit, "fit_stage", 2, False),
    "in the third epoch": (fit.StartEpoch, "on_epoch_begin", 3, True),
    "between the history and the backup": (keras.callbacks.BackupAndRestore, "on_epoch_end", 3, False),
    "between the best network and the history": (fit.Validate, "on_epoch_end", 2, True),
    "after the last epoch": (keras.callbacks.BackupAndRestore, "on_train_end", 2, True),
}


# an interrupted CSVLogger leaves its file to the garbage collector
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.slow
@pytest.mark.parametrize("moment", INTERRUPTIONS)
def test_an_interrupted_run_goes_on_to_the_same_network(
    moment: str, tiny: Config, unbroken: Path, tmp_path: Path
) -> None:
    owner, name, number, after = INTERRUPTIONS[moment]
    with pytest.MonkeyPatch.context() as patch:
        nth_call(patch, owner, name, number, after)
        with pytest.raises(KeyboardInterrupt):
            fit.fit(tiny, tmp_path)
        gc.collect()
    fit.fit(tiny, tmp_path)
    assert epochs(tmp_path, tiny) == EVERY_EPOCH
    assert epochs(unbroken, tiny) == EVERY_EPOCH
    for one, other in zip(best_weights(tmp_path, tiny), best_weights(unbroken, tiny), strict=True):
        assert one == pytest.approx(other, abs=1e-4)


@pytest.mark.slow
def test_a_finished_run_is_not_trained_again(tiny: Config, unbroken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "fit_stage", lambda *arguments: pytest.fail("trained again"))
    assert fit.fit(tiny, unbroken).is_file()


@pytest.mark.slow
def test_the_kept_network_is_the_best_one(tiny: Config, unbroken: Path) -> None:
    history = pd.read_csv(unbroken / "tiny" / "stage-2" / "history.csv")
    data = prepare(tiny.dataset, tiny.cache_size, unbroken)
    table = with_validation(data.table, tiny.folds, tiny.fold, tiny.seed)
    rows = np.flatnonzero(table["split"] == "validation")
    labels = table["label"].iloc[rows].map(label_set(tiny.labels).codes.index).to_numpy()
    kept = keras.saving.load_model(unbroken / "tiny" / "stage-2" / "best.keras", compile=False)
    logits = fit.predict(kept, fit.resize(data.images[rows], tiny.image_size))
    found = fit.validation_scores(labels, softmax(logits))[fit.MONITOR]
    assert found == pytest.approx(history[fit.MONITOR].min(), abs=1e-4)


@pytest.mark.slow
def test_training_changes_the_network(tiny: Config, unbroken: Path, tmp_path: Path) -> None:
    other = dataclasses.replace(tiny, seed=1)
    fit.fit(other, tmp_path)
    changes = [
        np.abs(one - another).max()
        for one, another in zip(best_weights(unbroken, tiny), best_weights(tmp_path, other), strict=True)
    ]
    assert max(changes) > 1e-3


def test_a_run_of_another_configuration_is_not_resumed(tiny: Config, tmp_path: Path) -> None:
    fit.open_run(tiny, tmp_path)
    fit.open_run(dataclasses.replace(tiny, title="Another title"), tmp_path)
    with pytest.raises(DataError, match="was begun with other settings"):
        fit.open_run(dataclasses.replace(tiny, seed=5), tmp_path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_every_option_together_goes_on_after_an_interruption(tiny: Config, tmp_path: Path) -> None:
    options = dataclasses.replace(tiny, ema=0.9, mixup=0.2, cutmix=1.0, loss="focal", optimizer="sgd")
    fit.fit(options, tmp_path / "unbroken")
    with pytest.MonkeyPatch.context() as patch:
        nth_call(patch, fit.StartEpoch, "on_epoch_begin", 3)
        with pytest.raises(KeyboardInterrupt):
            fit.fit(options, tmp_path / "broken")
    fit.fit(options, tmp_path / "broken")
    for one, other in zip(
        best_weights(tmp_path / "unbroken", tiny), best_weights(tmp_path / "broken", tiny), strict=True
    ):
        assert one == pytest.approx(other, abs=1e-4)
    record = json.loads((tmp_path / "broken" / "tiny" / "run.json").read_text())
    assert record["images_per_second"] > 0
    assert record["config"]["ema"] == 0.9


@pytest.mark.slow
def test_the_average_of_the_weights_is_validated_and_kept(tiny: Config, tmp_path: Path) -> None:
    plain = dataclasses.replace(tiny, stages=tiny.stages[1:])
    kept = []
    for config in (plain, dataclasses.replace(plain, ema=0.999999)):
        file = fit.fit(config, tmp_path / str(config.ema))
        kept.append(keras.saving.load_model(file, compile=False).trainable_weights)
    # an average that hardly moves stays where the first step led, whatever the weights do
    changes = [np.abs(np.asarray(one) - np.asarray(other)).max() for one, other in zip(*kept, strict=True)]
    assert max(changes) > 1e-3
    history = pd.read_csv(tmp_path / "0.999999" / "tiny" / "stage-1" / "history.csv")
    assert history["val_balanced_log_loss"].std() < 0.1


@pytest.mark.slow
def test_mixed_precision_trains_and_ends_in_float32(tiny: Config, tmp_path: Path) -> None:
    mixed = dataclasses.replace(tiny, precision="mixed_bfloat16", stages=tiny.stages[:1])
    fit.fit(mixed, tmp_path)
    assert keras.config.dtype_policy().name == "float32"
    table = with_validation(prepare(mixed.dataset, mixed.image_size, tmp_path).table, mixed.folds, 0, 0)
    found = evaluate.best_network(mixed, tmp_path / "tiny", table)
    assert {layer.compute_dtype for layer in found.layers if layer.weights} == {"float32"}
    trained = keras.saving.load_model(tmp_path / "tiny" / "stage-1" / "best.keras", compile=False)
    images = np.random.default_rng(0).integers(0, 256, (4, 24, 24, 3), dtype=np.uint8)
    assert fit.predict(found, images) == pytest.approx(fit.predict(trained, images), abs=0.05)


def test_more_devices_than_there_are_is_a_sentence(tiny: Config, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="99 devices are asked for"):
        fit.fit(tiny, tmp_path, devices=99)
