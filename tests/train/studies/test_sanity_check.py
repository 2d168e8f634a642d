"""The sanity check on real images: a network that has not learnt fails, and the shipped one passes."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skinapp.images import imaging
from skinapp.inference import registry
from train.data import datasets, masks
from train.studies import sanity_check
from train.studies.randomised import PARTS

IMAGES = 8


@pytest.fixture(scope="module")
def squares(data_root: Path) -> list[tuple[Path, np.ndarray]]:
    """Test images of different lesions and diagnoses with their masks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKINAPP_DATA", str(data_root))
        known = masks.table(datasets.data_root() / "ham10000")
    tested = known[known["split"] == "test"].drop_duplicates("group").sample(frac=1, random_state=5)
    # in turn from each diagnosis
    order = tested.groupby("label").cumcount().sort_values(kind="stable").index
    chosen = tested.loc[order].head(IMAGES)
    return [(path, masks.square_mask(mask, 120)) for path, mask in zip(chosen["path"], chosen["mask"], strict=True)]


@pytest.mark.data
@pytest.mark.slow
def test_untrained_networks_fail_and_the_shipped_one_passes(
    squares: list[tuple[Path, np.ndarray]], untrained: Path
) -> None:
    model = registry.model(sanity_check.MODELS[0])
    shares = {}
    for copy in sanity_check.COPIES:
        classifier = sanity_check.copied(model, copy, untrained)
        results = [
            sanity_check.evidence(classifier, imaging.load(path, model.input_size), mask) for path, mask in squares
        ]
        shares[copy] = np.mean([one.passed for one in results])
    assert shares["shipped"] >= 0.75
    # docs/segmentation.md has the rates on more images, and of other models
    assert all(shares[part] <= 0.25 for part in PARTS), shares


def test_rates_count_what_passes() -> None:
    table = pd.DataFrame(
        {
            "model": "one",
            "copy": ["shipped"] * 4 + ["head"] * 4,
            "split": "test",
            "group": list("abcdefgh"),
            "passed": [True, True, True, False, False, False, False, False],
        }
    )
    results = sanity_check.rates(table)
    assert list(results) == ["one, shipped, test", "one, head, test"]
    assert results["one, shipped, test"]["images"] == 4
    assert results["one, shipped, test"]["passed"]["value"] == 0.75
    assert results["one, head, test"]["passed"]["value"] == 0
