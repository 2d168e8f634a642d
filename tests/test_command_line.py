"""The command line, as a person runs it: arguments in, exit code and text out."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from skinapp.__main__ import main
from skinapp.evaluation import predictions
from skinapp.images import artefacts, imaging, synthetic
from skinapp.inference import registry, runtime, warnings
from tests.pictures import lesion

MODEL = "ham10000-efficientnetb1"


def photo(path: Path, seed: int = 0) -> Path:
    """A drawn lesion, saved in the format of the path's ending."""
    lesion(400, 300, seed).save(path)
    return path


def test_models_lists_every_folder(capsys: pytest.CaptureFixture) -> None:
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(registry.models())


def test_models_json_is_the_cards(capsys: pytest.CaptureFixture) -> None:
    assert main(["models", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [model.card for model in registry.models().values()]


def test_classify_json(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    files = [photo(tmp_path / name, seed) for seed, name in enumerate(("a.jpg", "b.png"))]
    assert main(["classify", *map(str, files), "--model", MODEL, "--json"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    model = registry.model(MODEL)
    for file, answer in zip(files, answers, strict=True):
        expected = runtime.classifier(model).predict(imaging.load(file, model.input_size))
        assert answer["image"] == str(file)
        assert answer["model"] == MODEL
        assert list(answer["probabilities"]) == list(model.labels.codes)
        assert sum(answer["probabilities"].values()) == pytest.approx(1)
        assert list(answer["probabilities"].values()) == pytest.approx(expected.probabilities.tolist())
        malignant = sum(answer["probabilities"][code] for code in ("akiec", "bcc", "mel"))
        assert answer["malignancy"] == pytest.approx(malignant)
        assert answer["predicted"] == max(answer["probabilities"], key=answer["probabilities"].__getitem__)


def test_classify_removes_what_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    model, file = registry.model(MODEL), tmp_path / "marked.png"
    image = synthetic.with_hairs(synthetic.draw(0, 400, 400), np.random.default_rng(0), 12)
    image.save(file)
    assert main(["classify", str(file), "--model", MODEL, "--json", "--remove", "hair,sticker"]) == 0
    answer = json.loads(capsys.readouterr().out)
    without = artefacts.remove(imaging.load(file, model.input_size), ["hair", "sticker"])
    expected = runtime.classifier(model).predict(without.pixels)
    assert list(answer["probabilities"].values()) == pytest.approx(expected.probabilities.tolist())
    assert answer["removed"] == {"hair": round(without.shares["hair"], 4), "sticker": 0.0}
    assert main(["classify", str(file), "--model", MODEL, "--remove", "hair"]) == 0
    assert "Removed: hairs" in capsys.readouterr().out
    assert main(["classify", str(file), "--model", MODEL, "--json"]) == 0
    assert "removed" not in json.loads(capsys.readouterr().out)
    with pytest.raises(SystemExit) as stopped:
        main(["classify", str(file), "--remove", "freckles"])
    assert stopped.value.code == 2
    assert "'freckles' cannot be removed; use one or more of hair, ruler" in capsys.readouterr().err


def test_classify_shows_warnings_that_predict_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a warning that was not measured is shown
    monkeypatch.setattr(warnings, "card", dict)
    lesion(120, 90).save(tmp_path / "a.png")
    assert main(["classify", str(tmp_path / "a.png"), "--model", MODEL, "--json"]) == 0
    assert "small" in json.loads(capsys.readouterr().out)["warnings"]
    assert main(["classify", str(tmp_path / "a.png"), "--model", MODEL]) == 0
    assert "Warning: The image is small" in capsys.readouterr().out


def test_classify_says_what_the_number_means(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file = str(photo(tmp_path / "a.jpg"))
    assert main(["classify", file, "--model", MODEL, "--json", "--prevalence", "0.02"]) == 0
    answer = json.loads(capsys.readouterr().out)
    observed = answer["observed"]
    cancer = answer["probabilities"]["bcc"] + answer["probabilities"]["mel"]
    assert observed["probability"] == pytest.approx(cancer)
    assert observed["low"] <= cancer <= observed["high"]
    share = observed["test_positive"] / observed["test_images"]
    risk = observed["risk"]["value"]
    odds = risk / (1 - risk) * (0.02 / 0.98) / (share / (1 - share))
    assert answer["at_prevalence"]["value"] == pytest.approx(odds / (1 + odds))
    assert main(["classify", file, "--model", MODEL, "--prevalence", "0.02"]) == 0
    out = capsys.readouterr().out
    assert "Of 100 test images that got an answer like this" in out
    assert f"based on {observed['images']:,} images" in out
    assert "Where 2% of such lesions are cancer, " in out
    assert main(["classify", file, "--model", MODEL, "--prevalence", "2"]) == 2
    assert "The prevalence must be above 0 and below 1" in capsys.readouterr().err


def test_an_image_of_something_else_gets_neither_a_set_nor_a_count(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    file = tmp_path / "blank.png"
    Image.new("RGB", (300, 300), (90, 120, 200)).save(file)
    command = ["classify", str(file), "--coverage", "0.95", "--json"]
    assert main(command) == 2
    assert json.loads(capsys.readouterr().out)["probabilities"] is None
    assert main([*command, "--anyway"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert sum(answer["probabilities"].values()) == pytest.approx(1)
    assert {"set", "observed"}.isdisjoint(answer)


def test_a_coverage_gives_a_set(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file = photo(tmp_path / "a.jpg")
    assert main(["classify", str(file), "--model", MODEL, "--json", "--coverage", "0.9"]) == 0
    answer = json.loads(capsys.readouterr().out)
    stored = registry.model(MODEL).card["conformal"]
    thresholds = {code: one["thresholds"][stored["coverages"].index(0.9)] for code, one in stored["classes"].items()}
    inside = {code for code, share in answer["probabilities"].items() if share >= thresholds[code]}
    assert set(answer["set"]) == inside | {answer["predicted"]}
    assert answer["set"][0] == answer["predicted"]

    out = tmp_path / "p.csv"
    command = ["score", str(tmp_path), "--model", MODEL, "--out", str(out)]
    assert main([*command, "--coverage", "0.9"]) == 0
    assert rows(out)[0]["set_0.9"].split() == answer["set"]
    # another coverage would add another column
    assert main([*command, "--coverage", "0.8"]) == 2
    assert "name another file" in capsys.readouterr().err

    assert main(["classify", str(file), "--model", MODEL, "--coverage", "0.99"]) == 0
    assert "With 99% certainty" in capsys.readouterr().out
    for arguments in (["classify", str(file), "--model", MODEL], command):
        assert main([*arguments, "--coverage", "0.5"]) == 2
        assert "for a coverage of 0.8, 0.9, 0.95, 0.99, not 0.5" in capsys.readouterr().err


def test_a_model_without_sets_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    folder = tmp_path / "models" / MODEL
    shutil.copytree(registry.default_root() / MODEL, folder)
    card = json.loads((folder / "model.json").read_text())
    del card["conformal"]
    (folder / "model.json").write_text(json.dumps(card))
    monkeypatch.setenv("SKINAPP_MODELS", str(tmp_path / "models"))
    assert main(["classify", str(photo(tmp_path / "a.jpg")), "--model", MODEL, "--coverage", "0.9"]) == 2
    assert "has no prediction sets" in capsys.readouterr().err


@pytest.mark.slow
def test_compare_answers_what_a_sensitivity_costs(capsys: pytest.CaptureFixture) -> None:
    assert main(["compare", MODEL, "ham10000-efficientnetv2b0", "--find", "mel", "--sensitivity", "0.9", "--json"]) == 0
    compared = json.loads(capsys.readouterr().out)
    assert compared["find"] == {"id": "mel", "name": "melanoma", "images": 168}
    [pair] = compared["pairs"]
    first, second, *_ = pair["answer"]
    assert first.startswith(f"Set to find 90% of melanomas, {MODEL} also flags ")
    assert second.startswith(f"Of the 168 melanomas here, {MODEL} finds ")
    assert "chosen on lesions held out from training" in pair["answer"][-1]


@pytest.mark.slow
def test_compare_measures_the_sets(capsys: pytest.CaptureFixture) -> None:
    assert main(["compare", MODEL, "ham10000-efficientnetv2b0", "--json", "--coverage", "0.9"]) == 0
    measured = json.loads(capsys.readouterr().out)["prediction_sets"]
    # each has two test sets
    assert [one["model"] for one in measured] == [MODEL] * 2 + ["ham10000-efficientnetv2b0"] * 2
    first = measured[0]
    overall = first["parts"][0]
    assert overall["images"] == 1503
    assert overall["coverage_low"] <= overall["coverage"] <= overall["coverage_high"]
    assert {part["by"] for part in first["parts"]} >= {"all", "class", "sex", "age", "site"}


def test_classify_writes_one_overlay_for_each_image(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    files = [photo(tmp_path / "a.jpg"), photo(tmp_path / "other" / "a.jpg", 1)]
    assert main(["classify", *map(str, files), "--cam-dir", str(tmp_path / "cams")]) == 0
    size = registry.model(MODEL).input_size
    overlays = sorted((tmp_path / "cams").iterdir())
    assert [overlay.name for overlay in overlays] == ["a.jpg.2.cam.png", "a.jpg.cam.png"]
    for overlay, file in zip(overlays, reversed(files), strict=True):
        with Image.open(overlay) as image:
            pixels = np.asarray(image)
        assert pixels.shape == (size, size, 3)
        assert (pixels != imaging.load(file, size)).any()


def test_classify_a_bad_file_among_good_ones(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    bad = tmp_path / "notes.jpg"
    bad.write_text("shopping list")
    assert main(["classify", str(bad), str(photo(tmp_path / "a.jpg")), "--json"]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["image"].endswith("a.jpg")
    assert "notes.jpg" in err
    assert "not a readable image" in err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["classify", "missing.jpg"], "There is no such file"),
        (["classify", "missing.jpg", "--model", "oracle"], "There is no model 'oracle'"),
        (["compare", MODEL, MODEL], "named twice"),
        (["compare", MODEL, "oracle"], "There is no model 'oracle'"),
        (["compare", MODEL, "missing.csv"], "The file missing.csv cannot be read"),
        (["compare", MODEL, "ham10000-cnn32", "--find", "wart"], "choose one of: mel, cancer"),
        (["compare", MODEL, "ham10000-cnn32", "--sensitivity", "95"], "--sensitivity must be above 0 and below 1"),
        (["score", "missing", "--model", MODEL, "--out", "out.csv"], "There is no folder or table missing"),
        (["score", ".", "--model", "oracle", "--out", "out.csv"], "There is no model 'oracle'"),
        (["score", ".", "--model", MODEL, "--out", "out.csv"], "There are no images in"),
    ],
)
def test_failures_give_an_error_message_and_exit_code_2(
    arguments: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert sentence in capsys.readouterr().err


def test_an_altered_model_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    shutil.copytree(registry.default_root() / MODEL, tmp_path / "models" / MODEL)
    weights = tmp_path / "models" / MODEL / "model.tflite"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    monkeypatch.setenv("SKINAPP_MODELS", str(tmp_path / "models"))
    assert main(["classify", str(photo(tmp_path / "a.jpg"))]) == 2
    assert "model.tflite" in capsys.readouterr().err


def test_no_models_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setenv("SKINAPP_MODELS", str(tmp_path / "nowhere"))
    for arguments in (["models"], ["classify", str(photo(tmp_path / "a.jpg"))]):
        assert main(arguments) == 2
        assert "nowhere" in capsys.readouterr().err


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_score_a_folder_with_failures_then_resume(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder, out = tmp_path / "images", tmp_path / "out" / "predictions.csv"
    (folder / "deep").mkdir(parents=True)
    photo(folder / "a.jpg")
    photo(folder / "deep" / "b.png", 1)
    (folder / "empty.jpg").touch()
    (folder / "readme.txt").write_text("not looked at")
    command = ["score", str(folder), "--model", MODEL, "--out", str(out)]
    assert main(command) == 0
    first = rows(out)
    assert [row["image"] for row in first] == ["a.jpg", "deep/b.png"]
    codes = registry.model(MODEL).labels.codes
    assert list(first[0])[-len(codes) :] == [f"p_{code}" for code in codes]
    assert sum(float(first[0][f"p_{code}"]) for code in codes) == pytest.approx(1, abs=1e-5)
    assert [(row["image"], "empty" in row["reason"]) for row in rows(out.with_name("predictions.failed.csv"))] == [
        ("empty.jpg", True)
    ]

    # like a run that was stopped while writing its second row
    lines = out.read_text().splitlines(keepends=True)
    out.write_text("".join(lines[:2]) + lines[2][:20])
    photo(folder / "empty.jpg", 2)
    capsys.readouterr()
    assert main(command) == 0
    assert "2 scored, 1 already scored" in capsys.readouterr().err
    again = rows(out)
    assert sorted(row["image"] for row in again) == ["a.jpg", "deep/b.png", "empty.jpg"]
    assert [row for row in again if row["image"] != "empty.jpg"] == first
    assert not out.with_name("predictions.failed.csv").exists()


def test_score_equals_classify(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file = photo(tmp_path / "a.jpg")
    main(["classify", str(file), "--json", "--model", MODEL])
    probabilities = json.loads(capsys.readouterr().out)["probabilities"]
    main(["score", str(tmp_path), "--model", MODEL, "--out", str(tmp_path / "p.csv")])
    row = rows(tmp_path / "p.csv")[0]
    assert {code: float(row[f"p_{code}"]) for code in probabilities} == pytest.approx(probabilities, abs=1e-5)


def test_score_a_table(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg")
    table = tmp_path / "table.csv"
    table.write_text("id,image\n1,a.jpg\n2,gone.jpg\n")
    assert main(["score", str(table), "--model", MODEL, "--out", str(tmp_path / "p.csv")]) == 0
    assert [row["image"] for row in rows(tmp_path / "p.csv")] == ["a.jpg"]
    assert [row["image"] for row in rows(tmp_path / "p.failed.csv")] == ["gone.jpg"]


def test_score_into_a_folder_of_parquet_files(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "images").mkdir()
    file, out = photo(tmp_path / "images" / "a.jpg"), tmp_path / "scores"
    command = ["score", str(file.parent), "--model", MODEL, "--embeddings", "--cam", "--out"]
    assert main([*command, str(out), "--sets", "--shard", "1/1"]) == 0
    assert main([*command, str(out), "--sets"]) == 0
    assert "0 scored, 1 already scored" in capsys.readouterr().err
    [row] = pq.read_table(out / "predictions").to_pylist()
    outputs = registry.model(MODEL).card["outputs"]
    assert [len(row["embedding"]), len(row["class_map"])] == [
        outputs["embedding"][0],
        np.prod(outputs["class_maps"][:2]),
    ]
    assert main(["classify", str(file), "--model", MODEL, "--json", "--coverage", "0.95"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert row["set_0.95"] == answer["set"]
    assert {code: row[f"p_{code}"] for code in answer["probabilities"]} == pytest.approx(answer["probabilities"])
    assert main([*command, str(tmp_path / "p.csv")]) == 2
    assert "name a folder instead" in capsys.readouterr().err
    assert main([*command, str(out), "--shard", "5/4"]) == 2
    assert "There is no shard 5/4; shards of 4 are 1/4 to 4/4." in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "file\na.jpg\n", "image\n", "\x00\xff"])
def test_score_a_file_that_is_not_a_table(content: str, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text(content)
    assert main(["score", str(table), "--model", MODEL, "--out", str(tmp_path / "p.csv")]) == 2


def test_score_never_writes_into_another_table(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    photo(tmp_path / "a.jpg")
    out = tmp_path / "p.csv"
    out.write_text("name,value\nx,1\n")
    assert main(["score", str(tmp_path), "--model", MODEL, "--out", str(out)]) == 2
    assert "name another file" in capsys.readouterr().err
    assert out.read_text() == "name,value\nx,1\n"


@pytest.mark.slow
def test_compare_prints_the_statistics_of_the_library(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    own = tmp_path / "mine.csv"
    table = predictions.of_model(registry.model(MODEL)).table.head(300)
    table[[f"p_{code}" for code in registry.model(MODEL).labels.codes]].reset_index().to_csv(own, index=False)
    assert main(["compare", MODEL, str(own), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["images"] == 300
    assert found["models"][MODEL] == found["models"][str(own)]
    [pair] = found["pairs"]
    assert (pair["mcnemar_p"], pair["delong_p"]) == (1, 1)
    assert main(["compare", MODEL, str(own)]) == 0
    text = capsys.readouterr().out
    assert "300 images" in text
    assert f"{found['models'][MODEL]['accuracy']['value']:.3f}" in text
    assert "as many of the" in text


def test_tensorflow_is_not_imported_to_classify(tmp_path: Path) -> None:
    code = (
        "import sys; from skinapp.__main__ import main; status = main(sys.argv[1:]);"
        "sys.exit(status or 10 * ('tensorflow' in sys.modules or 'keras' in sys.modules))"
    )
    command = [sys.executable, "-c", code, "classify", str(photo(tmp_path / "a.jpg"))]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0
