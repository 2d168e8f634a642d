"""Ways to add an image. A visitor's images stay in their session's memory."""

from typing import NoReturn

import numpy as np
import streamlit as st

from skinapp.datasets import isic
from skinapp.datasets.isic import Example
from skinapp.errors import SkinappError
from skinapp.images import synthetic
from skinapp.ui import archive, session_images
from skinapp.ui import photo as photos
from skinapp.ui.archive import Picture
from skinapp.ui.layout import path, plain
from skinapp.ui.session_images import Photo

SOURCES = {
    "upload": ":material/upload: Upload",
    "camera": ":material/photo_camera: Camera",
    "sample": ":material/image: Example",
}
SUGGESTED_ISIC_ID = "ISIC_0030623"
"""An image of the test split: the bundled HAM10000 models have never seen it or its lesion."""
DRAWING_WANTED = "drawing_wanted"


def choose() -> None:
    """Show the ways to add an image; an added image appears in the next run."""
    source = st.segmented_control(
        "Image source",
        list(SOURCES),
        format_func=SOURCES.__getitem__,
        default="upload",
        required=True,
        key="photo_source",
        label_visibility="collapsed",
        on_change=_want_drawing,
    )
    if source == "sample":
        _offer_samples()
    elif source == "camera":
        # the browser asks for the camera only at this point
        key = "photo_camera"
        st.camera_input(
            "Hold the camera close and steady", key=key, resolution="1080p", on_change=_take_picture, args=(key,)
        )
    else:
        # a new key empties the widget: the session keeps its files, within limits. The file types are not restricted:
        # the widget would reject a PDF without giving a reason, while `imaging.decode` says what to do
        key = f"photo_upload_{session_images.additions()}"
        st.file_uploader(
            f"Up to {session_images.MAX_FILES} images: JPEG, PNG, WebP, BMP, TIFF, GIF, HEIC or DICOM",
            accept_multiple_files=True,
            key=key,
            on_change=take_files,
            args=(key,),
            help="Dermoscopy images, or close-up phone photos that show the whole lesion. They stay in this session's "
            "memory and are never stored.",
        )


def take_files(key: str) -> None:
    """Add the files of the uploader with this key."""
    if uploaded := st.session_state.get(key):
        session_images.add_files(uploaded if isinstance(uploaded, list) else [uploaded])


def send(photo: Photo, page: str = "classify") -> NoReturn:
    """Go to the classify page, or another, with this image."""
    session_images.add(photo)
    # otherwise the query parameters of this page's widgets would be carried over
    st.switch_page(path(page), query_params={})


def fetch(isic_id: str) -> None:
    """Make this image of the ISIC archive the current one. SkinappError if it cannot be fetched."""
    with st.spinner("Fetching from the ISIC archive"):
        session_images.add(_from_archive(isic.fetch(isic_id)))


def published(name: str, data: bytes, caption: str, dataset: str, diagnosis: str) -> Photo:
    """The image `name` of a public data set, with its published diagnosis. `caption` and `diagnosis` are plain text."""
    return Photo(
        session_images.key_of(data),
        data,
        name.replace("/", "-"),
        plain(caption),
        dataset=dataset,
        image=name,
        diagnosis=plain(diagnosis),
    )


def _take_picture(key: str) -> None:
    if taken := st.session_state.get(key):
        session_images.add_files([taken])
        # turn the camera off again
        st.session_state["photo_source"] = "upload"


def _want_drawing() -> None:
    st.session_state[DRAWING_WANTED] = st.session_state.get("photo_source") == "sample"


def _draw() -> None:
    seed = st.session_state["drawing"] = st.session_state.get("drawing", -1) + 1
    session_images.add(_drawing(seed))


def _offer_samples() -> None:
    with st.spinner("Looking for examples"):
        examples = archive.examples(isic.address())
    if examples:
        _offer_examples(examples)
    else:
        # only after a click, so that it never replaces an existing image
        if st.session_state.pop(DRAWING_WANTED, False):
            session_images.add(_drawing(st.session_state.setdefault("drawing", 0)))
            st.rerun()
        st.markdown("**A drawing**")
        st.caption("A computer-generated lesion. It shows no real person; use it only to try the app.")
        st.button("Draw another lesion", icon=":material/refresh:", key="draw", on_click=_draw)
    with st.expander("Find an image in the ISIC archive by its id", icon=":material/tag:", expanded=not examples):
        _offer_archive()


def _offer_examples(examples: list[Picture]) -> None:
    st.markdown("**Examples from the ISIC archive**")
    with st.grid(len(examples), min_column_width=120, gap="small"):
        for picture in examples:
            example = picture.example
            with st.container(gap="xsmall"):
                st.image(
                    picture.thumbnail, width="stretch", alt=f"Example, {example.diagnosis or 'no diagnosis stated'}"
                )
                st.button(
                    example.diagnosis or "Open",
                    key=f"example_{example.isic_id}",
                    on_click=session_images.add,
                    args=(_from_archive(example),),
                    width="stretch",
                )
                st.caption(archive.credit(example))


def _offer_archive() -> None:
    with st.form("isic", border=False), st.container(horizontal=True, vertical_alignment="bottom"):
        isic_id = st.text_input(
            "ISIC id",
            SUGGESTED_ISIC_ID,
            key="isic_id",
            max_chars=20,
            help="A public dermoscopy image, fetched from the internet with its licence. The suggested image was not "
            "used for training. Other HAM10000 images may have been.",
        )
        wanted = st.form_submit_button("Fetch", icon=":material/download:")
    if wanted:
        try:
            fetch(isic_id)
        except SkinappError as error:
            st.error(str(error))
        else:
            st.rerun()


def _drawing(seed: int) -> Photo:
    name = f"drawing-{seed + 1}"
    return Photo(
        name,
        photos.png(np.asarray(synthetic.draw(seed))),
        name,
        f"Drawing {seed + 1}, computer-generated. Not a photo of skin.",
        True,
    )


def _from_archive(example: Example) -> Photo:
    facts = [
        f"{example.isic_id} from the ISIC archive",
        f"Licence: {example.licence or 'not stated'}",
        f"Attribution: {example.attribution or 'not stated'}",
    ]
    dataset = isic.dataset_of(example.isic_id)
    return published(example.isic_id, example.data, ". ".join(facts) + ".", dataset, example.diagnosis or "not stated")
