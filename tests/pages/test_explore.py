"""The explore page: filters apply to everything and can be undone; bad tables are reported."""

import re
import shutil
import urllib.parse
from pathlib import Path

import pytest
from PIL import Image
from streamlit.runtime.uploaded_file_manager import UploadedFile
from streamlit.testing.v1 import AppTest

from skinapp.evaluation import subgroups
from skinapp.inference import registry
from skinapp.report import population_views
from skinapp.ui import filters, layout, session_images
from tests.pictures import encode, lesion, small_ham10000
from tests.sources import write_milk10k

ROOT = Path(__file__).parents[2]
PUBLISHED = ("ham10000", "pad_ufes_20", "milk10k", "malignant_benign")
VIEWS = ("overview", "people", "sites", "confirmation", "associations", "compare", "models", "images", "limits")


def opened(**query: object) -> AppTest:
    at = AppTest.from_file(ROOT / "app.py", default_timeout=60).switch_page("pages/explore.py")
    for name, value in query.items():
        at.query_params[name] = value
    at.run()
    assert not at.exception
    return at


def metrics(at: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in at.metric}


def words(at: AppTest) -> str:
    return " ".join(element.value for kind in (at.markdown, at.caption, at.info) for element in kind)


@pytest.fixture(autouse=True)
def no_images(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SKINAPP_DATA", str(tmp_path))


def test_the_first_view_has_the_published_figures() -> None:
    at = opened()
    assert metrics(at) == {"Images": "10,015", "Lesions": "7,470", "Mean age": "51.9", "Male": "54.0%"}
    facts = next(table.value for table in at.dataframe if "published" in table.value).set_index("name")
    assert facts.loc["Melanocytic nevus", "here"] == "6,705"
    assert facts.loc["Histology", ["here", "published"]].tolist() == ["53.3%", "53.3%"]
    assert facts.loc["Sex not stated", "here"] == "0.6%"


@pytest.mark.parametrize("dataset", PUBLISHED)
def test_every_view_of_every_data_set_opens(dataset: str) -> None:
    at = opened(data=dataset)
    for view in VIEWS:
        at.button_group(key="view").set_value(view).run()
        assert not at.exception
        assert not at.error
        assert at.subheader


def test_an_address_opens_its_selection_and_pressing_clear_undoes_it() -> None:
    at = opened(diagnosis="mel", sex="female", age=["65", "100"], site="back", confirmation="histology", view="people")
    assert metrics(at)["Images"] == "45"
    assert metrics(at)["Lesions"] == "27"
    at.button(key="clear").click().run()
    assert not at.exception
    assert metrics(at)["Images"] == "10,015"


def test_a_strange_address_shows_everything() -> None:
    at = opened(diagnosis="Wart", age=["old", "older"], view="Nowhere", data="Elsewhere")
    assert metrics(at)["Images"] == "10,015"


def test_an_empty_selection_is_reported_and_can_be_undone() -> None:
    at = opened(diagnosis="df", site="face")
    assert "No image matches these filters" in at.warning[0].value
    assert metrics(at)["Images"] == "0"
    at.button(key="clear").click().run()
    assert not at.warning


def test_another_data_set_starts_without_filters() -> None:
    at = opened(diagnosis="mel")
    at.segmented_control(key="data").set_value("pad_ufes_20").run()
    assert not at.exception
    assert metrics(at)["Images"] == "1,035"
    assert "1,035 of the 2,298" in words(at)


def test_two_data_sets_are_compared_by_what_they_have_in_common() -> None:
    at = opened(view="compare", against="selection", b_data="pad_ufes_20")
    assert "10,015 images of 7,470 lesions" in words(at)
    assert "1,035 images of 913 lesions" in words(at)
    found = at.dataframe[0].value
    assert {"age", "sex", "site", "diagnosis"} <= set(found["variable"])
    assert (found["low"] <= found["difference"]).all()


def test_a_selection_is_compared_with_the_rest() -> None:
    at = opened(view="compare", sex="female")
    assert "5,463 images of 4,051 lesions" in words(at)


def test_models_for_close_ups_are_scored_on_those_of_milk10k() -> None:
    at = opened(data="milk10k", view="models", tested_model="smartphone-efficientnetb1-6class:milk10k-clinical")
    assert at.selectbox(key="tested_model").value == "smartphone-efficientnetb1-6class:milk10k-clinical"
    table = at.dataframe[0].value
    card = registry.model("smartphone-efficientnetb1-6class").card
    [test] = [one for one in card["other_tests"] if one["name"] == "MILK10k close-ups"]
    assert table["images"].iloc[0] == test["images"]
    assert not any("diagnosis filter" in one.value for one in at.caption)
    at = opened(
        data="milk10k",
        view="models",
        tested_model="smartphone-efficientnetb1-6class:milk10k-clinical",
        diagnosis="MEL",
    )
    assert any("so the diagnosis filter is ignored" in one.value for one in at.caption)


def test_a_subgroup_with_few_images_has_no_number() -> None:
    at = opened(view="models", sex="female")
    found = at.dataframe[0].value.set_index("cell")
    assert found.loc["All", "sensitivity"][0] in "01"
    assert population_views.UNCERTAIN in set(found["sensitivity"])
    assert metrics(at)["Images"] == "4,552"


def test_limits_come_with_numbers() -> None:
    text = words(opened(view="limits"))
    assert "1,954 of 1,954 images of malignant classes (100%)" in text
    assert "1,956 of 7,470 lesions have more than one image" in text
    assert "No skin type is recorded for any of the 10,015 images" in text
    assert "5 or 6" in words(opened(view="limits", data="pad_ufes_20"))


def test_milk10k_has_skin_tones_and_two_kinds_of_image() -> None:
    at = opened(data="milk10k")
    assert "9,034 of the 10,480" in words(at)
    kinds = next(table.value for table in at.dataframe if "Close-up only" in set(table.value.iloc[:, 0]))
    assert kinds.set_index("value")["lesions"].sum() == 4_717
    assert "Skin tone, from 0 (very dark) to 5 (very light)" in [
        heading.value for heading in opened(data="milk10k", view="people").subheader
    ]
    text = words(opened(data="milk10k", view="limits"))
    assert "4,317 lesions have both images" in text
    assert "Other lesions were biopsied too" in text
    assert "Other lesions were biopsied too" not in words(opened(view="limits"))


def test_both_images_of_a_lesion_are_side_by_side(tmp_path: Path) -> None:
    write_milk10k(tmp_path)
    at = opened(data="milk10k", view="images", diagnosis="MEL")
    assert "Lesions 1 to 4 of 4." in words(at)
    assert len(at.image) == 4
    button = next(button for button in at.button if button.label == "MEL")
    button.click().run()
    assert not at.exception
    text = words(at)
    assert "**Dermoscopy image**, ISIC_1" in text
    assert "**Close-up**, ISIC_1" in text
    assert [button.label for button in at.button].count("Classify this image") == 2


def test_without_images_the_page_says_how_to_get_them_and_lists_them_with_links() -> None:
    at = opened(view="images", diagnosis="mel", sex="female", site="back", age=["60", "100"])
    assert "train download ham10000" in words(at)
    listed = at.dataframe[0].value
    assert len(listed) == 56
    assert (listed["archive"] == "https://api.isic-archive.com/images/" + listed["image"] + "/").all()


def test_the_answer_comes_in_words() -> None:
    at = opened(diagnosis="mel", sex="female", site="back", age=["60", "100"])
    answer = "56 images of 36 lesions: melanoma, women, back, 60 or older; ages are recorded in steps of five years"
    assert answer in re.sub(r"\\(.)", r"\1", words(at))
    assert "10,015 images of 7,470 lesions: the whole data set" in re.sub(r"\\(.)", r"\1", words(opened()))


@pytest.fixture
def data_set(tmp_path: Path) -> Path:
    return small_ham10000(tmp_path)


@pytest.mark.usefixtures("data_set")
def test_the_gallery_shows_the_selection_and_opens_an_image_with_its_record() -> None:
    at = opened(view="images", diagnosis="mel")
    assert len(at.image) == 1
    at.button(key="open_ISIC_0").click().run()
    assert "ISIC\\_0" in words(at)
    assert "Age: 50" in words(at)


def test_images_deleted_under_an_open_page_are_reported(data_set: Path) -> None:
    at = opened(view="images")
    assert len(at.image) == 3
    shutil.rmtree(data_set / "ham10000" / "images")
    at.run()
    assert not at.exception
    assert "not on this machine" in words(at)


def test_a_damaged_image_leaves_the_others(data_set: Path) -> None:
    (data_set / "ham10000" / "images" / "ISIC_1.webp").write_bytes(b"no image")
    Image.new("RGB", (90, 90)).save(data_set / "ham10000" / "images" / "ISIC_2.webp")
    at = opened(view="images")
    assert not at.exception
    assert len(at.image) == 2
    assert "ISIC_1 can no longer be read" in words(at)


def own(data: bytes) -> AppTest:
    at = opened(data="own")
    at.file_uploader(key="own_upload").upload("table.csv", data).run()
    assert not at.exception
    return at


def test_an_own_table_gets_the_same_panels_and_its_problems_named() -> None:
    at = own(b"dx;age;gender;localization\nmel;50;m;back\nnv;300;f;face\nwart;20;f;face\n")
    assert metrics(at)["Images"] == "3"
    assert "1 row with unknown labels" in words(at)
    assert "1 age is below 0 or over 120" in words(at)
    at.multiselect(key="own_site").set_value(["face"]).run()
    assert metrics(at)["Images"] == "2"
    for view in ("people", "sites", "confirmation", "associations", "compare", "models", "images", "split", "limits"):
        at.button_group(key="view").set_value(view).run()
        assert not at.exception
        assert not at.error


def test_columns_can_be_named_by_hand() -> None:
    at = own(b"what,years\nmel,50\nnv,30\n")
    at.selectbox(key="own_column_diagnosis").set_value("what").run()
    at.selectbox(key="own_column_age").set_value("years").run()
    assert not at.exception
    assert metrics(at)["Mean age"] == "40.0"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [(b"", "empty"), (b"PK\x03\x04", "Excel"), (b"a,b\n", "no rows"), (b"a,b\n1,2\n3,4,5\n", "cannot be read")],
)
def test_a_file_that_is_not_a_table_is_reported_and_the_next_one_is_read(data: bytes, sentence: str) -> None:
    at = own(data)
    assert sentence in at.error[0].value
    at.file_uploader(key="own_upload").clear().upload("table.csv", b"dx,age\nmel,50\n").run()
    assert not at.error
    assert metrics(at)["Images"] == "1"


def test_nothing_of_an_own_table_is_in_a_shared_cache() -> None:
    at = own(b"dx,age\nmel,50\nmel,50\nnv,30\n")
    assert at.session_state["own_built"].table.frame["images"].sum() == 3
    other = opened(data="own")
    assert not other.metric


def test_the_page_links_diagnoses_to_the_guide() -> None:
    links = [link for link in opened().get("page_link") if "class=mel" in str(link.proto)]
    assert links
    assert layout.path("guide").is_file()


FORMER = {
    "diagnosis": "Melanoma",
    "sex": "Female",
    "age": ["65", "100"],
    "site": "Back",
    "confirmation": "Histology",
    "malignant": "Malignant",
    "data": "HAM10000",
    "view": "Relations",
}


def test_a_link_with_the_texts_of_former_options_still_opens() -> None:
    at = opened(**FORMER)
    assert metrics(at)["Images"] == "45"
    assert at.button_group(key="view").value == "associations"
    assert at.query_params == {
        "diagnosis": "mel",
        "sex": "female",
        "age": ["65", "100"],
        "site": "back",
        "confirmation": "histology",
        "malignant": "yes",
        "view": "associations",
    }
    other = opened(data="PAD-UFES-20", view="Compare", against="Another selection", b_data="Malignant/benign")
    assert metrics(other)["Images"] == "1,035"
    assert "2,637 images of 2,399 lesions" in words(other)


def test_choices_are_in_the_address_as_codes() -> None:
    at = opened()
    assert at.query_params == {}
    at.multiselect(key="sex").set_value(["female"]).run()
    at.button_group(key="view").set_value("models").run()
    at.selectbox(key="cells").set_value("sex").run()
    assert at.query_params == {"sex": "female", "view": "models", "cells": "sex"}
    at.button(key="clear").click().run()
    assert at.query_params == {"view": "models", "cells": "sex"}


def test_the_menu_leads_back_to_the_choices_of_a_page() -> None:
    at = opened(sex="female", view="people")
    at.multiselect(key="site").set_value(["back"]).run()
    at.switch_page("pages/guide.py").run()
    assert not at.exception
    links = {link.proto.label: link.proto.query_string for link in at.get("page_link")}
    assert urllib.parse.parse_qs(links["Explore"]) == {"sex": ["female"], "site": ["back"], "view": ["people"]}
    assert links["Compare"] == ""


def test_an_own_table_and_its_filters_are_there_after_another_page() -> None:
    at = own(b"dx,age,sex\nmel,50,m\nnv,30,f\n")
    at.multiselect(key="own_sex").set_value(["female"]).run()
    at.switch_page("pages/guide.py").run()
    at.switch_page("pages/explore.py")
    at.query_params["data"] = "own"
    at.run()
    assert not at.exception
    assert metrics(at)["Images"] == "1"
    assert "sex" not in at.query_params
    at.button(key="own_remove").click().run()
    assert not at.metric


def test_a_clicked_bar_filters_and_the_same_bar_again_clears(monkeypatch: pytest.MonkeyPatch) -> None:
    state: dict[str, object] = {}
    monkeypatch.setattr(filters.st, "session_state", state)
    filters.apply("", "diagnosis=mel&site=back")
    assert state == {"diagnosis": ["mel"], "site": ["back"]}
    filters.apply("", "diagnosis=nv&age=85-89")
    assert (state["diagnosis"], state["age"]) == (["nv"], (85, 89))
    filters.apply("own_", "sex=female")
    assert state["own_sex"] == ["female"]
    filters.apply("own_", "sex=female")
    assert state["own_sex"] == []


@pytest.mark.slow
def test_a_table_of_half_a_million_rows_is_counted() -> None:
    rows = b"".join(
        b"%d,%s,%d,l%d,x%d\n" % (n, (b"mel", b"nv")[n % 2], n % 90, n // 2, n % 2000) for n in range(500_000)
    )
    at = own(b"image,dx,age,lesion,site\n" + rows)
    assert metrics(at)["Images"] == "500,000"
    assert "250,000" in metrics(at)["Lesions"]


def own_folder(files: dict[str, bytes]) -> AppTest:
    at = opened(data="own")
    at.segmented_control(key="own_source").set_value("folder").run()
    for name, data in files.items():
        at.file_uploader(key="own_folder").upload(name, data)
    at.run()
    assert not at.exception
    return at


def isic_files() -> dict[str, bytes]:
    table = b"isic_id,age_approx,sex,diagnosis_1\nISIC_0000001,50,male,Benign\nISIC_0000002,60,female,Malignant\n"
    files = {f"isic/ISIC_000000{number}.jpg": encode(lesion(seed=number)) for number in (1, 2)}
    return {"isic/metadata.csv": table} | files


def test_a_folder_of_isic_cli_gets_its_thumbnails(monkeypatch: pytest.MonkeyPatch) -> None:
    freed: list[UploadedFile] = []
    monkeypatch.setattr(session_images, "free_uploads", freed.extend)
    at = own_folder(isic_files())
    # the session holds the files now
    assert {file.name for file in freed} == set(isic_files())
    assert metrics(at)["Images"] == "2"
    at.button_group(key="view").set_value("images").run()
    assert len(at.image) == 2
    at.multiselect(key="own_diagnosis").set_value(["malignant"]).run()
    assert len(at.image) == 1
    at.button(key="open_ISIC_0000002").click().run()
    assert not at.exception
    assert "ISIC\\_0000002" in words(at)


def test_a_partly_downloaded_folder_is_reported() -> None:
    files = isic_files()
    del files["isic/ISIC_0000002.jpg"]
    at = own_folder(files)
    assert "1 of 2 images in the table are not in the folder" in words(at)
    at.button_group(key="view").set_value("images").run()
    assert len(at.image) == 1
    del files["isic/metadata.csv"]
    assert "isic\\-cli writes it last" in own_folder(files).error[0].value


def test_the_split_of_an_own_table_is_audited_and_unchecked_parts_are_reported() -> None:
    at = own(b"image,lesion_id,split,dx\na,1,train,mel\nb,1,test,mel\n")
    at.button_group(key="view").set_value("split").run()
    assert "1 lesion is in both test and train" in at.warning[0].value
    assert not at.success
    at = own(b"image,dx\na,mel\nb,nv\n")
    at.button_group(key="view").set_value("split").run()
    assert at.success
    assert "names no parts such as training and test" in words(at)


def test_an_own_table_of_test_images_gets_the_scores_of_models() -> None:
    tested = next(model for model in registry.ranked() if "ham10000" in subgroups.tested_on(model))
    images = subgroups.predictions(tested, "ham10000").frame["image"].head(200)
    at = own(b"image,dx\n" + "".join(f"{image}.jpg,nv\n" for image in images).encode())
    at.button_group(key="view").set_value("models").run()
    assert not at.exception
    assert "All 200 test images in this selection" in words(at)


def test_going_back_brings_the_former_selection() -> None:
    at = opened(sex="female")
    at.multiselect(key="sex").set_value(["male"]).run()
    assert metrics(at)["Images"] == "5,406"
    at.query_params["sex"] = "female"
    at.run()
    assert metrics(at)["Images"] == "4,552"


def test_a_second_choice_made_before_the_browser_has_the_address_of_the_first_keeps_both() -> None:
    at = opened()
    at.multiselect(key="diagnosis").set_value(["mel"]).run()
    del at.query_params["diagnosis"]
    at.multiselect(key="sex").set_value(["female"]).run()
    assert metrics(at)["Images"] == "424"
    assert at.query_params == {"diagnosis": "mel", "sex": "female"}


def test_column_names_of_an_own_table_are_shown_letter_by_letter() -> None:
    at = own(b"dx,*age*\nmel,60\nnv,30\n")
    at.selectbox(key="own_column_diagnosis").set_value("*age*").run()
    at.selectbox(key="own_column_age").set_value("*age*").run()
    assert "\\*age\\*" in at.error[0].value
