"""Which images are compared, and which cannot be."""

import dataclasses

import numpy as np
import pytest

from skinapp.errors import DataError
from skinapp.evaluation import comparison
from skinapp.evaluation.comparison import CLASSES, MALIGNANT, Shared
from skinapp.evaluation.predictions import Predictions
from skinapp.labels.sets import HAM10000, MALIGNANCY, PAD_UFES_20
from tests.evaluation.conftest import made


def test_only_images_that_all_have_are_compared(shared: Shared) -> None:
    assert shared.images.tolist() == [f"i{n}" for n in range(10, 90)]
    assert shared.ids == ["one", "two"]
    one = made("one", HAM10000, seed=1)
    assert shared.probabilities["one"] == pytest.approx(one.probabilities[10:])
    assert [shared.labels.codes[k] for k in shared.truth] == one.table["label"].tolist()[10:]


def test_different_classes_are_compared_on_malignancy() -> None:
    chosen = [made("seven", HAM10000), made("both", MALIGNANCY)]
    assert comparison.questions(chosen) == [MALIGNANT]
    with pytest.raises(DataError, match="only be compared on malignant or not"):
        comparison.share(chosen, CLASSES)
    shared = comparison.share(chosen, MALIGNANT)
    malignant = chosen[0].table[["p_akiec", "p_bcc", "p_mel"]].sum(axis=1)
    assert shared.probability("seven") == pytest.approx(malignant.to_numpy())
    assert shared.probabilities["both"] == pytest.approx(chosen[1].probabilities)
    assert (shared.truth == shared.positive).all()


def relabelled(one: Predictions, labels: dict[str, str]) -> Predictions:
    """Another model with the same predictions, but other labels for some images."""
    table = one.table.assign(label=[labels.get(image, label) for image, label in one.table["label"].items()])
    return Predictions("two", "two", one.labels, table, "x")


def test_models_that_cannot_be_compared_are_reported() -> None:
    one = made("one", HAM10000)
    with pytest.raises(DataError, match="no images in common"):
        comparison.share([one, made("two", HAM10000, start=500)], CLASSES)
    with pytest.raises(DataError, match="one, two and three have no images in common"):
        comparison.share([one, made("two", HAM10000), made("three", HAM10000, start=500)], CLASSES)
    benign = one.table[one.table["label"] == "nv"]
    with pytest.raises(DataError, match="are benign; scores need both kinds"):
        comparison.share([Predictions("two", "two", HAM10000, benign, "x")], CLASSES)


@pytest.mark.parametrize("question", [CLASSES, MALIGNANT])
def test_files_that_disagree_on_a_class_are_refused_with_the_images(question: str) -> None:
    one = made("one", HAM10000)
    # both harmless, so that whether it is malignant does not tell
    moles = one.table.index[one.table["label"] == "nv"][:7].tolist()
    with pytest.raises(DataError) as reason:
        comparison.share([one, relabelled(one, dict.fromkeys(moles, "bkl"))], question)
    assert str(reason.value) == (
        f"one and two disagree on the class in 7 of 90 images: {', '.join(moles[:5])} and 2 more. Correct the labels."
    )


def test_a_third_file_is_checked_against_those_of_its_own_classes() -> None:
    one, both = made("one", HAM10000), made("both", MALIGNANCY)
    mole = one.table.index[one.table["label"] == "nv"][0]
    with pytest.raises(DataError, match=f"one and two disagree on the class in 1 of 90 images: {mole}"):
        comparison.share([both, one, relabelled(one, {mole: "df"})], MALIGNANT)


def test_files_of_other_classes_that_disagree_on_malignancy_are_refused() -> None:
    one, both = made("one", HAM10000), made("both", MALIGNANCY)
    image = both.table.index[0]
    other = {"benign": "malignant", "malignant": "benign"}[both.table.loc[image, "label"]]
    with pytest.raises(DataError, match=f"disagree on whether a lesion is malignant in 1 of 90 images: {image}"):
        comparison.share([one, relabelled(both, {image: other})], MALIGNANT)


def test_groups_keep_the_order_of_their_names(shared: Shared) -> None:
    # the resamples of the published scores were drawn in that order
    names = made("one", HAM10000, seed=1).table["group"].to_numpy()[10:]
    assert shared.groups.tolist() == np.unique(names, return_inverse=True)[1].tolist()


def test_what_models_can_find() -> None:
    seven = comparison.targets(HAM10000)
    assert list(seven) == ["mel", "cancer", "cancer-or-pre-cancer", "akiec", "bcc", "bkl", "df", "nv", "vasc"]
    assert (seven["mel"].many, seven["mel"].codes) == ("melanomas", ("mel",))
    assert seven["cancer"].codes == ("bcc", "mel")
    assert seven["cancer-or-pre-cancer"].codes == ("akiec", "bcc", "mel")
    # two classes hold what the data set counts as malignant: a pre-cancer in HAM10000, none in PAD-UFES-20
    for dataset, target in (("ham10000", "cancer-or-pre-cancer"), ("pad_ufes_20", "cancer"), ("elsewhere", "cancer")):
        two = comparison.targets(MALIGNANCY, dataset)
        assert {name: one.codes for name, one in two.items()} == {target: ("malignant",)}
    assert comparison.malignant_target(HAM10000) == seven["cancer-or-pre-cancer"]
    assert comparison.malignant_target(PAD_UFES_20).codes == ("BCC", "MEL", "SCC")


def test_a_target_has_its_images_and_its_summed_probability() -> None:
    one = made("one", HAM10000)
    shared = comparison.share([one], CLASSES, target=comparison.targets(HAM10000)["cancer"])
    assert shared.positive.tolist() == one.table["label"].isin(["bcc", "mel"]).tolist()
    assert shared.probability("one") == pytest.approx(one.table[["p_bcc", "p_mel"]].sum(axis=1).to_numpy(), abs=1e-6)


def test_a_target_without_images_is_reported() -> None:
    one = made("one", HAM10000)
    without = dataclasses.replace(one, table=one.table[one.table["label"] != "df"])
    with pytest.raises(DataError, match=r"None of the \d+ images that one share are images of dermatofibroma"):
        comparison.share([without], CLASSES, target=comparison.targets(HAM10000)["df"])


def test_the_resamples_depend_on_images_and_lesions_alone() -> None:
    one, two = made("one", HAM10000, seed=1), made("two", HAM10000, seed=2)
    first, second = (comparison.share([each], CLASSES) for each in (one, two))
    assert first.images_digest == second.images_digest
    assert first.digests != second.digests
    fewer = comparison.share([made("one", HAM10000, 80)], CLASSES)
    other = dataclasses.replace(first, groups=first.groups[::-1])
    assert len({first.images_digest, fewer.images_digest, other.images_digest}) == 3
