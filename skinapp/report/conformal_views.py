"""Measured prediction sets: how often they contain the label, and how many classes they have."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from skinapp.charts import performance
from skinapp.datasets import registry as data_sets
from skinapp.evaluation import subgroups
from skinapp.evaluation.bootstrap import Interval
from skinapp.evaluation.conformal import Measured
from skinapp.formatting import joined, percent
from skinapp.labels.sets import LabelSet
from skinapp.report.comparison_views import Names, listed
from skinapp.report.document import Block, Chart

CLASS = "class"
MEASURES = {"coverage": "Share of sets that contain the true label", "size": "Mean number of classes per set"}


def parts(tests: Sequence[Measured]) -> dict[str, str]:
    """The groupings in which sets are measured: "class", and the columns of `subgroups.SUBGROUPS` that a test set
    has."""
    there = {name for test in tests for name in test.table["by"]}
    return {CLASS: "Class"} | {name: title for name, title in subgroups.SUBGROUPS.items() if name in there}


def chart(tests: Sequence[Measured], by: str, measure: str, labels: LabelSet, names: Names) -> Chart:
    """A measure of MEASURES on every test set of one model, for all images and by class or by a subgroup."""
    tables = [
        test.table[test.table["by"].isin(["all", by])].assign(test=titles(test), nominal=test.nominal) for test in tests
    ]
    table = pd.concat(tables, ignore_index=True)
    rows = [
        "All images" if row["by"] == "all" else labels[row["value"]].name if by == CLASS else row["value"]
        for row in table.to_dict("records")
    ]
    frame = pd.DataFrame(
        {
            "row": pd.Categorical(rows, list(dict.fromkeys(rows))),
            "series": table["test"],
            "value": table[measure],
            "low": table[f"{measure}_low"],
            "high": table[f"{measure}_high"],
        }
    )
    form = ".0%" if measure == "coverage" else ".1f"
    few = table["images"] < subgroups.FEW_IMAGES
    frame.loc[few, ["value", "low", "high"]] = np.nan
    frame["note"] = [
        "too few images" if is_few else Interval(value, low, high).text(form)
        for is_few, value, low, high in zip(few, frame["value"], frame["low"], frame["high"], strict=True)
    ]
    # stacked if a row has several test sets
    frame = frame.sort_values("row", kind="stable") if len(tests) > 1 else frame
    frame["row"] = frame["row"].astype(str)
    title = MEASURES[measure]
    nominal = tests[0].nominal if measure == "coverage" else None
    return Chart(
        performance.forest(frame, title, list(dict.fromkeys(table["test"])), reference=nominal),
        table,
        f"{title}, {names[tests[0].model]}: "
        + listed([f"{row}, {test}" for row, test in zip(frame["row"], frame["series"], strict=True)], frame["note"]),
    )


def sentences(tests: Sequence[Measured], labels: LabelSet) -> list[str]:
    """For every test set of a model, a sentence on whether the sets reached their coverage, overall and for the worst
    class."""
    return [_sentence(test, labels) for test in tests]


def titles(one: Measured) -> str:
    """The data sets of a test set, by name."""
    return joined(map(data_sets.title, one.datasets))


def blocks(tests: Sequence[Measured], labels: LabelSet, names: Names) -> list[Block]:
    """All measurements of one model's sets, for a report."""
    charts: list[Block] = [
        chart(tests, by, measure, labels, names) for by in parts(tests) for measure in MEASURES if _has(tests, by)
    ]
    return [*sentences(tests, labels), *charts]


def _has(tests: Sequence[Measured], by: str) -> bool:
    return any((test.table["by"] == by).any() for test in tests)


def _sentence(one: Measured, labels: LabelSet) -> str:
    overall = one.table.iloc[0]
    share = f"{overall['coverage']:.0%} of the sets contain the true label{_limits(overall)}"
    size = f"they contain {overall['size']:.1f} of {len(labels.codes)} classes on average"
    every = f", and {percent(overall['everything'])} of them contain every class" if overall["everything"] else ""
    if one.calibrated_here:
        against = "The sets were calibrated on these images, so only others can show whether the target is reached"
    elif overall["coverage_high"] < one.nominal:
        against = f"That is less than the target of {one.nominal:.0%}: do not rely on these sets for images like these"
    elif overall["coverage_low"] > one.nominal:
        against = f"That is more than the target of {one.nominal:.0%}"
    elif np.isnan(overall["coverage_low"]):
        against = f"There are too few lesions or patients to compare with the target of {one.nominal:.0%}"
    else:
        against = f"That agrees with the target of {one.nominal:.0%}"
    classes = one.table[(one.table["by"] == CLASS) & one.table["coverage_low"].notna()]
    worst = ""
    if len(classes):
        lowest = classes.sort_values("coverage").iloc[0]
        worst = f" Lowest by class: {labels[lowest['value']].spoken}, {lowest['coverage']:.0%}{_limits(lowest)}."
    return f"{titles(one)}: {share}; {size}{every}. {against}.{worst}"


def _limits(row: pd.Series) -> str:
    if np.isnan(row["coverage_low"]):
        return ""
    return f" ({row['coverage_low']:.0%} to {row['coverage_high']:.0%})"
