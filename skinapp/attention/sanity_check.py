"""Whether to believe an attention map: one sentence beside it, from a few more answers of the model to altered squares.

`python -m train sanity-check` chooses the two limits on validation images and measures on test images how often the
verdict is wrong, of the shipped networks and of randomised copies; docs/outline.md holds the figures.
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
"""Natural logarithm of odds: an answer that nothing hidden moves by this much rests on the picture no more than an
untrained network's does."""
ALIKE = 0.8
"""Similarity to the map of the square blurred beyond recognition, above which a map does not depend on the picture."""
SLIGHT = 0.05
"""A change of probability that is called hardly any."""

Answers = Callable[[np.ndarray], np.ndarray]
"""Uint8 [S, S, 3] to the probabilities [K]."""


@dataclass(frozen=True)
class Evidence:
    """What was found for the map of class `index`.

    `whole` [K] is the answer to the square; `hidden` holds the answers with something hidden, by what it is: where the
    map is `strongest`, the `detail` everywhere and, where there is an outline, the `lesion` and the `skin`. `alike` is
    the similarity of the map to that of the blurred square, `inside` the share of the map on the lesion, and `share`
    the lesion's share of the square, both None without an outline.
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
            abs(_log_odds(answer[self.index]) - _log_odds(self.whole[self.index])) for answer in self.hidden.values()
        )

    @property
    def trusted(self) -> bool:
        return self.moved >= FIRM and self.alike <= ALIKE


def gather(
    answers: Answers,
    explain: faithfulness.Explain,
    pixels: np.ndarray,
    index: int,
    cam: np.ndarray,
    mask: np.ndarray | None,
) -> Evidence:
    """Answer the altered squares of uint8 `pixels` [S, S, 3] with its map `cam` [h, w] of class `index`, and its
    outline `mask`, bool of any size, where there is one that leaves some skin."""
    side = pixels.shape[0]
    blurred = faithfulness.hidden(pixels)
    strongest = (faithfulness.ranked(cam, side) < STRONGEST * side * side)[..., np.newaxis]
    hidden = {"strongest": answers(np.where(strongest, blurred, pixels)), "detail": answers(blurred)}
    inside = share = None
    if mask is not None and not mask.all():
        lesion = np.asarray(Image.fromarray(mask).resize((side, side), Image.Resampling.NEAREST))[..., np.newaxis]
        skin = pixels[~lesion[..., 0]].mean(axis=0).round().astype(np.uint8)
        hidden["lesion"] = answers(np.where(lesion, skin, pixels))
        hidden["skin"] = answers(np.where(lesion, pixels, skin))
        inside, share = faithfulness.energy_inside(cam, mask), float(mask.mean())
    alike = faithfulness.similarity(explain(blurred), cam)
    return Evidence(index, answers(pixels), hidden, alike, inside, share)


def sentence(evidence: Evidence, labels: LabelSet) -> str:
    """The verdict in words."""
    if evidence.alike > ALIKE:
        return (
            "This map should not be trusted: it stays the same when the picture is blurred beyond recognition, as the "
            "map of an untrained network does."
        )
    if evidence.moved < FIRM:
        return (
            "This map should not be trusted: whatever is hidden, the lesion included, the answer stays nearly the "
            "same, as that of an untrained network does."
        )
    lies = f"{evidence.inside:.0%} of this map lies on the lesion; hiding" if evidence.inside is not None else "Hiding"
    names = [label.name for label in labels.labels]
    whole, after = evidence.whole, evidence.hidden["strongest"]
    before, now = whole[evidence.index], after[evidence.index]
    numbers = f"from {percent(before)} to {percent(now)}"
    where = f"the {STRONGEST:.0%} of the square where it is strongest"
    if whole.argmax() == evidence.index != after.argmax():
        return f"{lies} {where} changes the answer, to “{names[int(after.argmax())]}” ({numbers} for this class)."
    if abs(now - before) < SLIGHT:
        return (
            f"{lies} {where} hardly changes the probability of “{names[evidence.index]}” ({numbers}), so the map "
            "explains little of it."
        )
    verb = "lowers" if now < before else "raises"
    doubt = "" if now < before else ", so it does not show what speaks for this class"
    return f"{lies} {where} {verb} the probability of “{names[evidence.index]}” {numbers}{doubt}."


def _log_odds(probability: float) -> float:
    kept = min(max(float(probability), 1e-6), 1 - 1e-6)
    return float(np.log(kept / (1 - kept)))
