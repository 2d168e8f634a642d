"""Error rates with and without a warning, the decisions based on them, and the generated page."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from train.studies import warnings


def rows(split: str, flagged_wrong: float, other_wrong: float, count: int = 40) -> list[dict[str, Any]]:
    """Equal numbers of original images without a warning and of blurred copies with one, with these error rates."""
    found = []
    for condition, is_blurred, rate in (("as taken", False, other_wrong), ("blurred", True, flagged_wrong)):
        for number in range(count):
            flags = dict.fromkeys(("dark", "bright", "glare", "small", "kind", "unknown", "disagreement"), False)
            known = {"split": split, "condition": condition, "group": number, "far": float(number)}
            found.append(known | flags | {"sharpness": is_blurred, "wrong": number < rate * count})
    return found


def test_a_warning_that_predicts_errors_stays_and_one_that_does_not_goes() -> None:
    better = warnings.summary(pd.DataFrame(rows("validation", 0.7, 0.2) + rows("test", 0.6, 0.3)))
    assert better["warnings"]["sharpness"]["predicts_errors"]
    measured = better["warnings"]["sharpness"]["test"]
    assert (measured["images_with"], measured["images_without"]) == (40, 40)
    assert measured["with"]["value"] == 0.6
    assert measured["without"]["value"] == 0.3
    assert measured["difference"]["value"] == pytest.approx(0.3)
    assert measured["difference"]["low"] < 0.3 < measured["difference"]["high"]
    # test lesions do not affect the decision
    worse = warnings.summary(pd.DataFrame(rows("validation", 0.2, 0.25) + rows("test", 0.9, 0.1)))
    assert not worse["warnings"]["sharpness"]["predicts_errors"]


def test_too_few_answers_decide_nothing() -> None:
    found = warnings.summary(pd.DataFrame(rows("validation", 0.0, 1.0, count=9) + rows("test", 0.0, 1.0)))
    assert found["warnings"]["sharpness"]["predicts_errors"]
    assert found["warnings"]["glare"]["test"]["with"] is None
    page = warnings.markdown({"dermoscopy": {"model": "one", "version": "1.0.0", **found}})
    assert "| blurred | 40 | 0% (" in page
    assert "too few to tell" in page


def test_the_limit_of_distance_is_from_validation_images_as_taken() -> None:
    far = [one | {"far": 1000.0} for one in rows("test", 0.5, 0.5)]
    found = warnings.summary(pd.DataFrame(rows("validation", 0.5, 0.5) + far))
    assert found["distance_limit"] == pytest.approx(np.quantile(np.arange(40.0), 0.95))
    assert found["warnings"]["distance"]["test"]["images_with"] == 80
