"""Sign-in is off until the server's secrets configure it; then nothing is shown before sign-in."""

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from skinapp.inference import registry
from skinapp.ui import layout


def open_page(name: str, **user: Any) -> AppTest:
    at = AppTest.from_file(layout.path(name), default_timeout=30)
    at.user = user
    return at.run()


@pytest.mark.parametrize("name", layout.MENU)
def test_a_page_asks_for_sign_in_before_anything_else(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for function in ("ranked", "models", "problems"):
        # what a page would call first
        monkeypatch.setattr(registry, function, None)
    at = open_page(name, is_logged_in=False)
    assert not at.exception
    assert [title.value for title in at.title] == ["Sign in"]
    assert [button.label for button in at.button] == ["Sign in"]
    assert not at.get("page_link")
    assert not at.get("file_uploader")


def test_a_signed_in_visitor_can_sign_out() -> None:
    at = open_page("guide", is_logged_in=True, email="ada@example.org")
    assert not at.exception
    assert at.title[0].value == "Guide"
    assert [button.label for button in at.button if button.label.startswith("Sign")] == ["Sign out"]


def test_without_secrets_no_sign_in_is_required() -> None:
    at = open_page("guide")
    assert not at.exception
    assert at.title[0].value == "Guide"
    assert not [button for button in at.button if button.label.startswith("Sign")]
