"""Which kinds of artefact can be removed from an image before it is classified, which are removed by default, and the
wording for what was removed. `skinapp.images.artefacts` detects and removes them.

`python -m train artefacts` measures what each removal changes, decides on validation images which ones help, and writes
removal.json next to this file and the tables in docs/artefacts.md.
"""

import functools
import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from skinapp.formatting import joined, percent

FIGURES_FILE = Path(__file__).with_name("removal.json")

HAIR, RULER, STICKER, DARK_CORNERS, INK = "hair", "ruler", "sticker", "dark-corners", "ink"

KINDS = {HAIR: "Hairs", RULER: "Rulers", STICKER: "Stickers", DARK_CORNERS: "Dark corners", INK: "Ink"}
"""The name of each kind, by code."""


@dataclass(frozen=True, eq=False)
class Removed:
    """`pixels`: uint8 RGB [H, W, 3], the image after removal; `shares`: the share of the image that each kind covers,
    0 where none was detected; `too_much`: whether so much was detected that nothing was removed."""

    pixels: np.ndarray
    shares: dict[str, float]
    too_much: bool

    @property
    def any_detected(self) -> bool:
        """Whether any artefact was detected."""
        return any(self.shares.values())


def advice(modality: str) -> str:
    """Which removals are on for images of this modality, and why."""
    if modality not in figures():
        return "The effect was not measured for images like this, so everything is off."
    on = by_default(modality)
    off = [kind for kind in KINDS if kind not in on]
    helps = f"Removing {named(on)} improved the answers on validation images, so it is on." if on else ""
    unhelpful = f"Removing {named(off, 'or')} was not shown to improve the answers on validation images, so it is off."
    return f"{helps} {unhelpful if off else ''}".strip()


def sentence(removed: Removed) -> str:
    """What was removed, or why nothing was."""
    detected = {kind: share for kind, share in removed.shares.items() if share}
    if removed.too_much:
        return f"Nothing was removed: {named(detected)} would cover most of the square and leave too little skin."
    if not detected:
        return f"Nothing was removed: no {named(removed.shares, 'or')} detected."
    areas = [f"{KINDS[kind].lower()} ({percent(share)} of the square)" for kind, share in detected.items()]
    return f"Removed: {joined(areas)}."


def named(kinds: Collection[str], word: str = "and") -> str:
    """The kinds for use within a sentence: "hairs, rulers and ink"."""
    return joined([name.lower() for kind, name in KINDS.items() if kind in kinds], word)


@functools.cache
def figures() -> dict[str, Any]:
    """The results of the command, by kind of image: the model and, for each kind of artefact, whether removal is on and
    its measured effect."""
    return json.loads(FIGURES_FILE.read_text())


def by_default(modality: str) -> tuple[str, ...]:
    """The kinds whose removal helped on images of this modality; none if it was not measured."""
    measured = figures().get(modality, {}).get("kinds", {})
    return tuple(kind for kind in KINDS if measured.get(kind, {}).get("on", False))
