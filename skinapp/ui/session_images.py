"""The visitor's images: kept only in their session's memory, shared by all pages, and limited in number and size."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import streamlit as st
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import DeletedFile, UploadedFileRec

from skinapp.ui import address

if TYPE_CHECKING:
    from streamlit.typing import UploadedFile

MAX_IMAGES = 20
MAX_BYTES = 200 * 2**20
"""Limit for all images that a session holds, and for all its uploaded files before they are read."""
MAX_FILES = 50
"""The maximum number of files per upload."""

MEGABYTES = f"{MAX_BYTES // 2**20} MB"
TOO_MANY = (
    f"A session holds at most {MAX_IMAGES} images and {MEGABYTES}, so the oldest photos were dropped. Add one again to "
    "open it."
)

OWN = "Your image"
"""The caption of an image that the visitor added."""
NOT_STORED = "application/x-not-stored"
"""The type that marks an uploaded file whose content was dropped because the session's files would exceed MAX_BYTES."""

IMAGES, PENDING, CURRENT, FILES, NOTES = "images", "pending_images", "current_image", "added_files", "image_notes"
ADDITIONS, NUMBERS = "additions", "file_numbers"
COMPARED = "compared over time"
"""Takes the place of the current image while several are compared."""
SECOND = "second_image_"
"""Prefix, before the key of an image, of the other image of the same lesion."""
ROWS = "batch_rows"
"""The results for the images of a batch, by key."""
CACHED = "cached_"
"""Prefix of computed values in the session."""


@dataclass(frozen=True)
class Photo:
    """An image file, not decoded yet. `name` is for downloads, `caption` is Markdown, `key` identifies the image.

    Of a published image: its data set, by its id in the registry ("" if not known), its id there, and its published
    diagnosis in Markdown."""

    key: str
    data: bytes = field(repr=False)
    name: str
    caption: str
    synthetic: bool = False
    dataset: str = ""
    image: str = ""
    diagnosis: str = ""


@dataclass(frozen=True)
class AddedFile:
    """An added file: its name, and the key of its image or the reason why there is none. The `number` is its own for
    as long as the session lasts."""

    name: str = field(repr=False)
    key: str
    problem: str = ""
    number: int = 0


def key_of(data: bytes) -> str:
    """The key of an image: a hash of its content, as two images may have the same name."""
    return hashlib.sha256(data).hexdigest()[:16]


def own(data: bytes) -> Photo:
    """An image of the visitor's, without its name."""
    return Photo(key_of(data), data, "image", OWN)


def held() -> dict[str, Photo]:
    """The images by key, oldest first."""
    return st.session_state.setdefault(IMAGES, {})


def pending() -> dict[str, Photo]:
    """The images of a batch that are not yet classified, and so not yet in `held`, by key, in the order in which they
    were added."""
    return st.session_state.setdefault(PENDING, {})


def current() -> Photo | None:
    """The image that the pages show; None before one is added, or while several are shown side by side."""
    return held().get(st.session_state.get(CURRENT, ""))


def comparing() -> bool:
    """Whether photos of one spot are being compared."""
    return st.session_state.get(CURRENT) == COMPARED and len(held()) > 1


def leave_unless_current(photo: Photo) -> None:
    """In a fragment on this photo: redraw the whole page if a click in it opened another one, or a comparison."""
    if st.session_state.get(CURRENT, "") not in (photo.key, ""):
        st.rerun()


def files() -> list[AddedFile]:
    """The added files, oldest first, at most MAX_FILES; without photos that were dropped before they were
    classified."""
    return st.session_state.setdefault(FILES, [])


def notes() -> list[str]:
    """Messages on the images that were added or dropped last."""
    return st.session_state.get(NOTES, [])


def additions() -> int:
    """The number of times that files were added."""
    return st.session_state.get(ADDITIONS, 0)


def follow_address() -> None:
    """Record in the page's address which of several files is open, by its number, so that going back leads to all of
    them again."""
    states = {str(file.number): file.key for file in files() if file.key in held()}
    states["compared"] = COMPARED
    shown = next((code for code, key in states.items() if key == st.session_state.get(CURRENT)), None)
    after = address.synchronise("open", shown if len(files()) > 1 else None, states)
    if len(files()) > 1 and after != shown:
        show(states.get(after or ""))


def show(key: str | None) -> None:
    """Make an image the current one, or clear the current image."""
    st.session_state[CURRENT] = key or ""


def add(photo: Photo, name: str = "") -> None:
    """Store an image and make it the current one; the oldest are dropped if there are too many. `name` is its file
    name."""
    st.session_state[ADDITIONS] = additions() + 1
    st.session_state[NOTES] = []
    _list([AddedFile(name or photo.name, photo.key)])
    hold(photo)
    show(photo.key)


def add_files(sent: Sequence["UploadedFile | DeletedFile"]) -> None:
    """Take uploaded files, at most MAX_FILES, and free the uploader's copies. A single one is shown at once; several
    are `pending` until each is answered and held."""
    added: list[AddedFile] = []
    photos: dict[str, Photo] = {}
    # the browser may resend the files of an uploader that the page has just replaced
    uploaded = [file for file in sent if not isinstance(file, DeletedFile)]
    if not uploaded:
        return
    for file in uploaded[:MAX_FILES]:
        data = file.getvalue()
        key = key_of(data)
        same = next((one.name for one in added if one.key == key), "")
        if file.type == NOT_STORED:
            added.append(
                AddedFile(file.name, "", f"Not read: together, the files exceed {MEGABYTES}. Add this one again.")
            )
        elif same:
            added.append(AddedFile(file.name, "", f"The same image as {same}."))
        else:
            added.append(AddedFile(file.name, key))
            photos[key] = own(data)
    free_uploads(uploaded)
    if len(uploaded) == 1 and photos:
        [photo] = photos.values()
        add(photo, uploaded[0].name)
        return
    st.session_state[ADDITIONS] = additions() + 1
    _list(added)
    listed = {one.key for one in files()}
    st.session_state[PENDING] = {key: photo for key, photo in (pending() | photos).items() if key in listed}
    st.session_state[NOTES] = []
    if len(uploaded) > MAX_FILES:
        st.session_state[NOTES] = [
            f"You added {len(uploaded)} files. At most {MAX_FILES} can be added at once, so only the first "
            f"{MAX_FILES} were added."
        ]
    show(None)
    _make_room()


def hold(photo: Photo) -> None:
    """Store an image as the latest; if there are too many, the oldest are dropped, and the visitor is told."""
    pending().pop(photo.key, None)
    held().pop(photo.key, None)
    held()[photo.key] = photo
    _make_room()


def second(photo: Photo) -> Photo | None:
    """The other image of the same lesion, if the visitor added it."""
    return st.session_state.get(SECOND + photo.key)


def add_second(photo: Photo, file: "UploadedFile", name: str) -> None:
    """Keep the other image of the same lesion for as long as the first, under this name, and free the uploader's
    copy."""
    data = file.getvalue()
    free_uploads([file])
    st.session_state[SECOND + photo.key] = Photo(key_of(data), data, name, "Your second image")
    # as the latest, so that others make room for the two
    hold(photo)


def remove_second(photo: Photo) -> None:
    """Forget the other image of the same lesion, and everything that was computed from it."""
    st.session_state.pop(SECOND + photo.key, None)
    forget_computed()


def discard(key: str) -> None:
    """Free the bytes of a file that is not an image."""
    pending().pop(key, None)
    held().pop(key, None)


def remove(key: str) -> None:
    """Forget an image, its square, and everything that was computed from it."""
    discard(key)
    st.session_state[FILES] = [one for one in files() if one.key != key]
    st.session_state.get(ROWS, {}).pop(key, None)
    _forget_widgets(key)
    if st.session_state.get(CURRENT) == key:
        show(None)
    forget_computed()


def remove_all() -> None:
    """Forget every image."""
    for key in list(held()):
        remove(key)
    forget_computed()
    for name in (PENDING, CURRENT, FILES, NOTES, ROWS):
        st.session_state.pop(name, None)


def forget_computed() -> None:
    """Free the decoded image and everything that was computed from it."""
    for name in list(st.session_state):
        if str(name).startswith(CACHED):
            st.session_state.pop(name, None)


def free_uploads(uploaded: Sequence["UploadedFile"]) -> None:
    """Free the copies that Streamlit's uploader holds of these files."""
    context = get_script_run_ctx()
    if context and isinstance(context.uploaded_file_mgr, MemoryUploadedFileManager):
        for file in uploaded:
            context.uploaded_file_mgr.remove_file(context.session_id, file.file_id)


def limit_uploads() -> None:
    """Limit the uploaded bytes that the server holds for a session: a file beyond MAX_BYTES is marked NOT_STORED."""
    if getattr(MemoryUploadedFileManager.add_file, "bounded", False):
        return
    add_file = MemoryUploadedFileManager.add_file

    def bounded(self: MemoryUploadedFileManager, session_id: str, file: UploadedFileRec) -> None:
        total = sum(len(one.data) for one in list(self.file_storage.get(session_id, {}).values()))
        if total + len(file.data) > MAX_BYTES:
            file = file._replace(data=b"", type=NOT_STORED)
        add_file(self, session_id, file)

    bounded.bounded = True  # type: ignore[attr-defined]
    MemoryUploadedFileManager.add_file = bounded  # type: ignore[method-assign]


def _make_room() -> None:
    """Drop the oldest images until the session is within its limits."""
    images, waiting = held(), pending()
    while len(images) > MAX_IMAGES or (len(images) > (not waiting) and _size() > MAX_BYTES):
        _drop(images)
    while len(waiting) > 1 and _size() > MAX_BYTES:
        _drop(waiting)


def _drop(images: dict[str, Photo]) -> None:
    """Drop the oldest of these images, and tell the visitor."""
    oldest = next(iter(images))
    del images[oldest]
    _forget_widgets(oldest)
    if oldest not in st.session_state.get(ROWS, {}):
        st.session_state[FILES] = [one for one in files() if one.key != oldest]
    if TOO_MANY not in notes():
        st.session_state[NOTES] = [*notes(), TOO_MANY]


def _list(added: Sequence[AddedFile]) -> None:
    """Add to `files`; an image that is already listed moves to the end."""
    again = {one.key for one in added if one.key}
    numbered = []
    for one in added:
        number = st.session_state[NUMBERS] = st.session_state.get(NUMBERS, 0) + 1
        numbered.append(replace(one, number=number))
    st.session_state[FILES] = [*(one for one in files() if one.key not in again), *numbered][-MAX_FILES:]


def _size() -> int:
    seconds = [image for image in map(second, held().values()) if image]
    return sum(len(image.data) for image in (*held().values(), *pending().values(), *seconds))


def _forget_widgets(key: str) -> None:
    for name in list(st.session_state):
        if re.search(rf"_{re.escape(key)}(_|$)", str(name)):
            st.session_state.pop(name, None)
