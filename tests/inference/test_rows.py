"""A row contains the prediction for an image, and is read back from Parquet bit for bit."""

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from skinapp.errors import DataError, ImageError, ModelError
from skinapp.images import imaging
from skinapp.inference import conformal, parts, registry, rows, runtime
from skinapp.inference.rows import NO_EXTRAS, Case, Extras

ALL = Extras(coverages=(0.9, 0.95), embedding=True, class_map=True)


@pytest.fixture(scope="module")
def classifier(model: registry.Model) -> runtime.Classifier:
    return runtime.Classifier(model, threads=1)


def test_a_row_holds_the_prediction(
    model: registry.Model, classifier: runtime.Classifier, photos: list[bytes], tmp_path: Path
) -> None:
    (tmp_path / "a.jpg").write_bytes(photos[0])
    content = rows.read("a.jpg", Case(tmp_path / "a.jpg", {}), model)
    row = {"image": "a.jpg", **rows.predict(content, classifier, ALL)}
    assert list(row) == rows.columns(model, ALL)
    prediction = classifier.predict(imaging.load(photos[0], model.input_size))
    assert [row[f"p_{code}"] for code in model.labels.codes] == prediction.probabilities.tolist()
    assert (row["predicted"], row["malignancy"]) == (prediction.predicted, prediction.malignancy)
    assert row["set_0.9"] == list(conformal.prediction_set(prediction, 0.9))
    assert np.array_equal(row["embedding"], prediction.embedding)
    best = prediction.class_maps[..., prediction.probabilities.argmax()]
    assert np.array_equal(row["class_map"].reshape(best.shape), best)

    columns = parts.schema(model, ALL)
    parts.write(tmp_path / "part.parquet", [row, row | {"image": "b.jpg"}], columns)
    assert list(parts.images(tmp_path / "part.parquet", columns)) == ["a.jpg", "b.jpg"]
    stored = pq.read_table(tmp_path / "part.parquet").to_pylist()[0]
    assert list(stored) == list(row)
    assert all(np.array_equal(stored[name], row[name]) for name in row)


def test_a_bad_image_is_a_row_with_the_reason(
    model: registry.Model, classifier: runtime.Classifier, tmp_path: Path
) -> None:
    (tmp_path / "a.jpg").touch()
    with pytest.raises(ImageError) as error:
        rows.predict(rows.read("a.jpg", Case(tmp_path / "a.jpg", {}), model), classifier, NO_EXTRAS)
    row = rows.failure("a.jpg", error.value)
    assert tuple(row) == rows.FAILURE_COLUMNS
    assert "empty" in row["reason"]


def test_extras_that_a_model_lacks_are_reported(model: registry.Model) -> None:
    bare = dataclasses.replace(model, card=model.card | {"outputs": {"logits": [7]}, "conformal": None})
    for extras, sentence in (
        (Extras(embedding=True), "no embedding"),
        (Extras(class_map=True), "no class maps"),
        (Extras(coverages=(0.9,)), "no prediction sets"),
    ):
        with pytest.raises(ModelError, match=sentence):
            rows.check(bare, extras)
    with pytest.raises(DataError, match=r"not 0\.5"):
        rows.check(model, Extras(coverages=(0.5,)))
