"""The choices of a comparison: the question, the models, a visitor's own predictions; and cached results.

The page's address holds the choices, as codes.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from skinapp.datasets import registry as data_sets
from skinapp.errors import DataError
from skinapp.evaluation import comparison, external, measures, predictions
from skinapp.evaluation.comparison import CLASSES, MALIGNANT, Shared, Target
from skinapp.evaluation.external import Result
from skinapp.evaluation.measures import Draws
from skinapp.evaluation.predictions import Predictions
from skinapp.formatting import joined
from skinapp.inference import registry
from skinapp.labels.sets import MALIGNANCY
from skinapp.report.comparison_views import Names
from skinapp.ui import address, session_images
from skinapp.ui.layout import plain

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

OWN = "own"
"""The id of a visitor's uploaded predictions."""
OWN_NAME = "Your predictions"
OWN_FILE, COMPUTED_FROM_OWN = "compare_own_file", "compare_own"
"""In the session: the name and content of the uploaded file, and what was computed from it."""

OLD_DATASETS = {"Malignant vs. benign (Kaggle)": "malignant_benign"}
"""Old labels in shared links."""
OLD_MALIGNANT = ("malignancy", "malignant or not", "all", "all malignant classes", "the malignant classes together")
"""The terms of old links for everything that counts as malignant, in lower case."""

SOON = 0.3
"""Seconds after which a progress bar is shown."""

T = TypeVar("T")


@dataclass(frozen=True)
class Choice:
    """The models to compare, those of the `pair` first, on the test images of one data set, for one target."""

    models: list[Predictions]
    pair: list[str]
    question: str
    dataset: str
    target: Target


def choose_own(known: dict[str, Predictions]) -> Predictions | None:
    """The visitor's own file; labels and lesions are filled in from the models here. It stays in the session."""
    if OWN_FILE not in st.session_state:
        _add_own(known)
        return None
    name, own = st.session_state[OWN_FILE]
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"**{plain(name)}**, in this session's memory only")
        st.button("Remove", icon=":material/close:", key="remove_own_predictions", on_click=_forget_own)
    st.caption(f"Test images found in the file: {len(own.table):,}. Label set: {own.labels.id}.")
    return own


def _add_own(known: dict[str, Predictions]) -> None:
    """Show the uploader, and read the file."""
    st.markdown(
        "A CSV file with the column `image` and a probability for each class, `p_<label>`; or the seven columns of "
        "the ISIC challenge, `image,MEL,NV,BCC,AKIEC,BKL,DF,VASC`. Use the image ids of the test sets here; labels "
        "and lesions are filled in from them. The file stays in this session's memory and is never stored."
    )
    file = st.file_uploader("Your own predictions", type="csv", key="own_predictions")
    if file is None:
        return
    try:
        own = predictions.own(file.getvalue(), OWN, OWN_NAME, list(known.values()))
    except DataError as error:
        st.error(plain(str(error)))
        return
    session_images.free_uploads([file])
    st.session_state[OWN_FILE] = (file.name, own)
    # compare it right away, on its own test images
    st.session_state["b"] = OWN
    st.session_state["test"] = own.datasets[0]
    st.rerun()


def _forget_own() -> None:
    for key in (OWN_FILE, COMPUTED_FROM_OWN):
        st.session_state.pop(key, None)


def choose(known: dict[str, Predictions], where: "DeltaGenerator", more: "DeltaGenerator") -> Choice:
    """Choose the target and two models; in the container `where` the test images, in `more` any further models."""
    order = list(dict.fromkeys([*(model.id for model in registry.ranked() if model.id in known), *known]))
    datasets = list(dict.fromkeys(dataset for name in order for dataset in known[name].datasets))
    dataset = address.selectbox(
        where,
        "Test images",
        {name: data_sets.title(name) for name in datasets},
        "test",
        old_labels=OLD_DATASETS,
    )
    there = {name: known[name] for name in order if dataset in known[name].datasets}
    richest = next((one.labels for one in there.values() if len(one.labels.codes) > 2), None)
    labels = richest or next(iter(there.values())).labels
    wanted = comparison.targets(labels, dataset)
    malignant = comparison.malignant_target(labels, dataset)
    _translate(there, wanted, malignant)
    left, middle, right = st.columns([2, 3, 3], gap="medium")
    chosen = address.selectbox(left, "Detect", {target.id: target.name for target in wanted.values()}, "target")

    able = {name: one for name, one in there.items() if one.labels == labels or chosen == malignant.id}
    names = names_of(there)
    _say_who_is_left_out(there, able, names, wanted[chosen], malignant)
    first = address.selectbox(middle, "Model A", {name: names[name] for name in able}, "a")
    pair = [first]
    if others := {name: names[name] for name in able if name != first}:
        pair.append(address.selectbox(right, "Model B", others, "b"))
    further = {name: names[name] for name in able if name not in pair}
    also = []
    if further:
        with address.several("also", further):
            also = more.multiselect(
                "More models",
                list(further),
                format_func=lambda name: further.get(name, name),
                key="also",
                placeholder="None",
                help="They are added to the scores, the tests and the operating point.",
            )
    models = [able[name] for name in [*pair, *also]]
    question = CLASSES if CLASSES in comparison.questions(models) else MALIGNANT
    target = wanted[chosen]
    if chosen == malignant.id:
        # other label sets have other codes for it
        target = comparison.malignant_target(models[0].labels if question == CLASSES else MALIGNANCY, dataset)
    return Choice(models, pair, question, dataset, target)


def _translate(there: Mapping[str, Predictions], wanted: Mapping[str, Target], malignant: Target) -> None:
    """Translate parameters that only links from older versions have: the list of all models, the question of classes or
    malignancy, the class of the curves, and a threshold without the choice to set one."""
    query = st.query_params
    if listed := [name for name in query.get_all("models") if name in there]:
        pair = [query["a"] if query.get("a") in listed else listed[0]]
        rest = [name for name in listed if name != pair[0]]
        if rest:
            pair.append(query["b"] if query.get("b") in rest else rest[0])
        for key, name in zip(("a", "b"), pair, strict=False):
            query[key] = name
        query["also"] = [name for name in rest if name not in pair]
    old = query.get("curves_of", query.get("question", "")).lower()
    if old in OLD_MALIGNANT:
        query["target"] = malignant.id
    elif known := [target.id for target in wanted.values() if old in (target.id.lower(), target.name.lower())]:
        query["target"] = known[0]
    if "threshold" in query and "by" not in query and "by" not in st.session_state:
        query["by"] = "threshold"
    for key in ("models", "question", "curves_of"):
        query.pop(key, None)


def _say_who_is_left_out(
    there: Mapping[str, Predictions],
    able: Mapping[str, Predictions],
    names: Names,
    target: Target,
    malignant: Target,
) -> None:
    """A sentence on every chosen model that cannot detect the target but can answer another question."""
    state, query = st.session_state, st.query_params
    chosen = [state.get(key, query.get(key)) for key in ("a", "b")] + query.get_all("also")
    for name in dict.fromkeys(chosen):
        if name in there and name not in able:
            st.warning(
                f"{plain(names[name])} has no class for {plain(target.spoken)}, so it is left out. To compare it, "
                f"choose “{malignant.name}” under “Detect”."
            )


def not_trained_on(shared: Shared, known: Mapping[str, Predictions]) -> str:
    """The end of a sentence about the shared images: whether the models were trained on them."""
    names = names_of(known)
    unknown = []
    for name in shared.ids:
        model = known[name].model
        if model is None:
            unknown.append("the model behind your predictions")
        elif "adopted" in model.card:
            unknown.append(names[name])
    if not unknown:
        return ", and that none was trained on"
    return f"; it is not known whether {joined(unknown)} {'were' if len(unknown) > 1 else 'was'} trained on them"


def names_of(models: Mapping[str, Predictions]) -> Names:
    """Display names of models: their short names, with the id if two have the same."""
    short = {name: one.model.short_name if one.model else one.title for name, one in models.items()}
    count = Counter(short.values())
    return {name: words if count[words] == 1 else f"{words} ({name})" for name, words in short.items()}


def weights_of(shared: Shared) -> np.ndarray:
    """The resamples from which every interval is computed: tens of megabytes, which depend only on the images."""
    if OWN in shared.ids:
        return computed_once(shared, "weights", shared.weights, models=())
    return _weights(shared.images_digest, shared.weights)


def draws_of(shared: Shared) -> Draws:
    """Every score of every model on every resample, shared between visitors."""
    weights = weights_of(shared)
    by_model = {
        name: computed_once(shared, "draws", partial(measures.of_model, shared, weights, name), models=(name,))
        for name in progress(shared.ids, "Computing intervals")
    }
    return Draws(shared, by_model)


def results_of(shared: Shared, known: Mapping[str, Predictions], score: str) -> list[Result]:
    """The score of every model on every data set that it was tested on."""
    results: list[Result] = []
    for name in progress([name for name in shared.ids if name != OWN], "Scoring every test set"):
        compute = partial(external.results, known[name], score, shared.target.id)
        results += computed_once(shared, f"test sets {score}", compute, models=(name,))
    return results


def progress(names: list[str], words: str) -> Any:
    """Iterate over the names, with a progress bar once it has taken longer than SOON."""
    started, bar = time.monotonic(), None
    for number, name in enumerate(names):
        if time.monotonic() - started > SOON:
            bar = bar or st.empty()
            bar.progress(number / len(names), f"{words}: {number + 1} of {len(names)}")
        yield name
    if bar:
        bar.empty()


def computed_once(shared: Shared, name: str, compute: Callable[[], T], models: tuple[str, ...] | None = None) -> T:
    """The cached result of `compute` for these images and the files of these `models`, by default all. It is shared by
    everyone or, with a visitor's own file, kept in their session for the latest images and target."""
    digests = tuple(shared.digests[model] for model in (shared.ids if models is None else models))
    key = (shared.images_digest, shared.question, shared.target.id, *digests, name)
    if OWN not in shared.ids:
        return _for_everyone(key, compute)
    if get_script_run_ctx() is None:
        # a download is written outside any session, where the session state is everyone's
        return compute()
    latest, cached = st.session_state.get(COMPUTED_FROM_OWN, (None, {}))
    if latest != key[:3]:
        cached = {}
        st.session_state[COMPUTED_FROM_OWN] = (key[:3], cached)
    if key not in cached:
        cached[key] = compute()
    return cached[key]


@st.cache_resource(max_entries=4, show_spinner=False)
def _weights(images_digest: str, _compute: Callable[[], np.ndarray]) -> np.ndarray:
    return _compute()


@st.cache_resource(max_entries=256, show_spinner=False)
def _for_everyone(key: tuple[str, ...], _compute: Callable[[], Any]) -> Any:
    return _compute()


def share(choice: Choice) -> Shared:
    """The images that all chosen models have predictions for; DataError if they cannot be compared."""
    return comparison.share(choice.models, choice.question, choice.dataset, choice.target)
