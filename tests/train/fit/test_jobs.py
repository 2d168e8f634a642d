import argparse
import dataclasses
import json
import os
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from skinapp.errors import DataError
from tests.train.conftest import nth_call
from train.config import Config
from train.fit import cross_validation, jobs


@pytest.fixture
def crossed_config(tiny: Config) -> Config:
    """Two parts, and a network on all images, in one stage."""
    return dataclasses.replace(tiny, fold=None, stages=tiny.stages[:1])


def options(config: Config, folder: Path, **more: object) -> argparse.Namespace:
    """Those of `train fit`, with the configuration in a file."""
    folder.mkdir(exist_ok=True)
    file = folder / "tiny.yaml"
    file.write_text(json.dumps(dataclasses.asdict(config)))
    usual: dict[str, object] = {"devices": 1, "images_on_device": False, "jobs": 2, "seeds": 0, "part": None}
    usual["settings"] = []
    return argparse.Namespace(config=file, runs=folder / "runs", **usual | more)


def test_a_cross_validation_is_a_job_for_each_part_and_one_for_all_images(crossed_config: Config) -> None:
    assert [(job.config.id, job.config.fold, job.options) for job in jobs.listed(crossed_config, 0, None)] == [
        ("tiny-fold-0", 0, ("--part", "0")),
        ("tiny-fold-1", 1, ("--part", "1")),
        ("tiny", None, ("--part", "2")),
    ]
    committee = dataclasses.replace(crossed_config, committee=True)
    assert [job.config.id for job in jobs.listed(committee, 0, None)] == ["tiny-fold-0", "tiny-fold-1"]
    assert [job.config.id for job in jobs.listed(crossed_config, 0, 1)] == ["tiny-fold-1"]


def test_each_seed_is_a_separate_run(tiny: Config, crossed_config: Config) -> None:
    assert [(job.config.id, job.config.seed, job.options, job.settings) for job in jobs.listed(tiny, 2, None)] == [
        ("tiny-seed-0", 0, (), ("id=tiny-seed-0", "seed=0")),
        ("tiny-seed-1", 1, (), ("id=tiny-seed-1", "seed=1")),
    ]
    assert [job.config.id for job in jobs.listed(crossed_config, 2, 1)] == ["tiny-seed-0-fold-1", "tiny-seed-1-fold-1"]


@pytest.mark.parametrize(
    ("fold", "more", "sentence"),
    [
        (0, {"part": 1}, "--part is for a cross-validation; leave it out, or set fold=null, not fold=0"),
        (None, {"part": 3}, "--part is 3; this configuration has the parts 0 to 2"),
        (None, {"jobs": 0}, "--jobs is 0; it must be at least 1"),
        (None, {"seeds": -1}, "--seeds is -1; it must be at least 1"),
        (None, {"settings": ["fold=null"]}, "for several hosts, leave it out"),
    ],
)
def test_impossible_options_are_reported(
    fold: int | None,
    more: dict[str, object],
    sentence: str,
    tiny: Config,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KERAS_DISTRIBUTION_NUM_PROCESSES", "2")
    config = dataclasses.replace(tiny, fold=fold)
    with pytest.raises(DataError, match=sentence):
        jobs.fit(config, options(config, tmp_path, **more))


def test_jobs_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (jobs.VISIBLE, *jobs.THREADS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(jobs, "GPUS", Path("nowhere"))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(9)), raising=False)
    assert jobs.environment(1, 4, 1) == dict.fromkeys(jobs.THREADS, "2")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert jobs.environment(1, 4, 1)["OMP_NUM_THREADS"] == "1"
    assert jobs.environment(0, 20, 1)["NPROC"] == "1"


def test_jobs_have_separate_gpus_or_share_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(jobs.VISIBLE, raising=False)
    for number in range(4):
        (tmp_path / f"0000:{number:02}").mkdir()
    monkeypatch.setattr(jobs, "GPUS", tmp_path)
    assert [jobs.environment(slot, 2, 2) for slot in (0, 1)] == [{jobs.VISIBLE: "0,1"}, {jobs.VISIBLE: "2,3"}]
    shared = jobs.environment(4, 5, 1)
    assert shared[jobs.VISIBLE] == "0"
    assert shared["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"
    monkeypatch.setenv(jobs.VISIBLE, "GPU-8f,GPU-9a")
    assert jobs.environment(1, 2, 1) == {jobs.VISIBLE: "GPU-9a"}


def test_a_job_that_fails_is_named_with_its_last_words(
    crossed_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "import sys; print(sys.argv); sys.exit('no luck' if '--part 1' in ' '.join(sys.argv) else 0)"
    monkeypatch.setattr(jobs, "COMMAND", (sys.executable, "-c", script))
    monkeypatch.setattr(jobs, "SECONDS", 0.01)
    chosen = options(crossed_config, tmp_path, settings=["dropout=0.3"], seeds=1)
    with pytest.raises(DataError, match=r"1 of 3 networks were not trained:\n.*tiny-seed-0-fold-1/fit.log: no luck"):
        jobs.fit(crossed_config, chosen)
    started = (chosen.runs / "tiny-seed-0" / "fit.log").read_text()
    assert "'--part', '2', 'dropout=0.3', 'id=tiny-seed-0', 'seed=0']" in started


def test_stopping_ends_every_job(crossed_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []
    begin = jobs._start
    monkeypatch.setattr(jobs, "COMMAND", (sys.executable, "-c", "import time; time.sleep(600)"))
    monkeypatch.setattr(jobs, "_start", lambda *arguments: begun.append(begin(*arguments)) or begun[-1])
    nth_call(monkeypatch, time, "sleep", 1)
    with pytest.raises(KeyboardInterrupt):
        jobs.fit(crossed_config, options(crossed_config, tmp_path))
    assert len(begun) == 2
    assert all(process.poll() is not None for process in begun)


@pytest.mark.slow
def test_networks_trained_side_by_side_are_those_trained_one_after_another(
    crossed_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dataclasses.replace(crossed_config, augmentation="none", dropout=0.0)
    cross_validation.fit_all(cross_validation.networks(config), tmp_path / "one")
    monkeypatch.setattr(jobs, "COMMAND", (sys.executable, "-m", "tests.train.tiny_command"))
    chosen = options(config, tmp_path / "together")
    files = jobs.fit(config, chosen)
    assert [file.relative_to(chosen.runs) for file in files] == [
        Path("tiny-fold-0/stage-1/best.keras"),
        Path("tiny-fold-1/stage-1/best.keras"),
        Path("tiny/stage-1/last.keras"),
    ]
    for file in files:
        alone = tmp_path / "one" / file.relative_to(chosen.runs)
        losses = [pd.read_csv(one.parent / "history.csv")["loss"].to_numpy() for one in (file, alone)]
        assert losses[0] == pytest.approx(losses[1], abs=1e-4)
