"""The files in deploy/ fit the app; and, as root on Linux, the steps of the image work."""

import base64
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import streamlit
import yaml

from skinapp.images import imaging

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"


def names(file: str) -> set[str]:
    """The packages that a requirements file lists, without their versions."""
    lines = (ROOT / file).read_text().splitlines()
    return {line.partition("==")[0] for line in lines if line and not line.startswith(("#", "-"))}


@pytest.fixture(scope="module")
def rehearse() -> ModuleType:
    spec = importlib.util.spec_from_file_location("rehearse", DEPLOY / "rehearse.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    # dataclasses look up their module
    sys.modules["rehearse"] = module
    spec.loader.exec_module(module)
    return module


def test_a_hosted_app_has_the_apps_packages_but_tensorflow() -> None:
    served = names("requirements-serve.txt")
    assert served >= names("requirements.txt") - {"tensorflow", "keras"}
    assert not served & {"tensorflow", "keras", "torch"}
    assert {"prometheus-client", "authlib", "httpx2"} <= served


def test_the_lock_of_the_image_has_the_pinned_versions() -> None:
    locked = (ROOT / "requirements-serve.lock").read_text()
    assert not re.search(r"(?m)^(tensorflow|keras|torch)==", locked)
    for file in ("requirements.txt", "requirements-serve.txt"):
        for line in (ROOT / file).read_text().splitlines():
            if "==" in line and line.partition("==")[0] in names("requirements-serve.txt"):
                assert f"\n{line} " in f"\n{locked}", f"{line}: run `make lock`"


def test_the_image_holds_the_app_and_no_secrets(rehearse: ModuleType) -> None:
    image = rehearse.read((DEPLOY / "Dockerfile").read_text())
    assert {"app.py", "serve.py", "pages", "skinapp", "models", ".streamlit/config.toml"} <= set(image.files)
    assert not [name for name in image.files if not (ROOT / name).exists() or name in (".", ".streamlit")]
    assert image.user == "1000:1000"
    assert image.command[-1] == "serve.py"
    port = image.environment["STREAMLIT_SERVER_PORT"]
    assert f"127.0.0.1:{port}/ready" in image.health_check[-1]
    nginx = (DEPLOY / "nginx.conf").read_text()
    assert f"server app:{port};" in nginx


def test_the_proxy_takes_the_largest_upload_and_streamlits_own_script() -> None:
    nginx = (DEPLOY / "nginx.conf").read_text()
    [largest] = re.findall(r"client_max_body_size (\d+)m;", nginx)
    assert int(largest) * 2**20 > imaging.MAX_BYTES
    page = Path(streamlit.__file__).with_name("static") / "index.html"
    scripts = re.findall(r"<script>(.*?)</script>", page.read_text(), re.DOTALL)
    hashes = {base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts}
    assert set(re.findall(r"'sha256-(.*?)'", nginx)) == hashes
    # neither addresses nor pages are logged
    log_format = nginx[nginx.index("log_format") : nginx.index("access_log")]
    assert not re.search(r"\$(remote|request\b|request_uri|uri|args|query|http_|binary|cookie|arg_)", log_format)


def test_the_proxys_configuration_is_valid(tmp_path: Path) -> None:
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if not nginx:
        pytest.skip("no nginx found: install it, on Debian with `apt-get install nginx-light`, to run this test")
    text = (DEPLOY / "nginx.conf").read_text().replace("app:8501", "127.0.0.1:8501").replace("/tmp/", f"{tmp_path}/")
    # even a configuration check reads the certificate
    text = re.sub(r"(?m)^ *ssl_certificate(_key)? .*\n", "", text).replace("8443 ssl", "8443")
    (tmp_path / "nginx.conf").write_text(text)
    checked = subprocess.run([nginx, "-t", "-c", tmp_path / "nginx.conf"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


def test_the_containers_can_write_nothing_but_tmp() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    for service in services.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert [mount.partition(":")[0] for mount in service["tmpfs"]] == ["/tmp"]
    assert "ports" not in services["app"]
    for volume in services["proxy"]["volumes"]:
        assert volume.endswith(":ro")


def test_a_space_opens_the_images_port(rehearse: ModuleType) -> None:
    _, header, _ = (DEPLOY / "space" / "README.md").read_text().split("---\n")
    header = yaml.safe_load(header)
    image = rehearse.read((DEPLOY / "Dockerfile").read_text())
    assert header["sdk"] == "docker"
    assert header["app_port"] == int(image.environment["STREAMLIT_SERVER_PORT"])
    # longer descriptions are refused
    assert len(header["short_description"]) <= 60


@pytest.mark.slow
def test_the_image_runs_unprivileged_on_a_read_only_tree() -> None:
    if os.geteuid() or not shutil.which("unshare") or subprocess.run(["unshare", "--mount", "true"]).returncode:
        pytest.skip("needs root and namespaces: run it as root on Linux, with util-linux")
    done = subprocess.run(
        [sys.executable, DEPLOY / "rehearse.py"], capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "The health check was answered after" in done.stdout
    assert '"ready": true' in done.stderr
