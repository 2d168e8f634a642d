"""The compare page: the answer and its tabs, old and new links, a visitor's own file, a new folder."""

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from skinapp.datasets import isic
from skinapp.errors import ImageError
from skinapp.evaluation import (
    bootstrap,
    comparison,
    conformal,
    head_search,
    operating_points,
    predictions,
    studies,
)
from skinapp.evaluation.claims import CLAIMS
from skinapp.evaluation.comparison import CLASSES
from skinapp.evaluation.operating_points import Threshold
from skinapp.images import imaging, removal
from skinapp.inference import registry
from skinapp.report import conformal_views, published_views
from skinapp.ui import layout, session_images
from tests.pictures import encode, lesion

ALL_RESAMPLES = comparison.Shared.weights


@pytest.fixture(scope="module", autouse=True)
def few_resamples() -> Iterator[None]:
    """Fewer resamples, which account for most of the page's computations."""
    st.cache_resource.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison.Shared, "weights", lambda shared: bootstrap.weights(shared.groups, 100))
        yield
    st.cache_resource.clear()


def opened(**query: str | list[str]) -> AppTest:
    at = AppTest.from_file(layout.PAGES.parent / "app.py", default_timeout=120).switch_page("pages/compare.py")
    for name, value in query.items():
        at.query_params[name] = value
    return at.run()


def table_with(at: AppTest, column: str) -> pd.DataFrame:
    """The first table with this column."""
    return next(frame.value for frame in at.dataframe if column in frame.value)


def plain_captions(at: AppTest) -> str:
    """All captions, without the backslashes of their Markdown."""
    return "\n".join(caption.value for caption in at.caption).replace("\\", "")


@pytest.fixture
def two_models(model: registry.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A models folder with the bundled model and a copy of it under another id."""
    root = tmp_path / "models"
    shutil.copytree(model.folder, root / model.id)
    copied(root, model, "copy")
    monkeypatch.setenv("SKINAPP_MODELS", str(root))
    return root


def copied(root: Path, model: registry.Model, name: str) -> None:
    shutil.copytree(model.folder, root / name)
    card = json.loads((root / name / "model.json").read_text())
    (root / name / "model.json").write_text(json.dumps(card | {"id": name}))


def answer(at: AppTest) -> list[str]:
    """The sentences on what is detected and what it costs, the first without heading markup."""
    headline = next(number for number, one in enumerate(at.markdown) if one.value.startswith("#### "))
    return [one.value.removeprefix("#### ") for one in at.markdown[headline : headline + 3]]


A, B = "ham10000-efficientnetb1", "ham10000-efficientnetv2b0"


def flagged(model_id: str, share: float) -> tuple[pd.Series, pd.Series]:
    """Which of the model's test images are melanomas, and which are flagged at the prediction-set threshold for this
    share, read from the model's files."""
    folder = registry.default_root() / model_id
    sets = json.loads((folder / "model.json").read_text())["conformal"]
    threshold = sets["classes"]["mel"]["thresholds"][sets["coverages"].index(share)]
    table = pd.read_csv(folder / "predictions.csv", index_col="image")
    return table["label"] == "mel", table["p_mel"] >= threshold


def test_the_answer_counts_what_is_found_and_what_it_costs() -> None:
    at = opened(a=A, b=B)
    assert not at.exception
    melanoma, a = flagged(A, 0.95)
    _, b = flagged(B, 0.95)
    false_a, false_b = (a & ~melanoma).sum(), (b & ~melanoma).sum()
    of_others, detected, cost = answer(at)
    assert of_others.startswith(
        f"Set to find 95% of melanomas, A also flags {false_a:,} of {(~melanoma).sum():,} other images, and B flags "
        f"{false_b:,}: difference {false_a - false_b:+,} (95% interval "
    )
    assert f"A finds {(a & melanoma).sum()} ({a[melanoma].mean():.0%}" in detected
    assert f"B finds {(b & melanoma).sum()} ({b[melanoma].mean():.0%}" in detected
    assert f"A would raise {950 * a[~melanoma].mean():,.0f} false alarms" in cost
    assert f"miss {50 * (1 - a[melanoma].mean()):.1f} of the 50" in cost
    assert "chosen on lesions held out from training (validation images)" in plain_captions(at)
    assert "If both found exactly 95% of the melanomas here" in plain_captions(at)
    # another prevalence changes the costs; another sensitivity changes the threshold
    at.slider(key="prevalence").set_value(2.0).run()
    assert f"A would raise {980 * a[~melanoma].mean():,.0f} false alarms" in answer(at)[2]
    at.slider(key="sensitivity").set_value(90.0).run()
    assert f"A also flags {(flagged(A, 0.9)[1] & ~melanoma).sum():,} of" in answer(at)[0]
    assert at.query_params["sensitivity"] == "90"


def test_without_a_threshold_from_held_out_lesions_the_page_says_so() -> None:
    at = opened(a=A, b=B, target="cancer")
    assert not at.exception
    assert answer(at)[0].startswith("Set to find 95% of cancers, A also flags ")
    captions = plain_captions(at)
    assert "chosen on these same test images" in captions
    assert "no threshold from held-out lesions finds 95% of cancers" in captions
    share = re.search(r"A finds \d+ \((\d+)%", answer(at)[1])
    assert share
    assert int(share[1]) >= 95


def test_every_number_of_the_operating_point_follows_the_threshold() -> None:
    at = opened(a=A, b=B, by="threshold", threshold="20", prevalence="2", tab="operating")
    assert not at.exception
    known, _ = predictions.shipped()
    melanoma = comparison.targets(known[A].labels)["mel"]
    shared = comparison.share([known[A], known[B]], CLASSES, "ham10000", melanoma)
    point = operating_points.operating_point(shared, shared.weights(), A, Threshold(0.2), 0.02)
    table = table_with(at, "Measure").set_index("Measure")
    mine = table[known[A].model.short_name if known[A].model else ""]
    assert mine["Threshold"] == "20.0%"
    assert mine["Sensitivity"] == point.sensitivity.text(".1%")
    assert mine["False alarms per 1,000 people"] == point.false_alarms.text(".0f")
    assert mine["Positive predictive value"] == point.positive_predictive_value.text(".1%")
    assert answer(at)[0].startswith("At a threshold of 20% for melanoma, A also flags ")
    # the marks on the curves also belong to the class
    alternative = next(one.proto.alt for one in at.get("plotly_chart") if "ROC for melanoma" in one.proto.alt)
    assert f"{point.sensitivity.value:.3f}" in alternative


def test_scores_are_the_cards_and_models_have_short_names(
    model: registry.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    st.cache_resource.clear()
    monkeypatch.setattr(comparison.Shared, "weights", ALL_RESAMPLES)
    at = opened(a=model.id)
    assert not at.exception
    board = table_with(at, "origin").set_index("name")
    figures = model.card["scores"]["balanced_accuracy"]
    shown = [float(number) for number in re.findall(r"[\d.]+", board.loc[model.short_name, "balanced_accuracy"])]
    # the card's own figures are rounded to four places
    assert shown == pytest.approx([figures["value"], figures["low"], figures["high"]], abs=6e-4)
    assert board.loc[model.short_name, "id"] == model.id
    assert board.loc[model.short_name, "parameters"] == model.card["architecture"]["parameters"]
    assert board["origin"].value_counts()["here"] == 2
    assert "published" in set(board["origin"])
    st.cache_resource.clear()


OLD_LINKS = [
    ({"question": "malignancy", "threshold": "20"}, {"target": "cancer-or-pre-cancer", "by": "threshold"}),
    ({"question": "Malignant or not"}, {"target": "cancer-or-pre-cancer", "by": None}),
    ({"curves_of": "The malignant classes together"}, {"target": "cancer-or-pre-cancer"}),
    (
        {"curves_of": "nv", "by": "At least this sensitivity", "sensitivity": "80"},
        {"target": "nv", "sensitivity": 80},
    ),
    ({"models": [B, "ham10000-cnn32", A]}, {"a": B, "b": "ham10000-cnn32", "also": A}),
    ({"models": [B, A], "a": A, "measure": "ROC AUC, classes"}, {"a": A, "b": B, "measure": "macro_roc_auc"}),
    ({"test": "Malignant vs. benign (Kaggle)", "models": "malignancy-vgg16"}, {"test": "malignant_benign"}),
]
"""Parameters of links from older versions, and the resulting address; None means absent."""


@pytest.mark.parametrize(("old", "new"), OLD_LINKS)
def test_links_from_older_versions_open(old: dict, new: dict) -> None:
    at = opened(**old)
    assert not at.exception
    assert not at.error
    widgets = {"by": at.segmented_control, "also": at.multiselect, "sensitivity": at.slider}
    for key, code in new.items():
        value = widgets.get(key, at.selectbox)(key=key).value
        expected = {"also": [code], "by": code or "sensitivity"}.get(key, code)
        assert value == expected, key
    assert not {"models", "question", "curves_of"} & set(at.query_params)
    if "threshold" in old:
        assert at.slider(key="threshold").value == 20
        at.segmented_control(key="by").set_value("sensitivity").run()
        assert not {"by", "threshold"} & set(at.query_params)


LINKS = {
    "test": ("pad_ufes_20", "PAD-UFES-20", "scores"),
    "measure": ("macro_roc_auc", "ROC AUC, classes", "scores"),
    "coverage": ("0.8", "80%", "calibration"),
    "by_fact": ("age", "Age", "subgroups"),
    "subgroup_score": ("accuracy", "Accuracy", "subgroups"),
    "errors": ("smartphone-efficientnetb1-6class", "smartphone-efficientnetb1-6class", "errors"),
    "errors_label": ("MEL", "Melanoma", "errors"),
}
"""For each parameter: its code, the label in old links, and its tab."""


@pytest.mark.parametrize("number", [0, 1], ids=["code", "label"])
@pytest.mark.parametrize("tab", ["scores", "calibration", "subgroups", "errors"])
def test_links_hold_codes_and_labels_open(number: int, tab: str) -> None:
    chosen = {key: both for key, both in LINKS.items() if both[2] == tab or key == "test"}
    at = opened(**{key: both[number] for key, both in chosen.items()}, tab=tab, a="smartphone-efficientnetb1-6class")
    assert not at.exception
    assert not at.error
    for key, (code, _, _) in chosen.items():
        assert at.selectbox(key=key).value == code, key
        assert at.query_params[key] == code, key


def test_the_address_holds_the_tab_and_only_its_content_is_computed() -> None:
    at = opened(a=A, b=B)
    assert "tab" not in at.query_params
    assert any("origin" in frame.value for frame in at.dataframe)
    at = opened(a=A, b=B, tab="protocols")
    assert not at.exception
    assert at.query_params["tab"] == "protocols"
    assert not any("origin" in frame.value for frame in at.dataframe)
    [claims] = [frame.value for frame in at.dataframe if published_views.OURS in frame.value]
    assert claims["Published"].tolist() == [published_views.claim(claim) for claim in CLAIMS]
    at = opened(a=A, b=B, tab="elsewhere")
    assert "tab" not in at.query_params


def test_the_published_tab_shows_one_thing_at_a_time() -> None:
    at = opened(a=A, b=B, tab="protocols", published="search")
    searched = head_search.read()
    assert searched is not None
    [heads] = [frame.value for frame in at.dataframe if "Augmentation" in frame.value]
    assert len(heads) == len(searched.trials)
    assert not any(published_views.OURS in frame.value for frame in at.dataframe)
    # a link from before the tab had a choice
    at = opened(a=A, b=B, tab="protocols", protocols_of="ham10000-cnn32")
    assert not at.exception
    assert at.query_params["published"] == "protocols"
    assert at.selectbox(key="protocols_of").value == "ham10000-cnn32"


@pytest.mark.parametrize("study", [study.id for study in studies.measured()])
def test_a_study_with_its_command(study: str) -> None:
    at = opened(a=A, b=B, tab="protocols", published="studies", study=study)
    assert not at.exception
    chosen = studies.STUDIES[study]
    assert any(chosen.command in markdown.value for markdown in at.markdown)
    assert [list(frame.value.columns) for frame in at.dataframe] == [list(studies.read(chosen).columns)]
    at.selectbox(key="study").set_value("artefacts").run()
    [removals] = [frame.value for frame in at.dataframe]
    assert removals["By default"].tolist().count("on") == len(removal.by_default("dermoscopy"))


@pytest.mark.parametrize("tab", ["pair", "training"])
def test_every_tab_opens(tab: str) -> None:
    at = opened(a=A, b=B, tab=tab)
    assert not at.exception
    assert not at.error
    assert at.get("plotly_chart")


def test_a_step_back_in_the_browser_is_followed(model: registry.Model) -> None:
    at = opened(a=model.id)
    at.selectbox(key="measure").set_value("accuracy").run()
    at.query_params["measure"] = "brier"
    at.run()
    assert at.selectbox(key="measure").value == "brier"
    del at.query_params["measure"]
    at.run()
    assert at.selectbox(key="measure").value == "roc_auc_target"


def test_a_link_with_unknown_values_opens_the_page() -> None:
    at = opened(test="elsewhere", question="<b>", models="nobody", target="**", a="nobody", also="nobody")
    assert not at.exception
    assert not at.error
    assert at.selectbox(key="test").value == "ham10000"
    assert at.selectbox(key="target").value == "mel"
    assert not {"test", "question", "models", "target", "a", "also"} & set(at.query_params)


def test_a_model_without_the_class_is_named_with_the_questions_it_can_answer() -> None:
    at = opened(target="mel", b="malignancy-efficientnetb1")
    assert not at.exception
    sentence = at.warning[0].value.replace("\\", "")
    assert sentence.startswith("Malignant or benign, EfficientNetB1 has no class for melanoma, so it is left out.")
    assert "“Cancer or pre-cancer” under “Detect”" in sentence
    assert at.selectbox(key="b").value != "malignancy-efficientnetb1"
    at.selectbox(key="target").set_value("cancer-or-pre-cancer").run()
    at.selectbox(key="b").set_value("malignancy-efficientnetb1").run()
    assert not at.exception
    assert not at.warning
    assert "of cancers and pre-cancers, A also flags" in answer(at)[0]


@pytest.mark.parametrize("dataset", ["ham10000", "malignant_benign"])
def test_every_model_can_be_compared_on_what_counts_as_malignant(dataset: str) -> None:
    known, _ = predictions.shipped()
    there = {name for name, one in known.items() if dataset in one.datasets}
    target = {"ham10000": "cancer-or-pre-cancer", "malignant_benign": "cancer"}[dataset]
    at = opened(test=dataset, target=target, models=sorted(there))
    assert not at.exception
    assert not at.error
    assert table_with(at, "origin")["id"].dropna().nunique() == len(there)


@pytest.mark.slow
def test_prediction_sets_are_measured_on_the_models_test_images(model: registry.Model) -> None:
    at = opened(a=model.id, tab="calibration", shown="sets")
    measured = conformal.on_every_test_set(predictions.of_model(model), 0.95)
    assert conformal_views.sentences(measured, model.labels)[0] in plain_captions(at)
    table = table_with(at, "everything")
    everything = pd.concat([one.table for one in measured])
    expected = everything[everything["by"].isin(["all", "class"])]
    assert list(table["coverage"]) == pytest.approx(list(expected["coverage"]))
    at.selectbox(key="coverage").set_value("0.8")
    at.selectbox(key="sets_by").set_value("sex").run()
    assert not at.exception
    assert at.query_params["coverage"] == "0.8"
    measured = conformal.on_every_test_set(predictions.of_model(model), 0.8)
    everything = pd.concat([one.table for one in measured])
    by_sex = everything[everything["by"].isin(["all", "sex"])]
    assert list(table_with(at, "everything")["coverage"]) == pytest.approx(list(by_sex["coverage"]))


def test_without_prediction_sets_there_is_no_section_on_them(two_models: Path, model: registry.Model) -> None:
    for name in (model.id, "copy"):
        file = two_models / name / "model.json"
        card = json.loads(file.read_text())
        file.write_text(json.dumps({key: value for key, value in card.items() if key != "conformal"}))
    at = opened(tab="calibration")
    assert not at.exception
    assert at.get("plotly_chart")
    assert at.segmented_control(key="shown").options == ["Probability of melanoma", "Most likely class"]


def test_calibration_is_of_the_class_or_of_the_most_likely_one(model: registry.Model) -> None:
    at = opened(a=model.id, tab="calibration")
    event = table_with(at, "accuracy_low")
    melanoma, _ = flagged(A, 0.95)
    parts = event.groupby("model").apply(lambda rows: (rows["images"] * rows["accuracy"]).sum(), include_groups=False)
    assert parts.to_numpy() == pytest.approx(melanoma.sum())
    at.segmented_control(key="shown").set_value("class").run()
    assert not table_with(at, "accuracy_low").equals(event)


def test_one_model_alone(model: registry.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(model.folder, tmp_path / model.id)
    monkeypatch.setenv("SKINAPP_MODELS", str(tmp_path))
    for tab in ("scores", "operating", "errors"):
        at = opened(tab=tab)
        assert not at.exception
        assert f"{model.short_name} also flags " in answer(at)[0].replace("\\", "")
    assert "errors" not in at.query_params


def test_a_new_folder_appears_without_a_restart_and_an_incomplete_one_is_named(
    two_models: Path, model: registry.Model
) -> None:
    at = opened(tab="pair")
    # two models with the same name are distinguished by their ids
    assert set(at.selectbox(key="a").options) == {f"{model.short_name} ({name})" for name in ("copy", model.id)}
    # the same predictions: no difference in either test or in the detections
    assert list(table_with(at, "McNemar p")["McNemar p"]) == ["1.000"]
    assert "difference 0 (95% interval 0 to 0)." in answer(at)[0]
    copied(two_models, model, "third")
    at.run()
    assert len(at.selectbox(key="a").options) == 3
    (two_models / "third" / "predictions.csv").unlink()
    at.run()
    assert not at.exception
    assert "'third' lacks its file predictions.csv" in at.warning[0].value.replace("\\", "")
    assert len(at.selectbox(key="a").options) == 2


def test_a_visitors_own_predictions_can_be_added_and_removed(
    model: registry.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    freed: list[Any] = []
    monkeypatch.setattr(session_images, "free_uploads", freed.extend)
    theirs = predictions.of_model(model)
    half = theirs.table.iloc[: len(theirs.table) // 2][theirs.columns].reset_index()
    at = opened(a=model.id)
    at.file_uploader(key="own_predictions").upload("mine.csv", half.to_csv(index=False).encode()).run()
    assert not at.exception
    assert not at.error
    assert at.selectbox(key="b").value == "own"
    assert [file.name for file in freed] == ["mine.csv"]
    words = " ".join(element.value for element in at.markdown)
    assert f"**{len(half):,} images**" in words
    assert "none was trained on" not in words
    assert "it is not known whether the model behind your predictions was trained on them" in words
    assert "Your predictions" in set(table_with(at, "origin")["name"])
    assert "Your predictions" in plain_captions(at)
    _, held = at.session_state["compare_own"]
    [weights] = [value for key, value in held.items() if key[-1] == "weights"]
    at.selectbox(key="target").set_value("bcc").run()
    # only those of the latest selection are kept, tens of megabytes each
    _, held_now = at.session_state["compare_own"]
    [weights_now] = [value for key, value in held_now.items() if key[-1] == "weights"]
    assert held_now.keys().isdisjoint(held)
    assert weights_now is not weights
    # it stays while the visitor is on another page
    at.switch_page("pages/guide.py").run()
    at.switch_page("pages/compare.py").run()
    assert f"**{len(half):,} images**" in " ".join(element.value for element in at.markdown)
    assert "Your predictions" in set(table_with(at, "origin")["name"])
    at.button(key="remove_own_predictions").click().run()
    assert not at.exception
    assert at.selectbox(key="b").value != "own"
    assert "none was trained on" in " ".join(element.value for element in at.markdown)
    assert "compare_own" not in at.session_state
    assert "compare_own_file" not in at.session_state


def test_own_predictions_are_compared_on_the_test_images_that_they_are_for() -> None:
    theirs = predictions.of_model(registry.model(A))
    table = theirs.rows_of("milk10k")[theirs.columns].reset_index()
    at = opened(a=A)
    assert at.selectbox(key="test").value == "ham10000"
    at.file_uploader(key="own_predictions").upload("mine.csv", table.to_csv(index=False).encode()).run()
    assert not at.exception
    assert at.selectbox(key="test").value == "milk10k"
    assert at.selectbox(key="b").value == "own"
    assert f"**{len(table):,} images**" in " ".join(element.value for element in at.markdown)


BAD_FILES = {
    b"": "is empty",
    b"image,p_benign,p_malignant\na,0.5,0.5\n": "no images in common",
    b"image,p_benign,p_malignant\nISIC_0025661,0.5,0.7\n": "do not sum to 1",
    b"image,p_benign,p_malignant\nISIC_0025661,,0.7\n": "not a number",
    # shown literally
    b"image,p_benign,p_malignant\n**[x](http://y)** <img>,0.5,0.7\n": r"\*\*\[x\]\(http\://y\)\*\* \<img\>",
}


def test_a_bad_file_is_reported_and_the_page_still_works(model: registry.Model) -> None:
    at = opened(a=model.id)
    for content, sentence in BAD_FILES.items():
        at.file_uploader(key="own_predictions").clear().upload("mine.csv", content).run()
        assert not at.exception
        shown = at.error[0].value
        assert sentence in (shown if "img" in sentence else shown.replace("\\", ""))
        assert answer(at)


def test_labels_that_disagree_are_named_and_the_page_still_works(model: registry.Model) -> None:
    theirs = predictions.of_model(model)
    moles = theirs.table[theirs.table["label"] == "nv"].head(2)
    table = theirs.table[[*theirs.columns, "label"]].reset_index()
    table["label"] = table["label"].mask(table["image"].isin(moles.index), "bkl")
    at = opened(a=model.id)
    at.file_uploader(key="own_predictions").upload("mine.csv", table.to_csv(index=False).encode()).run()
    assert not at.exception
    assert "disagree on the class in 2 of" in at.error[0].value
    assert moles.index[0] in at.error[0].value.replace("\\", "")
    other = next(name for name in ("ham10000-cnn32", B) if name != model.id)
    at.selectbox(key="b").set_value(other).run()
    assert not at.error
    assert answer(at)


def test_a_file_with_one_group_gets_no_interval_and_no_conclusion(model: registry.Model) -> None:
    others = predictions.of_model(registry.model("ham10000-cnn32"))
    table = others.table[others.columns].reset_index().assign(group="everybody")
    at = opened(a=model.id)
    at.file_uploader(key="own_predictions").upload("mine.csv", table.to_csv(index=False).encode()).run()
    # the groups are those of the first model
    at.selectbox(key="a").set_value("own").run()
    at.selectbox(key="b").set_value(model.id).run()
    assert not at.exception
    assert not at.error
    board = table_with(at, "origin").set_index("name")
    assert "(no interval)" in board.loc["Your predictions", "balanced_accuracy"]
    assert "(no interval)" in answer(at)[0]
    assert "no interval" in answer(at)[1]


def test_a_cell_of_a_confusion_matrix_opens_its_images(
    data_root: Path, model: registry.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKINAPP_DATA", str(data_root))
    at = opened(a=A, b=B, tab="errors", errors=f"cell:{A}", cell_label="mel", cell_predicted="nv")
    assert not at.exception
    table = pd.read_csv(registry.default_root() / A / "predictions.csv")
    columns = [name for name in table if name.startswith("p_")]
    missed = table[(table["label"] == "mel") & (table[columns].idxmax(axis=1) == "p_nv")]
    assert f"{len(missed):,} images of 1,503, most confident answers first." in plain_captions(at)
    shown = table_with(at, "confidence")
    assert set(shown["image"]) == set(missed["image"])
    first = missed.loc[missed["p_nv"].idxmax(), "image"]
    button = next(button for button in at.button if button.label == "Classify")
    assert button.key == f"classify_errors_{first}"
    button.click().run()
    assert not at.exception
    assert at.title[0].value == "Classify an image"
    [photo] = at.session_state[session_images.IMAGES].values()
    assert photo.image == first
    assert photo.data


def test_without_the_images_a_cell_has_ids_and_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKINAPP_DATA", str(tmp_path))
    at = opened(a=A, b=B, tab="operating", outcome=f"missed:{B}")
    assert not at.exception
    melanoma, caught = flagged(B, 0.95)
    missed = melanoma[melanoma & ~caught].index
    links = " ".join(one.value for one in at.markdown).replace("\\", "")
    assert len(missed)
    assert all(f"[{image}](https://api.isic-archive.com/images/{image}/)" in links for image in missed[:6])
    assert not at.get("imgs")
    assert [button.label for button in at.button][:2] == ["Classify", "Attention"]
    # on a click, the archive is asked for the image; it cannot be reached here
    at.button(key=f"attention_outcome_{missed_first(at)}").click().run()
    assert not at.exception
    assert at.title[0].value == "Which model is better, and how sure are we?"
    assert "The ISIC archive could not be reached" in plain_captions(at)


def missed_first(at: AppTest) -> str:
    return str(table_with(at, "confidence")["image"].iloc[0])


def test_a_damaged_image_of_a_data_set_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKINAPP_DATA", str(tmp_path))
    at = opened(a=A, b=B, tab="operating", outcome=f"missed:{B}")
    damaged, readable = table_with(at, "confidence")["image"][:2]
    folder = tmp_path / "ham10000" / "images"
    folder.mkdir(parents=True)
    (folder / f"{damaged}.jpg").write_bytes(b"\xff\xd8 damaged")
    (folder / f"{readable}.jpg").write_bytes(encode(lesion()))
    at.run()
    assert not at.exception
    assert plain_captions(at).count("The image can no longer be read.") == 1
    assert len(at.image) == 1

    def unreadable(*_: object) -> bytes:
        raise ImageError("gone")

    # the thumbnail is cached, the file gone
    monkeypatch.setattr(imaging, "read", unreadable)
    at.button(key=f"classify_outcome_{readable}").click().run()
    assert not at.exception
    assert plain_captions(at).count("The image can no longer be read.") == 2
    # the archive still has the other one
    example = isic.Example(damaged, encode(lesion()), "CC-0", "Somebody", "Melanoma")
    monkeypatch.setattr("skinapp.datasets.isic.fetch", lambda isic_id: {damaged: example}[isic_id])
    at.button(key=f"classify_outcome_{damaged}").click().run()
    assert at.title[0].value == "Classify an image"
    [photo] = at.session_state[session_images.IMAGES].values()
    assert (photo.image, photo.data) == (damaged, example.data)


def with_external(root: Path, model: registry.Model, name: str) -> None:
    """Give a model predictions of 400 images of MILK10k."""
    table = pd.read_csv(model.folder / "predictions.csv").head(400)
    table = table.assign(image=table["image"] + "-other", dataset="milk10k")
    file = root / name / "predictions-milk10k.csv"
    table.to_csv(file, index=False)
    content = file.read_bytes()
    card = json.loads((root / name / "model.json").read_text())
    card["files"][file.name] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    (root / name / "model.json").write_text(json.dumps(card))


def test_every_test_set_has_a_column_and_the_drop_is_drawn(two_models: Path, model: registry.Model) -> None:
    with_external(two_models, model, "copy")
    for name in (model.id, "copy"):
        card = json.loads((two_models / name / "model.json").read_text())
        card["training"]["dataset"] = "HAM10000"
        if name == model.id:
            card["files"].pop("predictions-milk10k.csv", None)
        (two_models / name / "model.json").write_text(json.dumps(card))
    at = opened()
    assert not at.exception
    assert at.selectbox(key="test").options == ["HAM10000", "MILK10k"]
    column = "MILK10k (external, 400 images)"
    table = table_with(at, column).set_index("Model")
    assert list(table.columns) == ["HAM10000 (internal, 1,503 images)", column]
    assert table.loc[f"{model.short_name} ({model.id})", column] == "not tested"
    assert "; change " in table.loc[f"{model.short_name} (copy)", column]
    assert any("on MILK10k" in one.proto.alt for one in at.get("plotly_chart"))
    at = opened(test="milk10k")
    assert not at.exception
    assert table_with(at, "origin")["id"].tolist() == ["copy"]
    assert "**400 images**" in " ".join(element.value for element in at.markdown)


@pytest.mark.usefixtures("two_models")
def test_without_an_external_test_the_page_says_how_to_add_one() -> None:
    at = opened()
    assert not at.exception
    assert "python -m train evaluate" in plain_captions(at)
