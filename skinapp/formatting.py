"""Number formatting for people."""


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
