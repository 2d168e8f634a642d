"""Pairs of measurements, and the table made from them."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

HEADER = """\
| measured | plain code | here | ratio | lowest to highest | target |
|---|---|---|---|---|---|"""


@dataclass(frozen=True)
class Comparison:
    """A measurement in `unit`, lower is better: for each repeat, a value for plain code and one for ours."""

    name: str
    unit: str
    target: float
    plain: Sequence[float]
    ours: Sequence[float]

    @property
    def ratios(self) -> list[float]:
        """For each repeat, the plain value over ours."""
        return [plain / ours for plain, ours in zip(self.plain, self.ours, strict=True)]

    @property
    def row(self) -> str:
        """The medians, and the median ratio with its range, as a row of the table."""
        plain, ours, ratio = (statistics.median(values) for values in (self.plain, self.ours, self.ratios))
        spread = f"{min(self.ratios):.1f} to {max(self.ratios):.1f}, n = {len(self.ratios)}"
        return (
            f"| {self.name} | {plain:,.3g} {self.unit} | {ours:,.3g} {self.unit} | **{ratio:.1f}** | {spread} "
            f"| {self.target:g} |"
        )


def against_limit(name: str, limit: float, seconds: Sequence[float]) -> Comparison:
    """Seconds compared with the time allowed, where there is no plain code for the task."""
    return Comparison(f"{name}, against a limit of {limit:g} s", "s", 1, [limit] * len(seconds), seconds)


def alternate(
    plain: Callable[[Path], float], ours: Callable[[Path], float], path: Path, repeats: int
) -> tuple[list[float], list[float]]:
    """The values of both on `path`, measured alternately so that a busy machine affects both equally."""
    pairs = [(plain(path), ours(path)) for _ in range(repeats)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]
