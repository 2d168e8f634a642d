"""The same training on several devices, and on the other backends of Keras where they are installed."""

import dataclasses
import importlib.util
import json
import signal
import socket
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from skinapp.errors import DataError
from tests.train.conftest import start_tiny_command, tiny_command
from train.config import Config
from train.fit import training

pytestmark = pytest.mark.slow


def run(command: str, config: Config, runs: Path, *more: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A training command on the tiny network."""
    file = runs / "tiny.yaml"
    file.write_text(json.dumps(dataclasses.asdict(config)))
    return tiny_command(command, "--config", file, "--runs", runs, *more, **environment)


def history(runs: Path, stage: int) -> pd.DataFrame:
    return pd.read_csv(runs / "tiny" / f"stage-{stage}" / "history.csv")


@pytest.fixture
def mixed(tiny: Config) -> Config:
    """Two stages with a moving average, the second with MixUp and CutMix."""
    first, second = tiny.stages
    return dataclasses.replace(tiny, ema=0.9, stages=(first, dataclasses.replace(second, mixup=0.4, cutmix=1.0)))


@pytest.fixture
def steady(tiny: Config) -> Config:
    """One stage whose only randomness is the sampling of images, which is the same on any number of devices."""
    return dataclasses.replace(tiny, stages=tiny.stages[1:], augmentation="none", dropout=0.0)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_another_backend_trains_resumes_and_evaluates(backend: str, mixed: Config, tmp_path: Path) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed: pip install {backend}")
    killed = run("fit", mixed, tmp_path, KERAS_BACKEND=backend, SIGNAL="SIGKILL Checkpoint.on_epoch_end 2")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    finished = run("fit", mixed, tmp_path, KERAS_BACKEND=backend)
    assert finished.returncode == 0, finished.stderr
    record = json.loads((tmp_path / "tiny" / "run.json").read_text())
    assert record["hardware"]["backend"] == backend
    assert record["epochs"] == {"done": 4, "planned": 4}
    scored = run("evaluate", mixed, tmp_path, KERAS_BACKEND=backend)
    assert scored.returncode == 0, scored.stderr
    assert (tmp_path / "tiny" / "predictions.csv").is_file()
    exported = run("export", mixed, tmp_path, KERAS_BACKEND=backend)
    assert exported.returncode == 2
    assert exported.stderr.splitlines()[-1].startswith("Export needs TensorFlow")


def test_two_devices_of_tensorflow_share_a_batch(steady: Config, tmp_path: Path) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    together.mkdir()
    training.fit(steady, alone)
    shared = run("fit", steady, together, "--devices", "2", KERAS_BACKEND="tensorflow", LOGICAL_CPUS="2")
    assert shared.returncode == 0, shared.stderr
    assert json.loads((together / "tiny" / "run.json").read_text())["hardware"]["devices"] == 2
    assert history(together, 1)["loss"].to_numpy() == pytest.approx(history(alone, 1)["loss"], abs=0.1)


def test_two_devices_of_jax_share_a_batch(steady: Config, tmp_path: Path) -> None:
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed: make cluster")
    losses = []
    for devices in ("1", "2"):
        folder = tmp_path / devices
        folder.mkdir()
        flags = "--xla_force_host_platform_device_count=2"
        done = run("fit", steady, folder, "--devices", devices, KERAS_BACKEND="jax", XLA_FLAGS=flags)
        assert done.returncode == 0, done.stderr
        losses.append(history(folder, 1)["loss"].to_numpy())
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)


def start_on_two_hosts(config: Config, runs: Path, second: dict[str, str]) -> list[subprocess.Popen[str]]:
    """The same command as two processes with one device each; the environment `second` is for the second one alone."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    file = runs / "tiny.yaml"
    file.write_text(json.dumps(dataclasses.asdict(config)))
    hosts = {
        "KERAS_BACKEND": "jax",
        "KERAS_DISTRIBUTION_JOB_ADDRESSES": address,
        "KERAS_DISTRIBUTION_NUM_PROCESSES": "2",
    }
    return [
        start_tiny_command(
            "fit", "--config", file, "--runs", runs, **hosts, KERAS_DISTRIBUTION_PROCESS_ID=str(number), **more
        )
        for number, more in enumerate(({}, second))
    ]


def test_two_hosts_of_jax_train_the_network_of_one_and_resume_together(mixed: Config, tmp_path: Path) -> None:
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed: make cluster")
    stage = dataclasses.replace(mixed.stages[1], epochs=2)
    mixed = dataclasses.replace(mixed, stages=(stage,))
    alone, together = tmp_path / "alone", tmp_path / "together"
    alone.mkdir()
    together.mkdir()
    done = run("fit", mixed, alone, KERAS_BACKEND="jax")
    assert done.returncode == 0, done.stderr

    first, second = start_on_two_hosts(mixed, together, {"SIGNAL": "SIGKILL Checkpoint.on_epoch_end 1"})
    second.communicate()
    assert second.returncode == -signal.SIGKILL
    # the first host would notice only after a heartbeat timeout
    first.kill()
    first.communicate()
    assert not (together / "tiny" / "stage-1" / "done").exists()

    for process in start_on_two_hosts(mixed, together, {}):
        out, messages = process.communicate()
        assert process.returncode == 0, messages
        assert out.splitlines()[-1] == str(together / "tiny" / "stage-1" / "best.keras")
    record = json.loads((together / "tiny" / "run.json").read_text())
    assert record["hardware"]["hosts"] == 2
    assert record["epochs"] == {"done": 2, "planned": 2}
    assert [folder.name for folder in together.iterdir() if folder.name.startswith("tiny-host")] == []
    one, two = history(alone, 1), history(together, 1)
    assert two["epoch"].tolist() == [0, 1]
    for column in ("loss", "val_balanced_log_loss"):
        assert two[column].to_numpy() == pytest.approx(one[column], abs=2e-3)


def test_hosts_need_jax(tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_DISTRIBUTION_NUM_PROCESSES", "2")
    with pytest.raises(DataError, match="on tensorflow training uses one host; set KERAS_BACKEND=jax"):
        training.fit(tiny, tmp_path)
    monkeypatch.setenv("KERAS_DISTRIBUTION_NUM_PROCESSES", "two")
    with pytest.raises(DataError, match="is 'two'; set it to the number of hosts"):
        training.fit(tiny, tmp_path)


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_images_on_the_device_train_the_same_network(backend: str, mixed: Config, tmp_path: Path) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed: pip install {backend}")
    losses = []
    for option in ((), ("--images-on-device",)):
        folder = tmp_path / f"runs{len(option)}"
        folder.mkdir()
        if option:
            killed = run(
                "fit", mixed, folder, *option, KERAS_BACKEND=backend, SIGNAL="SIGKILL Checkpoint.on_epoch_end 2"
            )
            assert killed.returncode == -signal.SIGKILL, killed.stderr
            # the images are not part of the state that is saved
            (file,) = (folder / "tiny" / "stage-2").glob("checkpoint-*.npz")
            assert file.stat().st_size < 29 * 48 * 48 * 3
        done = run("fit", mixed, folder, *option, KERAS_BACKEND=backend)
        assert done.returncode == 0, done.stderr
        losses.append(history(folder, 2)["loss"].to_numpy())
    # PyTorch sums bfloat16 numbers in a different order each time
    assert losses[0] == pytest.approx(losses[1], abs=0.01 if backend == "torch" else 1e-4)
