import dataclasses

import numpy as np
import pytest

from skinapp.attention import sanity_check
from skinapp.attention.sanity_check import Evidence, Outcome
from skinapp.inference import registry
from skinapp.labels import sets

SET = sets.MALIGNANCY


def evidence(before: float, after: float, similarity: float = 0.2, inside: float | None = 0.81) -> Evidence:
    """Evidence for class 0: probability `before`, and `after` when the strongest part of the map is hidden."""
    whole, hidden = (np.array([share, 1 - share]) for share in (before, after))
    probabilities = {"strongest": hidden, "detail": np.array([0.05, 0.95])}
    beside = (None, None) if inside is None else (0.5, 0.2)
    return Evidence(0, whole, probabilities, similarity, inside, *beside)


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fixed limits, independent of the published ones."""
    chosen = {"log_odds_change": 1.2, "lead": 0.1}
    monkeypatch.setattr(sanity_check, "card", lambda: {"limits": chosen, "models": {}})


def test_a_prediction_that_changes() -> None:
    words = sanity_check.sentence(evidence(0.9, 0.3), SET)
    assert words.startswith("81% of this map is on the lesion; hiding the 30% of the square where it is strongest")
    assert f"changes the prediction to “{SET.labels[1].name}” (from 90% to 30% for this class)" in words


def test_a_probability_that_falls_hardly_moves_or_rises() -> None:
    assert "lowers the probability of “Benign” from 90% to 60%." in sanity_check.sentence(evidence(0.9, 0.6), SET)
    assert "hardly changes" in sanity_check.sentence(evidence(0.9, 0.88), SET)
    assert "does not show the evidence for this class" in sanity_check.sentence(evidence(0.6, 0.8), SET)


def test_without_a_segmentation_the_sentence_does_not_mention_the_lesion() -> None:
    result = evidence(0.9, 0.3, inside=None)
    words = sanity_check.sentence(result, SET)
    assert words.startswith("Hiding the 30%")
    assert "Without a segmentation" in words
    assert result.outcome == Outcome.WEAK


def test_a_map_is_supported_only_if_it_beats_the_lesions_share_and_a_centred_blob() -> None:
    good = evidence(0.9, 0.3, inside=0.61)
    assert good.outcome == Outcome.SUPPORTED
    assert sanity_check.sentence(good, SET).endswith("for this class).")
    like_a_blob = evidence(0.9, 0.3, inside=0.59)
    assert like_a_blob.outcome == Outcome.WEAK
    words = sanity_check.sentence(like_a_blob, SET)
    assert "A blob in the middle of the square, the same for every image, would be 50% on the lesion" in words
    like_an_even_map = dataclasses.replace(good, share=0.55)
    assert like_an_even_map.outcome == Outcome.WEAK
    assert "The lesion fills 55% of the square" in sanity_check.sentence(like_an_even_map, SET)


def test_a_map_is_weak_if_hiding_it_hardly_matters() -> None:
    assert evidence(0.9, 0.88).outcome == Outcome.WEAK


def test_figures_of_other_networks_are_not_shown(model: registry.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"images": 40, "outcomes": {"Supported": 10, "Weak": 25, "Do not use": 5}}
    shipped = counts | {"right": {"value": 0.9, "low": None, "high": None}}
    entry = {"networks": model.hashes, "shipped": shipped, "head": counts}
    monkeypatch.setattr(sanity_check, "card", lambda: {"models": {model.id: entry}})
    assert (
        "Of 40 maps of this model on test lesions, 10 are supported, and other measures confirm 9 of these"
        in sanity_check.record(model)
    )
    entry["networks"] = ["0" * 64]
    assert "has not been measured" in sanity_check.record(model)


def test_a_map_that_stays_when_the_picture_is_blurred_fails() -> None:
    result = evidence(0.9, 0.3, similarity=0.95)
    assert result.outcome == Outcome.DO_NOT_USE
    assert "fails the sanity check: it stays the same when the image is blurred" in sanity_check.sentence(result, SET)


def test_a_prediction_that_nothing_moves_fails() -> None:
    result = Evidence(0, np.array([0.5, 0.5]), {"strongest": np.array([0.55, 0.45])}, 0.2, 0.5, 0.4, 0.2)
    # log(0.55 / 0.45)
    assert result.log_odds_change == pytest.approx(0.2007, abs=1e-4)
    assert result.outcome == Outcome.DO_NOT_USE
    assert "whatever is hidden, even the lesion" in sanity_check.sentence(result, SET)


def test_odds_of_a_certain_prediction_are_finite() -> None:
    result = Evidence(0, np.array([1.0, 0.0]), {"strongest": np.array([0.0, 1.0])}, 0.2, 0.5, 0.4, 0.2)
    assert np.isfinite(result.log_odds_change)
    assert result.log_odds_change > 20


def test_hidden_parts() -> None:
    pixels = np.full((40, 40, 3), 200, dtype=np.uint8)
    mask = np.zeros((20, 20), dtype=bool)
    mask[5:15, 5:15] = True
    pixels[10:30, 10:30] = 40
    cam = np.zeros((4, 4), dtype=np.float32)
    cam[1:3, 1:3] = 1
    shown: list[np.ndarray] = []

    def probabilities(square: np.ndarray) -> np.ndarray:
        shown.append(square)
        dark = float((square < 100).all(axis=-1).mean())
        return np.array([1 - dark, dark])

    def explain(square: np.ndarray) -> np.ndarray:
        return np.zeros((4, 4), dtype=np.float32)

    result = sanity_check.gather(probabilities, explain, pixels, 1, cam, mask)
    assert set(result.hidden) == {"strongest", "detail", "lesion", "skin"}
    assert result.unchanged[1] == pytest.approx(0.25)
    assert result.hidden["lesion"][1] == 0
    assert result.hidden["skin"][1] == pytest.approx(0.25)
    assert result.hidden["strongest"][1] < 0.25
    assert result.share == pytest.approx(0.25)
    assert result.inside is not None
    assert result.inside > 0.7
    assert result.blob is not None
    assert result.share < result.blob < result.inside
    assert result.similarity == 0
    for square in shown:
        assert square.dtype == np.uint8
        assert square.shape == (40, 40, 3)


def test_a_model_whose_supported_maps_were_too_often_wrong_has_weak_ones_at_best(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    supported = evidence(0.9, 0.3)
    assert supported.outcome == Outcome.SUPPORTED
    not_trusted = dataclasses.replace(supported, trusted=False)
    assert not_trusted.outcome == Outcome.WEAK
    assert "so it counts as weak" in sanity_check.sentence(not_trusted, SET)
    model = registry.ranked()[0]
    for value, expected in ((0.94, False), (0.95, True)):
        entry = {"networks": model.hashes, "shipped": {"right": {"value": value}}}
        monkeypatch.setattr(sanity_check, "card", lambda entry=entry: {"models": {model.id: entry}})
        assert sanity_check.trusted(model) == expected
    # measured with other networks
    entry["networks"] = ["other"]
    assert not sanity_check.trusted(model)


@pytest.mark.parametrize("mask", [None, np.ones((10, 10), dtype=bool)])
def test_no_segmentation_or_one_that_covers_everything(mask: np.ndarray | None) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    cam = np.eye(4, dtype=np.float32)
    result = sanity_check.gather(lambda _: np.array([0.5, 0.5]), lambda _: cam, pixels, 0, cam, mask)
    assert set(result.hidden) == {"strongest", "detail"}
    assert result.inside is None
