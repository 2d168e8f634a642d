import argparse
import importlib.metadata
import json
from pathlib import Path

import pytest

from skinapp.inference import registry
from train import doctor
from train.doctor import FAIL, PASS, WARN, Finding


def test_old_python_fails() -> None:
    assert doctor.python((3, 10, 4)).status == FAIL
    assert doctor.python((3, 11, 0)) == Finding(PASS, "python", "3.11.0")


def test_packages_are_compared_with_their_pins(tmp_path: Path) -> None:
    file = tmp_path / "requirements-some.txt"
    installed = importlib.metadata.version("numpy")
    file.write_text(f"# what is needed\n-r other.txt\nnumpy=={installed}  # arrays\n")
    assert doctor.packages(file, True).status == PASS
    file.write_text("numpy==0.0.1\n")
    finding = doctor.packages(file, True)
    assert finding.status == WARN
    assert f"numpy {installed} instead of 0.0.1" in finding.text
    assert "pip install -r requirements-some.txt" in finding.text
    file.write_text("no-such-package-anywhere==1.0\n")
    assert doctor.packages(file, True).status == FAIL
    assert doctor.packages(file, False).status == WARN


def test_little_disk_space_warns_and_less_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = doctor.shutil.disk_usage(tmp_path)
    for free, status in ((1, FAIL), (5, WARN), (50, PASS)):
        monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _, free=free: usage._replace(free=free * 10**9))
        finding = doctor.disk(tmp_path / "not" / "there" / "yet")
        assert finding.status == status
        assert finding.text.startswith(f"{free}.0 GB free in {tmp_path}")


def test_memory_is_measured() -> None:
    assert "GB" in doctor.memory().text


def test_data_sets_that_are_complete_absent_or_damaged(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ham10000(root: Path) -> Finding:
        monkeypatch.setenv("SKINAPP_DATA", str(root))
        return next(finding for finding in doctor.data_sets() if "ham10000" in finding.text)

    assert ham10000(tiny_data) == Finding(PASS, "data", f"{tiny_data}/ham10000: 29 images of HAM10000")
    absent = ham10000(tmp_path)
    assert absent.status == WARN
    assert "python -m train download ham10000" in absent.text
    folder = tmp_path / "ham10000"
    folder.mkdir()
    (folder / "metadata.csv").write_text("image_id,dx\n")
    assert ham10000(tmp_path).status == FAIL
    (folder / "metadata.csv").write_bytes((tiny_data / "ham10000" / "metadata.csv").read_bytes())
    assert "29 of 29 images are not in" in ham10000(tmp_path).text


def test_initial_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKINAPP_WEIGHTS", str(tmp_path))
    assert doctor.weights().status == WARN
    (tmp_path / "backbone.weights.h5").write_bytes(b"")
    assert doctor.weights().status == PASS


def test_models_are_checked_byte_for_byte(own_models: Path, model: registry.Model) -> None:
    assert {finding.status for finding in doctor.models(own_models)} == {PASS}
    file = own_models / model.id / "model.tflite"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert [finding.status for finding in doctor.models(own_models)] == [FAIL]
    (own_models / model.id / "model.json").write_text(json.dumps({"id": model.id}))
    assert {finding.status for finding in doctor.models(own_models)} == {FAIL}


def test_no_model_fails(tmp_path: Path) -> None:
    assert [finding.status for finding in doctor.models(tmp_path)] == [FAIL]


def test_backends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "GPUS", {"numpy": lambda: 2, "scipy": lambda: 0, "absent_backend": lambda: 0})
    monkeypatch.setenv("KERAS_BACKEND", "numpy")
    assert doctor.backend() == Finding(PASS, "backend", "numpy, 2 GPUs (also installed: scipy)")
    monkeypatch.setenv("KERAS_BACKEND", "scipy")
    assert doctor.backend().status == WARN
    monkeypatch.setenv("KERAS_BACKEND", "absent_backend")
    assert "pip install absent_backend" in doctor.backend().text
    monkeypatch.setenv("KERAS_BACKEND", "theano")
    assert doctor.backend().status == FAIL


@pytest.mark.parametrize(("statuses", "code"), [([PASS, WARN], 0), ([PASS, FAIL, WARN], 1)])
def test_only_failures_set_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, statuses: list[str], code: int
) -> None:
    monkeypatch.setattr(doctor, "examine", lambda _: [Finding(status, "subject", "text") for status in statuses])
    parser = argparse.ArgumentParser()
    doctor.add_arguments(parser)
    assert doctor.run(parser.parse_args([])) == code
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == statuses


def test_every_check_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "GPUS", {"tensorflow": lambda: 0})
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    subjects = {finding.subject for finding in doctor.examine(tmp_path)}
    assert subjects == {"python", "packages", "disk", "memory", "data", "weights", "models", "backend"}
