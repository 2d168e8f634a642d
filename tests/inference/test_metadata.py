"""Patient metadata is read, coded and added to the logits, but never includes whether a biopsy was taken."""

import dataclasses
import json

import numpy as np
import pytest

from skinapp.errors import DataError, ModelError
from skinapp.inference import metadata, registry
from skinapp.inference.metadata import Field, Fusion
from tests.metadata_model import FIELDS, FUSION

AGE, SEX, ITCH, DIAMETER = FIELDS


def test_a_biopsy_is_never_a_field() -> None:
    schema = json.loads(registry.SCHEMA_FILE.read_text())
    allowed = schema["$defs"]["field"]["properties"]["name"]["enum"]
    assert allowed == [question.name for question in metadata.QUESTIONS]
    assert not [name for name in allowed if "biops" in name]
    for model in registry.models().values():
        assert not [one.name for one in model.clinical if "biops" in one.name]


def test_common_spellings_are_understood() -> None:
    raw = {"age": " 63 ", "sex": "F", "itch": "True", "diameter_1": "7,5", "shoe_size": "43"}
    assert metadata.parse(FIELDS, raw) == {"age": 63.0, "sex": "female", "itch": "yes", "diameter_1": 7.5}


@pytest.mark.parametrize("nothing", ["", "  ", "unknown", "UNK", "NaN", None, float("nan")])
def test_unknown_values_are_missing(nothing: object) -> None:
    assert metadata.parse(FIELDS, {field.name: nothing for field in FIELDS}) == {}


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("age", "-3", "Age: -3 is not possible; write a number from 0 to 120 (years)"),
        ("age", "1975", "Age: 1975 is not possible"),
        ("age", "inf", "Age: inf is not possible"),
        ("age", "63 years", "Age: '63 years' is not a number"),
        ("age", "female", "Age: 'female' is not a number"),
        ("sex", "63", "Sex: '63' is not one of the choices; write one of female, male"),
        ("itch", "a little", "It itches: 'a little' is neither yes nor no"),
        ("diameter_1", "0.04", "write a number from 0.5 to 200 (mm)"),
    ],
)
def test_impossible_values_are_reported(name: str, value: str, sentence: str) -> None:
    with pytest.raises(DataError) as reason:
        metadata.parse(FIELDS, {name: value})
    assert sentence in str(reason.value)


def test_a_beginning_is_enough_where_it_is_clear() -> None:
    site = Field("site", "Site", "category", categories={"arm": "Arm", "armpit": "Armpit", "lower extremity": "Leg"})
    assert metadata.parse([site], {"site": "ARM"}) == {"site": "arm"}
    assert metadata.parse([site], {"site": "lower_ext"}) == {"site": "lower extremity"}
    for unknown in ("ar", "moon"):
        with pytest.raises(DataError) as reason:
            metadata.parse([site], {"site": unknown})
        assert f"Site: '{unknown}' is not one of the choices; write one of arm, armpit, lower extremity" in str(
            reason.value
        )


def test_the_coding_worked_out_by_hand() -> None:
    values = metadata.parse(FIELDS, {"age": 70, "sex": "male", "itch": "yes", "diameter_1": 100})
    # age 70: (70 - 60) / 10 and (max(70 - 50, 0) - 12) / 8; beyond what was seen, a diameter counts as 20 mm
    expected = [1.0, 1.0, -0.6, 0.6, 0.75, np.log(20) - 2]
    assert metadata.code(FIELDS, values) == pytest.approx(expected)


def test_an_answer_that_is_missing_adds_nothing() -> None:
    assert not metadata.code(FIELDS, {}).any()
    alone = metadata.code(FIELDS, {"itch": "no"})
    assert np.flatnonzero(alone).tolist() == [4]
    logits = np.array([1.0, -1.0], dtype=np.float32)
    assert FUSION.add(logits, np.zeros(6)) == pytest.approx(2 * logits + FUSION.bias)


def test_recording_a_value_carries_no_information() -> None:
    # over the people with a value, 60% of them female, the columns are zero on average
    coded = np.array([metadata.code([SEX], {"sex": sex}) for sex in ["female"] * 6 + ["male"] * 4])
    assert coded.mean(axis=0) == pytest.approx([0, 0])
    assert coded.sum(axis=1) == pytest.approx(np.zeros(10))


def test_the_files_store_everything() -> None:
    card = json.loads(json.dumps({"inputs": {"clinical": metadata.described(FIELDS)}}))
    assert metadata.fields_of(card) == FIELDS
    again = metadata.from_json(metadata.to_json(FUSION, FIELDS), FIELDS, 2)
    assert again.scale == FUSION.scale
    assert again.bias.tolist() == FUSION.bias.tolist()
    assert again.weights.tolist() == FUSION.weights.tolist()


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        "nothing",
        metadata.to_json(FUSION, FIELDS[:2]),
        metadata.to_json(dataclasses.replace(FUSION, bias=np.zeros(3)), FIELDS),
        metadata.to_json(Fusion(float("nan"), FUSION.bias, FUSION.weights), FIELDS),
    ],
)
def test_weights_that_do_not_belong_are_refused(content: str) -> None:
    with pytest.raises(ModelError, match=r"clinical\.json"):
        metadata.from_json(content, FIELDS, 2)
