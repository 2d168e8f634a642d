"""Selections that the page's address holds as codes, so that rewording a label breaks no shared link.

Streamlit's own binding writes the labels of a selection into the address. Here the widget's key is the parameter, its
value the code; a link with a label, the present one or an `earlier` one, still opens. Numbers need none of this: for a
slider, Streamlit's binding does.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator


def selectbox(
    where: "DeltaGenerator",
    label: str,
    options: Mapping[str, str],
    key: str,
    *,
    earlier: Mapping[str, str] | None = None,
    **more: Any,
) -> str:
    """One of `options`, code to label, the first at the start; `earlier` maps labels of old links to codes."""
    _restore_one(key, options, earlier or {})
    chosen = where.selectbox(label, list(options), format_func=_labels(options), key=key, **more)
    return _record_one(key, options, chosen)


def segmented_control(
    where: "DeltaGenerator",
    label: str,
    options: Mapping[str, str],
    key: str,
    *,
    earlier: Mapping[str, str] | None = None,
    **more: Any,
) -> str:
    """As `selectbox`, with all options in view."""
    _restore_one(key, options, earlier or {})
    chosen = where.segmented_control(label, list(options), format_func=_labels(options), required=True, key=key, **more)
    return _record_one(key, options, chosen)


def multiselect(where: "DeltaGenerator", label: str, options: Mapping[str, str], key: str, **more: Any) -> list[str]:
    """Any of `options`, code to label, all at the start."""
    linked = _linked(key, options, {})
    state = st.session_state
    if linked is not None:
        state[key] = linked or list(options)
    elif key not in state:
        state[key] = list(options)
    elif any(code not in options for code in state[key]):
        state[key] = [code for code in state[key] if code in options]
    chosen = where.multiselect(label, list(options), format_func=_labels(options), key=key, **more)
    _record(key, [] if chosen == list(options) else chosen)
    return chosen


def _labels(options: Mapping[str, str]) -> Callable[[str], str]:
    return lambda code: options.get(code, code)


def _restore_one(key: str, options: Mapping[str, str], earlier: Mapping[str, str]) -> None:
    linked = _linked(key, options, earlier)
    first = next(iter(options))
    if linked is not None:
        st.session_state[key] = linked[0] if linked else first
    elif st.session_state.get(key) not in options:
        st.session_state[key] = first


def _record_one(key: str, options: Mapping[str, str], chosen: str | None) -> str:
    first = next(iter(options))
    chosen = chosen or first
    _record(key, [] if chosen == first else [chosen])
    return chosen


def _linked(key: str, options: Mapping[str, str], earlier: Mapping[str, str]) -> list[str] | None:
    """The codes that the address holds, without those that are no option; None where it is as `_record` left it.

    It differs on the first run, and after a step back in the browser's history.
    """
    values = st.query_params.get_all(key)
    if values == st.session_state.get(_recorded(key), []):
        return None
    codes = {label: code for code, label in options.items()} | dict(earlier) | {code: code for code in options}
    return [codes[value] for value in values if codes.get(value) in options]


def _record(key: str, codes: Sequence[str]) -> None:
    """Write codes into the address; none of them leaves the parameter out."""
    st.session_state[_recorded(key)] = list(codes)
    if st.query_params.get_all(key) == list(codes):
        return
    if codes:
        st.query_params[key] = list(codes)
    else:
        st.query_params.pop(key, None)


def _recorded(key: str) -> str:
    return f"link_{key}"
