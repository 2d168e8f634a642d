"""The compare and models pages: the library's own figures, the operating point, one's own file, a new folder."""

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from skinapp.evaluation import bootstrap, comparison, conformal, operating_points, predictions
from skinapp.evaluation.comparison import CLASSES, MALIGNANT
from skinapp.inference import registry
from skinapp.report import conformal_views
from skinapp.ui import layout

ALL_RESAMPLES = comparison.Shared.weights


@pytest.fixture(scope="module", autouse=True)
def few_resamples() -> Iterator[None]:
    """Most of what the page computes, it computes once for each resample."""
    st.cache_resource.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison.Shared, "weights", lambda shared: bootstrap.weights(shared.groups, 100))
        yield
    st.cache_resource.clear()


def opened(**query: str) -> AppTest:
    at = AppTest.from_file(layout.PAGES.parent / "app.py", default_timeout=120).switch_page("pages/compare.py")
    for name, value in query.items():
        at.query_params[name] = value
    return at.run()


def table_with(at: AppTest, column: str) -> pd.DataFrame:
    """The first table that has that column."""
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


def test_the_leaderboard_holds_the_cards_figures_and_the_published_ones(
    model: registry.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    st.cache_resource.clear()
    monkeypatch.setattr(comparison.Shared, "weights", ALL_RESAMPLES)
    at = opened(models=model.id)
    assert not at.exception
    board = table_with(at, "origin").set_index("name")
    figures = model.card["scores"]["balanced_accuracy"]
    shown = [float(number) for number in re.findall(r"[\d.]+", board.loc[model.id, "balanced_accuracy"])]
    # the card's own figures are rounded to four places
    assert shown == pytest.approx([figures["value"], figures["low"], figures["high"]], abs=6e-4)
    assert board.loc[model.id, "parameters"] == model.card["architecture"]["parameters"]
    assert set(board["origin"]) == {"here", "published"}
    assert f"{model.card['test']['images']:,} images" in " ".join(element.value for element in at.markdown)


def test_every_number_of_the_operating_point_follows_the_threshold() -> None:
    at = opened(models="ham10000-cnn32")
    chosen = at.multiselect(key="models").value
    known, _ = predictions.shipped()
    shared = comparison.share([known[name] for name in chosen], CLASSES, at.selectbox(key="test").value)
    at.slider(key="threshold").set_value(20)
    at.slider(key="prevalence").set_value(2.0).run()
    assert not at.exception
    point = operating_points.operating_point(shared, shared.weights(), chosen[0], 0.2, 0.02)
    shown = [metric.value for metric in at.metric[:4]]
    assert shown == [
        f"{point.sensitivity.value:.1%}",
        f"{point.specificity.value:.1%}",
        f"{point.missed_cancers.value:.1f}",
        f"{point.false_alarms.value:.0f}",
    ]
    row = table_with(at, "Threshold").iloc[0]
    assert row["Positive predictive value"] == point.positive_predictive_value.text()


@pytest.mark.parametrize("question", ["malignancy", "Malignant or not"])
def test_the_address_holds_question_threshold_and_prevalence(question: str) -> None:
    at = opened(question=question, threshold="20", prevalence="1.5")
    assert not at.exception
    assert at.query_params["question"] == "malignancy"
    assert at.segmented_control(key="question").value == MALIGNANT
    assert at.slider(key="threshold").value == 20
    assert at.slider(key="prevalence").value == 1.5
    assert {model.split("-")[0] for model in at.multiselect(key="models").value} >= {"ham10000", "malignancy"}


LINKS = {
    "test": ("pad_ufes_20", "PAD-UFES-20"),
    "measure": ("macro_roc_auc", "ROC AUC, classes"),
    "by": ("sensitivity", "At least this sensitivity"),
    "curves_of": ("MEL", "Melanoma"),
    "subgroup_score": ("accuracy", "Accuracy"),
    "errors": ("smartphone-efficientnetb1-6class", "Surest mistakes of smartphone-efficientnetb1-6class"),
    "errors_label": ("MEL", "Melanoma"),
}
"""Parameter -> its code, and the label that links once had."""


@pytest.mark.parametrize("number", [0, 1], ids=["code", "label"])
def test_links_hold_codes_and_old_ones_open(number: int) -> None:
    at = opened(**{key: both[number] for key, both in LINKS.items()}, a="smartphone-efficientnetb1-6class")
    assert not at.exception
    assert not at.error
    for key, (code, _) in LINKS.items():
        control = at.segmented_control(key=key) if key == "by" else at.selectbox(key=key)
        assert control.value == code, key
        assert at.query_params[key] == code, key
    at.selectbox(key="measure").set_value("balanced_accuracy").run()
    # the first option is what a link without the parameter opens
    assert "measure" not in at.query_params


def test_a_step_back_in_the_browser_is_followed(model: registry.Model) -> None:
    at = opened(models=model.id)
    at.selectbox(key="measure").set_value("accuracy").run()
    at.query_params["measure"] = "brier"
    at.run()
    assert at.selectbox(key="measure").value == "brier"
    del at.query_params["measure"]
    at.run()
    assert at.selectbox(key="measure").value == "balanced_accuracy"


def test_a_link_to_what_is_not_there_opens_the_page() -> None:
    at = opened(test="elsewhere", question="<b>", models="nobody", curves_of="nv", errors="**")
    assert not at.exception
    assert not at.error
    assert at.selectbox(key="test").value == "ham10000"
    assert at.query_params["curves_of"] == "nv"
    assert len(at.multiselect(key="models").value) > 1
    assert not {"test", "question", "models", "errors"} & set(at.query_params)


def test_chosen_models_stand_in_the_address(model: registry.Model) -> None:
    at = opened(models=model.id)
    assert at.multiselect(key="models").value == [model.id]
    others = [name for name in at.multiselect(key="models").options if name != model.id][:1]
    at.multiselect(key="models").set_value(others).run()
    assert at.query_params["models"] == others[0]
    # another question has other models, and starts with all of them
    at.segmented_control(key="question").set_value(MALIGNANT).run()
    assert len(at.multiselect(key="models").value) > 1
    assert "models" not in at.query_params


def test_at_least_a_sensitivity() -> None:
    at = opened(by="sensitivity", models="ham10000-cnn32")
    assert not at.exception
    at.slider(key="sensitivity").set_value(90).run()
    assert float(at.metric[0].value.removesuffix("%")) >= 90
    assert any("slightly optimistic" in caption.value for caption in at.caption)


@pytest.mark.parametrize("dataset", ["ham10000", "malignant_benign"])
def test_every_data_set_can_be_compared_on_malignancy(dataset: str) -> None:
    at = opened(test=dataset, question="malignancy")
    assert not at.exception
    assert not at.error
    known, _ = predictions.shipped()
    assert set(at.multiselect(key="models").value) == {name for name, one in known.items() if dataset in one.datasets}


def test_prediction_sets_are_measured_on_the_models_test_images(model: registry.Model) -> None:
    at = opened(models=model.id)
    measured = conformal.on_every_test_set(predictions.of_model(model), 0.95)
    assert conformal_views.sentences(measured, model.labels)[0] in plain_captions(at)
    table = table_with(at, "everything")
    expected = measured[0].table[measured[0].table["by"].isin(["all", "class"])]
    assert list(table["coverage"]) == pytest.approx(list(expected["coverage"]))
    at.selectbox(key="coverage").set_value("0.8")
    at.selectbox(key="sets_by").set_value("sex").run()
    assert not at.exception
    assert at.query_params["coverage"] == "0.8"
    measured = conformal.on_every_test_set(predictions.of_model(model), 0.8)
    by_sex = measured[0].table[measured[0].table["by"] == "sex"]
    assert list(table_with(at, "everything")["coverage"][1:]) == pytest.approx(list(by_sex["coverage"]))


def test_without_prediction_sets_there_is_no_section_on_them() -> None:
    at = opened(test="malignant_benign", models="malignancy-vgg16")
    assert not at.exception
    assert "Calibration" in [heading.value for heading in at.subheader]
    assert "Prediction sets" not in [heading.value for heading in at.subheader]


def test_one_model_alone_and_none(model: registry.Model) -> None:
    at = opened(models=model.id)
    assert not at.exception
    assert len(at.metric) == 4
    at.multiselect(key="models").set_value([]).run()
    assert not at.exception
    assert "at least one model" in at.info[0].value


def test_a_new_folder_appears_without_a_restart_and_an_incomplete_one_is_named(
    two_models: Path, model: registry.Model
) -> None:
    at = opened()
    assert sorted(at.multiselect(key="models").value) == ["copy", model.id]
    # the same predictions: no difference in either test
    assert list(table_with(at, "McNemar p")["McNemar p"]) == ["1.000"]
    copied(two_models, model, "third")
    at.run()
    assert "third" in at.multiselect(key="models").options
    (two_models / "third" / "predictions.csv").unlink()
    at.run()
    assert not at.exception
    assert "'third' lacks its file predictions.csv" in at.warning[0].value.replace("\\", "")
    assert "third" not in at.multiselect(key="models").options


def test_ones_own_predictions_join_and_leave(model: registry.Model) -> None:
    theirs = predictions.of_model(model)
    half = theirs.table.iloc[: len(theirs.table) // 2][theirs.columns].reset_index()
    at = opened(models=model.id)
    at.file_uploader(key="own_predictions").upload("mine.csv", half.to_csv(index=False).encode()).run()
    assert not at.exception
    assert not at.error
    at.multiselect(key="models").set_value([model.id, "own"]).run()
    assert not at.exception
    assert f"**{len(half):,} images**" in " ".join(element.value for element in at.markdown)
    assert "Your predictions" in set(table_with(at, "origin")["name"])
    assert "compare_own" in at.session_state
    at.file_uploader(key="own_predictions").clear().run()
    assert not at.exception
    assert "compare_own" not in at.session_state
    assert "compare_own_file" not in at.session_state


BAD_FILES = {
    b"": "is empty",
    b"image,p_benign,p_malignant\na,0.5,0.5\n": "no image in common",
    b"image,p_benign,p_malignant\nISIC_0025661,0.5,0.7\n": "do not sum to 1",
    b"image,p_benign,p_malignant\nISIC_0025661,,0.7\n": "not a number",
    # shown letter by letter
    b"image,p_benign,p_malignant\n**[x](http://y)** <img>,0.5,0.7\n": r"\*\*\[x\]\(http\://y\)\*\* \<img\>",
}


def test_a_bad_file_is_a_sentence_and_the_page_goes_on(model: registry.Model) -> None:
    at = opened(models=model.id)
    for content, sentence in BAD_FILES.items():
        at.file_uploader(key="own_predictions").clear().upload("mine.csv", content).run()
        assert not at.exception
        shown = at.error[0].value
        assert sentence in (shown if "img" in sentence else shown.replace("\\", ""))
        assert at.metric


def test_labels_that_disagree_are_named_and_the_page_goes_on(model: registry.Model) -> None:
    theirs = predictions.of_model(model)
    moles = theirs.table[theirs.table["label"] == "nv"].head(2)
    table = theirs.table[[*theirs.columns, "label"]].reset_index()
    table["label"] = table["label"].mask(table["image"].isin(moles.index), "bkl")
    at = opened(models=model.id)
    at.file_uploader(key="own_predictions").upload("mine.csv", table.to_csv(index=False).encode())
    at.multiselect(key="models").set_value([model.id, "own"]).run()
    assert not at.exception
    assert "disagree on the class in 2 of" in at.error[0].value
    assert moles.index[0] in at.error[0].value.replace("\\", "")


def test_a_file_with_one_group_gets_no_interval_and_no_conclusion(model: registry.Model) -> None:
    others = predictions.of_model(registry.model("ham10000-cnn32"))
    table = others.table[others.columns].reset_index().assign(group="everybody")
    at = opened(models=model.id)
    at.file_uploader(key="own_predictions").upload("mine.csv", table.to_csv(index=False).encode()).run()
    at.multiselect(key="models").set_value(["own", model.id]).run()
    assert not at.exception
    assert not at.error
    board = table_with(at, "origin").set_index("name")
    assert "(no interval)" in board.loc["Your predictions", "balanced_accuracy"]
    assert at.metric[0].delta == "no interval"
    assert "too few to compare" in " ".join(element.value for element in at.markdown)


def test_an_error_opens_in_classify(data_root: Path, model: registry.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKINAPP_DATA", str(data_root))
    at = opened(models=model.id)
    assert not at.exception
    button = next(button for button in at.button if button.label == "Classify")
    button.click().run()
    assert not at.exception
    assert at.title[0].value == "Classify an image"
    # an image that a model gets wrong may be blurred
    for anyway in at.toggle:
        anyway.set_value(True).run()
    assert at.metric


def test_a_further_test_set_can_be_chosen_and_linked(two_models: Path, model: registry.Model) -> None:
    table = pd.read_csv(model.folder / "predictions.csv").head(400)
    table = table.assign(image=table["image"] + "-other", dataset="milk10k")
    folder = two_models / "copy"
    table.to_csv(folder / "predictions-milk10k.csv", index=False)
    content = (folder / "predictions-milk10k.csv").read_bytes()
    card = json.loads((folder / "model.json").read_text())
    card["files"]["predictions-milk10k.csv"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    (folder / "model.json").write_text(json.dumps(card))
    at = opened()
    assert next(box for box in at.selectbox if box.label == "Test images").options == ["HAM10000", "MILK10k"]
    assert set(table_with(at, "origin").query("origin == 'here'")["name"]) == {model.id, "copy"}
    at = opened(test="milk10k")
    assert not at.exception
    assert table_with(at, "origin")["name"].tolist() == ["copy"]
    assert "**400 images**" in " ".join(element.value for element in at.markdown)
