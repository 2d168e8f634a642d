import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from skinapp.errors import ModelError
from skinapp.inference import registry, retrieval
from skinapp.inference.retrieval import Index


def four_cases() -> Index:
    """East, north, west and nearly east, the last of the same lesion as the first."""
    return Index(
        centre=np.array([1.0, 1.0], dtype=np.float32),
        projection=np.eye(2, dtype=np.float32),
        vectors=np.array([[127, 0], [0, 127], [-127, 0], [120, 12]], dtype=np.int8),
        images=np.array(["east", "north", "west", "near"]),
        lesions=np.array(["a", "b", "c", "a"]),
        labels=np.array(["nv", "mel", "bcc", "nv"]),
    )


def test_the_nearest_come_first_and_a_lesion_comes_once() -> None:
    cases = four_cases().nearest(np.array([3.0, 1.2]), 3)
    # of the two cases of lesion a, the one at nearly the same angle
    assert [case.image for case in cases] == ["near", "north", "west"]
    assert [case.label for case in cases] == ["nv", "mel", "bcc"]
    assert cases[0].similarity == pytest.approx(1, abs=1e-3)
    assert cases[1].similarity == pytest.approx(0.2 / np.hypot(2, 0.2), abs=1e-3)


def test_no_more_cases_than_lesions() -> None:
    assert len(four_cases().nearest(np.array([3.0, 1.0]), 10)) == 3


def test_an_index_is_what_was_saved(tmp_path: Path) -> None:
    file = tmp_path / retrieval.INDEX_FILE
    retrieval.save(four_cases(), file)
    with np.load(file, allow_pickle=False) as arrays:
        again = Index(**{name: arrays[retrieval.STORED_AS.get(name, name)] for name in Index.__dataclass_fields__})
    for name, value in vars(four_cases()).items():
        assert (getattr(again, name) == value).all()


def test_a_model_without_an_index_says_so() -> None:
    model = registry.model("malignancy-cnn64")
    assert retrieval.with_index(model) is None
    with pytest.raises(ModelError, match="no index of similar cases"):
        retrieval.index(model)


def test_an_index_that_was_changed_is_refused(own_models: Path) -> None:
    [folder] = own_models.iterdir()
    card = json.loads((folder / "model.json").read_text())
    retrieval.save(four_cases(), folder / retrieval.INDEX_FILE)
    content = (folder / retrieval.INDEX_FILE).read_bytes()
    card["files"][retrieval.INDEX_FILE] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    (folder / "model.json").write_text(json.dumps(card))
    assert retrieval.index(registry.read_model(folder)).images[0] == "east"
    card["files"][retrieval.INDEX_FILE]["sha256"] = "0" * 64
    (folder / "model.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match="changed after it was published"):
        retrieval.index(registry.read_model(folder))


INDEXED = [model for model in registry.models().values() if retrieval.with_index(model) is model]


@pytest.mark.parametrize("model", INDEXED, ids=lambda model: model.id)
def test_a_shipped_index_is_small_and_holds_no_test_image(model: registry.Model) -> None:
    import pandas as pd

    index, card = retrieval.index(model), retrieval.card(model)
    assert (model.folder / retrieval.INDEX_FILE).stat().st_size < 15 * 2**20 / 2
    assert index.projection.shape[0] == model.card["outputs"]["embedding"][0]
    assert len(index.images) == card["images"] == len(set(index.images))
    assert set(index.labels) == set(model.labels.codes)
    # all of PAD-UFES-20 is trained on, so half of MILK10k's test close-ups are looked up
    phone = model.modality == "smartphone"
    tested = pd.read_csv(model.folder / ("predictions-milk10k-clinical.csv" if phone else "predictions.csv"))
    assert not set(tested["image"]) & set(index.images)
    assert not set(tested["group"]) & set(index.lesions)
    share = card["test"]["images"] / len(tested)
    assert 0.4 < share < 0.6 if phone else share == 1


def test_a_model_of_the_same_network_takes_its_index() -> None:
    together = registry.model("ham10000-efficientnetb1-clinical")
    assert retrieval.INDEX_FILE not in together.card["files"]
    source = retrieval.with_index(together)
    assert source is not None
    assert source.id == "ham10000-efficientnetb1"
