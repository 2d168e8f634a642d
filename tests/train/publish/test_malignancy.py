"""One network for two data sets: malignant or benign, with another protocol for comparison."""

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from skinapp.errors import DataError, ModelError
from skinapp.images import imaging
from skinapp.inference import registry, runtime
from skinapp.labels.sets import HAM10000, MALIGNANCY
from tests.pictures import lesion
from tests.train.conftest import Published
from train.config import Config, Stage
from train.data import datasets, splits
from train.fit import network, training
from train.publish import evaluate, export

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("without_graphs")]

IMAGES_PER_CLASS = 8


@pytest.fixture(scope="module")
def both(tiny_data: Path, tiny: Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The tiny HAM10000 and a tiny malignant/benign set: of each class a copy of a HAM10000 test image, five images to
    train on, one to test on, and one that the list of groups does not know."""
    root = tmp_path_factory.mktemp("both")
    (root / "ham10000").symlink_to(tiny_data / "ham10000")
    rows = []
    for label in MALIGNANCY.codes:
        (root / "malignant_benign" / label).mkdir(parents=True)
        for number in range(IMAGES_PER_CLASS):
            seed = number + 100 * (label == "malignant")
            lesion(64, 64, seed=seed).save(root / "malignant_benign" / label / f"{number}.webp")
            group, split = f"{label}/{number}", "test" if number == 6 else "train"
            if number == 0:
                group, split = {"benign": "HAM_nv_c", "malignant": "HAM_mel_c"}[label], "test"
            if number < 7:
                rows.append((f"{label}/{number}", group, "ISIC" if number == 0 else "", split))
    listed = root / "listed.csv"
    pd.DataFrame(rows, columns=["image", "group", "ham10000", "split"]).to_csv(listed, index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKINAPP_DATA", str(root))
        patch.setattr(splits, "MALIGNANT_BENIGN", listed)
        yield root


@pytest.fixture(scope="module")
def config(tiny: Config, both: Path) -> Config:
    return dataclasses.replace(
        tiny,
        id="both",
        dataset="ham10000+malignant_benign",
        labels="malignancy",
        architecture="cnn32",
        cache_size=32,
        stages=(Stage(image_size=32, epochs=1, learning_rate=0.01),),
        beside="other",
    )


@pytest.fixture(scope="module")
def runs(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished, evaluated run, and one under the tutorial's protocol."""
    folder = tmp_path_factory.mktemp("runs")
    leaky = dataclasses.replace(config, id="other", dataset="ham10000-resampled", labels="ham10000", beside=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "DRAWS_PER_CLASS", 8)
        for one in (config, leaky):
            training.fit(one, folder)
            evaluate.evaluate(one, folder)
    return folder


def test_the_malignant_benign_set_keeps_to_its_list(both: Path) -> None:
    table = datasets.read("malignant_benign")
    assert tuple(table.columns) == datasets.COLUMNS
    assert table["split"].value_counts().to_dict() == {"train": 10, "test": 4, "excluded": 2}
    assert table.set_index("image")["group"]["benign/0"] == "HAM_nv_c"


def test_the_lesions_held_back_from_ham10000_do_not_depend_on_the_other_set(both: Path) -> None:
    alone = datasets.with_validation(datasets.read("ham10000"), 2, 1, seed=4)
    joint = datasets.with_validation(datasets.read("ham10000+malignant_benign"), 2, 1, seed=4)
    assert joint["split"][joint["dataset"] == "ham10000"].tolist() == alone["split"].tolist()
    validation = joint[(joint["dataset"] == "malignant_benign") & (joint["split"] == "validation")]
    assert 4 <= len(validation) <= 6


def test_diagnoses_are_grouped_for_malignancy() -> None:
    codes = pd.Series(["nv", "mel", "benign", "malignant", "akiec"])
    assert datasets.encode(codes, MALIGNANCY).tolist() == [0, 1, 0, 1, 1]
    with pytest.raises(DataError, match="'ham10000' has no class for benign, malignant"):
        datasets.encode(codes, HAM10000)


def test_resampling_first_puts_copies_on_both_sides(both: Path) -> None:
    table = datasets.resampled(datasets.read("ham10000"), 12, seed=1)
    assert table["label"].value_counts().unique().tolist() == [12]
    assert table["split"].value_counts().to_dict() == {"train": 63, "test": 21}
    train, test = (set(table["image"][table["split"] == split]) for split in ("train", "test"))
    assert train & test


@pytest.mark.parametrize("name", ["ham10000", "malignant_benign"])
@pytest.mark.usefixtures("both")
def test_a_tutorials_split_is_by_image(name: str) -> None:
    table, every = datasets.read(f"{name}-by-image"), datasets.read(name)
    assert set(table["image"]) == set(every["image"])
    assert (table["split"] == "test").sum() == round(0.2 * len(every))
    assert table["group"].is_unique


def test_each_data_set_is_scored_separately(runs: Path, config: Config) -> None:
    report = json.loads((runs / "both" / "evaluation.json").read_text())
    assert [test["name"] for test in report["tests"]] == ["HAM10000", "Skin Cancer: Malignant vs. Benign"]
    assert [test["images"] for test in report["tests"]] == [7, 4]
    assert sum(row["images"] for row in report["tests"][0]["reliability"]) == 7
    # the choices are made on the first one's validation images
    table = datasets.with_validation(datasets.read(config.dataset), **config.division)
    validation = table[table["split"] == "validation"]
    assert set(validation["dataset"]) == {"ham10000", "malignant_benign"}
    [chosen] = {point["measured"][0]["images"] for point in report["operating_points"]}
    assert chosen == (validation["dataset"] == "ham10000").sum()
    points = {point["id"]: [row["name"] for row in point["measured"]] for point in report["operating_points"]}
    assert set(points) == {"cancer-90", "cancer-95", "melanoma-90", "melanoma-95"}
    assert points["cancer-90"] == ["Validation images", "HAM10000", "Skin Cancer: Malignant vs. Benign"]
    # the other set does not say which of its malignant images are melanomas
    assert points["melanoma-90"] == ["Validation images", "HAM10000"]
    for name, dataset, images in (("", "ham10000", 7), ("-malignant_benign", "malignant_benign", 4)):
        predictions = pd.read_csv(runs / "both" / f"predictions{name}.csv")
        assert set(predictions["label"]) == {"benign", "malignant"}
        assert predictions["dataset"].value_counts().to_dict() == {dataset: images}
        assert predictions[["p_benign", "p_malignant"]].sum(axis=1).to_numpy() == pytest.approx(1, abs=2e-6)


def test_a_network_without_class_maps_is_exported_and_predicts(runs: Path, config: Config, tmp_path: Path) -> None:
    folder = export.export(config, runs, tmp_path)
    model = registry.model("both", tmp_path)
    assert model.runnable
    assert not model.has_class_maps
    assert not (folder / "model.keras").exists()
    assert [test["name"] for test in model.card["other_tests"]] == [
        "Skin Cancer: Malignant vs. Benign",
        "HAM10000, resampled before it was split",
    ]
    row = pd.read_csv(folder / "predictions-malignant_benign.csv").iloc[-1]
    path = datasets.read("malignant_benign").set_index("image")["path"][row["image"]]
    prediction = runtime.Classifier(model).predict(imaging.load(path, model.input_size))
    assert prediction.class_maps is None
    assert prediction.probabilities[1] == pytest.approx(row["p_malignant"], abs=1e-3)
    card = (folder / "README.md").read_text()
    assert "under another protocol" in card
    assert not re.search(r"\bnan\b", card)


def test_a_baseline_may_go_without_its_weights(runs: Path, config: Config, tmp_path: Path) -> None:
    folder = export.export(dataclasses.replace(config, ship_weights=False), runs, tmp_path)
    model = registry.model("both", tmp_path)
    assert {file.name for file in folder.iterdir()} == {
        "model.json",
        "README.md",
        "predictions.csv",
        "predictions-malignant_benign.csv",
        "history.csv",
    }
    assert "weights are not shipped" in (folder / "README.md").read_text()
    assert registry.ranked(tmp_path) == []
    with pytest.raises(ModelError, match="only its scores are here"):
        runtime.classifier(model)


@pytest.mark.usefixtures("tiny")
def test_the_backbone_of_a_model_is_reused(published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    """The features stay, the head is new."""
    monkeypatch.setenv("SKINAPP_MODELS", str(published.models))
    old = network.build("tiny", 24, 7, "none")
    network.copy_weights(keras.saving.load_model(published.models / "tiny" / "model.keras", compile=False), old)
    new = network.build("tiny", 24, 2, "tiny")
    images = np.random.default_rng(0).integers(0, 256, (2, 24, 24, 3)).astype(np.float32)
    features = [
        np.asarray(keras.Model(one.input, one.get_layer("embedding").output).predict(images, verbose=0))
        for one in (old, new)
    ]
    assert features[0] == pytest.approx(features[1], abs=1e-5)
    assert features[0].std() > 0
    assert new.output_shape == (None, 2)
