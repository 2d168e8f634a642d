"""What a data set says of itself in figures, and what it cannot tell, in sentences with the numbers."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from skinapp.datasets.registry import SOURCES
from skinapp.demographics.records import Table, malignant
from skinapp.demographics.statistics import Relation, counts, images_per_lesion, strength, totals


@dataclass(frozen=True)
class Fact:
    """A figure: what it is of, as counted here, with its count, and as published, "" where the publication has none."""

    name: str
    here: str
    count: str
    published: str = ""


PUBLISHED = {
    "Images": "10,015",
    "Lesions": "7,470",
    "Mean age": "51.86",
    "Standard deviation of age": "16.96",
    "Male": "54.1%",
    "Female": "45.5%",
    "Sex not stated": "0.6%",
    "Histology": "53.3%",
    "Follow-up": "37.0%",
    "Expert consensus": "9.0%",
    "Confocal microscopy": "0.7%",
    "akiec": "327",
    "bcc": "514",
    "bkl": "1,099",
    "df": "115",
    "mel": "1,113",
    "nv": "6,705",
    "vasc": "142",
}
"""HAM10000 as it is reported elsewhere. Two figures differ in their last digit from a count of the published table."""


def headline(table: Table) -> list[Fact]:
    """The first figures of a data set, of all its images."""
    frame = table.frame
    total = totals(frame)
    published = PUBLISHED if table.id == "ham10000" else {}
    facts = [
        ("Images", f"{total.images:,}", "all rows of the table"),
        ("Lesions", f"{total.lesions:,}", "different lesion numbers"),
    ]
    if total.aged:
        facts += [
            ("Mean age", f"{total.mean_age:.2f}", f"years, stated for {total.aged:,} images"),
            ("Standard deviation of age", f"{total.sd_age:.2f}", f"years, stated for {total.aged:,} images"),
        ]
    for column, missing in (("sex", "Sex not stated"), ("confirmation", "Confirmation not stated")):
        found = counts(frame, column)
        if (found["value"] != "not stated").any():
            facts += [
                (
                    missing if row["value"] == "not stated" else str(row["value"]).capitalize(),
                    f"{row['share']:.1%}",
                    f"{row['images']:,} images",
                )
                for row in found.to_dict("records")
            ]
    sites = counts(frame, "site")
    top = sites[sites["value"] != "not stated"].sort_values("images", ascending=False, kind="stable").head(5)
    facts += [
        (f"Site {place}: {row['value']}", f"{row['share']:.1%}", f"{row['images']:,} images")
        for place, row in enumerate(top.to_dict("records"), start=1)
    ]
    facts += [
        (row["value"], f"{row['images']:,}", f"images of {row['lesions']:,} lesions, {row['share']:.1%}")
        for row in counts(frame, "diagnosis").to_dict("records")
    ]
    return [Fact(table.name(name), here, count, published.get(name, "")) for name, here, count in facts]


def limits(table: Table) -> list[tuple[str, str]]:
    """What the data set cannot tell: a heading and a sentence with the numbers each."""
    frame, total = table.frame, totals(table.frame)
    found = [_confirmed(table), _skin_type(table), _several(table), _missing(table)]
    if table.id == "ham10000":
        newborn = int(frame.loc[frame["age"] == 0, "images"].sum())
        found += [
            (
                "Two places",
                "All images come from one university clinic in Vienna and one practice in Queensland. The table does "
                "not say which image is from where, so a difference between diagnoses can be one between cameras.",
            ),
            (
                "Not who has what",
                f"Melanomas are {_share(frame, 'diagnosis', 'mel')} of the images because they were collected, not "
                "because so many spots are melanomas. No share here is a risk.",
            ),
            (
                "Ages are rounded",
                f"Every age is a multiple of five, and {newborn:,} images say 0 years, of which some may stand for not "
                "known.",
            ),
        ]
    elif table.id == "pad_ufes_20":
        published = SOURCES[table.id].published_images
        found += [
            (
                "A part of the whole",
                f"These tables count {total.images:,} of the {published:,} published images, those at hand here. "
                "Shares can differ from those of the whole.",
            ),
            (
                "One region",
                "All patients were seen in Espírito Santo, Brazil, many of them farmers with ancestors from Pomerania, "
                "Germany or Italy. What holds for them need not hold elsewhere.",
            ),
        ]
    elif table.id == "malignant_benign":
        ham = counts(frame, "origin")
        inside = int(ham.loc[ham["value"] != "not stated", "images"].sum())
        other = frame[frame["origin"].isna()]
        wrong = int(other.loc[other["diagnosis"] == "malignant", "images"].sum())
        found += [
            (
                "Published without a table",
                f"Age, sex, site and confirmation are known only of the {inside:,} images "
                f"({inside / total.images:.0%}) that are HAM10000's as well, found by comparing pictures. "
                "Whoever trains on both sets must split them together.",
            ),
            (
                "Two kinds of source",
                f"Of the other {int(other['images'].sum()):,} images {wrong:,} are malignant, so where an image comes "
                "from gives its label away.",
            ),
        ]
    return [each for each in found if each]


def _confirmed(table: Table) -> tuple[str, str]:
    frame = table.frame
    state = np.append(malignant(table), np.nan)[frame["diagnosis"].cat.codes]
    known = frame["confirmation"].notna().to_numpy()
    parts = []
    for value, word in ((1.0, "malignant"), (0.0, "other")):
        mine = frame[(state == value) & known]
        biopsied, images = int(mine.loc[mine["confirmation"] == "histology", "images"].sum()), int(mine["images"].sum())
        if images:
            parts.append(f"{biopsied:,} of {images:,} images of {word} classes ({biopsied / images:.0%})")
    if not parts:
        return "How diagnoses were confirmed", "The table does not say how any diagnosis was confirmed."
    return (
        "Cancers are confirmed by biopsy, the rest mostly not",
        "Under the microscope were confirmed " + " and ".join(parts) + ". A biopsied mole is one that worried "
        "somebody, so it is not like other moles; and a diagnosis without a biopsy can be wrong.",
    )


def _skin_type(table: Table) -> tuple[str, str]:
    frame, total = table.frame, totals(table.frame)
    if "skin_type" in frame:
        known = frame[frame["skin_type"].notna()]
        stated = int(known["images"].sum())
        dark = int(known.loc[known["skin_type"].isin(["5", "6"]), "images"].sum())
        text = f"Skin type is stated for {stated:,} of {total.images:,} images, and {dark:,} of those are type 5 or 6."
        return "Dark skin is all but absent", f"{text} Nothing can be said about how such skin would be answered."
    return (
        "Skin type is not recorded",
        f"None of the {total.images:,} images states a skin type, so nobody can check how a model does on dark skin.",
    )


def _several(table: Table) -> tuple[str, str]:
    spread = images_per_lesion(table.frame)
    several = spread[spread["images"] > 1]
    lesions, images = int(several["lesions"].sum()), int((several["images"] * several["lesions"]).sum())
    return (
        "Several images show one lesion",
        f"{lesions:,} of {int(spread['lesions'].sum()):,} lesions have more than one image, together {images:,} "
        "images. Divided at random, a lesion lands in training and test, and a model looks better than it is.",
    )


def _missing(table: Table) -> tuple[str, str]:
    frame, total = table.frame, totals(table.frame)
    parts = []
    for column in ("sex", "age", "site"):
        absent = int(frame.loc[frame[column].isna(), "images"].sum())
        parts.append(f"{column} for {absent:,} ({absent / total.images:.1%})")
    return "What is missing", f"Of {total.images:,} images, not stated is {', '.join(parts)}."


def _share(frame: pd.DataFrame, column: str, value: str) -> str:
    found = counts(frame, column)
    images, share = (found.loc[found["value"] == value, name].sum() for name in ("images", "share"))
    return f"{share:.1%} ({images:,})"


MEANINGS = {
    "age": (
        "People with different diagnoses differ in age, so age alone already tells something about the diagnosis.",
        "It does not say that age causes anything: who is photographed, and at what age, was somebody's choice.",
    ),
    "sex": (
        "Women and men have the diagnoses in different shares here.",
        "It does not say that either runs a higher risk: that would need to know who was not photographed.",
    ),
    "site": (
        "Diagnoses lie on different parts of the body, so the site is a hint, and a model may find it in the picture.",
        "It does not say where a diagnosis is common among people, only where it was photographed.",
    ),
    "confirmation": (
        "How sure a label is depends on the label.",
        "It is not a property of the lesions: doctors choose whom to biopsy, mostly those that look malignant.",
    ),
    "skin_type": (
        "Skin types have the diagnoses in different shares.",
        "With few people of skin types 4 to 6, it says next to nothing about them.",
    ),
}
SYMPTOM_MEANING = (
    "What patients say about the lesion goes along with its diagnosis.",
    "It was asked at a visit, of patients who came for a reason; it does not tell how well the sign would screen.",
)


def meaning(relation: Relation) -> tuple[str, str]:
    """A sentence on what a relation means, and one on what it does not."""
    means, means_not = MEANINGS.get(relation.column, SYMPTOM_MEANING)
    size = strength(relation.effect**0.5 if relation.column == "age" else relation.effect)
    if relation.p >= 0.05:
        means = "In this selection, chance alone could explain the differences."
    text = f"There is {size} relation. {means}"
    if relation.sparse > 0.2:
        means_not += f" {relation.sparse:.0%} of the expected counts are below 5, so take the p-value as rough."
    return text, means_not
