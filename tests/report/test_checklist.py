"""The checklists are complete, and what a card does not state is listed as not answered."""

import dataclasses

import pandas as pd

from skinapp.inference import registry
from skinapp.inference.registry import Model
from skinapp.report import checklist
from skinapp.report.document import List

MODEL = registry.model("ham10000-efficientnetb1")
LETTERS = {3: "abc", 5: "ab", 6: "abc", 8: "abc", 9: "abc", 12: "abcdefg", 18: "abcdef", 20: "abc", 23: "ab", 27: "abc"}
TRIPOD = [f"{number}{letter}" for number in range(1, 28) for letter in LETTERS.get(number, ("",))]


def filled(*models: Model) -> tuple[dict[str, str], list[str]]:
    """The answer to each item of CLAIM, and the unanswered items."""
    blocks = checklist.section(models).blocks
    table = next(block for block in blocks if isinstance(block, pd.DataFrame))
    missing = next(block for block in blocks if isinstance(block, List))
    by_item = {number: row["Answer"] for row in table.to_dict("records") for number in row["CLAIM 2024"].split(", ")}
    return by_item, list(missing.items)


def without(*path: str) -> Model:
    """A copy of the model with information missing from its card."""
    card = dict(MODEL.card)
    part = card
    for name in path[:-1]:
        part[name] = dict(part[name])
        part = part[name]
    del part[path[-1]]
    return dataclasses.replace(MODEL, card=card)


def test_every_item_of_both_checklists_is_there_once() -> None:
    claim = [number for item in checklist.ITEMS for number in item.claim]
    assert sorted(claim, key=int) == [str(number) for number in range(1, 45)]
    tripod = [number for item in checklist.ITEMS for number in item.tripod]
    assert sorted(tripod) == sorted(TRIPOD)


def test_every_item_is_answered_or_listed_for_every_model() -> None:
    models = list(registry.models().values())
    by_item, missing = filled(*models)
    listed = " ".join(missing)
    for item in checklist.ITEMS:
        assert item.claim == () or item.claim[0] in by_item or f"CLAIM {', '.join(item.claim)}" in listed
    assert all(answer.strip() for answer in by_item.values())


def test_answers_are_what_the_card_says() -> None:
    by_item, missing = filled(MODEL)
    score = MODEL.card["scores"]["balanced_accuracy"]
    assert f"{score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f})" in by_item["37"]
    assert by_item["19"] == MODEL.card["training"]["protocol"]
    assert by_item["20"] == "A lesion."
    assert f"keras {MODEL.card['versions']['keras']}" in by_item["23"]
    images, groups = (MODEL.card["training"][name]["test"] for name in ("images", "groups"))
    assert f"test {images:,} ({groups:,})" in by_item["35"]
    assert any(line.startswith("CLAIM 44; TRIPOD+AI 18a: Funding") for line in missing)


def test_what_a_card_no_longer_states_is_not_answered() -> None:
    for item, path in {"23": ("versions",), "25": ("training", "settings"), "31": ("outputs", "class_maps")}.items():
        assert item in filled(MODEL)[0]
        by_item, missing = filled(without(*path))
        assert item not in by_item
        assert any(line.startswith(f"CLAIM {item}: ") for line in missing)


def test_models_that_answer_differently_are_named() -> None:
    silent = dataclasses.replace(without("versions"), short_name="Silent")
    by_item, missing = filled(MODEL, silent)
    assert by_item["23"].startswith(f"{MODEL.short_name}: keras")
    assert by_item["20"] == "A lesion."
    assert next(line for line in missing if line.startswith("CLAIM 23")).endswith("(not for Silent)")
