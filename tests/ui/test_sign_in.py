"""Sign-in is off until the server's secrets configure it; then nothing is shown before it."""

import pytest
from streamlit.testing.v1 import AppTest

from skinapp.inference import registry
from skinapp.ui import layout

AUTH = {
    "redirect_uri": "https://skin.example.org/oauth2callback",
    "cookie_secret": "a long random value",
    "client_id": "skinapp",
    "client_secret": "another",
    "server_metadata_url": "https://accounts.example.org/.well-known/openid-configuration",
}


def open_page(name: str, auth: dict[str, str]) -> AppTest:
    at = AppTest.from_file(layout.path(name), default_timeout=30)
    if auth:
        at.secrets["auth"] = auth
    return at.run()


@pytest.mark.parametrize("name", layout.MENU)
def test_a_page_asks_for_sign_in_before_anything_else(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        pytest.fail("the page ran")

    monkeypatch.setattr(registry, "ranked", refuse)
    monkeypatch.setattr(registry, "models", refuse)
    at = open_page(name, AUTH)
    assert not at.exception
    assert [title.value for title in at.title] == ["Sign in"]
    assert [button.label for button in at.button] == ["Sign in"]
    assert not at.get("page_link")
    assert not at.get("file_uploader")


def test_without_secrets_nobody_is_asked() -> None:
    at = open_page("guide", {})
    assert not at.exception
    assert at.title[0].value == "Guide"
    assert not [button for button in at.button if button.label in ("Sign in", "Sign out")]
