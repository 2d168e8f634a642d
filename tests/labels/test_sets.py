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
    with pytest.raises(DataError, match="no label set 'ham'; there are ham10000"):
        sets.label_set("ham")
    with pytest.raises(DataError, match="no class 'MEL' in the label set 'ham10000'; it has akiec, bcc"):
        sets.HAM10000["MEL"]
