import argparse
import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from skinapp.errors import DataError
from skinapp.images import imaging
from skinapp.inference import registry, retrieval
from skinapp.inference.runtime import Classifier
from tests.pictures import encode, lesion
from tests.train import phone_photos
from train.publish import retrieval_index


def clustered(per_class: int = 12) -> tuple[pd.DataFrame, np.ndarray]:
    """Two classes far apart in a 16-dimensional space, every image of a different lesion."""
    generator = np.random.default_rng(0)
    labels = np.repeat(["nv", "mel"], per_class)
    embeddings = generator.normal(0, 0.1, (len(labels), 16)) + np.where(labels == "nv", 1, -1)[:, np.newaxis]
    names = [f"ISIC_{number:07}" for number in range(len(labels))]
    known = pd.DataFrame({"image": names, "group": names, "label": labels})
    return known, embeddings.astype(np.float32)


def test_neighbours_of_separate_classes_agree() -> None:
    known, embeddings = clustered()
    rows = np.arange(0, len(known), 2)
    result = retrieval_index.fit(known, embeddings, rows, 4)
    assert result.vectors.dtype == np.int8
    assert np.abs(result.vectors).max() == 127
    tested = np.arange(1, len(known), 2)
    predicted = known["label"].to_numpy().copy()
    predicted[tested[0]] = "mel"
    scores = retrieval_index.neighbour_scores(result, known, embeddings, predicted, tested)
    assert scores["right"]["value"] == 1
    assert scores["same"]["value"] == pytest.approx(11 / 12, abs=1e-4)
    # the only wrong prediction is the one that no neighbour agrees with
    assert scores["sure"]["all"]["images"] == 11
    assert scores["sure"]["all"]["right"]["value"] == 1
    assert scores["sure"]["fewer"]["right"]["value"] == 0
    assert "most" not in scores["sure"]


def test_the_fewest_components_that_are_as_good_as_the_best() -> None:
    def scores(value: float, low: float | None) -> dict[str, Any]:
        return {"right": {"value": value, "low": low, "high": low and value + 0.02}}

    assert retrieval_index.fewest({32: scores(0.70, 0.68), 64: scores(0.79, 0.77), 128: scores(0.80, 0.78)}) == 64
    assert retrieval_index.fewest({32: scores(0.80, 0.78), 64: scores(0.79, 0.77)}) == 32
    # too few lesions for an interval
    assert retrieval_index.fewest({32: scores(0.79, None), 64: scores(0.80, None)}) == 64


def test_a_share_and_its_interval() -> None:
    result = retrieval_index.share(np.tile([1.0, 0.0, 1.0, 1.0], 5), np.arange(20))
    assert result["value"] == 0.75
    assert result["low"] < 0.75 < result["high"]


@pytest.fixture(scope="module")
def photos_of_phones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    phone_photos.pad_ufes_20(root)
    phone_photos.milk10k(root, tested=6)
    return root


def models_with(tmp_path: Path, model_id: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a copy of a shipped model without an index, in a separate models folder."""
    folder = tmp_path / "models" / model_id
    shutil.copytree(registry.model(model_id).folder, folder, ignore=shutil.ignore_patterns("similar.*"))
    card = json.loads((folder / "model.json").read_text())
    card["files"] = {name: entry for name, entry in card["files"].items() if not name.startswith("similar")}
    (folder / "model.json").write_text(json.dumps(card))
    monkeypatch.setenv("SKINAPP_MODELS", str(folder.parent))
    return folder


@pytest.mark.parametrize("model_id", ["smartphone-efficientnetb1-6class", "smartphone-efficientnetb1-malignancy"])
def test_phone_photos_are_indexed_and_other_peoples_looked_up(
    model_id: str, photos_of_phones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKINAPP_DATA", str(photos_of_phones))
    folder = models_with(tmp_path, model_id, monkeypatch)
    monkeypatch.setattr(retrieval_index, "COMPONENTS", (2, 4, 4096))
    options = argparse.Namespace(model=model_id, runs=tmp_path / "runs")
    assert retrieval_index.run(options) == 0
    made = registry.model(model_id)
    registry.verify(made)
    card = retrieval.card(made)
    assert card["dataset"] == "pad_ufes_20"
    assert card["looked_up"] == "MILK10k close-ups"
    index = retrieval.index(made)
    assert set(index.labels) <= set(made.labels.codes)
    assert all(image.startswith("PAT_") for image in index.images)
    # half of the six test lesions; the others chose the number of components
    assert card["test"]["images"] == card["test"]["lesions"] == 3
    assert folder.joinpath(retrieval.INDEX_FILE).exists()


def test_a_committee_is_indexed_by_the_network_that_gives_its_embedding() -> None:
    committee = registry.model("ham10000-committee")
    network = retrieval_index._embedding(committee)
    assert network.weights == committee.weights[:1]
    pixels = imaging.load(encode(lesion(seed=0)), committee.input_size)
    alone, whole = (Classifier(one).predict(pixels) for one in (network, committee))
    assert alone.embedding == pytest.approx(whole.embedding, abs=1e-5)
    assert alone.votes.shape == (1, 1, 7)
    # its predictions are in its folder: out of fold for training images, by the whole committee for test images
    tables = [pd.read_csv(committee.folder / name).iloc[:3] for name in ("out_of_fold.csv", "predictions.csv")]
    table = pd.concat(tables).set_index("image")
    expected = table.filter(regex="^p_").idxmax(axis=1).str.removeprefix("p_")
    assert list(retrieval_index._published(committee, pd.Series(table.index))) == list(expected)


def test_what_was_published_meanwhile_stays(own_models: Path, model: registry.Model) -> None:
    before = registry.read_model(own_models / model.id)
    index, about = retrieval.index(before), retrieval.card(before)
    added = edited(before.folder, title="Published meanwhile")
    retrieval_index.write(before, index, about | {"images": 1})
    after = registry.read_model(before.folder)
    assert after.card | {"files": None} == added | {"files": None}
    registry.verify(after)
    assert retrieval.card(after)["images"] == 1


def test_an_index_is_not_added_to_another_network(own_models: Path, model: registry.Model) -> None:
    before = registry.read_model(own_models / model.id)
    index, about = retrieval.index(before), retrieval.card(before)
    other = before.card["files"][before.weights[0]] | {"sha256": "0" * 64}
    edited(before.folder, files=before.card["files"] | {before.weights[0]: other})
    content = (before.folder / retrieval.CARD_FILE).read_bytes()
    with pytest.raises(DataError, match="were replaced in the meantime; run the same command again"):
        retrieval_index.write(before, index, about | {"images": 1})
    assert (before.folder / retrieval.CARD_FILE).read_bytes() == content


def edited(folder: Path, **content: object) -> dict[str, Any]:
    """The card in this folder after a change to it."""
    card = json.loads((folder / "model.json").read_text()) | content
    (folder / "model.json").write_text(json.dumps(card))
    return card


def test_images_of_a_model_for_two_images_are_refused() -> None:
    two = dataclasses.replace(registry.model("ham10000-efficientnetb1"), modality="dermoscopy and close-up")
    with pytest.raises(DataError, match="more than one image"):
        retrieval_index.images(two)
