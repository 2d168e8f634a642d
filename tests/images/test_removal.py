"""Which removals are on, and the wording for what was removed."""

import numpy as np
import pytest

from skinapp.images import removal
from skinapp.images.removal import KINDS, Removed

PIXELS = np.zeros((2, 2, 3), np.uint8)


def test_removals_are_reported() -> None:
    both = Removed(PIXELS, {"hair": 0.0, "ruler": 0.071, "ink": 0.004}, too_much=False)
    assert removal.sentence(both) == "Removed: rulers (7% of the square) and ink (under 1% of the square)."
    none = Removed(PIXELS, {"ruler": 0.0, "sticker": 0.0, "ink": 0.0}, too_much=False)
    assert removal.sentence(none) == "Nothing was removed: no rulers, stickers or ink detected."
    much = Removed(PIXELS, {"ruler": 0.9, "ink": 0.0}, too_much=True)
    assert removal.sentence(much).startswith("Nothing was removed: rulers would cover most of the square")


def test_kinds_are_named_in_their_order() -> None:
    assert removal.named(["ink", "hair"]) == "hairs and ink"
    assert removal.named(["ink"]) == "ink"


def test_default_removals_come_from_the_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = {"dermoscopy": {"kinds": {kind: {"on": kind in ("ink", "ruler")} for kind in KINDS}}}
    monkeypatch.setattr(removal, "figures", lambda: figures)
    assert removal.by_default("dermoscopy") == ("ruler", "ink")
    assert removal.by_default("smartphone") == ()
    assert "Removing rulers and ink improved the answers on validation images" in removal.advice("dermoscopy")
    assert "was not measured" in removal.advice("smartphone")


def test_every_kind_was_measured() -> None:
    measured = removal.figures()["dermoscopy"]["kinds"]
    assert list(measured) == list(KINDS)
    for one in measured.values():
        assert one["drawn"]["test"]["removed"]["images"] >= 100
        assert one["real"]["test"]["detected"] > 0
        assert one["checked"]["looked_at"] > 0
