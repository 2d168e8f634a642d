"""Numbers and lists, written for people."""

from collections.abc import Iterable


def percent(share: float) -> str:
    """0-1 -> "87%". Never "0%" or "100%", since a model's probability is never exactly either."""
    if share < 0.01:
        return "under 1%"
    if share > 0.99:
        return "over 99%"
    return f"{share:.0%}"


def short_percent(share: float) -> str:
    """A shorter form for tight spaces: "<1%", ">99%"."""
    return percent(share).replace("under ", "<").replace("over ", ">")


def joined(names: Iterable[str], word: str = "and") -> str:
    """The names for use within a sentence: "hairs, rulers and ink". "" for none."""
    *first, last = [*names] or [""]
    return f"{', '.join(first)} {word} {last}" if first else last
