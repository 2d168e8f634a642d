import pytest

from skinapp.errors import DataError
from skinapp.labels import sets


def test_ham10000_has_the_published_classes_in_alphabetical_order() -> None:
    assert sets.HAM10000.codes == ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")


def test_what_counts_as_malignant() -> None:
    assert [label.code for label in sets.HAM10000.labels if label.malignant] == ["akiec", "bcc", "mel"]


@pytest.mark.parametrize("label_set", sets.LABEL_SETS.values(), ids=lambda label_set: label_set.id)
def test_every_set_can_be_shown(label_set: sets.LabelSet) -> None:
    assert sets.label_set(label_set.id) is label_set
    assert len(set(label_set.codes)) == len(label_set.codes)
    assert len({label.name for label in label_set.labels}) == len(label_set.labels)
    for label in label_set.labels:
        assert label_set[label.code] is label
        assert label.name[0].isupper()
        assert label.summary.endswith(".")


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    with pytest.raises(DataError, match="no label set 'ham'; choose one of ham10000"):
        sets.label_set("ham")
    with pytest.raises(DataError, match="no class 'MEL' in the label set 'ham10000'; it has akiec, bcc"):
        sets.HAM10000["MEL"]


def test_groups_say_what_each_class_is() -> None:
    ham, pad = sets.HAM10000, sets.PAD_UFES_20
    assert sets.groups(ham, ham) == {
        "Cancer, all types together": ("bcc", "mel"),
        "Pre-cancer": ("akiec",),
        "Harmless": ("bkl", "df", "nv", "vasc"),
    }
    assert sets.groups(pad, pad) == {
        "Cancer, all types together": ("BCC", "MEL", "SCC"),
        "Pre-cancer": ("ACK",),
        "Harmless": ("NEV", "SEK"),
    }


def test_two_classes_hold_what_their_data_count_as_malignant() -> None:
    assert sets.groups(sets.MALIGNANCY, sets.HAM10000) == {
        "Cancer or pre-cancer": ("malignant",),
        "Harmless": ("benign",),
    }
    assert sets.groups(sets.MALIGNANCY, sets.PAD_UFES_20) == {
        "Cancer, all types together": ("malignant",),
        "Pre-cancer or harmless": ("benign",),
    }
    held = sets.contents(sets.MALIGNANCY, sets.PAD_UFES_20)
    assert [label.code for label in held["malignant"]] == ["BCC", "MEL", "SCC"]


def test_what_counts_as_malignant_in_the_other_sets() -> None:
    assert [label.code for label in sets.PAD_UFES_20.labels if label.malignant] == ["BCC", "MEL", "SCC"]
    assert [label.code for label in sets.MALIGNANCY.labels if label.malignant] == ["malignant"]


def test_the_common_name_comes_first_in_a_sentence() -> None:
    assert sets.HAM10000["nv"].spoken == "mole (melanocytic nevus)"
    assert sets.HAM10000["mel"].spoken == "melanoma"


@pytest.mark.parametrize(
    ("label_set", "codes", "words"),
    [
        (sets.HAM10000, ["mel"], "melanoma"),
        (sets.HAM10000, ["akiec", "bcc", "mel"], "cancer or pre-cancer"),
        (sets.PAD_UFES_20, ["BCC", "MEL", "SCC"], "cancer"),
        (sets.MALIGNANCY, ["malignant"], "cancer"),
    ],
)
def test_the_common_name_of_classes(label_set: sets.LabelSet, codes: list[str], words: str) -> None:
    assert sets.target(label_set, codes) == words
