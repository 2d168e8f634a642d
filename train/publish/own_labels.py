"""The label set of a classifier that was trained elsewhere, from the user's description of its classes."""

import re

from skinapp.errors import DataError
from skinapp.labels.sets import LABEL_SETS, Label, LabelSet

CODE = re.compile(r"[A-Za-z0-9_-]+")


def label_set(listed: str, malignant: str | None, pre_cancer: str | None) -> tuple[LabelSet, tuple[int, ...]]:
    """The model's label set, and for each of its classes the position of its code in `listed`.

    One of ours if the codes match, in any case and order; otherwise a new set, with the names and kinds of known codes
    from ours. DataError if it remains unclear which classes are malignant, or if the options contradict each other.
    """
    names = dict(_split(one, "=") for one in _codes(listed))
    codes = list(names)
    if len(codes) < 2 or len({code.lower() for code in codes}) < len(_codes(listed)):
        raise DataError("--labels needs two or more codes, each once.")
    for code in codes:
        if not CODE.fullmatch(code):
            raise DataError(
                f"'{code}' in --labels is not a valid code; use letters, digits, _ and -, as in mel=Melanoma."
            )
    cancers, pre_cancers = (
        _known_codes(text, codes, option) for text, option in ((malignant, "--malignant"), (pre_cancer, "--pre-cancer"))
    )
    for ours in LABEL_SETS.values():
        if sorted(code.lower() for code in codes) == sorted(code.lower() for code in ours.codes):
            counted = {label.code.lower() for label in ours.labels if label.malignant}
            if cancers is not None and {code.lower() for code in cancers} != counted:
                raise DataError(
                    f"These are the classes of the label set '{ours.id}', of which {', '.join(sorted(counted))} count "
                    "as malignant; leave out --malignant, or use other codes."
                )
            lowered = [code.lower() for code in codes]
            return ours, tuple(lowered.index(code.lower()) for code in ours.codes)
    labels = tuple(_label(code, names[code], cancers, pre_cancers) for code in codes)
    if len({label.malignant for label in labels}) < 2:
        raise DataError(
            "Of the classes, some must be malignant and others not; name the malignant ones with --malignant."
        )
    return LabelSet("-".join(codes), labels), tuple(range(len(codes)))


def _codes(text: str) -> list[str]:
    return [one.strip() for one in text.split(",") if one.strip()]


def _split(text: str, sign: str) -> tuple[str, str]:
    first, _, second = text.partition(sign)
    return first.strip(), second.strip()


def _known_codes(text: str | None, codes: list[str], option: str) -> list[str] | None:
    """The codes of an option; None if it is omitted. DataError for a code that is not a class."""
    if text is None:
        return None
    if unknown := [code for code in _codes(text) if code not in codes]:
        raise DataError(f"{', '.join(unknown)} in {option} is not in --labels, which has {', '.join(codes)}.")
    return _codes(text)


def _label(code: str, name: str, cancers: list[str] | None, pre_cancers: list[str] | None) -> Label:
    """A class of a new label set. Anything not set by the options is taken from the same code in our sets."""
    known = next(
        (label for ours in LABEL_SETS.values() for label in ours.labels if label.code.lower() == code.lower()), None
    )
    if cancers is None and known is None:
        raise DataError(f"Nothing here says what '{code}' is; name all malignant classes with --malignant.")
    if cancers is None and known is not None:
        kind, counts = known.kind, known.malignant_pre_cancer
        if code in (pre_cancers or ()):
            kind, counts = "pre-cancer", False
    else:
        counted = code in (cancers or ())
        is_pre_cancer = code in pre_cancers if pre_cancers is not None else bool(known and known.kind == "pre-cancer")
        kind, counts = "pre-cancer" if is_pre_cancer else "cancer" if counted else "harmless", counted and is_pre_cancer
    alike = known is not None and known.kind == kind and not name
    return Label(
        code,
        name or (known.name if known else code),
        kind,
        known.summary if known is not None and alike else "",
        counts,
        known.common_name if known is not None and alike else "",
    )
