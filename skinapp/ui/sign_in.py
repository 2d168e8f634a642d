"""Sign-in with OpenID Connect, if the server's secrets have a section `[auth]`; otherwise the app is open."""

import importlib.util
from pathlib import Path

import streamlit as st
from streamlit import config

from skinapp.errors import DataError

REQUIRED = ("redirect_uri", "cookie_secret")
"""Settings without which Streamlit's sign-in does not work."""


def check() -> bool:
    """Whether visitors must sign in. DataError if the server's secrets cannot be read, as the app would then be open to
    everyone, if they are incomplete, or if the package for sign-in is missing."""
    files = [file for file in st.get_option("secrets.files") if _exists(Path(file))]
    if files and not st.secrets.load_if_toml_exists():
        raise DataError(f"The secrets in {' or '.join(files)} cannot be read: make the file valid TOML, or remove it.")
    if not files or "auth" not in st.secrets:
        return False
    if not importlib.util.find_spec("authlib"):
        raise DataError("Sign-in is configured, but Authlib is not installed. Install requirements-serve.txt.")
    missing = [name for name in REQUIRED if not st.secrets["auth"].get(name)]
    if missing:
        # Streamlit takes an empty section for none, so the app would be open
        raise DataError(f"The section [auth] of the secrets has no {' and no '.join(missing)}.")
    return True


def _exists(file: Path) -> bool:
    """Whether there is a file of secrets, which may be missing in the default places only. Streamlit ignores a missing
    one, and takes one that it may not read for a port in use."""
    try:
        file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        if config.is_manually_set("secrets.files"):
            raise DataError(f"There is no file {file}, which STREAMLIT_SECRETS_FILES names.") from None
        return False
    except OSError as error:
        raise DataError(f"The secrets in {file} cannot be read ({error.strerror}).") from None
    return True


def required() -> bool:
    """Whether sign-in is required and this visitor has not signed in."""
    return st.user.get("is_logged_in") is False


def ask() -> None:
    """What a visitor sees before they sign in."""
    st.title("Sign in", anchor=False)
    st.markdown("The operator of this server asks visitors to sign in.")
    st.button("Sign in", type="primary", icon=":material/login:", key="sign_in", on_click=st.login)


def offer_sign_out() -> None:
    """Offer to sign out, if the visitor has signed in."""
    if st.user.get("is_logged_in"):
        st.button("Sign out", icon=":material/logout:", key="sign_out", type="tertiary", on_click=st.logout)
