"""Several files at once: a grid, a CSV, one in full; bad files, the same file twice, too many, too large."""

from typing import Any

import pytest
import streamlit as st
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.uploaded_file_manager import UploadedFileRec
from streamlit.testing.v1 import AppTest

from skinapp.errors import ModelError
from skinapp.inference import analysis, registry
from skinapp.inference.analysis import Analysis
from skinapp.ui import batch, layout, session_images
from skinapp.ui.admission import BusyError
from tests import dicom
from tests.images.test_dicom import BAD as BAD_DICOM
from tests.pages.test_classify import BAD_FILES, headline, shown, upload, upload_several
from tests.pictures import encode, lesion

PHOTOS = {f"photo-{seed}.jpg": encode(lesion(160, 120, seed=seed)) for seed in range(4)}


pytestmark = pytest.mark.usefixtures("clear_dermoscopy")


@pytest.fixture
def page() -> AppTest:
    return AppTest.from_file(layout.PAGES.parent / "app.py", default_timeout=60).switch_page("pages/classify.py").run()


def text(at: AppTest) -> str:
    return " ".join(element.value for element in (*at.markdown, *at.caption, *at.info, *at.warning))


def cards(at: AppTest) -> list[str]:
    """The names of the files in the grid, in its order."""
    names = [element.value for element in at.markdown]
    return [name.removeprefix(":small[").removesuffix("]").replace("\\", "") for name in names if "photo" in name]


def test_files_get_a_grid_and_bad_ones_are_named_in_it(page: AppTest) -> None:
    bad = {name: BAD_FILES[name] for name in ("text.jpg", "truncated.jpg", "empty.jpg", "paper.pdf")}
    upload_several(page, PHOTOS | bad)
    assert "**8 files**: 4 answered, 4 not read" in text(page)
    for name in (*PHOTOS, *bad):
        assert name in text(page).replace("\\", "")
    for sentence in ("This is a PDF", "damaged or cut short", "The file is empty"):
        assert sentence in text(page)
    assert len(page.image) == len(PHOTOS)
    assert not page.error


def test_a_model_that_fails_is_not_the_fault_of_the_file(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    analyse = analysis.analyse

    def failing(*arguments: Any, **named: Any) -> Analysis:
        if not session_photos(page):
            raise ModelError("This model is broken.")
        return analyse(*arguments, **named)

    monkeypatch.setattr("skinapp.ui.batch.analysis.analyse", failing)
    upload_several(page, PHOTOS)
    assert "**4 files**: 3 answered, 1 not answered" in text(page)
    assert "This model is broken" in text(page)
    assert len(session_photos(page)) == 4


def test_a_hint_on_quality_withholds_nothing(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skinapp.images.quality.problems", lambda *_: ["small"])
    monkeypatch.setattr("skinapp.inference.warnings.predicts_errors", lambda *_: False)
    upload_several(page, PHOTOS)
    assert "**4 files**: 4 answered" in text(page)
    assert "Small" in text(page)


def test_every_card_names_the_model_and_its_doubt(page: AppTest) -> None:
    phone = next(model for model in registry.ranked() if model.modality == "smartphone")
    page.selectbox(key="model").select(phone.id).run()
    upload_several(page, PHOTOS)
    # without patient data, its base answers
    base = registry.model(phone.card["fusion"]["base"]) if "fusion" in phone.card else phone
    assert base.short_name in text(page)
    assert "its scores do not apply here" in text(page)


def test_every_bad_file_is_named_and_stops_nothing(page: AppTest) -> None:
    bad = BAD_FILES | {f"{name}.dcm": content for name, (content, _) in BAD_DICOM.items()}
    # another test covers fifty megabytes
    bad.pop("heavy.bmp")
    upload_several(
        page, {"photo-0.jpg": PHOTOS["photo-0.jpg"], "photo-1.dcm": dicom.compressed(PHOTOS["photo-1.jpg"])} | bad
    )
    said = text(page).replace("\\", "")
    assert f"**{len(bad) + 2} files**: 2 answered, {len(bad)} not read" in said
    for name in bad:
        assert name in said
    assert not page.error
    assert len(session_photos(page)) == 2


def test_images_removed_while_they_are_answered_leave_nothing(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def interrupted(photo: session_images.Photo, *_: object) -> object:
        calls.append(photo)
        if len(calls) == 2:
            # like a click during the run
            st.stop()
        return answered(photo, None)

    monkeypatch.setattr("skinapp.ui.batch._answer", interrupted)
    upload_several(page, PHOTOS)
    assert len(calls) == 2
    page.button(key="remove_all_images").click().run()
    assert not page.exception
    assert not session_photos(page)
    for name in (session_images.PENDING, session_images.ROWS, session_images.FILES):
        assert name not in page.session_state or not page.session_state[name]


def test_answering_resumes_where_it_was_stopped(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def interrupted(photo: session_images.Photo, *_: object) -> object:
        calls.append(photo.key)
        if len(calls) == 2:
            st.stop()
        return answered(photo, None)

    monkeypatch.setattr("skinapp.ui.batch._answer", interrupted)
    upload_several(page, PHOTOS)
    page.run()
    assert "**4 files**: 4 answered" in text(page)
    # the second was classified again, the first was not
    assert len(calls) == 5
    assert calls.count(calls[0]) == 1


def test_files_added_while_others_wait_do_not_replace_them(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    busy = [True]

    def interrupted(photo: session_images.Photo, *_: object) -> object:
        if busy[0]:
            st.stop()
        return answered(photo, None)

    monkeypatch.setattr("skinapp.ui.batch._answer", interrupted)
    names = list(PHOTOS)
    upload_several(page, {name: PHOTOS[name] for name in names[:2]})
    upload_several(page, {name: PHOTOS[name] for name in names[2:]})
    assert len(page.session_state[session_images.PENDING]) == len(PHOTOS)
    busy[0] = False
    page.run()
    assert f"**{len(PHOTOS)} files**: {len(PHOTOS)} answered" in text(page)


def test_one_opens_in_full_and_the_grid_is_there_again(page: AppTest) -> None:
    upload_several(page, PHOTOS)
    [key] = [photo.key for photo in session_photos(page) if photo.data == PHOTOS["photo-2.jpg"]]
    answers = dict(page.session_state[session_images.ROWS])
    page.button(key=f"open_{key}").click().run()
    assert not page.exception
    in_full = headline(page), shown(page)
    page.button(key="all_files").click().run()
    assert "**4 files**" in text(page)
    # nothing was answered twice
    assert all(page.session_state[session_images.ROWS][name] is row for name, row in answers.items())
    alone = AppTest.from_file(layout.PAGES.parent / "app.py", default_timeout=60).switch_page("pages/classify.py").run()
    upload(alone, PHOTOS["photo-2.jpg"])
    assert (headline(alone), shown(alone)) == in_full


def test_going_back_leads_from_one_image_to_the_grid(page: AppTest) -> None:
    upload_several(page, PHOTOS)
    assert "open" not in page.query_params
    third = session_photos(page)[2]
    page.button(key=f"open_{third.key}").click().run()
    answer = headline(page)
    assert page.query_params["open"] == "3"
    # the image stays open while the visitor is on another page, which knows nothing of that parameter
    page.switch_page("pages/guide.py").run()
    page.switch_page("pages/classify.py").run()
    assert headline(page) == answer
    del page.query_params["open"]
    page.run()
    assert "**4 files**" in text(page)
    # and forward
    page.query_params["open"] = "3"
    page.run()
    assert headline(page) == answer
    page.button(key="all_files").click().run()
    assert "**4 files**" in text(page)
    assert "open" not in page.query_params


def test_going_back_to_an_image_that_was_removed_leads_to_the_grid(page: AppTest) -> None:
    upload_several(page, PHOTOS)
    third = session_photos(page)[2]
    page.button(key=f"open_{third.key}").click().run()
    page.button(key="remove_image").click().run()
    assert "open" not in page.query_params
    for number in ("3", "nonsense"):
        page.query_params["open"] = number
        page.run()
        assert not page.exception
        assert "**3 files**" in text(page)


def test_a_busy_server_leaves_no_answers_of_another_model_in_the_grid(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_several(page, PHOTOS)
    answer, calls = batch._answer, []

    def busy(photo: session_images.Photo, *settings: Any) -> batch.Row:
        calls.append(photo)
        if len(calls) > 1:
            raise BusyError(3, 10.0)
        return answer(photo, *settings)

    monkeypatch.setattr(batch, "_answer", busy)
    other = next(model.id for model in registry.ranked() if model.modality == "smartphone")
    page.selectbox(key="model").select(other).run()
    assert not page.exception
    assert "3 not answered" in text(page)
    assert text(page).replace("\\", "").count("Not yet classified with the current settings.") == 3


def session_photos(at: AppTest) -> list[session_images.Photo]:
    return list(at.session_state["images"].values())


def test_the_grid_is_sorted_and_filtered(page: AppTest) -> None:
    upload_several(page, {**dict(reversed(PHOTOS.items())), "photo-bad.jpg": b"no image"})
    assert cards(page)[0] == "photo-3.jpg"
    page.selectbox(key="batch_order").set_value("name").run()
    assert cards(page) == [*sorted(PHOTOS), "photo-bad.jpg"]
    page.selectbox(key="batch_order").set_value("cancer").run()
    rows = page.session_state["batch_rows"]
    ordered = sorted(rows.values(), key=lambda row: -row.cancer[1])
    keys = [button.key.removeprefix("open_") for button in page.button if str(button.key).startswith("open_")]
    assert [rows[key].cancer for key in keys] == [row.cancer for row in ordered if row.thumbnail]
    page.selectbox(key="batch_filter").set_value("Not read").run()
    assert cards(page) == ["photo-bad.jpg"]


def test_the_csv_has_a_row_for_every_file(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = []
    monkeypatch.setattr("skinapp.ui.panel.offer_csv", lambda table, key: saved.append(table))
    upload_several(page, PHOTOS | {"text.jpg": b"no image"})
    table = saved[-1].set_index("file")
    assert list(table.index) == [*PHOTOS, "text.jpg"]
    answered = table.loc[list(PHOTOS)]
    assert (answered[["Cancer", "Pre-cancer", "Harmless"]].sum(axis=1) - 1).abs().max() < 1e-9
    assert set(answered["kind"]) == {"Dermoscopy"}
    assert table.loc["text.jpg", "answer"] == ""
    assert "not a readable image" in table.loc["text.jpg", "note"]


def test_the_same_file_twice_is_answered_once_and_reported(page: AppTest) -> None:
    first, data = next(iter(PHOTOS.items()))
    upload_several(page, {first: data, "copy.jpg": data})
    assert f"The same image as {first}" in text(page).replace("\\", "")
    assert len(page.image) == 1
    assert len(session_photos(page)) == 1


def test_of_51_files_50_are_taken_and_the_oldest_photos_are_dropped(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skinapp.ui.batch._answer", lambda photo, models, chosen: answered(photo, chosen))
    files = {f"photo-{number:02}.jpg": PHOTOS["photo-0.jpg"] + bytes([number]) for number in range(51)}
    upload_several(page, files)
    assert "You added 51 files. At most 50 can be added at once, so only the first 50 were added." in text(page)
    assert "**50 files**: 50 answered" in text(page)
    assert [photo.data for photo in session_photos(page)] == list(files.values())[30:50]
    assert session_images.TOO_MANY in text(page)
    assert text(page).count("add it again to open it") == 30
    # those that cannot be classified again do not keep the answer of another model
    other = next(model.id for model in registry.ranked() if model.modality == "smartphone")
    page.selectbox(key="model").select(other).run()
    assert "**50 files**: 20 answered, 30 not answered" in text(page)
    assert text(page).replace("\\", "").count("and no longer in memory. Add this photo again to classify it.") == 30
    page.selectbox(key="model").select("").run()
    assert "**50 files**: 50 answered" in text(page)


def answered(photo: session_images.Photo, chosen: registry.Model | None) -> object:
    return batch.Row(batch._settings(photo, chosen), PHOTOS["photo-0.jpg"], "", batch.ANSWERED, "mole", "nv", 0.9)


@pytest.mark.slow
def test_the_bytes_of_a_session_are_bounded(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_images, "MAX_BYTES", sum(map(len, PHOTOS.values())) - 1)
    for data in PHOTOS.values():
        upload(page, data)
    assert [photo.data for photo in session_photos(page)] == list(PHOTOS.values())[1:]
    assert session_images.TOO_MANY in text(page)


def test_uploads_beyond_the_limit_are_reported_and_not_stored(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = MemoryUploadedFileManager("/upload")
    monkeypatch.setattr(session_images, "MAX_BYTES", 250)
    for number in range(4):
        manager.add_file("session", UploadedFileRec(str(number), f"{number}.jpg", "image/jpeg", bytes(100)))
    stored = manager.get_files("session", ["0", "1", "2", "3"])
    assert [len(file.data) for file in stored] == [100, 100, 0, 0]
    assert [file.type for file in stored[2:]] == [session_images.NOT_STORED] * 2
    upload_several(page, {"photo-0.jpg": PHOTOS["photo-0.jpg"], "photo-1.jpg": PHOTOS["photo-1.jpg"]})
    assert "the files exceed" in text(page)


def test_the_uploader_frees_files_that_the_session_holds(monkeypatch: pytest.MonkeyPatch, page: AppTest) -> None:
    removed = []
    remove = MemoryUploadedFileManager.remove_file
    monkeypatch.setattr(
        MemoryUploadedFileManager,
        "remove_file",
        lambda self, session, file: (removed.append(file), remove(self, session, file)),
    )
    upload_several(page, PHOTOS)
    assert len(set(removed)) >= len(PHOTOS)
