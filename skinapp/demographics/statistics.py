"""Counts, associations with the diagnosis, and standardised differences, of the frames of `records`."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pandas as pd
import scipy

from skinapp.datasets.metadata import SYMPTOMS
from skinapp.demographics.records import CATEGORIES, EXTRAS, NOT_STATED, PROVENANCE

REGIONS = {
    "head and neck": ("face", "nose", "lip", "ear", "scalp", "neck", "head/neck", "head, neck or face"),
    "trunk": ("trunk", "back", "chest", "abdomen", "genital", "anterior torso", "posterior torso", "lateral torso"),
    "arm and hand": ("upper extremity", "arm", "forearm", "hand"),
    "leg and foot": ("lower extremity", "thigh", "foot"),
}
"""Sites of all data sets, grouped so that they can be compared. `acral` (hands and feet) is in no group."""

# scipy.stats, which takes most of a second to import, is imported at its first use
Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Totals:
    """Images and lesions of a selection, and the mean and standard deviation of the ages of its `aged` images."""

    images: int
    lesions: int
    aged: int
    mean_age: float
    sd_age: float


@dataclass(frozen=True)
class Association:
    """A test of independence between a column and the diagnosis, with one image for each lesion.

    `effect` is 0 (none) to 1; `df` degrees of freedom; `sparse` the share of expected counts below 5.
    """

    column: str
    test: str
    statistic: float
    df: int
    p: float
    effect_name: str
    effect: float
    lesions: int
    sparse: float = 0.0


def totals(frame: pd.DataFrame) -> Totals:
    """Counts and ages of a selection; the standard deviation is the sample's (n - 1), NaN below two ages."""
    known = frame["age"].notna().to_numpy()
    ages, weights = frame["age"].to_numpy()[known], frame["images"].to_numpy()[known]
    aged = int(weights.sum())
    mean = float(np.average(ages, weights=weights)) if aged else float("nan")
    spread = float(np.sqrt((weights * (ages - mean) ** 2).sum() / (aged - 1))) if aged > 1 else float("nan")
    return Totals(int(frame["images"].sum()), int(frame["lesion"].nunique()), aged, mean, spread)


def counts(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """One row for each value of a column that occurs, not stated last: `value`, `images`, `lesions`, and the `share`
    (0-1) of all images."""
    codes, names = _codes(frame[column])
    images = np.bincount(codes, weights=frame["images"], minlength=len(names)).astype(int)
    width = int(frame["lesion"].max()) + 1 if len(frame) else 1
    pairs = pd.unique(codes * width + frame["lesion"].to_numpy())
    lesions = np.bincount(pairs // width, minlength=len(names))
    table = pd.DataFrame({"value": names, "images": images, "lesions": lesions, "share": images / max(1, images.sum())})
    return table[table["images"] > 0].reset_index(drop=True)


def cross(frame: pd.DataFrame, row: str, column: str) -> pd.DataFrame:
    """Images of each pair of values that occur, rows by columns; not stated comes last on both sides."""
    first, rows = _codes(frame[row])
    second, columns = _codes(frame[column])
    flat = np.bincount(first * len(columns) + second, weights=frame["images"], minlength=len(rows) * len(columns))
    table = pd.DataFrame(flat.reshape(len(rows), len(columns)).astype(int), index=rows, columns=columns)
    return table.loc[table.sum(axis=1) > 0, table.sum(axis=0) > 0]


def shares(table: pd.DataFrame) -> pd.DataFrame:
    """A `cross` with each row divided by its sum: 0-1."""
    return table.div(table.sum(axis=1), axis=0)


def merge_rare_columns(table: pd.DataFrame, keep: int) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """A `cross` in which all but the `keep` most common columns are merged, to keep its chart readable; and the values
    that the merged column stands for, by its name."""
    if table.shape[1] <= keep + 1:
        return table, {}
    order = table.sum().sort_values(ascending=False, kind="stable").index
    rest, name = order[keep:], f"{table.shape[1] - keep:,} others"
    return table[order[:keep]].assign(**{name: table[rest].sum(axis=1)}), {name: list(map(str, rest))}


def age_bands(frame: pd.DataFrame, by: str = "diagnosis", width: int = 5) -> pd.DataFrame:
    """Images in each age band, by the values of a column: rows are the bands' first years, without gaps."""
    known = frame[frame["age"].notna()]
    codes, names = _codes(known[by])
    band = (known["age"].to_numpy() // width).astype(int)
    top = int(band.max()) + 1 if len(band) else 0
    flat = np.bincount(band * len(names) + codes, weights=known["images"], minlength=top * len(names))
    table = pd.DataFrame(flat.reshape(top, len(names)).astype(int), index=np.arange(top) * width, columns=names)
    return table.loc[:, table.sum() > 0]


def age_summary(frame: pd.DataFrame, by: str = "diagnosis") -> pd.DataFrame:
    """For each value of a column: `images` with an age, `mean`, `sd`, `low` and `high` of the mean's 95% interval (over
    lesions), and `min`, `q1`, `median`, `q3`, `max` in years."""
    known = frame[frame["age"].notna()]
    codes, names = _codes(known[by])
    ages, weights = known["age"].to_numpy(), known["images"].to_numpy()
    first = ~known["lesion"].duplicated().to_numpy()
    rows = []
    for code, name in enumerate(names):
        rows_of_value = codes == code
        if rows_of_value.any():
            total = totals(known[rows_of_value])
            order = np.argsort(ages[rows_of_value])
            steps = np.cumsum(weights[rows_of_value][order]) / total.aged
            quartiles = ages[rows_of_value][order][np.searchsorted(steps, (0.25, 0.5, 0.75))]
            lesions = int((rows_of_value & first).sum())
            margin = Z * total.sd_age / np.sqrt(max(1, lesions))
            middle = (total.mean_age, total.sd_age, total.mean_age - margin, total.mean_age + margin)
            ends = ages[rows_of_value].min(), ages[rows_of_value].max()
            rows.append((name, total.aged, lesions, *middle, ends[0], *quartiles, ends[1]))
    columns = [by, "images", "lesions", "mean", "sd", "low", "high", "min", "q1", "median", "q3", "max"]
    return pd.DataFrame(rows, columns=columns)


def images_per_lesion(frame: pd.DataFrame) -> pd.DataFrame:
    """How many `images` a lesion has in the selection, how many `lesions` have that many, and their `share` (0-1)."""
    per_lesion = np.bincount(frame["lesion"], weights=frame["images"]).astype(int) if len(frame) else np.zeros(0, int)
    lesions = np.bincount(per_lesion[per_lesion > 0])
    table = pd.DataFrame({"images": np.arange(len(lesions)), "lesions": lesions})
    table = table[table["lesions"] > 0].reset_index(drop=True)
    return table.assign(share=table["lesions"] / max(1, table["lesions"].sum()))


def lesions_by_modality(frame: pd.DataFrame) -> pd.DataFrame:
    """How many `lesions` have a dermoscopy image, a close-up or both in the selection, and their `share` (0-1)."""
    has = pd.crosstab(frame["lesion"], frame["modality"]).reindex(columns=["dermoscopy", "clinical"], fill_value=0) > 0
    dermoscopy, clinical = has["dermoscopy"], has["clinical"]
    lesions = {
        "Dermoscopy image and close-up": dermoscopy & clinical,
        "Dermoscopy image only": dermoscopy & ~clinical,
        "Close-up only": clinical & ~dermoscopy,
    }
    table = pd.DataFrame({"value": lesions.keys(), "lesions": [int(rows.sum()) for rows in lesions.values()]})
    return table.assign(share=table["lesions"] / max(1, table["lesions"].sum()))


def missing(frame: pd.DataFrame) -> pd.DataFrame:
    """For each column of the selection: `column`, the `images` that do not state it, and their `share` (0-1)."""
    columns = [name for name in (*CATEGORIES, "age", *EXTRAS) if name in frame and name not in PROVENANCE]
    weights, total = frame["images"].to_numpy(), max(1, int(frame["images"].sum()))
    absent = [int(weights[frame[name].isna().to_numpy()].sum()) for name in columns]
    return pd.DataFrame({"column": columns, "images": absent, "share": [count / total for count in absent]})


def one_per_lesion(frame: pd.DataFrame) -> pd.DataFrame:
    """The first row of each lesion: images of one lesion are not independent, so tests use one."""
    return frame[~frame["lesion"].duplicated()]


def age_association(frame: pd.DataFrame) -> Association | None:
    """Kruskal-Wallis test of age over the diagnoses, with epsilon squared = H / (n - 1) (Tomczak and Tomczak 2014).

    Not ANOVA: published ages are rounded and skewed, and their spread differs between diagnoses. None if fewer than two
    diagnoses have ages, or all ages are the same.
    """
    known = one_per_lesion(frame[frame["age"].notna() & frame["diagnosis"].notna()])
    codes, ages = known["diagnosis"].cat.codes.to_numpy(), known["age"].to_numpy()
    groups = [ages[codes == code] for code in np.unique(codes)]
    if len(groups) < 2 or len(np.unique(ages)) < 2:
        return None
    result = scipy.stats.kruskal(*groups)
    effect = float(result.statistic) / (len(known) - 1)
    return Association(
        "age",
        "Kruskal-Wallis",
        float(result.statistic),
        len(groups) - 1,
        float(result.pvalue),
        "epsilon squared",
        effect,
        len(known),
    )


def category_association(frame: pd.DataFrame, column: str) -> Association | None:
    """Pearson's chi-square test of a column against the diagnosis, with Cramer's V, over lesions that state both.

    None if either has fewer than two values.
    """
    known = one_per_lesion(frame[frame[column].notna() & frame["diagnosis"].notna()])
    observed = cross(known.assign(images=1), "diagnosis", column).to_numpy()
    if min(observed.shape, default=0) < 2:
        return None
    result = scipy.stats.chi2_contingency(observed, correction=False)
    return Association(
        column,
        "chi-square",
        float(result.statistic),
        int(result.dof),
        float(result.pvalue),
        "Cramér's V",
        float(scipy.stats.contingency.association(observed, method="cramer")),
        len(known),
        float((result.expected_freq < 5).mean()),
    )


def associations(frame: pd.DataFrame) -> list[Association]:
    """Every association with the diagnosis that can be tested in the selection: age, then the others."""
    columns = [name for name in (*CATEGORIES[1:], *EXTRAS) if name in frame and name not in PROVENANCE]
    tested = [age_association(frame), *(category_association(frame, name) for name in columns)]
    return [each for each in tested if each]


def symptoms(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each symptom and diagnosis: `symptom` (the column), `diagnosis`, `yes` (images with the symptom),
    `images` (that state it), their `share` (0-1), and its 95% Wilson interval `low` to `high`, with lesions as the
    number of cases."""
    rows = []
    for name in (name for name in SYMPTOMS if name in frame):
        stated = frame[frame[name].notna()]
        table = cross(stated, "diagnosis", name).reindex(columns=["yes", "no"], fill_value=0)
        lesions = stated.groupby("diagnosis")["lesion"].nunique()
        for code, yes, no in table.itertuples():
            share, cases = yes / max(1, yes + no), lesions.get(code, 0)
            rows.append((name, code, yes, yes + no, share, *wilson(share * cases, cases)))
    return pd.DataFrame(rows, columns=["symptom", "diagnosis", "yes", "images", "share", "low", "high"])


def strength(effect: float) -> str:
    """A word for Cramer's V or the root of epsilon squared, by Cohen's 1988 bounds for w: 0.1, 0.3, 0.5."""
    return "hardly any" if effect < 0.1 else "a weak" if effect < 0.3 else "a moderate" if effect < 0.5 else "a strong"


def standardised_differences(first: pd.DataFrame, second: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The differences between two selections, with one image per lesion: a row for the mean age and for each value of
    each column.

    `variable`, `value`, `first` and `second` (years, or shares 0-1 of the lesions that state it), `n_first`,
    `n_second`, and `difference`, in units of the pooled standard deviation (Austin 2009,
    doi:10.1002/sim.3697), with its 95% interval `low` to `high`.
    """
    one, two = one_per_lesion(first), one_per_lesion(second)
    rows = []
    ages = [each["age"].dropna().to_numpy() for each in (one, two)]
    if min(map(len, ages)) > 1:
        means, variances = [each.mean() for each in ages], [each.var(ddof=1) for each in ages]
        rows.append(_difference("age", "mean, years", means, variances, [len(each) for each in ages]))
    for column in columns:
        if column not in one or column not in two:
            continue
        tallies = [each[column].value_counts() for each in (one, two)]
        sizes = [int(tally.sum()) for tally in tallies]
        if min(sizes) < 2:
            continue
        names = tallies[0].add(tallies[1], fill_value=0).sort_values(ascending=False, kind="stable").index
        for value in names:
            share = [tally.get(value, 0) / size for tally, size in zip(tallies, sizes, strict=True)]
            if max(share) > 0:
                rows.append(_difference(column, str(value), share, [each * (1 - each) for each in share], sizes))
    columns_out = ["variable", "value", "first", "second", "n_first", "n_second", "difference", "low", "high"]
    return pd.DataFrame(rows, columns=columns_out)


def _difference(
    variable: str, value: str, means: Sequence[float], variances: Sequence[float], sizes: Sequence[int]
) -> tuple[object, ...]:
    spread = float(np.sqrt(sum(variances) / 2))
    gap = float(means[0] - means[1])
    difference = gap / spread if spread > 0 else 0.0 if gap == 0 else float(np.copysign(np.inf, gap))
    margin = Z * np.sqrt(sum(sizes) / (sizes[0] * sizes[1]) + difference**2 / (2 * sum(sizes)))
    if not np.isfinite(difference):
        margin = 0.0
    return variable, value, *means, *sizes, difference, difference - margin, difference + margin


def comparable(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with sites grouped into body regions, and diagnoses into groups that several data sets share."""
    regions = {site: region for region, sites in REGIONS.items() for site in sites}
    return frame.assign(
        site=frame["site"].astype(object).map(regions).astype("category"),
        diagnosis=frame["diagnosis"].astype(object).map(COMMON_DIAGNOSES).astype("category"),
    )


COMMON_DIAGNOSES = {
    "akiec": "actinic keratosis, Bowen's disease or squamous cell carcinoma",
    "ACK": "actinic keratosis, Bowen's disease or squamous cell carcinoma",
    "SCC": "actinic keratosis, Bowen's disease or squamous cell carcinoma",
    "AKIEC": "actinic keratosis, Bowen's disease or squamous cell carcinoma",
    "SCCKA": "actinic keratosis, Bowen's disease or squamous cell carcinoma",
    "bcc": "basal cell carcinoma",
    "BCC": "basal cell carcinoma",
    "bkl": "benign keratosis",
    "SEK": "benign keratosis",
    "BKL": "benign keratosis",
    "mel": "melanoma",
    "MEL": "melanoma",
    "nv": "nevus",
    "NEV": "nevus",
    "NV": "nevus",
    "df": "dermatofibroma",
    "DF": "dermatofibroma",
    "vasc": "vascular lesion",
    "VASC": "vascular lesion",
}
"""Diagnoses of the label sets under common names. PAD-UFES-20 counts Bowen's disease as squamous cell carcinoma,
HAM10000 and MILK10k with actinic keratosis, so those are one group."""


def wilson(positive: float, total: float) -> tuple[float, float]:
    """The 95% Wilson interval of a share, which is reliable with few cases and at 0 and 1. NaN without cases."""
    if not total:
        return float("nan"), float("nan")
    share = positive / total
    centre = (share + Z**2 / (2 * total)) / (1 + Z**2 / total)
    margin = Z / (1 + Z**2 / total) * np.sqrt(share * (1 - share) / total + Z**2 / (4 * total**2))
    return max(0.0, float(centre - margin)), min(1.0, float(centre + margin))


def _codes(column: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Codes from 0 and their names; the last is `NOT_STATED`."""
    codes = column.cat.codes.to_numpy().astype("int64")
    names = [str(name) for name in column.cat.categories]
    return np.where(codes < 0, len(names), codes), [*names, NOT_STATED]
