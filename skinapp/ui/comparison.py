"""What is compared: the choice of images, question and models, a visitor's own predictions, and what is computed once.

The page's address holds the choices, as codes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import streamlit as st

from skinapp.datasets.registry import DATASETS
from skinapp.errors import DataError
from skinapp.evaluation import comparison, measures, predictions
from skinapp.evaluation.comparison import CLASSES, MALIGNANT, QUESTIONS, Shared
from skinapp.evaluation.measures import Draws
from skinapp.evaluation.predictions import Predictions
from skinapp.inference import registry
from skinapp.report.comparison_views import Names
from skinapp.ui import address
from skinapp.ui.layout import plain

OWN = "own"
"""The id of what a visitor uploaded."""

NAMES = {OWN: "Your predictions"}
"""Models are called by their id, but for this one."""

OLD_DATASETS = {"Malignant vs. benign (Kaggle)": "malignant_benign"}
"""Old labels in shared links."""

T = TypeVar("T")


@dataclass(frozen=True)
class Choice:
    """The models to compare, on the test images of one data set, by one question."""

    models: list[Predictions]
    question: str
    dataset: str


def choose_own(known: dict[str, Predictions]) -> Predictions | None:
    """The visitor's own file; labels and lesions are filled in from the models here. It stays in the session."""
    with st.expander("Compare your own predictions", icon=":material/upload_file:", key="own_file"):
        st.markdown(
            "A CSV file with the column `image` and a probability for each class, `p_<label>`; or the seven columns of "
            "the ISIC challenge, `image,MEL,NV,BCC,AKIEC,BKL,DF,VASC`. Use the image ids of the test sets here; labels "
            "and lesions are filled in from them. The file stays in this session's memory and is never stored."
        )
        file = st.file_uploader("Predictions file", type="csv", key="own_predictions")
        key, own = st.session_state.get("compare_own_file", (None, None))
        if file is None or key != file.file_id:
            st.session_state.pop("compare_own", None)
            st.session_state.pop("compare_own_file", None)
        if file is None:
            return None
        if key != file.file_id:
            try:
                own = predictions.own(file.getvalue(), OWN, NAMES[OWN], list(known.values()))
            except DataError as error:
                st.error(plain(str(error)))
                return None
            st.session_state["compare_own_file"] = (file.file_id, own)
        st.caption(f"{len(own.table):,} of the file's images are test images here. Label set: {own.labels.id}.")
        return own


def choose(known: dict[str, Predictions]) -> Choice:
    """The data set, the question, and any of the models that have predictions for both."""
    order = list(dict.fromkeys([*(model.id for model in registry.ranked() if model.id in known), *known]))
    datasets = list(dict.fromkeys(dataset for name in order for dataset in known[name].datasets))
    left, right = st.columns([3, 2], gap="medium")
    dataset = address.selectbox(
        left,
        "Test images",
        {name: DATASETS[name].title if name in DATASETS else name for name in datasets},
        "test",
        old_labels=OLD_DATASETS,
        on_change=_choose_all,
    )
    there = {name: known[name] for name in order if dataset in known[name].datasets}
    richest = next((model.labels for model in there.values() if len(model.labels.codes) > 2), None)
    questions = [CLASSES, MALIGNANT] if richest else [MALIGNANT]
    question = address.segmented_control(
        right,
        "Question",
        {code: QUESTIONS[code] for code in questions},
        "question",
        on_change=_choose_all,
        help="Models with different classes can be compared by the total probability of their malignant classes.",
    )
    if question == CLASSES:
        there = {name: model for name, model in there.items() if model.labels == richest}
    chosen = address.multiselect(
        st.container(),
        "Models",
        {name: NAMES.get(name, name) for name in there},
        "models",
        placeholder="Choose at least one model",
    )
    return Choice([there[name] for name in chosen if name in there], question, dataset)


def _choose_all() -> None:
    """Different images or a different question have different models: start with all of them."""
    address.forget("models")


def choose_pair(shared: Shared, names: Names) -> list[str]:
    """The two models to compare in detail, or the only one."""
    if len(shared.ids) == 1:
        return shared.ids
    left, right = st.columns(2, gap="medium")
    first = address.selectbox(left, "Model A", names, "a")
    second = address.selectbox(right, "Model B", {name: names[name] for name in shared.ids if name != first}, "b")
    return [first, second]


def names_of(shared: Shared) -> Names:
    return {name: NAMES.get(name, name) for name in shared.ids}


def weights_of(shared: Shared) -> np.ndarray:
    """The resamples that every interval is computed from."""
    return computed_once(shared, "weights", shared.weights)


def draws_of(shared: Shared) -> Draws:
    """Every score of every model on every resample."""
    return computed_once(shared, "draws", lambda: measures.draw(shared, weights_of(shared)))


def computed_once(shared: Shared, name: str, compute: Callable[[], T]) -> T:
    """What `compute` gives for these files, computed once: for everyone or, with a visitor's own, in their session."""
    if OWN not in shared.ids:
        return _for_everyone((shared.digest, name), compute)
    cached = st.session_state.setdefault("compare_own", {})
    if (shared.digest, name) not in cached:
        cached[shared.digest, name] = compute()
    return cached[shared.digest, name]


@st.cache_resource(max_entries=64, show_spinner=False)
def _for_everyone(key: tuple[str, ...], _compute: Callable[[], Any]) -> Any:
    return _compute()


def share(choice: Choice) -> Shared:
    """The images that all chosen models have predictions for; DataError where they cannot be compared."""
    return comparison.share(choice.models, choice.question, choice.dataset)
