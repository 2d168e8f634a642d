"""python -m train coverage: how often the prediction sets of each model contain the label, on every test set, as
tables.

It writes docs/coverage.md from the predictions in the model folders, so it needs no images.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from skinapp.errors import ModelError
from skinapp.evaluation import conformal, predictions, subgroups
from skinapp.evaluation.bootstrap import Interval
from skinapp.evaluation.conformal import Measured
from skinapp.files import replacing
from skinapp.inference.conformal import COVERAGE, COVERAGES
from skinapp.labels.sets import LabelSet
from skinapp.report import conformal_views
from train.options import add_models

INTRODUCTION = f"""# Coverage of the prediction sets

Written by `python -m train coverage`. How sets are made is in [method.md](method.md), how they are measured in
[comparing.md](comparing.md). Coverage: the share of sets that contain the label, with its 95% interval over lesions
or patients. Classes: the mean number of classes in a set. A dash stands for fewer than {subgroups.FEW_IMAGES} images.
"""
STAR = " \\*"
SAME = "\\* These images also calibrated the sets, so only other images can show whether the coverage is reached."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_models(parser)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("docs/coverage.md"),
        metavar="FILE.md",
        help="where to write the tables (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    known, left_out = predictions.shipped(options.models)
    for reason in left_out.values():
        print(reason)
    with_sets = [one for one in known.values() if one.model and "conformal" in one.model.card]
    if not with_sets:
        raise ModelError(f"No model in {options.models} has prediction sets; run python -m train conformal first.")
    measured = {
        one.id: {coverage: conformal.on_every_test_set(one, coverage) for coverage in COVERAGES}
        for one in tqdm(with_sets, unit="model", disable=None)
    }
    lines = [INTRODUCTION, "## All images", "", *_overall(measured)]
    for one in with_sets:
        for test in measured[one.id][COVERAGE]:
            lines += ["", f"## {one.id}, {conformal_views.titles(test)}, {COVERAGE:.0%}", "", *_parts(test, one.labels)]
    with replacing(options.out) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(options.out)
    return 0


def _overall(measured: dict[str, dict[float, list[Measured]]]) -> Iterator[str]:
    """A row for each model and test set, a column for each coverage."""
    yield from _head(["Model", "Test images", *(f"{coverage:.0%}: coverage; classes" for coverage in COVERAGES)])
    for model, by_coverage in measured.items():
        for tests in zip(*by_coverage.values(), strict=True):
            cells = [
                f"{_interval(test, 0, 'coverage').text('.2f')}; {_interval(test, 0, 'size').value:.1f}"
                for test in tests
            ]
            images = f"{conformal_views.titles(tests[0])}, {tests[0].table['images'].iloc[0]:,}"
            yield _row([f"`{model}`", images + (STAR if tests[0].calibrated_here else ""), *cells])
    yield ""
    yield SAME


def _parts(test: Measured, labels: LabelSet) -> Iterator[str]:
    """A row for each class and subgroup."""
    yield from _head(["", "Images", "Coverage", "Classes"])
    for index, row in enumerate(test.table.to_dict("records")):
        if row["by"] == "all":
            continue
        titles = conformal_views.parts([test])
        value = labels[row["value"]].name if row["by"] == conformal_views.CLASS else row["value"]
        few = row["images"] < subgroups.FEW_IMAGES
        yield _row(
            [
                f"{titles[row['by']]}: {value}",
                f"{row['images']:,}",
                "-" if few else _interval(test, index, "coverage").text(".2f"),
                "-" if few else _interval(test, index, "size").text(".1f"),
            ]
        )


def _interval(test: Measured, row: int, name: str) -> Interval:
    return Interval(*(float(test.table[f"{name}{end}"].iloc[row]) for end in ("", "_low", "_high")))


def _head(names: Sequence[str]) -> list[str]:
    return [_row(names), "|" + "---|" * len(names)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
