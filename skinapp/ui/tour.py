"""A tour of the pages, off until a visitor starts it: a note on each page on what to look at, with a link to the next.

It follows the classic tutorial on skin lesions, which docs/tutorial.md goes through with 300 images.
"""

import contextlib

import streamlit as st

from skinapp.errors import DataError
from skinapp.evaluation import studies

STEPS = {
    "home": "**A tour in seven steps, about twenty minutes.** It follows a typical tutorial on skin lesions: look at "
    "the data, run a model, compare models, look at the maps. Along the way, you meet a common mistake and learn to "
    "spot it. The menu works as usual, and these notes stay until you end the tour.",
    "explore": "**Look at the data first.** “Images per lesion” shows that many lesions were photographed more than "
    "once. If images are split at random, a model is tested on lesions that it saw in training. Then open "
    "“Confirmation” and “Limits”: what else can go wrong?",
    "classify": "**Run a model.** Add an image, or choose “Example”. Read past the first line: how likely the "
    "other classes are, what answers like this meant for test images, and where the model looked.",
    "compare": "**Compare, with intervals.** “Published”, then “Same network, two tests”, shows one network scored "
    "twice: on lesions that it had never seen, and the way many tutorials do it. See which score looks better, and "
    "which one to believe. Then open “Two models”: if the interval of a difference includes zero, the difference may "
    "be chance.",
    "attention": "**Look at the maps.** Add an image if you have not, then try another class and another method. A map "
    "shows where the evidence for a class is. It does not show that the answer is right, or that the model was tested "
    "well; the sanity check says whether the map is worth reading at all.",
    "models": "**Read the card.** It says which data a model was trained on, how the test images were kept separate, "
    "how good it is, with intervals, and what it is not for. Look for the same in any paper.",
    "guide": "**Know what the words mean.** Every diagnosis in plain words, and when to see a doctor. This was the "
    "last step. To split, train and compare models yourself on 300 images, run `python -m train tutorial`; "
    "`docs/tutorial.md` explains what it does.",
}
"""The pages in the order of the tour, and the note on each."""

RUNNING = "tour"
"""The key in the session that says whether the tour is on."""


def running() -> bool:
    return bool(st.session_state.get(RUNNING))


def start() -> None:
    """In a callback: show the notes from now on."""
    st.session_state[RUNNING] = True


def end() -> None:
    """In a callback: show no more notes."""
    st.session_state.pop(RUNNING, None)


def tutorial_figures() -> str:
    """What the tutorial measured on its 300 images, in two sentences. DataError if its table cannot be read."""
    table = studies.read(studies.TUTORIAL).set_index("score")
    at_random, by_lesion, difference = table.loc["accuracy"]
    seen, seen_by_lesion, _ = table.loc["test images of a lesion in training"]
    return (
        f"In the tutorial, with the images split at random, {seen} test images show a lesion that is also in training, "
        f"and the accuracy is {at_random} (95% interval in brackets). Split by lesion, the number is {seen_by_lesion} "
        f"and the accuracy {by_lesion}: a difference of {difference}. The other scores are under “Published”, then "
        "“Studies”."
    )


def show(page: str, titles: dict[str, str]) -> str | None:
    """The note of a page, with its buttons; returns the page to open next once the visitor asks for it.

    `titles` are the titles of the pages by name.
    """
    pages = list(STEPS)
    number = pages.index(page)
    following = pages[number + 1] if number + 1 < len(pages) else None
    with st.container(border=True, key="tour", gap="small"):
        st.caption(f":material/tour: Tour, step {number + 1} of {len(pages)}")
        st.markdown(STEPS[page])
        if page == "compare":
            with contextlib.suppress(DataError):
                st.markdown(tutorial_figures())
        with st.container(horizontal=True, gap="small"):
            requested = following is not None and st.button(
                f"Next: {titles[following]}", type="primary", icon=":material/arrow_forward:", key="tour_next"
            )
            st.button("End the tour", icon=":material/close:", key="tour_end", on_click=end)
    return following if requested else None
