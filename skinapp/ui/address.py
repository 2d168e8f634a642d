"""A page's choices in its address, as codes, so that a link shows what its sender saw.

Streamlit's own binding writes an option's label, so rewording a label would break saved links. Here the address holds
codes, and labels in old links still work.
"""

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator
    from streamlit.elements.lib.mutable_tab_container import TabContainer


def start_run(page: str) -> None:
    """To be called before the first widget of a page: record which page it is, and whether the visitor has changed a
    widget since the last run."""
    state = st.session_state
    state["page_before"], state["page_shown"] = state.get("page_shown"), page
    shown = state.get("values_in_address", {})
    state["widget_changed"] = any(key in state and state[key] != value for key, value in shown.items())


def last_choices(page: str) -> dict[str, list[str]]:
    """The query parameters that a page had when the visitor was last there, for links that lead back to it."""
    return {key: texts for key, texts in st.session_state.get("choices", {}).get(page, {}).items() if texts}


@contextlib.contextmanager
def private(key: str, default: object) -> Iterator[None]:
    """Keep the value of the widget with this key, created in the block, in the session but not in the address, also
    while the visitor is on another page."""
    state = st.session_state
    if key not in state:
        state[key] = state.get(f"{key}_private", default)
    yield
    state[f"{key}_private"] = state[key]


@contextlib.contextmanager
def option(
    key: str, options: Mapping[str, str], default: str | None = None, old_labels: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Bind the widget with this key, created in the block, to the query parameter of the same name: one of `options`
    (code -> label), or None. `old_labels` maps old labels to codes. The default is left out of the address; an unknown
    text selects it."""
    codes = _codes(options, old_labels)

    def parse(texts: Sequence[str]) -> str | None:
        return next((codes[text] for text in map(_key, texts) if text in codes), default)

    with _bound(
        key, parse, lambda value: [] if value in (default, None) else [value], lambda value: value in (*options, None)
    ):
        yield


def synchronise(key: str, value: str | None, options: Collection[str]) -> str | None:
    """Keep a state that no widget holds, one of `options` or None, in the query parameter `key`. Returns the state from
    the address if the visitor went back or forward, otherwise `value`."""
    state = st.session_state
    arrived = state["page_before"] != state["page_shown"] and key not in st.query_params
    if arrived or value != state.get(key):
        # the address follows the page, not the other way round
        state["widget_changed"] = True
    state[key] = value
    with option(key, {code: code for code in options}):
        pass  # reads and writes the address around a widget, of which there is none
    return state[key]


@contextlib.contextmanager
def several(key: str, options: Mapping[str, str], default: Sequence[str] = ()) -> Iterator[None]:
    """Like `option`, for a widget whose value is a list."""
    codes = _codes(options, None)

    def parse(texts: Sequence[str]) -> list[str]:
        return list(dict.fromkeys(codes[text] for text in map(_key, texts) if text in codes)) or list(default)

    def written(value: Sequence[str]) -> list[str]:
        return [] if list(value) == list(default) else list(value)

    with _bound(key, parse, written, lambda value: set(value) <= set(options)):
        yield


@contextlib.contextmanager
def interval(key: str, default: tuple[int, int]) -> Iterator[None]:
    """Like `option`, for a slider with two ends; `default` is its whole range."""

    def parse(texts: Sequence[str]) -> tuple[int, int]:
        try:
            low, high = map(int, texts)
        except ValueError:
            return default
        return (low, high) if default[0] <= low <= high <= default[1] else default

    with _bound(key, parse, lambda value: [] if value == default else [str(end) for end in value], lambda value: True):
        yield


@contextlib.contextmanager
def number(key: str, default: float, low: float, high: float) -> Iterator[None]:
    """Like `option`, for a slider from `low` to `high`."""

    def parse(texts: Sequence[str]) -> float:
        try:
            value = float(texts[0])
        except (ValueError, IndexError):
            return default
        return value if low <= value <= high else default

    with _bound(key, parse, lambda value: [] if value == default else [f"{value:g}"], lambda value: True):
        yield


def selectbox(
    where: "DeltaGenerator",
    label: str,
    options: Mapping[str, str],
    key: str,
    *,
    old_labels: Mapping[str, str] | None = None,
    **more: Any,
) -> str:
    """A select box of `options` (code -> label) that is bound to the address; the first is the default."""
    return _choice(where.selectbox, label, options, key, old_labels, **more)


def segmented_control(
    where: "DeltaGenerator",
    label: str,
    options: Mapping[str, str],
    key: str,
    *,
    old_labels: Mapping[str, str] | None = None,
    **more: Any,
) -> str:
    """Like `selectbox`, with all options in view."""
    return _choice(where.segmented_control, label, options, key, old_labels, required=True, **more)


def _choice(
    widget: Callable[..., str | None],
    label: str,
    options: Mapping[str, str],
    key: str,
    old_labels: Mapping[str, str] | None,
    **more: Any,
) -> str:
    first = next(iter(options))
    with option(key, options, first, old_labels):
        chosen = widget(label, list(options), format_func=_labels(options), key=key, **more)
    return chosen or first


def multiselect(where: "DeltaGenerator", label: str, options: Mapping[str, str], key: str, **more: Any) -> list[str]:
    """Any of `options` (code -> label), bound to the address; all by default."""
    with several(key, options, list(options)):
        return where.multiselect(label, list(options), format_func=_labels(options), key=key, **more)


def tabs(options: Mapping[str, str], key: str) -> "dict[str, TabContainer]":
    """Tabs (code -> title), by code; `.open` says whether a tab is shown, and the address records which. Compute only
    the content of the open tab: opening another runs the page again."""
    codes, first = _codes(options, None), next(iter(options.values()))

    def parse(texts: Sequence[str]) -> str:
        return next((options[codes[text]] for text in map(_key, texts) if text in codes), first)

    def written(title: str) -> list[str]:
        return [code for code, words in options.items() if words == title != first]

    with _bound(key, parse, written, lambda title: title in options.values()):
        containers = st.tabs(list(options.values()), key=key, on_change="rerun")
    return dict(zip(options, containers, strict=True))


def forget(key: str) -> None:
    """In a callback: reset the widget with this key to its default."""
    st.session_state.pop(key, None)
    st.query_params.pop(key, None)


def clear(key: str, value: object) -> None:
    """In a callback: set the widget with this key, if it exists, and remove its parameter from the address."""
    if key in st.session_state:
        st.session_state[key] = value
    st.session_state.pop(f"{key}_private", None)
    if key in st.query_params:
        del st.query_params[key]


@contextlib.contextmanager
def _bound(
    key: str,
    parse: Callable[[Sequence[str]], Any],
    written: Callable[[Any], list[str]],
    valid: Callable[[Any], bool],
) -> Iterator[None]:
    state, texts = st.session_state, st.query_params.get_all(key)
    last = state.get(f"{key}_in_address")
    # An address that differs from the last one comes from going back or from a link. Where a widget has changed, the
    # browser may just not have received the last address yet, and the widgets take precedence.
    moved = last is not None and not state.get("widget_changed") and texts != last
    if key not in state or moved or not valid(state[key]):
        state[key] = parse(texts)
    yield
    now = written(state[key])
    if now and now != texts:
        st.query_params[key] = now
    elif not now and key in st.query_params:
        del st.query_params[key]
    state[f"{key}_in_address"] = now
    state.setdefault("choices", {}).setdefault(state.get("page_shown"), {})[key] = now
    state.setdefault("values_in_address", {})[key] = state[key]


def _labels(options: Mapping[str, str]) -> Callable[[str], str]:
    return lambda code: options.get(code, code)


def _codes(options: Mapping[str, str], old_labels: Mapping[str, str] | None) -> dict[str, str]:
    """Maps every text that denotes an option to its code; a code takes precedence over an identical label."""
    texts = {_key(label): code for code, label in options.items()}
    texts |= {_key(text): code for text, code in (old_labels or {}).items() if code in options}
    return texts | {_key(code): code for code in options}


def _key(text: str) -> str:
    return " ".join(text.split()).lower()
