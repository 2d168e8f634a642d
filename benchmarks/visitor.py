"""A visitor to a running app without a browser: a client that speaks Streamlit's protocol.

It opens a page, uploads files, changes widgets, clicks buttons, fetches the displayed pictures and leaves, with the
same messages, requests and cookies as Streamlit's front end. It renders nothing.
"""

import contextlib
import io
import re
import time
import uuid
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

import pandas as pd
import pyarrow
import pyarrow.ipc
import requests
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Common_pb2 import FileURLs
from streamlit.proto.Delta_pb2 import Delta
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

XSRF_COOKIE = "_streamlit_xsrf"
TIMEOUT_SECONDS = 300.0
ANSWER = "Most likely: "
DONE = (ForwardMsg.FINISHED_SUCCESSFULLY, ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY)


class Visitor:
    """One browser tab. `elements` are those on the page, by their path; `answered_at` is when the latest answer came,
    on the monotonic clock."""

    def __init__(self, address: str, page: str = "classify"):
        """Open a page of the app at this address; a first run has ended when this returns."""
        self.address, self.page = address, page
        self._open = contextlib.ExitStack()
        self.http = self._open.enter_context(requests.Session())
        self.http.get(f"{address}/_stcore/health", timeout=TIMEOUT_SECONDS).raise_for_status()
        self.token = self.http.cookies.get(XSRF_COOKIE, "")
        connection = connect(
            f"ws{address.removeprefix('http')}/_stcore/stream",
            subprotocols=[Subprotocol("streamlit"), Subprotocol(self.token)],
            origin=address,  # type: ignore[arg-type]
            additional_headers={"Cookie": f"{XSRF_COOKIE}={self.token}"},
            max_size=None,
            open_timeout=TIMEOUT_SECONDS,
        )
        self.socket: ClientConnection = self._open.enter_context(connection)
        self.elements: dict[tuple[int, ...], Delta] = {}
        self.states: dict[str, WidgetState] = {}
        self.fetched: set[str] = set()
        self.answered_at = 0.0
        self.query = self.session = ""
        self.run()

    def __enter__(self) -> "Visitor":
        return self

    def __exit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.leave()

    def leave(self) -> None:
        """Close the tab."""
        self._open.close()

    def run(self, *changed: WidgetState, fragment: str = "") -> None:
        """Run the page, or a fragment of it, with these widgets changed, and wait until it has ended."""
        self.request(*changed, fragment=fragment)
        self.wait()

    def request(self, *changed: WidgetState, fragment: str = "") -> None:
        """Request a run without waiting for it."""
        shown = {widget_id(delta) for delta in self.elements.values()}
        self.states = {key: state for key, state in self.states.items() if key in shown}
        self.states |= {state.id: state for state in changed}
        message = BackMsg()
        message.rerun_script.page_name = self.page
        message.rerun_script.query_string = self.query
        message.rerun_script.fragment_id = fragment
        message.rerun_script.widget_states.widgets.extend(self.states.values())
        self.socket.send(message.SerializeToString())
        # a click applies only once
        self.states = {key: state for key, state in self.states.items() if not state.trigger_value}

    def wait(self, seconds: float = TIMEOUT_SECONDS) -> None:
        """Receive messages until a run has ended, and fetch new pictures. TimeoutError if that takes longer."""
        deadline = time.monotonic() + seconds
        while True:
            message = self.receive(deadline - time.monotonic())
            if message.WhichOneof("type") == "script_finished" and message.script_finished in DONE:
                self._fetch_pictures()
                return

    def receive(self, seconds: float = TIMEOUT_SECONDS) -> ForwardMsg:
        """Receive and process the next message. TimeoutError if none arrives."""
        message = ForwardMsg.FromString(self.socket.recv(max(seconds, 0), decode=False))
        kind = message.WhichOneof("type")
        if kind == "new_session":
            self.session = message.new_session.initialize.session_id
        if kind == "new_session" and not message.metadata.run.fragment_ids:
            self.elements = {}
        elif kind == "page_info_changed":
            self.query = message.page_info_changed.query_string
        elif kind == "delta":
            delta = message.delta
            if delta.WhichOneof("type") == "new_element":
                # the latest come last; elements that a fragment no longer shows stay before them
                self.elements.pop(path := tuple(message.metadata.delta_path), None)
                self.elements[path] = delta
                if any(text.startswith(ANSWER) for text in texts(delta)):
                    self.answered_at = time.monotonic()
        return message

    def upload(self, files: Mapping[str, bytes], key: str = "photo_upload") -> None:
        """Choose files in the uploader whose key contains this, and wait for the page to process them."""
        self.run(self.uploaded(files, key), fragment=self.widget(key).fragment_id)

    def uploaded(self, files: Mapping[str, bytes], key: str = "photo_upload") -> WidgetState:
        """Send files to the server as the uploader does; returns the uploader's new state."""
        widget = self.widget(key).new_element.file_uploader
        message = BackMsg()
        message.file_urls_request.request_id = str(uuid.uuid4())
        message.file_urls_request.file_names.extend(files)
        self.socket.send(message.SerializeToString())
        while (answer := self.receive()).WhichOneof("type") != "file_urls_response":
            pass
        state = WidgetState(id=widget.id)
        for urls, (name, data) in zip(answer.file_urls_response.file_urls, files.items(), strict=True):
            self._put(urls, name, data)
            info = state.file_uploader_state_value.uploaded_file_info.add(
                name=name, size=len(data), file_id=urls.file_id
            )
            info.file_urls.CopyFrom(urls)
        return state

    def _put(self, urls: FileURLs, name: str, data: bytes) -> None:
        response = self.http.put(
            self.address + urls.upload_url,
            files={"file": (name, io.BytesIO(data), "image/jpeg")},
            headers={"X-Xsrftoken": self.token},
            timeout=TIMEOUT_SECONDS,
        )
        response.raise_for_status()

    def set(self, key: str, **value: Any) -> None:
        """Change the widget whose key contains this: `set("crop_side", double_array_value=[70])`."""
        self.run(self.state(key, **value), fragment=self.widget(key).fragment_id)

    def state(self, key: str, **value: Any) -> WidgetState:
        """The changed state of a widget. A list is the `data` of an array."""
        [(name, content)] = value.items()
        state = WidgetState(id=widget_id(self.widget(key)))
        if isinstance(content, list):
            getattr(state, name).data.extend(content)
        else:
            setattr(state, name, content)
        return state

    def press(self, key: str) -> None:
        """Press the button whose key contains this."""
        self.set(key, trigger_value=True)

    def widget(self, key: str) -> Delta:
        """The widget on the page whose key contains this, the latest; KeyError without one."""
        for delta in reversed(self.elements.values()):
            if key in widget_id(delta):
                return delta
        raise KeyError(f"no widget '{key}' on the page")

    def has(self, key: str) -> bool:
        """Whether such a widget is on the page."""
        return any(key in widget_id(delta) for delta in self.elements.values())

    def words(self) -> str:
        """All text on the page."""
        return "\n".join(text for delta in self.elements.values() for text in texts(delta))

    def headline(self) -> str:
        """The most likely class and its probability; empty without an answer."""
        matches = re.findall(f"{ANSWER}(.+)", self.words())
        return matches[-1] if matches else ""

    def probabilities(self) -> dict[str, float]:
        """Class code -> probability, from the table of every class; empty without one."""
        for delta in reversed(self.elements.values()):
            element = delta.new_element
            if element.WhichOneof("type") == "dataframe":
                table = frame(element.dataframe.arrow_data.data)
                if {"code", "probability"} <= set(table):
                    return dict(zip(table["code"], table["probability"], strict=True))
        return {}

    def download(self, key: str) -> bytes:
        """The content behind the download button whose key contains this."""
        element = self.widget(key).new_element.download_button
        if not element.deferred_file_id:
            return self._get(element.url)
        message = BackMsg()
        message.backend_operation_request.request_id = str(uuid.uuid4())
        message.backend_operation_request.session_id = self.session
        message.backend_operation_request.deferred_file.file_id = element.deferred_file_id
        self.socket.send(message.SerializeToString())
        while (answer := self.receive()).WhichOneof("type") != "backend_operation_response":
            pass
        if problem := answer.backend_operation_response.error_msg:
            raise RuntimeError(problem)
        return self._get(answer.backend_operation_response.deferred_file.url)

    def _fetch_pictures(self) -> None:
        for url in self._pictures():
            if url not in self.fetched:
                self.fetched.add(url)
                self._get(url)

    def _pictures(self) -> Iterator[str]:
        for delta in self.elements.values():
            if delta.new_element.WhichOneof("type") == "imgs":
                yield from (image.url for image in delta.new_element.imgs.imgs if image.url.startswith("/"))

    def _get(self, url: str) -> bytes:
        response = self.http.get(self.address + url, timeout=TIMEOUT_SECONDS)
        response.raise_for_status()
        return response.content


def widget_id(delta: Delta) -> str:
    """The id of a widget, which ends with its key; empty for other elements."""
    element = getattr(delta.new_element, delta.new_element.WhichOneof("type") or "empty")
    return getattr(element, "id", "")


def texts(delta: Delta) -> list[str]:
    """The texts of an element."""
    element = getattr(delta.new_element, delta.new_element.WhichOneof("type") or "empty")
    return [text for name in ("body", "text", "label") if (text := getattr(element, name, ""))]


def frame(data: bytes) -> pd.DataFrame:
    """The table in a dataframe element."""
    return pyarrow.ipc.open_stream(data).read_pandas()
