"""Tables, filters, counts, tests and differences of the explorer."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from skinapp.datasets import registry
from skinapp.datasets.registry import DATASETS
from skinapp.demographics import limitations, records, statistics
from skinapp.demographics.records import NOT_STATED, Filters, Table
from skinapp.errors import DataError
from skinapp.labels.sets import HAM10000


@pytest.fixture
def ham() -> Table:
    return records.shipped("ham10000")


def table(**columns: object) -> Table:
    return Table("t", "T", records.tidy(pd.DataFrame(columns), HAM10000), HAM10000)


@pytest.fixture
def small() -> Table:
    """Six images of four lesions."""
    return table(
        lesion=["a", "a", "b", "c", "d", "d"],
        diagnosis=["mel", "mel", "nv", "nv", "bcc", "bcc"],
        sex=["M", "male", "female", "unknown", "f", None],
        age=[60, 60, 30, None, 75, 80],
        site=["Back", "back", "face", "UNK", "", "back"],
        confirmation=["histo", "histo", "follow_up", "consensus", "biopsy", "confocal"],
    )


def test_the_headline_figures_of_ham10000_are_the_published_ones(ham: Table) -> None:
    total = statistics.totals(ham.frame)
    assert (total.images, total.lesions, total.aged) == (10_015, 7_470, 9_958)
    assert round(total.mean_age, 2) == 51.86
    # reported as 16.96: the last digit was cut off, not rounded
    assert total.sd_age == pytest.approx(16.96, abs=0.01)
    sex = statistics.counts(ham.frame, "sex").set_index("value")
    assert sex["images"].to_dict() == {"male": 5406, "female": 4552, NOT_STATED: 57}
    assert sex["share"].to_dict() == pytest.approx({"male": 0.541, "female": 0.455, NOT_STATED: 0.006}, abs=0.0015)
    confirmation = statistics.counts(ham.frame, "confirmation").set_index("value")["share"].round(3).to_dict()
    assert confirmation == {
        "histology": 0.533,
        "follow-up": 0.370,
        "expert consensus": 0.090,
        "confocal microscopy": 0.007,
    }
    diagnosis = statistics.counts(ham.frame, "diagnosis").set_index("value")["images"].to_dict()
    assert diagnosis == {"akiec": 327, "bcc": 514, "bkl": 1099, "df": 115, "mel": 1113, "nv": 6705, "vasc": 142}
    sites = statistics.counts(ham.frame, "site").nlargest(5, "images").set_index("value")["images"].to_dict()
    assert sites == {"back": 2192, "lower extremity": 2077, "trunk": 1404, "upper extremity": 1118, "abdomen": 1022}


def test_the_facts_on_the_page_have_published_and_counted_values() -> None:
    result = {fact.name: (fact.here, fact.published) for fact in limitations.headline(records.shipped("ham10000"))}
    differing = {name for name, (here, published) in result.items() if published and here != published}
    assert differing == {"Standard deviation of age", "Male"}
    assert len([name for name, (_, published) in result.items() if published]) == len(limitations.PUBLISHED)
    assert result["Melanoma"] == ("1,113", "1,113")
    assert result["Sex not stated"] == ("0.6%", "0.6%")
    assert result["Site 1: back"][0] == "21.9%"
    sentence = limitations.disagreements(limitations.headline(records.shipped("ham10000")))
    assert (
        "standard deviation of age is 16.97 here (years, stated for 9,958 images) and 16.96 in publications" in sentence
    )
    assert "male is 54.0% here (5,406 images) and 54.1% in publications" in sentence


def test_figures_that_agree_are_not_mentioned() -> None:
    facts = [limitations.Fact("Images", "10,015", "all rows", "10,015"), limitations.Fact("Lesions", "7", "all rows")]
    assert limitations.disagreements(facts) == ""
    assert "images is 9 here" in limitations.disagreements([limitations.Fact("Images", "9", "all rows", "10")])


def test_melanomas_in_women_over_60_on_the_back_confirmed_by_histology(ham: Table) -> None:
    filters = Filters(("mel",), None, ("female",), (65, np.inf), ("back",), ("histology",))
    total = statistics.totals(records.select(ham, filters))
    assert (total.images, total.lesions) == (45, 27)


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_shipped_table_can_be_read_and_has_its_limits(dataset: str) -> None:
    result = records.shipped(dataset)
    assert set(result.frame["diagnosis"].cat.categories) == set(DATASETS[dataset].labels.codes)
    assert statistics.totals(result.frame).images in (10_015, 1_035, 9_034, 2_637)
    assert len(limitations.limits(result)) >= 5
    assert all(any(sign.isdigit() for sign in text) or heading for heading, text in limitations.limits(result))


def test_an_unknown_data_set_is_named() -> None:
    with pytest.raises(DataError, match="no data set 'isic'"):
        records.shipped("isic")


@pytest.mark.data
def test_the_shipped_tables_are_those_of_the_publishers(data_root: Path) -> None:
    frame = registry.published("ham10000", data_root)
    ours, theirs = records.shipped("ham10000").frame, records.tidy(frame, HAM10000)
    for name in records.CATEGORIES:
        first, second = (statistics.counts(each, name).set_index("value")["images"] for each in (ours, theirs))
        assert first.to_dict() == second.to_dict()
    assert statistics.images_per_lesion(ours).equals(statistics.images_per_lesion(theirs))


def test_values_are_unified_and_empty_ones_are_not_stated(small: Table) -> None:
    frame = small.frame
    assert frame["sex"].astype(object).tolist()[:3] == ["male", "male", "female"]
    assert frame["sex"].isna().tolist() == [False, False, False, True, False, True]
    assert list(frame["site"].cat.categories) == ["back", "face"]
    assert records.values(small, "site") == ["back", "face", NOT_STATED]
    assert list(frame["diagnosis"].cat.categories) == ["bcc", "mel", "nv"]
    assert frame["confirmation"].astype(object).tolist()[-2:] == ["histology", "confocal microscopy"]


@pytest.mark.parametrize(
    ("filters", "rows"),
    [
        (Filters(), [0, 1, 2, 3, 4, 5]),
        (Filters(diagnosis=("mel", "nv")), [0, 1, 2, 3]),
        (Filters(malignant=True), [0, 1, 4, 5]),
        (Filters(malignant=False), [2, 3]),
        (Filters(sex=("female", NOT_STATED)), [2, 3, 4, 5]),
        (Filters(age=(60, 75)), [0, 1, 4]),
        (Filters(age=(0, np.inf)), [0, 1, 2, 4, 5]),
        (Filters(site=(NOT_STATED,)), [3, 4]),
        (Filters(confirmation=("histology",), sex=("male",)), [0, 1]),
        (Filters(site=("moon",)), []),
        (Filters(skin_type=("1",)), []),
    ],
)
def test_filters_combine_and_can_select_missing_values(small: Table, filters: Filters, rows: list[int]) -> None:
    assert records.select(small, filters).index.tolist() == rows


def test_dark_skin_can_be_selected_where_it_is_published() -> None:
    milk = records.shipped("milk10k")
    dark = records.select(milk, Filters(skin_tone=("0", "1")))
    assert set(dark["skin_tone"]) == {"0", "1"}
    assert len(dark) == milk.frame["skin_tone"].isin(["0", "1"]).sum() > 0


def test_counts_are_of_images_and_of_lesions(small: Table) -> None:
    result = statistics.counts(small.frame, "site").set_index("value")
    assert result["images"].to_dict() == {"back": 3, "face": 1, NOT_STATED: 2}
    assert result["lesions"].to_dict() == {"back": 2, "face": 1, NOT_STATED: 2}
    assert result["share"].sum() == pytest.approx(1)


def test_a_row_counts_all_images_that_it_stands_for(small: Table) -> None:
    columns = [*records.CATEGORIES, "age", "lesion"]
    packed = small.frame.groupby(columns, dropna=False, observed=True).size().rename("images").reset_index()
    again = Table("t", "T", records.tidy(packed, HAM10000), HAM10000).frame
    assert len(again) < len(small.frame)
    assert statistics.totals(again) == statistics.totals(small.frame)
    for name in records.CATEGORIES:
        first, second = (statistics.counts(each, name).sort_values("value") for each in (again, small.frame))
        assert first.to_dict("records") == second.to_dict("records")
    pd.testing.assert_frame_equal(statistics.age_summary(again), statistics.age_summary(small.frame))


def test_cross_tables_add_up(ham: Table) -> None:
    result = statistics.cross(ham.frame, "diagnosis", "site")
    assert result.loc["mel", "back"] == 324
    assert result.to_numpy().sum() == 10_015
    assert np.allclose(statistics.shares(result).sum(axis=1), 1)
    shown, merged = statistics.merge_rare_columns(result, 5)
    assert list(shown.columns)[-1] == "10 others"
    assert shown.to_numpy().sum() == 10_015
    assert set(merged["10 others"]) == set(result.columns) - set(shown.columns)
    assert statistics.merge_rare_columns(result, 20) == (result, {})


def test_ages_in_bands_have_no_gap(small: Table) -> None:
    bands = statistics.age_bands(small.frame)
    assert bands.index.tolist() == list(range(0, 85, 5))
    assert bands.loc[60, "mel"] == 2
    assert bands.to_numpy().sum() == 5


def test_the_age_summary_is_that_of_the_ages(ham: Table) -> None:
    result = statistics.age_summary(ham.frame).set_index("diagnosis").loc["mel"]
    mine = ham.frame[(ham.frame["diagnosis"] == "mel") & ham.frame["age"].notna()]
    ages = np.repeat(mine["age"], mine["images"])
    assert result["mean"] == pytest.approx(ages.mean())
    assert result["sd"] == pytest.approx(ages.std())
    assert result["median"] == np.percentile(ages, 50, method="inverted_cdf")
    assert result["low"] < result["mean"] < result["high"]


def test_images_per_lesion_and_what_is_missing(small: Table) -> None:
    assert statistics.images_per_lesion(small.frame)["lesions"].tolist() == [2, 2]
    missing = statistics.missing(small.frame).set_index("column")["images"].to_dict()
    assert missing == {"diagnosis": 0, "sex": 2, "site": 2, "confirmation": 0, "age": 1}


def test_associations_equal_scipys_over_one_image_per_lesion(ham: Table) -> None:
    lesions = statistics.one_per_lesion(ham.frame)
    assert len(lesions) == 7470
    known = lesions[lesions["age"].notna()]
    groups = [rows["age"] for _, rows in known.groupby("diagnosis", observed=True)]
    age = statistics.age_association(ham.frame)
    assert age
    assert age.statistic == pytest.approx(stats.kruskal(*groups).statistic)
    assert age.effect == pytest.approx(age.statistic / (len(known) - 1))
    sex = statistics.category_association(ham.frame, "sex")
    assert sex
    stated = lesions[lesions["sex"].notna()]
    observed = pd.crosstab(stated["diagnosis"], stated["sex"])
    assert sex.statistic == pytest.approx(stats.chi2_contingency(observed, correction=False).statistic)
    assert sex.effect == pytest.approx(np.sqrt(sex.statistic / len(stated)))


def test_no_association_is_tested_if_nothing_differs(ham: Table) -> None:
    melanomas = records.select(ham, Filters(diagnosis=("mel",)))
    assert statistics.associations(melanomas) == []
    assert statistics.associations(ham.frame.iloc[:0]) == []


def test_standardised_differences_worked_out_by_hand() -> None:
    first = table(diagnosis=["nv"] * 4, age=[40, 50, 60, 70], sex=["male", "male", "male", "female"])
    second = table(diagnosis=["nv"] * 4, age=[30, 40, 50, 60], sex=["male", "female", "female", "female"])
    result = statistics.standardised_differences(first.frame, second.frame, ["sex"]).set_index("value")
    # means 55 and 45, both variances 500 / 3; shares 0.75 and 0.25, both variances 0.1875
    assert result.loc["mean, years", "difference"] == pytest.approx(10 / np.sqrt(500 / 3))
    assert result.loc["male", "difference"] == pytest.approx(0.5 / np.sqrt(0.1875))
    margin = statistics.Z * np.sqrt(8 / 16 + result.loc["male", "difference"] ** 2 / 16)
    assert result.loc["male", "high"] - result.loc["male", "difference"] == pytest.approx(margin)
    assert result.loc["female", "difference"] == pytest.approx(-result.loc["male", "difference"])


def test_a_data_set_does_not_differ_from_itself(ham: Table) -> None:
    result = statistics.standardised_differences(ham.frame, ham.frame, ["sex", "site", "diagnosis"])
    assert len(result) == 1 + 2 + 14 + 7
    assert not result["difference"].any()


def test_data_sets_are_compared_by_what_they_have_in_common() -> None:
    frames = [statistics.comparable(records.shipped(key).frame) for key in ("ham10000", "pad_ufes_20")]
    for frame in frames:
        assert set(frame["site"].cat.categories) <= set(statistics.REGIONS)
    assert "melanoma" in set(frames[0]["diagnosis"]) & set(frames[1]["diagnosis"])
    assert frames[1]["site"].notna().all()


@pytest.mark.parametrize(
    ("positive", "total", "low", "high"), [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)]
)
def test_the_wilson_interval(positive: int, total: int, low: float, high: float) -> None:
    """The last case is from Newcombe 1998 (Stat Med 17, 857-872), table I, method 3."""
    assert statistics.wilson(positive, total) == pytest.approx((low, high), abs=1e-4)


def test_an_empty_selection_has_no_figures(ham: Table) -> None:
    nothing = ham.frame.iloc[:0]
    assert statistics.totals(nothing).images == 0
    assert statistics.counts(nothing, "site").empty
    assert statistics.images_per_lesion(nothing).empty
    assert statistics.age_bands(nothing).empty
    assert statistics.age_summary(nothing).empty


def test_lesions_are_counted_by_kind_of_image() -> None:
    kinds = ["dermoscopy", "clinical", "dermoscopy", "dermoscopy", "clinical"]
    frame = table(diagnosis=["mel"] * 5, lesion=["a", "a", "b", "c", "c"], modality=kinds).frame
    assert statistics.lesions_by_modality(frame)["lesions"].tolist() == [2, 1, 0]
    assert statistics.lesions_by_modality(frame[frame["modality"] == "clinical"])["lesions"].tolist() == [0, 0, 2]
    assert statistics.lesions_by_modality(frame.iloc[:0])["share"].tolist() == [0, 0, 0]


def test_a_missing_or_invalid_table_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no table"):
        registry.published("ham10000", tmp_path)
    (tmp_path / "ham10000").mkdir()
    (tmp_path / "ham10000" / "metadata.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="lacks the columns"):
        registry.published("ham10000", tmp_path)
    assert registry.image_files("ham10000", tmp_path) == {}


def test_symptoms_are_counted_over_images_that_state_them() -> None:
    itching = table(diagnosis=["mel", "mel", "nv", "nv"], itch=["yes", "no", "no", None])
    result = statistics.symptoms(itching.frame).set_index("diagnosis")
    assert result["symptom"].tolist() == ["itch", "itch"]
    assert result.loc["mel", ["yes", "images", "share"]].tolist() == [1, 2, 0.5]
    assert result.loc["nv", ["yes", "images", "share"]].tolist() == [0, 1, 0]
    assert result.loc["mel", ["low", "high"]].tolist() == pytest.approx(statistics.wilson(1, 2))


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        (Filters(), ""),
        (
            Filters(diagnosis=("mel",), sex=("female",), age=(60, np.inf), site=("back",)),
            "melanoma, women, back, 60 or older; ages are recorded in steps of five years",
        ),
        (
            Filters(diagnosis=("mel", "nv"), malignant=True, sex=("female", "male", NOT_STATED)),
            "melanoma or mole (melanocytic nevus), malignant, women, men or sex not stated",
        ),
        (Filters(age=(0, 30), confirmation=("histology", "follow-up")), "30 or younger, confirmed by histology or "),
        (Filters(age=(40, 40), confirmation=(NOT_STATED,)), "40 years old, confirmation not stated; ages"),
        (Filters(age=(40, 44), malignant=False), "not malignant, 40 to 44 years old; ages"),
        (Filters(sex=("male",), skin_tone=("0", "1")), "men, skin tone 0 or 1"),
        (Filters(skin_type=("4", "5", "6")), "Fitzpatrick skin type 4, 5 or 6"),
        (Filters(skin_type=("5", NOT_STATED)), "Fitzpatrick skin type 5 or not stated"),
    ],
)
def test_filters_in_words(filters: Filters, words: str) -> None:
    sentence = records.in_words(records.shipped("ham10000"), filters)
    assert sentence.startswith(words)
    assert bool(sentence) == bool(words)


def test_ages_not_recorded_in_fives_are_not_described_so() -> None:
    assert records.in_words(records.shipped("pad_ufes_20"), Filters(age=(60, np.inf))) == "60 or older"


def test_a_shipped_table_by_image_has_every_id_once() -> None:
    images = records.by_image(records.shipped("ham10000").frame)
    assert len(images) == images["image"].nunique() == 10_015
    assert images["image"].str.fullmatch(r"ISIC_\d{7}").all()
