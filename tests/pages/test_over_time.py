"""Photos of one spot over time, on the classify page."""

import datetime

import pytest
from PIL import ExifTags, Image
from streamlit.testing.v1 import AppTest

from skinapp.lesion import change
from skinapp.ui import layout, over_time, session_images
from tests.pages.test_classify import headline, upload, upload_several
from tests.pictures import closer, encode, skin


def photo(seed: int, zoom: float = 1.0, taken: str = "") -> bytes:
    exif = Image.Exif()
    if taken:
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = taken
    return encode(Image.fromarray(closer(skin(seed), 400, zoom)), exif=exif)


FIRST, LATER, OTHER = photo(11, taken="2025:03:01 10:00:00"), photo(11, 1.1, "2025:06:01 10:00:00"), photo(12)


pytestmark = pytest.mark.usefixtures("clear_dermoscopy")


@pytest.fixture
def page() -> AppTest:
    return AppTest.from_file(layout.PAGES.parent / "app.py", default_timeout=60).switch_page("pages/classify.py").run()


def compare(page: AppTest, files: dict[str, bytes]) -> AppTest:
    upload_several(page, files)
    page.button(key="over_time_batch").click().run()
    assert not page.exception
    return page


def words(page: AppTest) -> str:
    return " ".join(one.value for one in (*page.markdown, *page.caption, *page.warning, *page.info))


def test_two_photos_are_in_the_order_of_their_dates_and_laid_over_each_other(page: AppTest) -> None:
    compare(page, {"later.jpg": LATER, "first.jpg": FIRST})
    assert not page.error
    assert not page.warning
    assert [day.value for day in page.date_input] == [datetime.date(2025, 6, 1), datetime.date(2025, 3, 1)]
    captions = [caption for image in page.image for caption in image.captions if caption]
    assert captions == ["1 March 2025", "1 June 2025"]
    assert "points on the skin line up with those in the first" in words(page)
    table = page.dataframe[0].value.set_index("measure")
    assert {change.SIZE, change.CANCER, "Asymmetry"} <= set(table.index)
    assert table.loc[change.SIZE, "result"] == "within the usual difference"
    assert "than usual" in words(page)


def test_the_blend_follows_its_slider(page: AppTest) -> None:
    compare(page, {"first.jpg": FIRST, "later.jpg": LATER})
    before = str(page.image[-1].value)
    page.slider(key="over_time_blend").set_value(100).run()
    assert not page.exception
    assert str(page.image[-1].value) != before


def test_dates_can_be_changed_and_turn_the_order(page: AppTest) -> None:
    compare(page, {"first.jpg": FIRST, "later.jpg": LATER})
    page.date_input[1].set_value(datetime.date(2024, 1, 2)).run()
    assert not page.exception
    captions = [caption for image in page.image for caption in image.captions if caption]
    assert captions == ["2 January 2024", "1 March 2025"]


@pytest.mark.parametrize("taken", ["", "2999:01:01 00:00:00", "0000:00:00 00:00:00"])
def test_a_photo_without_a_usable_date_comes_last_and_says_so(page: AppTest, taken: str) -> None:
    compare(page, {"undated.jpg": photo(11, 1.1, taken), "first.jpg": FIRST})
    assert page.date_input[0].value is None
    assert "A photo without a date comes last" in words(page)
    captions = [caption for image in page.image for caption in image.captions if caption]
    assert captions == ["1 March 2025", "undated.jpg"]


def test_photos_of_different_lesions_do_not_match(page: AppTest) -> None:
    compare(page, {"first.jpg": FIRST, "other.jpg": OTHER})
    assert [warning.value for warning in page.warning] == [change.NO_MATCH]
    assert not page.dataframe
    assert "than usual" not in words(page)
    # unless the visitor insists
    [anyway] = [toggle for toggle in page.toggle if toggle.label.startswith("They show the same spot")]
    anyway.set_value(True).run()
    assert not page.exception
    table = page.dataframe[0].value
    assert change.CANCER in set(table["measure"])
    assert change.SIZE not in set(table["measure"])


def test_a_dermoscopy_image_is_not_compared_with_a_phone_photo(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    upload_several(page, {"first.jpg": FIRST, "later.jpg": LATER})
    [_, later] = session_images_of(page)
    page.session_state[f"kind_{later.key}"] = "smartphone"
    page.button(key="over_time_batch").click().run()
    assert "Choose photos of one kind" in words(page)
    assert not page.dataframe


def session_images_of(page: AppTest) -> list[session_images.Photo]:
    return list(page.session_state["images"].values())


def test_of_three_photos_two_are_chosen_and_more_can_be(page: AppTest) -> None:
    compare(page, {"first.jpg": FIRST, "other.jpg": OTHER, "later.jpg": LATER})
    keys = [one.key for one in session_images_of(page)]
    assert page.multiselect[0].value == keys[-2:]
    page.multiselect[0].set_value([keys[0], keys[2]]).run()
    assert not page.warning
    page.multiselect[0].set_value(keys).run()
    assert not page.exception
    assert list(page.dataframe[-1].value["Photo"]) == ["first.jpg", "later.jpg", "other.jpg"]
    page.multiselect[0].set_value(keys[:1]).run()
    assert "at least two photos" in words(page)


def test_photos_of_one_name_can_be_told_apart() -> None:
    names = over_time._unique({"a": "image.jpg", "b": "other.jpg", "c": "image.jpg"})
    assert names == {"a": "image.jpg (1)", "b": "other.jpg", "c": "image.jpg (2)"}


def test_a_second_photo_can_be_added_to_an_answer(page: AppTest) -> None:
    upload(page, FIRST)
    headline(page)
    uploader = next(one for one in page.file_uploader if one.label == "Another photo of the same spot")
    uploader.upload("later.jpg", LATER).run()
    assert not page.exception
    assert "The same spot over time" in [one.value for one in page.subheader]
    assert len(page.date_input) == 2


def test_a_photo_that_cannot_be_read_is_named_and_the_page_stands(page: AppTest) -> None:
    upload(page, FIRST)
    uploader = next(one for one in page.file_uploader if one.label == "Another photo of the same spot")
    uploader.upload("later.jpg", LATER[: len(LATER) // 2]).run()
    assert not page.exception
    assert any("damaged or cut short" in error.value for error in page.error)


def test_a_camera_whose_clock_was_never_set_recorded_no_date(page: AppTest) -> None:
    compare(page, {"first.jpg": photo(11, taken="1980:01:01 00:00:00"), "later.jpg": LATER})
    assert not page.error
    assert {day.value for day in page.date_input} == {None, datetime.date(2025, 6, 1)}


def test_a_ruler_lies_along_the_diagonal_of_its_box_and_a_coin_fills_it(page: AppTest) -> None:
    compare(page, {"first.jpg": FIRST, "later.jpg": LATER})

    def first_diameter(name: str, box: tuple[float, float, float, float]) -> float:
        for one in session_images_of(page):
            page.selectbox(key=f"length_{one.key}").set_value(name)
            page.session_state[f"length_mm_{one.key}"] = 23.25
            page.session_state[f"length_box_{one.key}"] = box
        page.run()
        assert not page.exception
        return float(page.dataframe[0].value.set_index("measure").at[change.DIAMETER, "first"])

    coin, ruler = "1 euro coin, 23.25 mm", over_time.OTHER
    level, diagonal = (0.2, 0.2, 0.5, 0.2), (0.2, 0.2, 0.5, 0.5)
    of_coin = pytest.approx(first_diameter(coin, level), abs=0.001)
    assert first_diameter(ruler, level) == of_coin
    assert first_diameter(coin, diagonal) == of_coin
    assert first_diameter(ruler, diagonal) * 2**0.5 == of_coin


def test_a_length_in_both_photos_gives_millimetres(page: AppTest) -> None:
    compare(page, {"first.jpg": FIRST, "later.jpg": LATER})
    for one in session_images_of(page):
        page.selectbox(key=f"length_{one.key}").set_value("1 euro coin, 23.25 mm")
        # like a drawn box: a quarter of the width
        page.session_state[f"length_box_{one.key}"] = (0.5, 0.1, 0.75, 0.2)
    page.run()
    assert not page.exception
    table = page.dataframe[0].value.set_index("measure")
    assert table.loc[change.DIAMETER, "unit"] == "mm"
    assert 5 < table.loc[change.DIAMETER, "first"] < 93
