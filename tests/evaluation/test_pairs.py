"""Two models side by side: tests, conclusions, and the sentence on what they detect."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from skinapp.evaluation import comparison, measures, pairs
from skinapp.evaluation.bootstrap import MIN_GROUPS, Interval
from skinapp.evaluation.comparison import CLASSES, Shared
from skinapp.labels.sets import HAM10000
from tests.evaluation.conftest import made


def test_tests_of_pairs_and_their_correction() -> None:
    chosen = [
        made(name, HAM10000, seed=seed, skill=skill) for name, seed, skill in (("a", 1, 2), ("b", 2, 1), ("c", 3, 0))
    ]
    shared = comparison.share(chosen, CLASSES)
    table = pairs.pairwise(shared)
    assert table[["first", "second"]].to_numpy().tolist() == [["a", "b"], ["a", "c"], ["b", "c"]]
    row = table.iloc[1]
    one, other = (shared.probabilities[name].argmax(axis=1) == shared.truth for name in ("a", "c"))
    assert (row["only_first"], row["only_second"]) == ((one & ~other).sum(), (other & ~one).sum())
    assert row["mcnemar_p"] == pytest.approx(
        stats.binomtest(int((one & ~other).sum()), int((one != other).sum())).pvalue
    )
    for test in ("mcnemar", "delong"):
        smallest = table[f"{test}_p"].idxmin()
        assert table.loc[smallest, f"{test}_p_holm"] == pytest.approx(min(1, 3 * table.loc[smallest, f"{test}_p"]))
        assert (table[f"{test}_p_holm"] >= table[f"{test}_p"]).all()


def test_conclusions() -> None:
    apart = Interval(0.1, 0.05, 0.2)
    assert pairs.conclusion(apart, higher=True) == pairs.FIRST
    assert pairs.conclusion(apart, higher=False) == pairs.SECOND
    assert pairs.conclusion(Interval(0.1, -0.05, 0.2), higher=True) == pairs.UNDECIDED
    assert pairs.conclusion(Interval(0.22, np.nan, np.nan), higher=True) == pairs.UNTESTED


@pytest.mark.parametrize("groups", [1, MIN_GROUPS - 1])
def test_with_few_lesions_no_model_is_better(groups: int) -> None:
    chosen = [made("good", HAM10000, seed=1, skill=4), made("bad", HAM10000, seed=2, skill=0)]
    shared = comparison.share(chosen, CLASSES)
    few = dataclasses.replace(shared, groups=np.arange(len(shared.images)) % groups)
    weights = few.weights(100)
    table = pairs.differences(few, measures.draw(few, weights), "good", "bad")
    assert (table["conclusion"] == pairs.UNTESTED).all()
    assert table["difference"].notna().all()
    assert table[["low", "high"]].isna().all(axis=None)
    assert pairs.pairwise(few)[["mcnemar_p", "delong_p", "auc_low", "auc_high"]].isna().all(axis=None)
    words = pairs.sentence(few, weights, "good", "bad", {"good": "A", "bad": "B"})
    assert words.endswith("Fewer than 20 lesions or patients are too few to compare the two.")


def test_the_sentence_counts_melanomas(shared: Shared, weights: np.ndarray) -> None:
    names = {"one": "A", "two": "B"}
    melanomas = shared.truth == HAM10000.codes.index("mel")
    counts = [int((shared.correct(name) & melanomas).sum()) for name in shared.ids]
    words = pairs.sentence(shared, weights, "one", "two", names)
    word = "more" if counts[0] > counts[1] else "fewer"
    assert words.startswith(
        f"In these 80 images, A detects {abs(counts[0] - counts[1])} {word} of the {melanomas.sum()} melanomas"
    )
    assert f"({counts[0]} compared with {counts[1]})" in words
    same = pairs.sentence(shared, weights, "one", "one", names)
    assert "as many of the" in same
    assert "includes zero" in same
