"""Entry point of a hosted app: the pages of `app.py`, with a readiness check, logs as JSON and, if asked for, metrics.

    python -m streamlit run serve.py

`docs/deployment.md` says how to host it.
"""

import contextlib
import dataclasses
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import streamlit as st
import streamlit.logger
from anyio import to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from skinapp.errors import SkinappError
from skinapp.hosting import logs, metrics, readiness
from skinapp.ui import sign_in


async def ready(request: Request) -> JSONResponse:
    """200 where a model answers, and 503 with the reason where none does."""
    found = await to_thread.run_sync(readiness.check)
    return JSONResponse(dataclasses.asdict(found), 200 if found.ready else 503)


@contextlib.asynccontextmanager
async def lifespan(app: st.App) -> AsyncIterator[None]:
    # beside the server, which so starts as fast as without the check
    threading.Thread(target=readiness.report, daemon=True).start()
    yield


# loggers that Streamlit makes later take this too
streamlit.logger.setup_formatter = logs.use_json
logs.write_json()
try:
    sign_in.check()
    metrics.serve(st.get_option("server.address") or "0.0.0.0")  # noqa: S104 as Streamlit does without an address
except SkinappError as error:
    raise SystemExit(str(error)) from None

app = st.App(Path(__file__).with_name("app.py"), routes=[Route("/ready", ready)], lifespan=lifespan)
