"""Entry point of a hosted app: the pages of `app.py`, with a readiness check, logs as JSON and, if configured, metrics.

    python -m streamlit run serve.py

`docs/deployment.md` says how to host it.
"""

import contextlib
import dataclasses
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st
import streamlit.logger
from anyio import to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from skinapp.errors import SkinappError
from skinapp.hosting import logs, metrics
from skinapp.inference import events
from skinapp.ui import sign_in

if TYPE_CHECKING:
    from skinapp.hosting.readiness import Readiness


async def ready(request: Request) -> JSONResponse:
    """200 where a model answers, and 503 with the reason where none does."""
    result = await to_thread.run_sync(check)
    return JSONResponse(dataclasses.asdict(result), 200 if result.ready else 503)


def check() -> "Readiness":
    # what runs models is loaded only here, beside the server, which so starts sooner
    from skinapp.hosting import readiness

    return readiness.check()


@contextlib.asynccontextmanager
async def lifespan(app: st.App) -> AsyncIterator[None]:
    threading.Thread(target=check, daemon=True).start()
    yield


# loggers that Streamlit makes later take this too
streamlit.logger.setup_formatter = logs.use_json
logs.write_json()
# where it is installed, rich would write a whole traceback, message included
st.set_option("logger.enableRich", False)
try:
    events.report(events.SIGN_IN, required=sign_in.check())
    metrics.serve(st.get_option("server.address") or "0.0.0.0")  # noqa: S104 as Streamlit does without an address
except SkinappError as error:
    raise SystemExit(str(error)) from None

app = st.App(Path(__file__).with_name("app.py"), routes=[Route("/ready", ready)], lifespan=lifespan)
