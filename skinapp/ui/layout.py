"""The elements shared by all pages: layout, navigation and disclaimer."""

import functools
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st
from PIL import Image, ImageDraw
from starlette.formparsers import MultiPartParser

from skinapp.errors import DataError
from skinapp.images import imaging, isolated
from skinapp.labels import guide
from skinapp.ui import address, session_cleanup, session_images, sign_in, tour

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator
    from streamlit.navigation.page import Page

NAME = "Skin lesion bench"
DISCLAIMER = "For research and learning. This is not a diagnosis."
NO_MODELS = "There is no model here yet. Put a model folder into `models`, then reload this page."
WIDTH = 1080
"""Width of the page column, in pixels; narrower screens use their full width."""

STYLE = """<style>
[data-testid="stMultiSelectTagsContainer"] span[tabindex], [data-testid^="stBaseButton-primary"] {
  color: light-dark(white, black); }
:focus-visible:not(input, textarea), label:has(input:is([type="checkbox"], [type="radio"]):focus-visible),
:has(> * > input[type="range"]:focus-visible) {
  outline: 2px solid light-dark(black, white) !important; outline-offset: -2px; }
[data-testid="stPlotlyChart"] :is(.xtick text, .ytick text, .xtitle, .ytitle, .legendtext, .annotation-text,
  .bartext-outside) { fill: currentColor !important; }
[data-testid="stPlotlyChart"] path:is(.box, .mean) { stroke: currentColor !important; }
[data-testid="stMain"] { overflow-anchor: none; }
[data-testid="stBottomBlockContainer"] { padding-block: 0.75rem; }
@media (hover: none) { [data-testid="stElementContainer"]:has([data-testid="stDataFrame"])
  [data-testid="stElementToolbar"] { display: none; } }
</style>"""
"""CSS that the theme cannot express. Streamlit writes in white on the accent colour, which has to be light enough to be
readable as text on a dark page; it draws focus rings in a half-transparent accent, too pale to see; and when the system
turns dark, the texts and boxes of a chart that is on the page would stay black. Without the line on scrolling, an image
opened from the grid would be shown from its end; and on a touch screen, a table's toolbar would lie over the tabs."""

MENU = {
    "home": ("Home", "home", "What this app is, and who it is for."),
    "classify": ("Classify", "image_search", "Add an image to see the probability of every class."),
    "attention": ("Attention", "visibility", "Where a model looked: any class, by many methods, with sanity checks."),
    "explore": ("Explore", "groups", "Who is in the data sets: age, sex, site, diagnosis, and what is missing."),
    "compare": ("Compare", "balance", "Which model is better, how sure we are, and what an operating point costs."),
    "guide": ("Guide", "menu_book", "When to see a doctor, every diagnosis in plain words, and advice about the sun."),
    "models": (
        "Models",
        "deployed_code",
        "What each model is good and bad at, and its card: data, scores, limits, layers.",
    ),
}
"""The pages by file name: title, icon, and what they are for."""

PAGES = Path(__file__).parents[2] / "pages"

# By default, the server would write any upload over 1 MB to a temporary file; no visitor's data may reach the disk.
MultiPartParser.spool_max_size = imaging.MAX_BYTES + 2**20
session_images.limit_uploads()
# in the background, so that the first image does not wait for it
threading.Thread(target=isolated.start, daemon=True).start()
session_cleanup.install()


def configure(title: str = NAME) -> None:
    """Set the browser's title and the layout; a later call only changes the title."""
    st.set_page_config(page_title=title if title == NAME else f"{title} · {NAME}", page_icon=_icon(), layout="wide")


def navigation() -> "Page":
    """The requested page, ready to run. `page` shows the menu: Streamlit's own has no labels on a phone."""
    st.session_state["routed"] = True
    return st.navigation(
        [
            st.Page(path(name), title=title, icon=f":material/{icon}:", default=name == "home")
            for name, (title, icon, _) in MENU.items()
        ],
        position="hidden",
    )


def show_menu() -> None:
    """Every page by name: one row, two on a phone."""
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", key="menu"):
        for name, (title, _, words) in MENU.items():
            choices = address.last_choices(title)
            st.page_link(path(name), label=title, help=words, width="content", query_params=choices or None)
        sign_in.offer_sign_out()


def show_tour(title: str) -> None:
    """The note of the tour on the page with that title, while the tour is on."""
    if not tour.running():
        return
    titles = {name: shown for name, (shown, _, _) in MENU.items()}
    following = tour.show(next(name for name, shown in titles.items() if shown == title), titles)
    if following:
        st.switch_page(path(following), query_params=address.last_choices(titles[following]) or None)


def show_image_chip() -> None:
    """The images of the session, with the way to their answers and a button that removes them; nothing without any."""
    several = len(session_images.files())
    photo = session_images.current()
    # without them, the link would lead from one of several files to all of them
    choices = address.last_choices(MENU["classify"][0]) or None
    if photo is not None:
        st.page_link(
            path("classify"), label="Your image", icon=":material/image:", width="content", query_params=choices
        )
        st.button(
            "Remove", icon=":material/close:", key="remove_image", on_click=session_images.remove, args=(photo.key,)
        )
    elif several:
        st.page_link(
            path("classify"),
            label="Your images",
            icon=":material/photo_library:",
            width="content",
            query_params=choices,
        )
        st.button("Remove all", icon=":material/close:", key="remove_all_images", on_click=session_images.remove_all)


def path(page: str) -> Path:
    """The file of a page, for `st.page_link` and `st.switch_page`; it does not depend on the entry point."""
    return PAGES / f"{page}.py"


def guide_link(code: str, name: str) -> None:
    """A link from the name of a class to its entry in the guide; only the name if the guide has no such class."""
    try:
        query = {"class": guide.entry(code).codes[0]}
    except DataError:
        # a class described by an adopted model
        st.markdown(name)
        return
    st.page_link(path("guide"), label=name, icon=":material/menu_book:", query_params=query)


def guide_links(names: Mapping[str, str]) -> None:
    """Links from classes, code to name, to their entries in the guide, in an expander."""
    with (
        st.expander("What these diagnoses are", icon=":material/menu_book:", key="guide_links"),
        st.container(horizontal=True, gap="small"),
    ):
        for code, name in names.items():
            guide_link(code, name)


def page(title: str, *, chip: bool = True) -> "DeltaGenerator":
    """The first call of every page: its layout, to be used as `with layout.page("Classify"):`. The `chip` of the
    visitor's image is below the menu, unless the page shows it itself. If sign-in is required, nothing else runs before
    it.

    If the first request to a new server is for a page, Streamlit runs that page without `app.py`; the navigation is
    then set up here and the run restarted, so that the page looks and behaves as usual.
    """
    configure(title)
    if not st.session_state.get("routed"):
        navigation()
        st.rerun()
    st.html(STYLE)
    address.start_run(title)
    if title == MENU["classify"][0]:
        # before the menu, whose links have the same parameters
        session_images.follow_address()
    st.bottom.markdown(f":small[:material/info: {DISCLAIMER}]", text_alignment="center")
    column = st.container(horizontal_alignment="center").container(width=WIDTH)
    with column:
        if sign_in.required():
            sign_in.ask()
            st.stop()
        show_menu()
        show_tour(title)
        if chip and (session_images.current() or session_images.files()):
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                show_image_chip()
    return column


def plain(text: str) -> str:
    """Untrusted text, escaped so that Streamlit's Markdown shows it literally."""
    return re.sub(r"([\\`*_{}\[\]()<>#+\-.!|~$:])", r"\\\1", " ".join(text.split()))


@functools.cache
def _icon() -> Image.Image:
    """A spot under a lens. Drawn here, because the browser would fetch a named icon from a third-party site."""
    large = Image.new("RGBA", (256, 256))
    pen = ImageDraw.Draw(large)
    pen.rounded_rectangle((0, 0, 255, 255), 56, fill="#1D6B68")
    pen.ellipse((40, 40, 216, 216), fill="#F3D9C4")
    pen.ellipse((84, 92, 160, 172), fill="#6B4434")
    return large.resize((64, 64), Image.Resampling.LANCZOS)
