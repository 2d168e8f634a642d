"""The counters are off without a port; an unusable port is reported."""

import socket
import sys

import pytest

from skinapp.errors import DataError
from skinapp.hosting import metrics
from skinapp.inference import events


def test_nothing_is_counted_without_a_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(metrics.PORT, raising=False)
    metrics.serve("127.0.0.1")
    assert not any(isinstance(handler, metrics.Counters) for handler in events.LOGGER.handlers)


@pytest.mark.parametrize("port", ["many", "70000", "-1"])
def test_an_invalid_port_is_refused(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(metrics.PORT, port)
    with pytest.raises(DataError, match=f"SKINAPP_METRICS_PORT is '{port}', which is not a free port"):
        metrics.serve("127.0.0.1")


def test_a_port_in_use_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        monkeypatch.setenv(metrics.PORT, str(other.getsockname()[1]))
        with pytest.raises(DataError, match="not a free port"):
            metrics.serve("127.0.0.1")


def test_without_the_package_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(metrics.PORT, "9464")
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(DataError, match=r"prometheus-client is not installed\. Install requirements-serve\.txt"):
        metrics.serve("127.0.0.1")
