"""A hosted server answers, leaves out a changed model, logs JSON, and counts events."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from skinapp.inference import registry
from tests.model_folder import change_byte

ROOT = Path(__file__).parents[1]
WITHIN_SECONDS = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def served(models: Path, port: int, **more: str) -> Iterator[subprocess.Popen]:
    command = ["-m", "streamlit", "run", "serve.py", f"--server.port={port}", "--server.headless=true"]
    with subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env=os.environ | {"SKINAPP_MODELS": str(models), "STREAMLIT_LOGGER_HIDE_WELCOME_MESSAGE": "true"} | more,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            yield server
        finally:
            server.terminate()


def fetched(address: str, server: subprocess.Popen) -> tuple[int, str]:
    """The status and the content of the address, as soon as the server answers."""
    deadline = time.monotonic() + WITHIN_SECONDS
    while True:
        try:
            with urllib.request.urlopen(address, timeout=WITHIN_SECONDS) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as answer:
            return answer.code, answer.read().decode()
        except OSError:
            assert server.poll() is None, "the server stopped"
            assert time.monotonic() < deadline, "no answer"
            time.sleep(0.1)


def test_a_server_is_ready_with_the_models_that_are_as_published(tmp_path: Path) -> None:
    for name in ("malignancy-mlp64", "malignancy-cnn64"):
        shutil.copytree(registry.model(name).folder, tmp_path / name)
    change_byte(tmp_path / "malignancy-cnn64" / "model.tflite")
    port, metrics_port = free_port(), free_port()
    with served(tmp_path, port, SKINAPP_METRICS_PORT=str(metrics_port)) as server:
        status, content = fetched(f"http://localhost:{port}/ready", server)
        _, counters = fetched(f"http://localhost:{metrics_port}/metrics", server)
        server.terminate()
        out, err = server.communicate(timeout=WITHIN_SECONDS)
    result = json.loads(content)
    assert (status, result["ready"], result["model"]) == (200, True, "malignancy-mlp64")
    assert result["left_out"] == ["malignancy-cnn64"]
    for name in ("skinapp_answer_seconds", "skinapp_refusals_total", "process_resident_memory_bytes"):
        assert f"# TYPE {name} " in counters
    assert out == ""
    # LiteRT itself writes one line
    lines = [json.loads(line) for line in err.splitlines() if not line.startswith("INFO: Created TensorFlow Lite")]
    [left_out] = [line for line in lines if line["event"] == "model left out"]
    assert "malignancy-cnn64" in left_out["reason"]
    [ready] = [line for line in lines if line["event"] == "readiness"]
    assert (ready["ready"], ready["model"]) == (True, "malignancy-mlp64")
    assert [line["required"] for line in lines if line["event"] == "sign-in"] == [False]


@pytest.mark.slow
def test_a_server_without_models_runs_and_is_not_ready(tmp_path: Path) -> None:
    port = free_port()
    with served(tmp_path, port) as server:
        status, content = fetched(f"http://localhost:{port}/ready", server)
        health, _ = fetched(f"http://localhost:{port}/_stcore/health", server)
    assert (status, health) == (503, 200)
    assert "set SKINAPP_MODELS" in json.loads(content)["reason"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "value", "sentence"),
    [
        ("SKINAPP_METRICS_PORT", "many", "SKINAPP_METRICS_PORT is 'many', which is not a free port"),
        # otherwise it would be open to everyone
        ("STREAMLIT_SECRETS_FILES", "secrets.toml", "cannot be read: make the file valid TOML"),
        ("STREAMLIT_SECRETS_FILES", "missing.toml", "missing.toml, which STREAMLIT_SECRETS_FILES names"),
        ("STREAMLIT_SECRETS_FILES", "folder.toml", "cannot be read (Is a directory)"),
        ("STREAMLIT_SECRETS_FILES", "empty.toml", "[auth] of the secrets has no redirect_uri and no cookie_secret"),
    ],
)
def test_a_server_with_an_invalid_setting_stops_with_an_error_message(
    setting: str, value: str, sentence: str, tmp_path: Path
) -> None:
    (tmp_path / "secrets.toml").write_text("[auth\nclient_secret = 'swordfish'")
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "empty.toml").write_text("[auth]\n")
    value = str(tmp_path / value) if value.endswith(".toml") else value
    with served(tmp_path, free_port(), **{setting: value}) as server:
        _, err = server.communicate(timeout=WITHIN_SECONDS)
    assert server.returncode
    assert sentence in err.splitlines()[-1]
    assert "Traceback" not in err
    assert "swordfish" not in err
