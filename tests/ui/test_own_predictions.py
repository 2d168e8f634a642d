"""What is computed from a visitor's own predictions stays in their session."""

import streamlit as st

from skinapp.evaluation import comparison
from skinapp.evaluation.comparison import CLASSES
from skinapp.labels.sets import HAM10000
from skinapp.ui.comparison import COMPUTED_FROM_OWN, OWN, computed_once
from tests.evaluation.conftest import made


def test_outside_a_session_nothing_is_kept() -> None:
    # as when the report is written: there, the session state is the same for all visitors
    shared = comparison.share([made(OWN, HAM10000)], CLASSES)
    assert computed_once(shared, "answer", lambda: 41) == 41
    assert COMPUTED_FROM_OWN not in st.session_state
    assert computed_once(shared, "answer", lambda: 42) == 42
