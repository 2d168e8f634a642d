"""Hairs, rulers and stickers: the changes, and how predictions are compared."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from skinapp.inference import registry
from tests.pictures import lesion
from train.studies import artefacts


@pytest.mark.parametrize("change", [artefacts.hairy, artefacts.ruler, artefacts.sticker])
def test_changes_leave_most_of_the_image_alone(change: artefacts.Change) -> None:
    image = lesion(224, 224)
    before = np.asarray(image).astype(int)
    for seed in range(4):
        changed = change(image, np.random.default_rng(seed))
        again = change(image, np.random.default_rng(seed))
        assert changed.size == image.size
        assert np.array_equal(changed, again)
        # a ruler may turn the image it lies on
        after = [np.asarray(one).astype(int) for one in (changed, changed.transpose(Image.Transpose.ROTATE_270))]
        changed = min((np.abs(one - before).max(axis=2) > 8).mean() for one in after)
        assert 0.005 < changed < 0.3
    assert np.array_equal(np.asarray(image), before)


def test_predictions_are_compared_image_by_image() -> None:
    labels, groups = np.array([0, 0, 1, 1] * 10), np.arange(40)
    right = np.eye(2)[labels] * 0.8 + 0.1
    # one of four predictions turns from right to wrong, and one from wrong to right
    first, second = right.copy(), right.copy()
    first[3::4], second[0::4] = first[3::4, ::-1], second[0::4, ::-1]
    table = artefacts.compare({"as it is": first, "changed": second}, labels, groups).set_index("image")
    assert table.loc["as it is", "predictions that change"].startswith("0.000")
    assert table.loc["changed", "predictions that change"].startswith("0.500")
    assert table.loc["changed", "accuracy"].startswith("0.750")
    assert table.loc["changed", "accuracy, difference"].startswith("+0.000 (-")


def test_every_change_has_predictions(model: registry.Model, tmp_path: object) -> None:
    path = f"{tmp_path}/a.png"
    lesion(300, 300).save(path)
    predicted = artefacts.classify_all(model, pd.DataFrame({"path": [path]}))
    assert list(predicted) == list(artefacts.CHANGES)
    for probabilities in predicted.values():
        assert probabilities.sum(axis=1) == pytest.approx([1])
    assert (predicted["hairs drawn"] != predicted["as it is"]).any()
