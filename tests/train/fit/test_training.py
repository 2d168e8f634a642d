import contextlib
import dataclasses
import itertools
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

from skinapp.errors import DataError
from skinapp.files import locked
from skinapp.inference.runtime import softmax
from skinapp.labels.sets import label_set
from tests.full_disk import full_disk_from_now, only_where_there_is_one
from tests.train.conftest import light_augmentation, nth_call, stepwise, tiny_command
from train.config import SAMPLING, Config, Stage, load_config
from train.data.datasets import prepare, read, with_validation
from train.fit import augmentation, callbacks, network, run_folder, stages, training, validation
from train.publish import evaluate, export

CODES = np.array([0] * 16 + [1] * 4 + [2])
CONFIGS = Path(training.__file__).parents[1] / "configs"


@pytest.mark.parametrize(
    ("sampling", "shares"),
    [("natural", (16, 4, 1)), ("square-root", (4, 2, 1)), ("balanced", (1, 1, 1))],
)
def test_sampling_gives_each_class_its_share(sampling: str, shares: tuple[int, ...]) -> None:
    weights = stages.sampling_weights(CODES, SAMPLING[sampling])
    assert weights.sum() == pytest.approx(1)
    class_shares = [weights[np.equal(CODES, code)].sum() for code in range(3)]
    assert class_shares == pytest.approx(np.array(shares) / sum(shares))


def test_batches_are_those_of_the_epoch() -> None:
    images = np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1)
    targets = np.eye(10, dtype=np.float32)
    offsets = np.arange(10, dtype=np.float32)[:, None] * np.ones(10, np.float32)

    def rows(epoch: int) -> np.ndarray:
        return np.random.default_rng(epoch).permutation(10)

    batches = stages.Batches(images, targets, offsets, rows, batch=4)
    assert len(batches) == 2
    first = [batches[number][0]["images"].ravel().tolist() for number in (0, 1)]
    order = np.random.default_rng(0).permutation(10)
    assert [sorted(part) for part in first] == [sorted(order[:4]), sorted(order[4:8])]
    inputs, labels = batches[1]
    assert (inputs["targets"].argmax(axis=1) == inputs["images"].ravel()).all()
    assert (inputs["offsets"][:, 0] == inputs["images"].ravel()).all()
    assert (labels["logits"] == inputs["targets"]).all()
    batches.start(1)
    assert batches[0][0]["images"].ravel().tolist() != first[0]


def test_validation_scores_weight_classes_equally() -> None:
    labels = np.array([0, 0, 0, 1])
    probabilities = np.array([[0.8, 0.2], [0.8, 0.2], [0.8, 0.2], [0.6, 0.4]])
    scores = validation.validation_scores(labels, probabilities)
    assert scores["val_accuracy"] == pytest.approx(3 / 4)
    assert scores["val_balanced_accuracy"] == pytest.approx(1 / 2)
    assert scores[validation.MONITOR] == pytest.approx(-(np.log(0.8) + np.log(0.4)) / 2)


def test_the_published_network_takes_0_to_255_is_flat_and_can_be_frozen_in_part() -> None:
    model = network.build("efficientnetb1", 32, 7, "none", dropout=0.3)
    assert model.input_shape == (None, 32, 32, 3)
    assert model.output_shape == (None, 7)
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)
    assert [layer.name for layer in model.layers[-3:]] == ["embedding", "head_dropout", "logits"]
    # without top-level rescaling inside, the first convolution would see values of 0-255
    assert any(isinstance(layer, keras.layers.Rescaling) and layer.scale == 1 / 255 for layer in model.layers)
    network.freeze(model, 2)
    trained = {layer.name for layer in model.layers if layer.trainable and layer.weights}
    assert not [name for name in trained if name.startswith(("stem", "block1", "block2"))]
    assert {"block3a_expand_conv", "block3a_expand_bn", "block7b_bn", "top_conv", "top_bn", "logits"} <= trained
    network.freeze(model, 7)
    assert {layer.name for layer in model.layers if layer.trainable_weights} == {"logits"}
    network.freeze(model, 0)
    assert all(layer.trainable for layer in model.layers)


def test_missing_initial_weights_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKINAPP_WEIGHTS", str(tmp_path))
    with pytest.raises(DataError, match=r"no weights file .*; set SKINAPP_WEIGHTS"):
        network.build("efficientnetb1", 32, 7, "none.weights.h5")


def test_another_size_keeps_the_weights(tiny: Config) -> None:
    small = network.build("tiny", 24, 7, "none")
    # as in published weights: a mean and variance from which the layer derives its factors
    normalization = small.get_layer("normalization")
    normalization.set_weights([np.full(3, 0.4), np.full(3, 0.2), np.array(0)])
    normalization.finalize_state()
    large = network.resized(small, "tiny", 40, dropout=0.2)
    assert large.input_shape == (None, 40, 40, 3)
    for one, other in zip(small.get_weights(), large.get_weights(), strict=True):
        assert (one == other).all()
    again = network.resized(large, "tiny", 24, dropout=0.2)
    images = np.random.default_rng(0).integers(0, 256, (2, 24, 24, 3), dtype=np.uint8)
    assert validation.predict(again, images) == pytest.approx(validation.predict(small, images), abs=1e-5)


def tiny_vgg(include_top: bool, weights: str | None, input_shape: tuple[int, int, int]) -> keras.Model:
    """Like VGG16: five blocks, with its layer names, of a convolution and a pooling."""
    images = keras.Input(input_shape)
    x = keras.layers.Rescaling(1 / 255)(images)
    for block in range(1, 6):
        x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name=f"block{block}_conv1")(x)
        x = keras.layers.MaxPooling2D(name=f"block{block}_pool")(x)
    return keras.Model(images, x)


@pytest.mark.slow
def test_the_first_iteration_trains_the_head_and_the_second_the_last_blocks_too(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, both = (load_config(CONFIGS / f"malignancy-vgg16-{name}.yaml") for name in ("frozen", "unfrozen"))
    own = ("id", "title", "short_name", "stages", "note")
    settings = [
        {name: value for name, value in dataclasses.asdict(one).items() if name not in own} for one in (first, both)
    ]
    assert settings[0] == settings[1], "the second begins with the first"
    assert first.stages == both.stages[:1]
    assert first.optimizer == "sgd"

    monkeypatch.setitem(network.ARCHITECTURES, "vgg16", tiny_vgg)
    monkeypatch.setenv("SKINAPP_WEIGHTS", str(tmp_path))
    keras.utils.set_random_seed(0)
    start = tiny_vgg(False, None, (32, 32, 3))
    start.save_weights(tmp_path / "start.weights.h5")
    config = dataclasses.replace(
        both,
        dataset="ham10000",
        init="start.weights.h5",
        cache_size=32,
        samples_per_epoch=8,
        batch_size=4,
        folds=2,
        stages=tuple(dataclasses.replace(stage, image_size=32, epochs=1) for stage in both.stages),
    )
    with stepwise():
        training.fit(config, tmp_path)
    one, two = (
        keras.saving.load_model(tmp_path / config.id / f"stage-{number}" / "last.keras", compile=False)
        for number in (1, 2)
    )

    def changed(before: keras.Model, after: keras.Model) -> set[str]:
        return {
            layer.name
            for layer in before.layers
            if layer.weights
            for old, new in zip(layer.get_weights(), after.get_layer(layer.name).get_weights(), strict=True)
            if (old != new).any()
        }

    assert not changed(start, one)
    assert changed(one, two) == {"block4_conv1", "block5_conv1", "logits"}


def best_weights(run: Path, config: Config) -> list[np.ndarray]:
    file = run / config.id / f"stage-{len(config.stages)}" / "best.keras"
    return keras.saving.load_model(file, compile=False).get_weights()


def epochs(run: Path, config: Config) -> list[tuple[int, int]]:
    table = export.history(config, run / config.id)
    assert table["epoch"].tolist() == list(range(1, len(table) + 1))
    return [(stage, size) for stage, size in zip(table["stage"], table["image_size"], strict=True)]


EVERY_EPOCH = [(1, 24), (2, 32), (2, 32), (2, 32)]


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Light augmentation; the pipeline's test uses the full one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(augmentation.POLICIES, "standard", light_augmentation)
        yield


@pytest.fixture(scope="module")
def unbroken(tiny: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("unbroken")
    assert training.fit(tiny, runs) == runs / "tiny" / "stage-2" / "best.keras"
    return runs


@pytest.fixture
def one_stage(tiny: Config) -> Config:
    """Only the last stage, for tests in which the initial weights do not matter."""
    return dataclasses.replace(tiny, stages=tiny.stages[1:])


INTERRUPTIONS: dict[str, tuple[Any, str, int, bool]] = {
    "in the first epoch": (stages.Batches, "__getitem__", 1, True),
    "between the stages": (stages, "fit_stage", 2, False),
    "in the third epoch": (callbacks.StartEpoch, "on_epoch_begin", 3, True),
    "between the history and the checkpoint": (callbacks.Checkpoint, "on_epoch_end", 3, False),
    "while a checkpoint is written": (np, "savez", 3, False),
    "between the best network and the history": (validation.Validate, "on_epoch_end", 2, True),
    "after the last epoch": (callbacks.Progress, "close", 2, True),
}


@pytest.mark.slow
@pytest.mark.parametrize("moment", INTERRUPTIONS)
def test_an_interrupted_run_resumes_to_the_same_network(
    moment: str, tiny: Config, unbroken: Path, tmp_path: Path
) -> None:
    owner, name, number, after = INTERRUPTIONS[moment]
    with pytest.MonkeyPatch.context() as patch:
        nth_call(patch, owner, name, number, after)
        with pytest.raises(KeyboardInterrupt, match=r"^Stopped (after [1-4] of 4 epochs; the best|before the first)"):
            training.fit(tiny, tmp_path)
    assert json.loads((tmp_path / "tiny" / "run.json").read_text())["epochs"] == run_folder.epochs(
        tiny, tmp_path / "tiny"
    )
    assert not list((tmp_path / "tiny").rglob("partial*"))
    training.fit(tiny, tmp_path)
    assert epochs(tmp_path, tiny) == EVERY_EPOCH
    assert epochs(unbroken, tiny) == EVERY_EPOCH
    for one, other in zip(best_weights(tmp_path, tiny), best_weights(unbroken, tiny), strict=True):
        assert (one == other).all()
    assert not list((tmp_path / "tiny").rglob("checkpoint*"))


@pytest.mark.slow
def test_a_swallowed_interrupt_is_not_lost(one_stage: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start_epoch = callbacks.StartEpoch.on_epoch_begin

    def swallowing(callback: callbacks.StartEpoch, epoch: int, logs: dict | None = None) -> None:
        start_epoch(callback, epoch, logs)
        if epoch == 1:
            with contextlib.suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)

    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(callbacks.StartEpoch, "on_epoch_begin", swallowing)
    try:
        with pytest.raises(KeyboardInterrupt, match="Stopped after 1 of 3 epochs"):
            training.fit(one_stage, tmp_path)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, usual)


SIGNALS = {
    "SIGKILL Validate.on_epoch_end 1": "between the first best network and its history",
    "SIGKILL History.on_epoch_end 2": "between the history of the second stage and its checkpoint",
    "SIGKILL Checkpoint.on_epoch_end 2": "after an epoch",
    "SIGINT StartEpoch.on_epoch_begin 1": "in the last epoch",
}


@pytest.mark.slow
def test_a_run_killed_three_times_and_stopped_once_ends_in_the_same_network(
    tiny: Config, unbroken: Path, tmp_path: Path
) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(json.dumps(dataclasses.asdict(tiny)))
    for moment in SIGNALS:
        process = tiny_command("fit", "--config", file, "--runs", tmp_path, SIGNAL=moment)
        assert process.returncode == (-signal.SIGKILL if moment.startswith("SIGKILL") else 130), process.stderr
    assert "Traceback" not in process.stderr
    assert process.stderr.splitlines()[-1].startswith("Stopped after 3 of 4 epochs; the best network so far")
    training.fit(tiny, tmp_path)
    assert epochs(tmp_path, tiny) == EVERY_EPOCH
    for one, other in zip(best_weights(tmp_path, tiny), best_weights(unbroken, tiny), strict=True):
        assert (one == other).all()
    scores = [run_folder.stage_scores(runs / "tiny" / "stage-2") for runs in (tmp_path, unbroken)]
    assert scores[0] == scores[1]


def test_a_finished_run_is_not_trained_again(tiny: Config, unbroken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "fit_stage", lambda *arguments: pytest.fail("trained again"))
    assert training.fit(tiny, unbroken).is_file()


def test_the_saved_network_is_the_best_one(tiny: Config, unbroken: Path) -> None:
    history = pd.read_csv(unbroken / "tiny" / "stage-2" / "history.csv")
    data = prepare(tiny.dataset, tiny.cache_size, unbroken)
    table = with_validation(data.table, tiny.folds, tiny.fold, tiny.seed)
    rows = np.flatnonzero(table["split"] == "validation")
    labels = table["label"].iloc[rows].map(label_set(tiny.labels).codes.index).to_numpy()
    saved = keras.saving.load_model(unbroken / "tiny" / "stage-2" / "best.keras", compile=False)
    logits = validation.predict(saved, validation.resize(data.images[rows], tiny.image_size))
    score = validation.validation_scores(labels, softmax(logits))[validation.MONITOR]
    assert score == pytest.approx(history[validation.MONITOR].min(), abs=1e-4)


@pytest.mark.slow
def test_training_changes_the_network(tiny: Config, unbroken: Path, tmp_path: Path) -> None:
    other = dataclasses.replace(tiny, seed=1)
    training.fit(other, tmp_path)
    changes = [
        np.abs(one - another).max()
        for one, another in zip(best_weights(unbroken, tiny), best_weights(tmp_path, other), strict=True)
    ]
    assert max(changes) > 1e-3


def test_a_run_of_another_configuration_is_not_resumed(tiny: Config, tmp_path: Path) -> None:
    run_folder.open_run(tiny, tmp_path)
    run_folder.open_run(dataclasses.replace(tiny, title="Another title"), tmp_path)
    for command in (training.fit, evaluate.evaluate):
        with pytest.raises(DataError, match="was started with other settings"):
            command(dataclasses.replace(tiny, seed=5), tmp_path)


def test_a_run_has_one_trainer_at_a_time(tiny: Config, tmp_path: Path) -> None:
    with locked(run_folder.open_run(tiny, tmp_path)), pytest.raises(DataError, match="Another process is writing to"):
        training.fit(tiny, tmp_path)
    assert not list((tmp_path / "tiny").glob("stage-*"))


@pytest.mark.slow
def test_every_option_together_resumes_after_an_interruption(tiny: Config, tmp_path: Path) -> None:
    stages = tuple(dataclasses.replace(stage, mixup=0.2, cutmix=1.0) for stage in tiny.stages)
    options = dataclasses.replace(tiny, stages=stages, ema=0.9, loss="logit-adjusted", optimizer="sgd")
    training.fit(options, tmp_path / "unbroken")
    with pytest.MonkeyPatch.context() as patch:
        nth_call(patch, callbacks.StartEpoch, "on_epoch_begin", 3)
        with pytest.raises(KeyboardInterrupt):
            training.fit(options, tmp_path / "broken")
    training.fit(options, tmp_path / "broken")
    for one, other in zip(
        best_weights(tmp_path / "unbroken", tiny), best_weights(tmp_path / "broken", tiny), strict=True
    ):
        assert (one == other).all()
    record = json.loads((tmp_path / "broken" / "tiny" / "run.json").read_text())
    assert record["images_per_second"] > 0
    assert record["config"]["ema"] == 0.9


@pytest.mark.slow
def test_the_average_of_the_weights_is_validated_and_saved(one_stage: Config, tmp_path: Path) -> None:
    saved = []
    for config in (one_stage, dataclasses.replace(one_stage, ema=0.999999)):
        file = training.fit(config, tmp_path / str(config.ema))
        saved.append(keras.saving.load_model(file, compile=False).trainable_weights)
    # an average with high momentum stays where the first step led
    changes = [np.abs(np.asarray(one) - np.asarray(other)).max() for one, other in zip(*saved, strict=True)]
    assert max(changes) > 1e-3
    history = pd.read_csv(tmp_path / "0.999999" / "tiny" / "stage-1" / "history.csv")
    assert history["val_balanced_log_loss"].std() < 0.1


@pytest.mark.slow
def test_mixed_precision_trains_and_ends_in_float32(tiny: Config, tmp_path: Path) -> None:
    mixed = dataclasses.replace(tiny, precision="mixed_bfloat16", stages=tiny.stages[:1])
    training.fit(mixed, tmp_path)
    assert keras.config.dtype_policy().name == "float32"
    table = with_validation(prepare(mixed.dataset, mixed.image_size, tmp_path).table, mixed.folds, 0, 0)
    best = evaluate.best_network(mixed, run_folder.best_file(mixed, tmp_path / "tiny"), table)
    assert {layer.compute_dtype for layer in best.layers if layer.weights} == {"float32"}
    trained = keras.saving.load_model(tmp_path / "tiny" / "stage-1" / "best.keras", compile=False)
    images = np.random.default_rng(0).integers(0, 256, (4, 24, 24, 3), dtype=np.uint8)
    assert validation.predict(best, images) == pytest.approx(validation.predict(trained, images), abs=0.05)


@pytest.mark.parametrize(
    ("devices", "sentence"),
    [
        (8, "--devices is 8, but only 1 is available; pass --devices 1"),
        (3, "batch of 8 cannot be shared"),
        (0, "by 0 dev"),
    ],
)
def test_impossible_devices_are_reported(devices: int, sentence: str, tiny: Config, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=sentence):
        training.fit(tiny, tmp_path, devices=devices)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("scores", "expected"),
    [([], 9), ([1.0], 9), ([1.0, 2.0], 9), ([1.0, 2.0, 2.0], 3), ([2.0, 2.0, 1.0, 1.0], 9), ([2.0, 1.0, 3.0, 1.0], 4)],
)
def test_patience_ends_a_stage(scores: list[float], expected: int) -> None:
    assert run_folder.stage_epochs(Stage(32, 9, 0.1), scores, patience=2) == expected


@pytest.fixture
def worsening(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every epoch scores worse than all previous ones."""
    scores = itertools.count(1)
    monkeypatch.setattr(validation, "validation_scores", lambda *_: {validation.MONITOR: float(next(scores))})


@pytest.fixture
def improving(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every epoch scores better than all previous ones."""
    scores = itertools.count(1)
    monkeypatch.setattr(validation, "validation_scores", lambda *_: {validation.MONITOR: 1 / next(scores)})


@pytest.mark.slow
@pytest.mark.usefixtures("worsening")
@pytest.mark.parametrize("owner", [callbacks.StartEpoch, pytest.param(callbacks.Checkpoint, marks=pytest.mark.slow)])
def test_patience_does_not_restart_after_an_interruption(owner: Any, one_stage: Config, tmp_path: Path) -> None:
    impatient = dataclasses.replace(one_stage, patience=1)
    name = "on_epoch_begin" if owner is callbacks.StartEpoch else "on_epoch_end"
    with pytest.MonkeyPatch.context() as patch:
        # in the second epoch, the last one because of early stopping
        nth_call(patch, owner, name, 2, after=True)
        with pytest.raises(KeyboardInterrupt):
            training.fit(impatient, tmp_path)
    training.fit(impatient, tmp_path)
    assert run_folder.epochs(impatient, tmp_path / "tiny") == {"done": 2, "planned": 2}


FULL = [
    pytest.param("best.keras", marks=pytest.mark.slow),
    "history.csv",
    pytest.param("checkpoint-2.npz", marks=pytest.mark.slow),
]


@pytest.mark.slow
@only_where_there_is_one
@pytest.mark.usefixtures("improving")
@pytest.mark.parametrize("name", FULL)
def test_a_full_disk_is_reported_and_costs_at_most_one_epoch(
    name: str, one_stage: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "tiny" / "stage-1"
    start_epoch = callbacks.StartEpoch.on_epoch_begin
    saved = []

    def second_epoch_fills_the_disk(callback: callbacks.StartEpoch, epoch: int, logs: dict | None = None) -> None:
        start_epoch(callback, epoch, logs)
        if epoch == 1:
            saved.append((folder / "best.keras").read_bytes())
            full_disk_from_now(patch, folder / name)

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.StartEpoch, "on_epoch_begin", second_epoch_fills_the_disk)
        with pytest.raises(DataError, match=rf"{name} cannot be written: No space left on device\. Free some space"):
            training.fit(one_stage, tmp_path)
    assert sorted(file.name for file in folder.iterdir()) == ["best.keras", "checkpoint-1.npz", "history.csv"]
    assert keras.saving.load_model(run_folder.best_file(one_stage, tmp_path / "tiny"), compile=False)
    if name == "best.keras":
        assert (folder / "best.keras").read_bytes() == saved[0]
    training.fit(one_stage, tmp_path)
    assert run_folder.epochs(one_stage, tmp_path / "tiny") == {"done": 3, "planned": 3}


@only_where_there_is_one
@pytest.mark.parametrize("name", ["config.json", "run.json"])
def test_a_full_disk_at_the_first_files_is_reported(
    name: str, tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "fit_stages", lambda *_: None)
    (tmp_path / "tiny").mkdir()
    full_disk_from_now(monkeypatch, tmp_path / "tiny" / name)
    with pytest.raises(DataError, match=f"{name} cannot be written: No space left on device"):
        training.fit(tiny, tmp_path)


def test_diverged_training_is_reported(one_stage: Config, tmp_path: Path) -> None:
    wild = dataclasses.replace(one_stage.stages[0], learning_rate=1e38, warmup_epochs=0.0)
    with pytest.raises(DataError, match=r"Training diverged in epoch 1: .* Lower the learning rate"):
        training.fit(dataclasses.replace(one_stage, stages=(wild,), optimizer="sgd"), tmp_path)


def test_a_split_that_shares_a_lesion_is_refused_before_images_are_read(
    tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = read(tiny.dataset)
    leaking = table.assign(group=table["group"].where(table["split"] != "test", "HAM_nv_a"))
    monkeypatch.setattr(training, "read", lambda *_: leaking)
    with pytest.raises(DataError, match="HAM_nv_a is in several parts"):
        training.fit(tiny, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_fold_without_a_class_is_refused_before_images_are_read(split: str, tiny: Config, tmp_path: Path) -> None:
    table = with_validation(read(tiny.dataset), tiny.folds, tiny.fold, tiny.seed)
    without = table[(table["split"] != split) | (table["label"] != "df")]
    with pytest.raises(DataError, match=f"the {split} images have none of df; set another 'fold'"):
        training.check_classes(without, label_set(tiny.labels))


def test_the_validation_images_that_choose_need_every_class(tiny: Config) -> None:
    table = with_validation(read(tiny.dataset), tiny.folds, tiny.fold, tiny.seed)
    first = table[(table["split"] != "validation") | (table["label"] != "df")]
    further = table.assign(dataset="milk10k")
    with pytest.raises(DataError, match="the validation images have none of df"):
        training.check_classes(pd.concat([first, further]), label_set(tiny.labels))
    training.check_classes(pd.concat([table, further[further["label"] != "df"]]), label_set(tiny.labels))


def test_a_source_of_one_class_is_refused_among_others(tiny: Config) -> None:
    table = read(tiny.dataset)
    single = table[table["label"] == "mel"].assign(source="clinic")
    labels = label_set(tiny.labels)
    with pytest.raises(DataError, match=r"images of the source clinic are of one class. Leave"):
        training.check_sources(pd.concat([table, single]), labels)
    # the rule does not apply to the only source, to parts that are not trained on, or with a second class
    training.check_sources(single, labels)
    training.check_sources(pd.concat([table, single.assign(split="excluded")]), labels)
    training.check_sources(
        pd.concat([table, table[table["label"].isin(["mel", "nv"])].assign(source="clinic")]), labels
    )
    # to two classes, melanoma and basal cell carcinoma are one
    cancers = table[table["label"].isin(["mel", "bcc"])].assign(source="clinic")
    with pytest.raises(DataError, match="source clinic"):
        training.check_sources(pd.concat([table, cancers]), label_set("malignancy"))


def test_frozen_blocks_do_not_change() -> None:
    images = x = keras.Input((8, 8, 3))
    for name in ("stem", "block1a", "block2a", "block3a", "top"):
        x = keras.layers.Conv2D(4, 3, padding="same", use_bias=False, name=f"{name}_conv")(x)
        x = keras.layers.BatchNormalization(name=f"{name}_bn")(x)
    model = keras.Model(images, keras.layers.Dense(7, name="logits")(keras.layers.GlobalMaxPooling2D()(x)))
    network.freeze(model, 2)
    before = {layer.name: layer.get_weights() for layer in model.layers}
    model.compile(keras.optimizers.SGD(0.1), loss=keras.losses.CategoricalCrossentropy(from_logits=True))
    batch = np.random.default_rng(0).random((8, 8, 8, 3)).astype(np.float32)
    model.fit(batch, np.eye(7, dtype=np.float32)[np.arange(8) % 7], verbose=0)
    changed = {
        layer.name
        for layer in model.layers
        if any((one != other).any() for one, other in zip(before[layer.name], layer.get_weights(), strict=True))
    }
    assert changed == {"block3a_conv", "block3a_bn", "top_conv", "top_bn", "logits"}
