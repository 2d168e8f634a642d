"""Sign-in with OpenID Connect, where the server's secrets have a section `[auth]`; elsewhere the app is open."""

import streamlit as st


def required() -> bool:
    """Whether visitors have to sign in, and this one has not."""
    return st.user.get("is_logged_in") is False


def ask() -> None:
    """What a visitor sees before they sign in."""
    st.title("Sign in", anchor=False)
    st.markdown("This server is open to people with an account of the institution that runs it.")
    st.button("Sign in", type="primary", icon=":material/login:", key="sign_in", on_click=st.login)


def offer_sign_out() -> None:
    """A way to sign out, for a visitor who has signed in."""
    if st.user.get("is_logged_in"):
        st.button("Sign out", icon=":material/logout:", key="sign_out", type="tertiary", on_click=st.logout)
