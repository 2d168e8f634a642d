"""From two trained networks to one model for both images of a lesion."""

import dataclasses
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import yaml

from skinapp.errors import DataError
from skinapp.evaluation import bootstrap, comparison, metrics, operating_points, predictions, training_history
from skinapp.images import imaging
from skinapp.inference import pair as runtime_pair
from skinapp.inference import registry, runtime
from skinapp.labels.sets import MILK10K
from tests.sources import write_milk10k
from tests.train.conftest import light_augmentation, tiny_config, tiny_network_on
from train.__main__ import main as train
from train.config import Config, load_config
from train.data import datasets
from train.fit import augmentation, training
from train.publish import pair

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("without_graphs")]

COLUMNS = [f"p_{code}" for code in MILK10K.codes]


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> object:
    """The configurations of two tiny networks, with the small MILK10k as their data."""
    root = tmp_path_factory.mktemp("milk10k")
    write_milk10k(root)
    with tiny_network_on(root) as patch:
        patch.setitem(augmentation.POLICIES, "standard", light_augmentation)
        one = tiny_config(root / "tiny.yaml")
        one = dataclasses.replace(one, labels="milk10k", folds=3, stages=one.stages[:1])
        yield (
            dataclasses.replace(one, id="dermoscopy", dataset="milk10k-pairs"),
            dataclasses.replace(one, id="close-up", dataset="milk10k-pairs-clinical", seed=one.seed),
        )


@pytest.fixture(scope="module")
def runs(configs: tuple[Config, Config], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for config in configs:
        training.fit(config, folder)
    return folder


@pytest.fixture(scope="module")
def model(configs: tuple[Config, Config], runs: Path, tmp_path_factory: pytest.TempPathFactory) -> registry.Model:
    """Made by the command."""
    folder = tmp_path_factory.mktemp("models")
    files = []
    for config in configs:
        settings = dataclasses.asdict(config) | {
            "views": ["upright"],
            "stages": [vars(stage) for stage in config.stages],
        }
        files.append(folder.parent / f"{folder.name}-{config.id}.yaml")
        files[-1].write_text(yaml.safe_dump(settings))
        assert load_config(files[-1]) == config
    command = ["pair", "--config", files[0], "--close-up", files[1], "--runs", runs, "--models", folder]
    assert train([str(one) for one in command]) == 0
    return registry.model("milk10k-pair", folder)


def squares(model: registry.Model, row: dict[str, str]) -> list[np.ndarray]:
    paths = [
        datasets.read(name).set_index("image")["path"][row[column]]
        for name, column in (("milk10k-pairs", "image"), ("milk10k-pairs-clinical", "close_up"))
    ]
    return [imaging.load(path, model.input_size) for path in paths]


def test_published_predictions_match_the_app(model: registry.Model) -> None:
    registry.verify(model)
    table = pd.read_csv(model.folder / "predictions.csv")
    assert len(table) == model.card["test"]["images"] == len(MILK10K.codes)
    assert set(table["dataset"]) == {"milk10k"}
    lesions = datasets.read("milk10k-pairs").set_index("image")["group"]
    close_ups = datasets.read("milk10k-pairs-clinical").set_index("image")["group"]
    assert (lesions[table["image"]].to_numpy() == table["group"]).all()
    assert (close_ups[table["close_up"]].to_numpy() == table["group"]).all()
    constants = []
    for row in table.head(4).to_dict("records"):
        predicted = runtime_pair.predict(model, squares(model, row))
        assert [row[column] for column in COLUMNS] == pytest.approx(predicted.combined.probabilities, abs=2e-3)
        assert predicted.class_maps is not None
        constants.append(
            predicted.combined.logits - sum(class_map.mean(axis=(0, 1)) for class_map in predicted.class_maps)
        )
    assert constants[1:] == pytest.approx(np.array([constants[0]] * 3), abs=1e-3)


def test_the_fit_is_made_on_the_lesions_that_both_hold_out(
    model: registry.Model, configs: tuple[Config, Config], runs: Path
) -> None:
    logits, truth = [], None
    for config in configs:
        data = datasets.prepare(config.dataset, config.image_size, runs)
        table = datasets.with_validation(data.table, config.folds, config.fold, config.seed)
        rows = table[table["split"] == "validation"].sort_values("group").index
        network = keras.saving.load_model(runs / config.id / "stage-1" / "best.keras", compile=False)
        logits.append(network.predict(data.images[rows], verbose=0))
        truth = datasets.encode(table["label"][rows], MILK10K)
    fitted = pair.fit(logits, truth, np.zeros(len(MILK10K.codes)))
    pictures = model.card["pair"]["pictures"]
    assert fitted.weights == pytest.approx([picture["weight"] for picture in pictures], abs=2e-3)
    assert fitted.bias == pytest.approx(model.card["pair"]["bias"], abs=2e-3)


def test_scores_and_differences_follow_from_the_predictions(model: registry.Model) -> None:
    table = pd.read_csv(model.folder / "predictions.csv")
    truth = datasets.encode(table["label"], MILK10K)
    computed = bootstrap.intervals(
        metrics.DIAGNOSIS_SCORES, truth, table[COLUMNS].to_numpy(), table["group"].to_numpy()
    )
    for name in ("macro_f1", "balanced_accuracy"):
        assert model.card["scores"][name]["value"] == pytest.approx(computed[name].value, abs=2e-4)
        for picture in model.card["pair"]["pictures"]:
            difference = model.card["scores"][name]["value"] - picture["scores"][name]["value"]
            assert picture["differences"][name]["value"] == pytest.approx(difference, abs=2e-4)
    [first, *_] = operating_points.of_card(model.card)
    assert list(first.measured) == ["MILK10k, validation lesions", "MILK10k, test lesions"]


def test_the_card_says_what_was_done(model: registry.Model) -> None:
    text = (model.folder / "README.md").read_text()
    assert "| score | both images | dermoscopy image alone | close-up alone |" in text
    assert "11 pairs of images" in text
    assert "Training of the network for the close-up" in text
    assert "--config train/configs/dermoscopy.yaml --close-up train/configs/close-up.yaml" in text
    history = training_history.history(model)
    assert set(history["fold"]) == {"dermoscopy image", "close-up"}
    assert model.card["training"]["images"] == {"train": 22, "validation": 11, "test": 11}


def test_it_is_compared_with_a_model_for_one_image_on_malignancy(model: registry.Model, tmp_path: Path) -> None:
    single = registry.model("ham10000-cnn32")
    shutil.copytree(model.folder, tmp_path / model.id)
    folder = Path(shutil.copytree(single.folder, tmp_path / single.id))
    table = pd.read_csv(model.folder / "predictions.csv")
    table = table[table["label"].isin(["AKIEC", "BCC", "BKL", "MEL", "NV"])]
    rows = table[["image", "group", "dataset"]].assign(label=table["label"].str.lower())
    share = np.linspace(0.1, 0.9, len(rows))
    rows = rows.assign(
        p_mel=share, p_nv=1 - share, **{f"p_{code}": 0.0 for code in ("akiec", "bcc", "bkl", "df", "vasc")}
    )
    rows.to_csv(folder / "predictions-milk10k.csv", index=False)
    card = json.loads((folder / "model.json").read_text())
    card["files"] = registry.fingerprint(folder)
    (folder / "model.json").write_text(json.dumps(card))
    known, left_out = predictions.shipped(tmp_path)
    assert not left_out
    chosen = [known[model.id], known[single.id]]
    assert comparison.questions(chosen) == ["malignancy"]
    shared = comparison.share(chosen, "malignancy", "milk10k")
    assert set(shared.images) == set(rows["image"])


@pytest.mark.parametrize("adjustment", [0.0, 1.0])
def test_the_better_network_counts_more_and_nothing_counts_less_than_0(adjustment: float) -> None:
    generator = np.random.default_rng(1)
    labels = generator.choice(3, 600, p=[0.7, 0.2, 0.1])
    good, poor = (strength * np.eye(3)[labels] + generator.normal(size=(600, 3)) for strength in (2.0, 0.5))
    subtracted = adjustment * np.log([0.7, 0.2, 0.1])
    fitted = pair.fit([good, poor], labels, subtracted)
    assert fitted.weights[0] > fitted.weights[1] > 0
    assert pair.fit([good, -good], labels, subtracted).weights[1] == 0
    probabilities = runtime.softmax(fitted.logits([good, poor]))
    called = np.bincount(probabilities.argmax(axis=1), minlength=3) / 600
    assert (called[0] > 0.65) == (adjustment == 0)
    if not adjustment:
        assert probabilities.mean(axis=0) == pytest.approx([0.7, 0.2, 0.1], abs=0.04), "it is calibrated"


def changed(config: Config, **settings: object) -> Config:
    return dataclasses.replace(config, **settings)  # type: ignore[arg-type]


def test_networks_that_do_not_belong_together_are_refused(
    configs: tuple[Config, Config], runs: Path, tmp_path: Path
) -> None:
    dermoscopy, close_up = configs
    refused = {
        "'close-up' is a network for the close-up of a lesion, not for its dermoscopy image": (close_up, dermoscopy),
        "disagree on their classes: .* has milk10k, .* has malignancy": (
            dermoscopy,
            changed(close_up, labels="malignancy"),
        ),
        "disagree on folds": (dermoscopy, changed(close_up, folds=2)),
        "disagree on image_size": (dermoscopy, changed(close_up, input_size=40)),
        "'close-up' holds out no lesions": (dermoscopy, changed(close_up, fold=None)),
        "no trained network in .*absent; run fit first": (changed(dermoscopy, id="absent"), close_up),
    }
    for sentence, two in refused.items():
        with pytest.raises(DataError, match=sentence):
            pair.pair(*two, 0.0, runs, tmp_path / "models")
    assert not (tmp_path / "models").exists()


def rows(*lesions: tuple[str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(lesions, columns=["group", "split", "label"])


def test_lesions_are_matched_and_none_is_trained_on_and_held_out() -> None:
    one = rows(("a", "test", "NV"), ("b", "validation", "MEL"), ("c", "test", "DF"))
    other = rows(("c", "test", "DF"), ("d", "test", "NV"), ("a", "test", "NV"), ("b", "validation", "MEL"))
    assert [part.tolist() for part in pair.matched([one, other], "test")] == [[0, 2], [2, 0]]
    pair.check_held_out([one, other])
    with pytest.raises(DataError, match="No lesion has both images in the part 'train'"):
        pair.matched([one, other], "train")
    with pytest.raises(DataError, match="images of the lesion a have different labels"):
        pair.matched([one, other.assign(label="VASC")], "test")
    with pytest.raises(DataError, match="lesion a has several images"):
        pair.matched([pd.concat([one, one]), other], "test")
    with pytest.raises(DataError, match=r"trained on lesions that the other one holds out \(1, such as b\)"):
        pair.check_held_out([one, rows(("b", "train", "MEL"))])
