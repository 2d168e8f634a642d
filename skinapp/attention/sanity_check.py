"""The sanity check of an attention map on one image: do the map and the prediction depend on the picture at all?

One sentence beside the map, from a few more predictions on altered squares. `python -m train sanity-check` chooses the
two limits on validation images and measures on test images how often the check is wrong, for the shipped networks and
for randomised copies; docs/segmentation.md has the figures.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from skinapp.attention import faithfulness
from skinapp.formatting import percent
from skinapp.labels.sets import LabelSet

STRONGEST = 0.3
"""The share of the square, where the map is strongest, that is hidden."""
FIRM = 1.2
"""Natural log odds: a prediction that nothing hidden moves by this much rests on the picture no more than that of an
untrained network."""
ALIKE = 0.8
"""Similarity to the map of the square blurred beyond recognition, or to the map of a randomised network, above which a
map does not depend on what it should depend on."""
SLIGHT = 0.05
"""A change of probability that hardly counts."""

Probabilities = Callable[[np.ndarray], np.ndarray]
"""Uint8 [S, S, 3] to the probabilities [K]."""


@dataclass(frozen=True)
class Evidence:
    """What the check of the map of class `index` rests on.

    `whole` [K] are the probabilities for the square; `hidden` has the probabilities with something hidden, by what it
    is: the pixels where the map is `strongest`, the `detail` everywhere and, with a segmentation, the `lesion` and the
    `skin`. `alike` is the similarity of the map to that of the blurred square, `inside` the share of the map on the
    lesion, and `share` the lesion's share of the square, both None without a segmentation.
    """

    index: int
    whole: np.ndarray
    hidden: dict[str, np.ndarray]
    alike: float
    inside: float | None
    share: float | None

    @property
    def moved(self) -> float:
        """By how much the log odds of the class move at most, whatever is hidden."""
        return max(
            abs(_log_odds(probabilities[self.index]) - _log_odds(self.whole[self.index]))
            for probabilities in self.hidden.values()
        )

    @property
    def passed(self) -> bool:
        return self.moved >= FIRM and self.alike <= ALIKE


def gather(
    probabilities: Probabilities,
    explain: faithfulness.Explain,
    pixels: np.ndarray,
    index: int,
    cam: np.ndarray,
    mask: np.ndarray | None,
) -> Evidence:
    """Classify altered copies of the square, uint8 `pixels` [S, S, 3], with its map `cam` [h, w] of class `index`, and
    the lesion's `mask`, bool of any size, where there is one that leaves some skin."""
    side = pixels.shape[0]
    blurred = faithfulness.hidden(pixels)
    strongest = (faithfulness.ranked(cam, side) < STRONGEST * side * side)[..., np.newaxis]
    hidden = {"strongest": probabilities(np.where(strongest, blurred, pixels)), "detail": probabilities(blurred)}
    inside = share = None
    if mask is not None and not mask.all():
        lesion = np.asarray(Image.fromarray(mask).resize((side, side), Image.Resampling.NEAREST))[..., np.newaxis]
        skin = pixels[~lesion[..., 0]].mean(axis=0).round().astype(np.uint8)
        hidden["lesion"] = probabilities(np.where(lesion, skin, pixels))
        hidden["skin"] = probabilities(np.where(lesion, pixels, skin))
        inside, share = faithfulness.energy_inside(cam, mask), float(mask.mean())
    alike = faithfulness.similarity(explain(blurred), cam)
    return Evidence(index, probabilities(pixels), hidden, alike, inside, share)


def sentence(evidence: Evidence, labels: LabelSet) -> str:
    """The outcome in words."""
    if evidence.alike > ALIKE:
        return (
            "This map fails the sanity check: it stays the same when the picture is blurred beyond recognition, like "
            "the map of an untrained network."
        )
    if evidence.moved < FIRM:
        return (
            "This map fails the sanity check: whatever is hidden, even the lesion, the prediction hardly changes, like "
            "that of an untrained network."
        )
    inside = f"{evidence.inside:.0%} of this map is on the lesion; hiding" if evidence.inside is not None else "Hiding"
    names = [label.name for label in labels.labels]
    whole, after = evidence.whole, evidence.hidden["strongest"]
    before, now = whole[evidence.index], after[evidence.index]
    numbers = f"from {percent(before)} to {percent(now)}"
    where = f"the {STRONGEST:.0%} of the square where it is strongest"
    if whole.argmax() == evidence.index != after.argmax():
        return f"{inside} {where} changes the prediction to “{names[int(after.argmax())]}” ({numbers} for this class)."
    if abs(now - before) < SLIGHT:
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
