"""Scoring on a Ray cluster gives the same rows as one machine, whatever fails meanwhile."""

import errno
import importlib.util
import json
import re
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.nodes import Nodes
from skinapp.__main__ import main
from skinapp.errors import DataError, ModelError
from skinapp.inference import cases, cluster, conformal, manifest, parts, registry, scoring
from skinapp.inference.disk_dict import DiskDict
from skinapp.inference.rows import Extras
from tests.pictures import encode, lesion

CHECKOUT = Path(__file__).parents[2]
EXTRAS = Extras((0.95,), embedding=True, class_map=True)

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: make cluster")


def write_images(folder: Path, count: int) -> Path:
    """Drawings, one of them damaged and one empty."""
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:04}.jpg").write_bytes(encode(lesion(96, 80, seed=number), "JPEG"))
    (folder / "0001.jpg").write_bytes(b"not an image")
    (folder / "0002.jpg").write_bytes(b"")
    return folder


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write_images(tmp_path / "images", 8)


def rows_of(out: Path, kind: str) -> pa.Table:
    """All rows of a folder of parts, by image."""
    return pa.concat_tables([pq.read_table(part) for part in (out / kind).glob("*.parquet")]).sort_by("image")


def assert_same_rows(one: Path, other: Path) -> None:
    for kind in (parts.PREDICTIONS, parts.FAILURES):
        assert rows_of(one, kind).equals(rows_of(other, kind), check_metadata=True), kind


def scorer(out: Path, model: registry.Model) -> Callable[[list[Path]], dict[str, Any]]:
    """A worker, without Ray."""
    for kind in (parts.PREDICTIONS, parts.FAILURES):
        (out / kind).mkdir(parents=True, exist_ok=True)
    one = cluster.Scorer(out, model, EXTRAS, cluster.libraries())
    return lambda lists: one({"file": [str(file) for file in lists]})


def test_a_worker_writes_the_rows_of_one_machine(images: Path, tmp_path: Path, model: registry.Model) -> None:
    scoring.score(images, model, tmp_path / "local", extras=EXTRAS)
    named = list(cases.open_source(images).cases)
    with cluster._lists(named, tmp_path / "lists", 3) as lists:
        assert len(lists) == 3
        assert scorer(tmp_path / "cluster", model)(lists) == {"predicted": [1, 3, 2], "failed": [2, 0, 0]}
    assert not (tmp_path / "lists").exists()
    assert_same_rows(tmp_path / "local", tmp_path / "cluster")


def test_a_group_that_runs_again_replaces_its_part(images: Path, tmp_path: Path, model: registry.Model) -> None:
    out = tmp_path / "out"
    work = scorer(out, model)
    named = list(cases.open_source(images).cases)
    with cluster._lists(named, tmp_path / "lists", 8) as lists:
        work(lists)
        first = rows_of(out, parts.PREDICTIONS)
        for name in ("0001.jpg", "0002.jpg"):
            (images / name).write_bytes(encode(lesion(96, 80, seed=77), "JPEG"))
        assert work(lists) == {"predicted": [8], "failed": [0]}
    assert not list((out / parts.FAILURES).iterdir())
    assert rows_of(out, parts.PREDICTIONS)["image"].to_pylist() == [name for name, _ in named]
    assert set(first["image"].to_pylist()) < {name for name, _ in named}


def test_a_worker_of_a_run_that_was_replaced_writes_nothing(
    images: Path, tmp_path: Path, model: registry.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    work = scorer(out, model)
    monkeypatch.setattr(cluster, "SETTLING_SECONDS", 0)
    # as if another run began while this one was writing
    write = parts.write

    def replaced_meanwhile(*arguments: Any) -> None:
        write(*arguments)
        cluster._end_earlier_run(tmp_path / "lists")

    monkeypatch.setattr(parts, "write", replaced_meanwhile)
    with (
        cluster._lists(cases.open_source(images).cases, tmp_path / "lists", 8) as lists,
        pytest.raises(DataError, match="Another run has started writing to this folder"),
    ):
        work(lists)
    assert not list((out / parts.PREDICTIONS).iterdir())


def test_one_machine_resumes_a_run_of_a_cluster(images: Path, tmp_path: Path, model: registry.Model) -> None:
    out = tmp_path / "out"
    named = list(cases.open_source(images).cases)
    with cluster._lists(named[:4], tmp_path / "lists", 4) as lists:
        scorer(out, model)(lists)
    summary = scoring.score(images, model, out, extras=EXTRAS)
    assert (summary.skipped, summary.scored, summary.failed) == (2, 4, 2)
    again = scoring.score(images, model, out, extras=EXTRAS)
    assert (again.skipped, again.scored) == (6, 0)
    scoring.score(images, model, tmp_path / "local", extras=EXTRAS)
    assert_same_rows(out, tmp_path / "local")


def test_a_machine_with_other_libraries_or_another_model_is_refused(
    tmp_path: Path, model: registry.Model, own_models: Path
) -> None:
    other = cluster.libraries() | {"pillow": "1.0"}
    with pytest.raises(
        DataError, match="the versions of pillow are not those of the machine where the command was started"
    ):
        cluster.Scorer(tmp_path, model, EXTRAS, other)
    changed = registry.read(own_models / model.id)
    with (own_models / model.id / changed.weights[0]).open("ab") as stream:
        stream.write(b"more")
    with pytest.raises(ModelError):
        cluster.Scorer(tmp_path, changed, EXTRAS, cluster.libraries())


@pytest.mark.parametrize("address", ["127.0.0.1:{free}", "nowhere.invalid:6379", "127.0.0.1", "127.0.0.1:99999"])
def test_an_address_that_does_not_answer_is_reported(
    address: str, images: Path, tmp_path: Path, model: registry.Model
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = address.format(free=free.getsockname()[1])
    with pytest.raises(DataError, match=f"No Ray cluster answers at {address} .*such as 10.0.0.1:6379"):
        cluster.score(images, model, tmp_path / "out", address)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("total", "cores", "size"), [(None, 8, 256), (10, 2, 1), (1_000, 2, 63), (10_000_000, 64, 1024)]
)
def test_groups_keep_all_cores_busy_and_are_never_large(total: int | None, cores: int, size: int) -> None:
    assert cluster._group_size(total, cores) == size


@pytest.mark.parametrize("engine", [scoring, cluster])
@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (sqlite3.OperationalError("database or disk is full"), "set SQLITE_TMPDIR to another one"),
        (OSError(errno.ENOSPC, "No space left on device"), r"out cannot be written \(No space left on device"),
    ],
)
def test_a_full_disk_is_reported(
    engine: ModuleType,
    error: Exception,
    sentence: str,
    images: Path,
    tmp_path: Path,
    model: registry.Model,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full() -> DiskDict:
        raise error

    # even without Ray, which is needed only later
    monkeypatch.setattr(cluster, "_check_installed", lambda: None)
    monkeypatch.setattr(engine, "DiskDict", full)
    with pytest.raises(DataError, match=sentence):
        engine.score(images, model, tmp_path / "out")


def test_a_csv_file_is_refused(images: Path, tmp_path: Path, model: registry.Model) -> None:
    with pytest.raises(DataError, match=r"writes a folder of Parquet files; with --out, name a folder"):
        cluster.score(images, model, tmp_path / "out.csv")


def test_without_ray_the_command_says_what_to_install(
    images: Path,
    tmp_path: Path,
    model: registry.Model,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    arguments = ["score", str(images), "--model", model.id, "--out", str(tmp_path / "out")]
    assert main([*arguments, "--engine", "ray"]) == 2
    assert "needs Ray: pip install -r requirements-cluster.txt" in capsys.readouterr().err
    assert main([*arguments, "--engine", "ray", "--shard", "1/2"]) == 2
    assert "leave out --shard" in capsys.readouterr().err
    assert main([*arguments, "--address", "auto"]) == 2
    assert "add --engine ray" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def start_scoring(images: Path, out: Path, model: registry.Model, address: str = "") -> subprocess.Popen[str]:
    """`python -m skinapp score --engine ray`, running."""
    command = [sys.executable, "-m", "skinapp", "score", images, "--model", model.id, "--out", out, "--engine", "ray"]
    command += ["--sets", "--embeddings", "--cam", *(["--address", address] if address else [])]
    return subprocess.Popen([*map(str, command)], cwd=CHECKOUT, text=True, stderr=subprocess.PIPE)


def local(images: Path, out: Path, model: registry.Model) -> Path:
    """The same on this machine."""
    coverages = conformal.stored(model)
    scoring.score(images, model, out, extras=Extras(coverages, embedding=True, class_map=True))
    return out


@needs_ray
@pytest.mark.slow
def test_the_cores_of_this_machine_alone(images: Path, tmp_path: Path, model: registry.Model) -> None:
    process = start_scoring(images, tmp_path / "out", model)
    _, messages = process.communicate()
    assert process.returncode == 0, messages
    assert "6 scored, 0 already scored" in messages
    assert_same_rows(tmp_path / "out", local(images, tmp_path / "local", model))
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["complete"]
    assert manifest["images"] == {"predicted": 6, "failed": 2}
    assert not (tmp_path / "out" / cluster.WAITING).exists()


@needs_ray
@pytest.mark.slow
# Ray warns about its own settings
@pytest.mark.filterwarnings("ignore")
def test_an_error_in_a_worker_is_our_own_message(
    images: Path, tmp_path: Path, model: registry.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "libraries", lambda: dict.fromkeys(manifest.LIBRARIES, "1.0"))
    # the workers have the real ones
    with pytest.raises(DataError, match=r"^On \S+, the versions of .*pillow.*use the same requirements.txt"):
        cluster.score(images, model, tmp_path / "out")
    assert not (tmp_path / "out" / cluster.WAITING).exists()


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    three = Nodes(3)
    yield three
    three.shutdown()


def wait_for_parts(out: Path, count: int, process: subprocess.Popen) -> None:
    until = time.monotonic() + 240
    while len(list((out / parts.PREDICTIONS).glob("*.parquet"))) < count:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < until
        time.sleep(0.05)


@needs_ray
@pytest.mark.slow
def test_killed_workers_and_nodes_and_a_stopped_run_lose_and_double_nothing(
    tmp_path: Path, model: registry.Model, nodes: Nodes
) -> None:
    images, out = write_images(tmp_path / "images", 240), tmp_path / "out"
    address = nodes.address

    stopped = start_scoring(images, out, model, address)
    wait_for_parts(out, 2, stopped)
    nodes.kill_worker()
    wait_for_parts(out, 6, stopped)
    stopped.kill()
    stopped.communicate()
    assert (out / cluster.WAITING).exists()
    # left by a machine that dies while writing
    (out / parts.PREDICTIONS / "partial-0123-part-of-0.parquet").write_bytes(b"PAR1 half")

    resumed = start_scoring(images, out, model, address)
    wait_for_parts(out, len(list((out / parts.PREDICTIONS).glob("part*.parquet"))) + 2, resumed)
    nodes.kill_node()
    _, messages = resumed.communicate(timeout=300)
    assert resumed.returncode == 0, messages
    (scored,) = re.findall(r"(\d+) scored, (\d+) already scored", messages)
    assert sum(map(int, scored)) == 238
    assert int(scored[1]) > 0
    assert not list((out / parts.PREDICTIONS).glob("partial*"))
    assert_same_rows(out, local(images, tmp_path / "local", model))
