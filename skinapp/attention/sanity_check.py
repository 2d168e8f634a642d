"""The sanity check of an attention map on one image: do the map and the prediction depend on the image at all, and does
the map say more than that the lesion is in the middle?

A few more predictions on altered squares give an outcome and a sentence next to the map. `python -m train sanity-check`
chooses the limits on validation lesions. On test lesions it measures how often the outcome is right, for the shipped
networks and for copies with a random last layer: sanity_check.json next to this file has the limits and the figures,
docs/sanity-check.md the table.
"""

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from skinapp.attention import faithfulness
from skinapp.formatting import percent
from skinapp.inference.registry import Model
from skinapp.labels.sets import LabelSet

CARD_FILE = Path(__file__).with_name("sanity_check.json")

HIDDEN_SHARE = 0.3
"""The share of the square to hide, where the map is strongest."""
MAX_SIMILARITY = 0.8
"""A map more similar than this to the map of a blurred square, or of a randomised network, does not depend on the image
or on what the network learned."""
NEGLIGIBLE = 0.05
"""A smaller change in probability hardly counts."""
RIGHT = 0.95
"""The aim for the share of supported maps that are right. The maps of a model below it are weak at best."""


class Outcome(StrEnum):
    """How far a map can be used."""

    SUPPORTED = "Supported"
    WEAK = "Weak"
    DO_NOT_USE = "Do not use"


BADGES = {
    Outcome.SUPPORTED: "Supported map",
    Outcome.WEAK: "Weak map",
    Outcome.DO_NOT_USE: "Do not use this map",
}


@dataclass(frozen=True)
class Limits:
    """The limits that `python -m train sanity-check` chose.

    log_odds_change: if hiding parts changes a prediction by less than this, in natural log odds, the prediction depends
    on the image no more than an untrained network's does. lead: the share of a supported map that is on the lesion
    exceeds both the lesion's share of the square and the share of a centred blob on the lesion by at least this much.
    """

    log_odds_change: float
    lead: float


Probabilities = Callable[[np.ndarray], np.ndarray]
"""Maps uint8 [S, S, 3] to the probabilities [K]."""


@dataclass(frozen=True)
class Evidence:
    """The measurements for checking the map of class `index`.

    `unchanged` [K] are the probabilities for the square. `hidden` has the probabilities [K] after hiding a part, by
    part: the pixels where the map is `strongest`, the `detail` everywhere and, with a segmentation, the `lesion` and
    the `skin`. `similarity` compares the map with that of the blurred square, `inside` is the share of the map on the
    lesion, `blob` that of a centred blob, and `share` the lesion's share of the square, all None without a
    segmentation. `trusted` is whether supported maps of this model were right often enough in tests.
    """

    index: int
    unchanged: np.ndarray
    hidden: dict[str, np.ndarray]
    similarity: float
    inside: float | None
    blob: float | None
    share: float | None
    trusted: bool = True

    @property
    def log_odds_change(self) -> float:
        """The largest change in the log odds of the class, over everything that is hidden."""
        before = _log_odds(self.unchanged[self.index])
        return max(abs(before - _log_odds(probabilities[self.index])) for probabilities in self.hidden.values())

    @property
    def lead(self) -> float | None:
        """By how much the share of the map on the lesion exceeds that of a uniform map and that of a centred blob; None
        without a segmentation."""
        if self.inside is None or self.blob is None or self.share is None:
            return None
        return self.inside - max(self.blob, self.share)

    @property
    def badge(self) -> str:
        """How far the map can be used, in a few words."""
        return BADGES[self.outcome]

    @property
    def matters(self) -> bool:
        """Whether hiding where the map is strongest lowers the probability or changes the prediction."""
        after = self.hidden["strongest"]
        changed = self.unchanged.argmax() == self.index != after.argmax()
        return bool(changed or self.unchanged[self.index] - after[self.index] >= NEGLIGIBLE)

    @property
    def outcome(self) -> Outcome:
        """Weak at best without a segmentation, since it is unknown whether the map is on the lesion, and for a model
        whose supported maps were not shown to be right often enough."""
        found = outcome(limits(), self.log_odds_change, self.similarity, self.matters, self.lead)
        return Outcome.WEAK if found == Outcome.SUPPORTED and not self.trusted else found


def outcome(chosen: Limits, log_odds_change: float, similarity: float, matters: bool, lead: float | None) -> Outcome:
    """The outcome for a map with these measurements of its Evidence."""
    if log_odds_change < chosen.log_odds_change or similarity > MAX_SIMILARITY:
        return Outcome.DO_NOT_USE
    return Outcome.SUPPORTED if matters and lead is not None and lead >= chosen.lead else Outcome.WEAK


@functools.cache
def card() -> dict[str, Any]:
    """The results of the command: the limits, and how often the outcome is right for each model."""
    return json.loads(CARD_FILE.read_text())


def limits() -> Limits:
    return Limits(**card()["limits"])


def measured(model: Model) -> dict[str, Any] | None:
    """How often the outcome for the model's maps is right, on test lesions; None if this was not measured for the
    current networks."""
    known = card()["models"].get(model.id)
    return known if known and known["networks"] == model.hashes else None


def trusted(model: Model) -> bool:
    """Whether the share of supported maps that are right was measured, and reaches the aim."""
    known = measured(model)
    right = known["shipped"]["right"] if known else None
    return right is not None and right["value"] >= RIGHT


def record(model: Model) -> str:
    """How far the outcome for the model's maps can be trusted, as text."""
    known = measured(model)
    if known is None:
        return "How often supported maps of this model are right has not been measured."
    shipped, copy = known["shipped"], known["head"]
    supported = shipped["outcomes"][Outcome.SUPPORTED]
    right = f", and other measures confirm {round(shipped['right']['value'] * supported)} of these" if supported else ""
    return (
        f"Of {shipped['images']} maps of this model on test lesions, {supported} are supported{right}. Of "
        f"{copy['images']} maps of a copy with a random last layer, which nobody should use, "
        f"{copy['outcomes'][Outcome.SUPPORTED]} are supported."
    )


def gather(
    probabilities: Probabilities,
    explain: faithfulness.Explain,
    pixels: np.ndarray,
    index: int,
    cam: np.ndarray,
    mask: np.ndarray | None,
    trusted: bool = True,
) -> Evidence:
    """Classify altered copies of the square, uint8 `pixels` [S, S, 3], whose map of class `index` is `cam` [h, w].

    `mask` is the lesion, bool of any size; it is ignored if it leaves no skin.
    """
    side = pixels.shape[0]
    blurred = faithfulness.blur(pixels)
    hidden = {
        "strongest": probabilities(np.where(strongest(cam, side), blurred, pixels)),
        "detail": probabilities(blurred),
    }
    inside = blob = share = None
    if mask is not None and not mask.all():
        lesion = np.asarray(Image.fromarray(mask).resize((side, side), Image.Resampling.NEAREST))[..., np.newaxis]
        skin = mean_colour(pixels, ~lesion[..., 0])
        hidden["lesion"] = probabilities(np.where(lesion, skin, pixels))
        hidden["skin"] = probabilities(np.where(lesion, pixels, skin))
        inside, blob = (faithfulness.energy_inside(one, mask) for one in (cam, faithfulness.centred_blob((side, side))))
        share = float(mask.mean())
    similarity = faithfulness.similarity(explain(blurred), cam)
    return Evidence(index, probabilities(pixels), hidden, similarity, inside, blob, share, trusted)


def strongest(cam: np.ndarray, side: int) -> np.ndarray:
    """Where HIDDEN_SHARE of a square's pixels is hidden: bool [side, side, 1]."""
    return (faithfulness.pixel_ranks(cam, side) < HIDDEN_SHARE * side * side)[..., np.newaxis]


def mean_colour(pixels: np.ndarray, where: np.ndarray) -> np.ndarray:
    """The mean colour, uint8 [3], of pixels [S, S, 3] where bool [S, S] is True."""
    return pixels[where].mean(axis=0).round().astype(np.uint8)


def sentence(evidence: Evidence, labels: LabelSet) -> str:
    """The outcome as a sentence."""
    if evidence.similarity > MAX_SIMILARITY:
        return (
            "This map fails the sanity check: it stays the same when the image is blurred beyond recognition, like "
            "the map of an untrained network."
        )
    if evidence.log_odds_change < limits().log_odds_change:
        return (
            "This map fails the sanity check: the prediction hardly changes, whatever is hidden, even the lesion. "
            "An untrained network does the same."
        )
    names = [label.name for label in labels.labels]
    unchanged, after = evidence.unchanged, evidence.hidden["strongest"]
    before, now = unchanged[evidence.index], after[evidence.index]
    numbers = f"from {percent(before)} to {percent(now)}"
    hiding = f"iding the {HIDDEN_SHARE:.0%} of the square where it is strongest"
    if unchanged.argmax() == evidence.index != after.argmax():
        effect = f"{hiding} changes the prediction to “{names[int(after.argmax())]}” ({numbers} for this class)"
    elif abs(now - before) < NEGLIGIBLE:
        effect = (
            f"{hiding} hardly changes the probability of “{names[evidence.index]}” ({numbers}), so the map explains "
            "little of it"
        )
    else:
        verb = "lowers" if now < before else "raises"
        doubt = "" if now < before else ", so it does not show the evidence for this class"
        effect = f"{hiding} {verb} the probability of “{names[evidence.index]}” {numbers}{doubt}"
    if evidence.inside is None or evidence.blob is None or evidence.share is None:
        return f"H{effect}. Without a segmentation, it is not known whether the map is on the lesion."
    on_lesion = f"{evidence.inside:.0%} of this map is on the lesion"
    if evidence.outcome == Outcome.WEAK and evidence.matters:
        return f"{on_lesion}; h{effect}. {_shortfall(evidence)}"
    return f"{on_lesion}; h{effect}."


def _shortfall(evidence: Evidence) -> str:
    """Why a map is only weak although it matters to the prediction."""
    assert evidence.blob is not None
    assert evidence.share is not None
    assert evidence.lead is not None
    if evidence.lead >= limits().lead:
        return "Tests have not shown that maps like this from this model are right often enough, so it counts as weak."
    if evidence.blob >= evidence.share:
        return (
            f"A blob in the middle of the square, the same for every image, would be {evidence.blob:.0%} on the "
            "lesion, so the map says little more than that the lesion is in the middle."
        )
    return f"The lesion fills {evidence.share:.0%} of the square, so a uniform map would have about as much on it."


def _log_odds(probability: float) -> float:
    clipped = min(max(float(probability), 1e-6), 1 - 1e-6)
    return float(np.log(clipped / (1 - clipped)))
