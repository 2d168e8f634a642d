"""Sign-in with OpenID Connect, if the server's secrets have a section `[auth]`; otherwise the app is open."""

import importlib.util
from pathlib import Path

import streamlit as st

from skinapp.errors import DataError


def check() -> None:
    """DataError if the server's secrets cannot be read, as the app would then be open to everyone, or if the package
    for sign-in is missing."""
    files = [file for file in st.get_option("secrets.files") if Path(file).exists()]
    if files and not st.secrets.load_if_toml_exists():
        raise DataError(f"The secrets in {' or '.join(files)} cannot be read: make the file valid TOML, or remove it.")
    if files and "auth" in st.secrets and not importlib.util.find_spec("authlib"):
        raise DataError("Sign-in is configured, but Authlib is not installed. Install requirements-serve.txt.")


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
