import pytest

from skinapp.errors import DataError
from skinapp.labels.sets import HAM10000, MALIGNANCY
from train.publish.own_labels import label_set


def test_known_codes_in_another_order_and_case_are_our_label_set() -> None:
    labels, order = label_set("MEL,NV,BCC,AKIEC,BKL,DF,VASC", None, None)
    assert labels is HAM10000
    # akiec is the network's fourth output, bcc its third, and so on
    assert order == (3, 2, 4, 5, 0, 1, 6)
    assert label_set("malignant,benign", "malignant", None) == (MALIGNANCY, (1, 0))


def test_other_codes_describe_their_own_set() -> None:
    labels, order = label_set("mel, wart = Viral wart ,ak", "mel,ak", "ak")
    assert (labels.id, labels.codes, order) == ("mel-wart-ak", ("mel", "wart", "ak"), (0, 1, 2))
    assert [(label.name, label.kind, label.malignant) for label in labels.labels] == [
        ("Melanoma", "cancer", True),
        ("Viral wart", "harmless", False),
        ("ak", "pre-cancer", True),
    ]
    assert labels["mel"].summary == HAM10000["mel"].summary


def test_without_options_known_codes_count_as_they_do_here() -> None:
    labels, _ = label_set("mel,nv,akiec", None, None)
    assert [(label.kind, label.malignant) for label in labels.labels] == [
        ("cancer", True),
        ("harmless", False),
        ("pre-cancer", True),
    ]
    labels, _ = label_set("mel,nv,akiec", "mel", None)
    assert [label.malignant for label in labels.labels] == [True, False, False]


@pytest.mark.parametrize(
    ("listed", "malignant", "pre_cancer", "words"),
    [
        ("mel", None, None, "two or more codes"),
        ("mel,nv,MEL", None, None, "each once"),
        ("mel,nv,nv", None, None, "each once"),
        ("mel,a b", "mel", None, "'a b' in --labels is not a valid code"),
        ("mel,nv", "bcc", None, "bcc in --malignant is not in --labels"),
        ("mel,wart", None, None, "Nothing here says what 'wart' is"),
        ("nv,bkl", None, None, "some must be malignant"),
        ("mel,bcc", None, None, "some must be malignant"),
        ("akiec,bcc,bkl,df,mel,nv,vasc", "mel", None, "of which akiec, bcc, mel count as malignant"),
    ],
)
def test_ambiguous_or_contradictory_options_are_refused(
    listed: str, malignant: str | None, pre_cancer: str | None, words: str
) -> None:
    with pytest.raises(DataError, match=words):
        label_set(listed, malignant, pre_cancer)
