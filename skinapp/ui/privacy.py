"""What happens to visitors' data, and how that is tested: the chapter of the guide, and the link to it."""

import streamlit as st

from skinapp.ui import layout
from skinapp.ui.admission import duration

CHAPTER = "privacy"
TITLE = "Your images"
LINK = "How this is tested"


def link() -> None:
    """The link next to the promise that nothing is stored."""
    st.page_link(layout.path("guide"), label=LINK, icon=":material/verified_user:", query_params={"chapter": CHAPTER})


def show() -> None:
    """The chapter."""
    minutes = duration(st.get_option("server.disconnectedSessionTTL"))
    st.subheader("What happens to what you add", anchor=False)
    st.markdown(
        f"""
- **It stays in the memory of your session**: photos, tables and predictions. They are not written to any file or log,
  do not appear in any page's address, and are not visible to other visitors.
- **When you leave**, the session is kept for {minutes}, in case only the connection broke. Then it ends, and its
  memory is overwritten. “Remove” discards an image at once.
- **What you save is yours to keep safe**: a saved answer contains your image.
"""
    )
    st.subheader(LINK, anchor=False)
    st.markdown(
        """
`tests/test_privacy.py` in the source code starts this app and records everything that the server writes, with `strace`.
It adds photos whose names, EXIF data, bytes and pixels it knows, and a table. It does what a visitor might do: it reads
the answer and the map, saves the report, opens the Attention page, adds several files at once, explores a table of its
own, runs into a crash, and leaves in the middle of an answer.

Then it searches for all of this in everything that was written, in the output of the server, in the addresses of the
pages and on the page of another visitor. After the session has ended, it searches the whole memory of the server. It
must find nothing. To show that the search works, it must find all of it in memory while the session is open.
"""
    )
    st.subheader("What the test does not cover", anchor=False)
    st.markdown(
        """
- Whatever is between your browser and this server, such as a proxy, and what the browser itself keeps.
- Memory that the operating system swaps to disk; a host can turn swapping off.
- What TensorFlow and PyTorch leave in memory after making gradient-based maps.
- The ISIC archive, which learns which of its images you ask for.
"""
    )
