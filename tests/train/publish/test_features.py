"""From features to a model folder, on random data."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skinapp.errors import DataError
from skinapp.evaluation import operating_points
from skinapp.inference import feature_model, registry, trees
from skinapp.inference.runtime import softmax
from skinapp.inference.training_images import OUT_OF_FOLD
from skinapp.lesion import features
from tests.model_folder import check_operating_points, table
from train.data.datasets import COLUMNS
from train.publish import features as publishing
from train.publish.features import Config

CONFIG = Config(
    id="drawn-features",
    title="Drawn",
    short_name="Drawn",
    dataset="malignant_benign",
    labels="malignancy",
    iterations=30,
    leaves=4,
    least_images=5,
    logit_adjustment=0.5,
)


def drawn(images: int = 600) -> tuple[pd.DataFrame, np.ndarray]:
    """A table in the common form, two images a lesion, and features: one in three malignant, as shown by two
    features."""
    generator = np.random.default_rng(0)
    lesion = np.arange(images) // 2
    malignant = generator.random(images // 2)[lesion] < 1 / 3
    values = generator.normal(size=(images, len(features.TITLES)))
    values[:, 3] += 1.5 * malignant
    values[:, 40] -= malignant
    values[generator.random(values.shape) < 0.05] = np.nan
    rows = pd.DataFrame(index=range(images), columns=list(COLUMNS)).assign(
        dataset="malignant_benign",
        source="malignant_benign",
        image=[f"image/{number}" for number in range(images)],
        group=[f"lesion {number}" for number in lesion],
        label=np.where(malignant, "malignant", "benign"),
        split=np.where(lesion % 5 == 0, "test", "train"),
    )
    return rows, values


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> registry.Model:
    rows, values = drawn()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publishing, "read", lambda name: rows)
        frame = pd.DataFrame(values, rows["image"], list(features.TITLES))
        patch.setattr(publishing, "measured", lambda name, runs: frame)
        folder = publishing.export(CONFIG, Path(), tmp_path_factory.mktemp("models"))
    return registry.read_model(folder)


def test_the_folder_is_a_model_that_finds_what_was_drawn(model: registry.Model) -> None:
    assert model.kind == "features"
    assert model.runnable
    assert model.weights == (registry.TREES_FILE,)
    assert model.card["scores"]["roc_auc_malignancy"]["value"] > 0.8
    assert model.card["training"]["boosting"]["iterations"] <= CONFIG.iterations
    assert model.card["training"]["images"] == {"train": 480, "test": 120}
    assert "boosting" in (model.folder / "README.md").read_text()


def test_the_predictions_are_those_of_the_trees_in_the_folder(model: registry.Model) -> None:
    rows, values = drawn()
    loaded = feature_model.load(model).trees
    logits = np.array([loaded.logits(row) for row in values[rows["split"] == "test"]])
    _, probabilities = table(model, "predictions.csv")
    assert probabilities == pytest.approx(softmax(logits / model.temperature), abs=1e-4)


def test_choices_are_made_out_of_fold(model: registry.Model) -> None:
    check_operating_points(model)
    rows, _ = drawn()
    out_of_fold = pd.read_csv(model.folder / OUT_OF_FOLD)
    assert set(out_of_fold["image"]) == set(rows.loc[rows["split"] == "train", "image"])
    assert operating_points.of_card(model.card)[0].measured
    assert "out of fold" in model.card["conformal"]["images"]


def test_no_lesion_is_predicted_by_trees_that_were_trained_on_it() -> None:
    rows, values = drawn(200)
    # a value that only identifies lesions: knowing a lesion's other image reveals its label
    values[:] = 0
    values[:, 0] = np.random.default_rng(1).permutation(100)[np.arange(200) // 2]
    config = dataclasses.replace(CONFIG, least_images=1, leaves=30, learning_rate=0.5, penalty=0.0)
    held_out = publishing.cross_validated(config, rows, values)
    right = (held_out.logits.argmax(axis=1) == held_out.labels).mean()
    assert right < 0.75
    labels = (rows["label"] == "malignant").to_numpy().astype(int)
    everything = publishing.fit(config, values, labels, 30, 2)
    assert everything.score(values, labels) > 0.9


def test_the_adjustment_is_in_the_trees_and_not_in_the_scores_of_scikit_learn() -> None:
    rows, values = drawn(200)
    labels = (rows["label"] == "malignant").to_numpy().astype(int)
    fitted = publishing.fit(CONFIG, values, labels, 5, 2)
    shares = publishing.log_shares(labels, 2)
    plain, adjusted = (publishing.to_trees(fitted, tuple(features.TITLES), -x * shares) for x in (0.0, 0.5))
    assert adjusted.logits(values[0]) == pytest.approx(plain.logits(values[0]) - 0.5 * shares)
    publishing.check_agreement(fitted, adjusted, values)


def test_every_class_needs_a_training_image() -> None:
    _, values = drawn(200)
    with pytest.raises(DataError, match="no training image"):
        publishing.fit(CONFIG, values, np.arange(200) % 2, 5, 3)


def test_trees_that_differ_from_scikit_learn_are_not_published() -> None:
    rows, values = drawn(200)
    labels = (rows["label"] == "malignant").to_numpy().astype(int)
    fitted = publishing.fit(CONFIG, values, labels, 5, 2)
    made = publishing.to_trees(fitted, tuple(features.TITLES), np.zeros(2))
    wrong = dataclasses.replace(made, value=np.where(made.value > 0, made.value + 1e-12, made.value))
    with pytest.raises(publishing.ModelError, match="not give the numbers"):
        publishing.check_agreement(fitted, wrong, values)


@pytest.mark.parametrize("name", ["ham10000", "malignancy"])
def test_the_settings_in_the_repository_are_valid(name: str) -> None:
    file = Path(publishing.__file__).parents[1] / "configs" / "features" / f"{name}.yaml"
    assert publishing.load_config(file).id == f"{name}-features"


def test_trees_of_other_features_or_classes_are_refused(model: registry.Model, tmp_path: Path) -> None:
    loaded = feature_model.load(model).trees
    for changes, words in (
        ({"names": np.array(["unheard_of", *loaded.names[1:]])}, "unheard_of"),
        ({"mix": np.eye(2)[:1].repeat(3, axis=1)[:, :3], "offset": np.zeros(3)}, "3 classes, not 2"),
    ):
        content = trees.save(dataclasses.replace(loaded, **changes))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(registry, "verified_bytes", lambda model, name, content=content: content)
            with pytest.raises(feature_model.ModelError, match=words):
                feature_model.load(model)
