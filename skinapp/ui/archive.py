"""Pictures from the ISIC archive, if it can be reached, with their licences."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st

from skinapp.datasets import isic
from skinapp.datasets.isic import Example
from skinapp.errors import ImageError
from skinapp.images import imaging, isolated
from skinapp.ui.layout import plain

RETRY_SECONDS = 600
"""How long to wait before requesting the same images from the archive again."""
THUMBNAIL = 320
"""Pixels."""


@dataclass(frozen=True)
class Picture:
    """An image of the archive, and its middle as uint8 [THUMBNAIL, THUMBNAIL, 3]."""

    example: Example
    thumbnail: np.ndarray


@st.cache_data(ttl=RETRY_SECONDS, max_entries=32, show_spinner=False)
def examples(
    address: str, ids: tuple[str, ...] = isic.EXAMPLES, licences: tuple[str, ...] = isic.OPEN_LICENCES
) -> list[Picture]:
    """The images available from the archive at this address; none if it cannot be reached."""
    pictures = []
    for example in isic.examples(ids, licences):
        with contextlib.suppress(ImageError):
            pictures.append(Picture(example, imaging.crop_resize(isolated.decode(example.data), THUMBNAIL)))
    return pictures


def credit(example: Example) -> str:
    """A link to the image in the archive, its attribution and its licence, in Markdown."""
    stated = f"{example.attribution or 'No attribution stated'}, {example.licence}"
    return f"[{example.isic_id}]({isic.page(example.isic_id)}), {plain(stated)}"


def show_lesions(lesions: Sequence[tuple[str, str]], name: str) -> None:
    """Lesions of the diagnosis `name`, each as a dermoscopy image and a close-up, or links to them if the archive
    cannot be reached."""
    kinds = {isic_id: kind for pair in lesions for isic_id, kind in zip(pair, ("Dermoscopy", "Close-up"), strict=True)}
    with st.spinner("Looking for pictures"):
        pictures = examples(isic.address(), tuple(kinds), isic.SHOWN_LICENCES)
    if not pictures:
        links = ", ".join(f"[{isic_id}]({isic.page(isic_id)})" for isic_id in kinds)
        # not st.caption, here and below: its links are too pale to read
        words = f"The pictures are in the ISIC archive, which this app cannot reach at the moment: {links}."
        st.markdown(f":small[{words}]")
        return
    with st.grid(len(pictures), min_column_width=130, gap="small"):
        for picture in pictures:
            with st.container(gap="xsmall"):
                kind = kinds[picture.example.isic_id]
                st.image(picture.thumbnail, kind, width="stretch", alt=f"{kind} of {name}")
                st.markdown(credit(picture.example))
