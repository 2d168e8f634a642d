"""A CSV that grows row by row, and can be continued wherever writing stopped."""

from pathlib import Path

import pytest

from skinapp.errors import DataError
from skinapp.inference import registry
from skinapp.inference.csv_file import CsvFile
from skinapp.inference.rows import NO_EXTRAS, Extras, Row


def row(name: str, model: registry.Model) -> Row:
    probabilities = {f"p_{code}": 1 / len(model.labels.codes) for code in model.labels.codes}
    return {"image": name, "sha256": "0", "model": model.id, "predicted": "nv", "malignancy": 0.5} | probabilities


def write(file: Path, names: list[str], model: registry.Model) -> None:
    """Add the missing rows to the file."""
    csv_file = CsvFile(file, model, NO_EXTRAS)
    done = set(csv_file.scored())
    with csv_file:
        for name in names:
            if name not in done:
                csv_file.add(row(name, model))


def test_whatever_byte_a_run_stopped_at_the_next_one_completes_it(tmp_path: Path, model: registry.Model) -> None:
    out, names = tmp_path / "p.csv", ["a.png", "b.png", 'two,"lines"\nof.png']
    write(out, names, model)
    whole = out.read_bytes()
    assert list(CsvFile(out, model, NO_EXTRAS).scored()) == names
    for size in range(len(whole)):
        out.write_bytes(whole[:size])
        write(out, names, model)
        assert out.read_bytes() == whole, size


def test_arrays_need_a_folder(tmp_path: Path, model: registry.Model) -> None:
    for extras in (Extras(embedding=True), Extras(class_map=True)):
        with pytest.raises(DataError, match="name a folder"):
            CsvFile(tmp_path / "p.csv", model, extras)
