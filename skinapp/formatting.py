"""Numbers as a person reads them."""


def percent(share: float) -> str:
    """0-1 -> "87%". Never "0%" or "100%": a model's probability is neither, and rounding must not say so."""
    if share < 0.01:
        return "under 1%"
    if share > 0.99:
        return "over 99%"
    return f"{share:.0%}"


def short_percent(share: float) -> str:
    """The same where there is little room: "<1%", ">99%"."""
    return percent(share).replace("under ", "<").replace("over ", ">")
