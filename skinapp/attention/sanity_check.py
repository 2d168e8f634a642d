"""The sanity check of an attention map on one image: do the map and the prediction depend on the picture at all?

A few more predictions on altered squares give one sentence beside the map. `python -m train sanity-check` chooses the
two limits on validation images. On test images it measures how often the check is wrong, for the shipped networks and
for randomised copies; docs/segmentation.md has the figures.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from skinapp.attention import faithfulness
from skinapp.formatting import percent
from skinapp.labels.sets import LabelSet

HIDDEN_SHARE = 0.3
"""The share of the square that is hidden, where the map is strongest."""
MIN_LOG_ODDS_CHANGE = 1.2
"""In natural log odds. If hiding things changes a prediction by less, it depends on the picture no more than an
untrained network's does."""
MAX_SIMILARITY = 0.8
"""A map more similar than this to the map of a blurred square, or of a randomised network, does not depend on the
picture or on what the network learnt."""
NEGLIGIBLE = 0.05
"""A smaller change in probability hardly counts."""

Probabilities = Callable[[np.ndarray], np.ndarray]
"""Maps uint8 [S, S, 3] to the probabilities [K]."""


@dataclass(frozen=True)
class Evidence:
    """What is measured to check the map of class `index`.

    `whole` [K] are the probabilities for the square. `hidden` has the probabilities [K] after hiding a part, by part:
    the pixels where the map is `strongest`, the `detail` everywhere and, with a segmentation, the `lesion` and the
    `skin`. `similarity` compares the map with that of the blurred square, `inside` is the share of the map on the
    lesion, and `share` the lesion's share of the square, both None without a segmentation.
    """

    index: int
    whole: np.ndarray
    hidden: dict[str, np.ndarray]
    similarity: float
    inside: float | None
    share: float | None

    @property
    def log_odds_change(self) -> float:
        """The largest change in the log odds of the class, over everything that is hidden."""
        return max(
            abs(_log_odds(probabilities[self.index]) - _log_odds(self.whole[self.index]))
            for probabilities in self.hidden.values()
        )

    @property
    def passed(self) -> bool:
        return self.log_odds_change >= MIN_LOG_ODDS_CHANGE and self.similarity <= MAX_SIMILARITY

    @property
    def badge(self) -> str:
        """How far the map can be used, in a few words."""
        if not self.passed:
            return "Do not use this map"
        return "Map passes its check" if self.explains else "Weak map"

    @property
    def explains(self) -> bool:
        """Whether hiding where the map is strongest lowers the probability or changes the prediction, and the map is
        on the lesion more than one that is the same everywhere."""
        after = self.hidden["strongest"]
        changed = self.whole.argmax() == self.index != after.argmax()
        lowered = self.whole[self.index] - after[self.index] >= NEGLIGIBLE
        on_lesion = self.inside is None or self.share is None or self.inside > self.share
        return bool((changed or lowered) and on_lesion)


def gather(
    probabilities: Probabilities,
    explain: faithfulness.Explain,
    pixels: np.ndarray,
    index: int,
    cam: np.ndarray,
    mask: np.ndarray | None,
) -> Evidence:
    """Classify altered copies of the square, uint8 `pixels` [S, S, 3], whose map of class `index` is `cam` [h, w].

    `mask` is the lesion, bool of any size; it is ignored if it leaves no skin.
    """
    side = pixels.shape[0]
    blurred = faithfulness.blur(pixels)
    strongest = (faithfulness.pixel_ranks(cam, side) < HIDDEN_SHARE * side * side)[..., np.newaxis]
    hidden = {"strongest": probabilities(np.where(strongest, blurred, pixels)), "detail": probabilities(blurred)}
    inside = share = None
    if mask is not None and not mask.all():
        lesion = np.asarray(Image.fromarray(mask).resize((side, side), Image.Resampling.NEAREST))[..., np.newaxis]
        skin = pixels[~lesion[..., 0]].mean(axis=0).round().astype(np.uint8)
        hidden["lesion"] = probabilities(np.where(lesion, skin, pixels))
        hidden["skin"] = probabilities(np.where(lesion, pixels, skin))
        inside, share = faithfulness.energy_inside(cam, mask), float(mask.mean())
    similarity = faithfulness.similarity(explain(blurred), cam)
    return Evidence(index, probabilities(pixels), hidden, similarity, inside, share)


def sentence(evidence: Evidence, labels: LabelSet) -> str:
    """The outcome in words."""
    if evidence.similarity > MAX_SIMILARITY:
        return (
            "This map fails the sanity check: it stays the same when the picture is blurred beyond recognition, like "
            "the map of an untrained network."
        )
    if evidence.log_odds_change < MIN_LOG_ODDS_CHANGE:
        return (
            "This map fails the sanity check: whatever is hidden, even the lesion, the prediction hardly changes, like "
            "that of an untrained network."
        )
    inside = f"{evidence.inside:.0%} of this map is on the lesion; hiding" if evidence.inside is not None else "Hiding"
    names = [label.name for label in labels.labels]
    whole, after = evidence.whole, evidence.hidden["strongest"]
    before, now = whole[evidence.index], after[evidence.index]
    numbers = f"from {percent(before)} to {percent(now)}"
    where = f"the {HIDDEN_SHARE:.0%} of the square where it is strongest"
    if whole.argmax() == evidence.index != after.argmax():
        return f"{inside} {where} changes the prediction to “{names[int(after.argmax())]}” ({numbers} for this class)."
    if abs(now - before) < NEGLIGIBLE:
        return (
            f"{inside} {where} hardly changes the probability of “{names[evidence.index]}” ({numbers}), so the map "
            "explains little of it."
        )
    verb = "lowers" if now < before else "raises"
    doubt = "" if now < before else ", so it does not show the evidence for this class"
    return f"{inside} {where} {verb} the probability of “{names[evidence.index]}” {numbers}{doubt}."


def _log_odds(probability: float) -> float:
    clipped = min(max(float(probability), 1e-6), 1 - 1e-6)
    return float(np.log(clipped / (1 - clipped)))
