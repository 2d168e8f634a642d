from pathlib import Path

import pytest

from skinapp.errors import DataError
from skinapp.evaluation import head_search


def test_without_a_search_there_is_no_result(tmp_path: Path) -> None:
    assert head_search.read(tmp_path / "none.json") is None


def test_another_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    for content in ("no JSON", "{}", '{"trials": 1, "settings": {}, "parts": {}}'):
        file.write_text(content)
        with pytest.raises(DataError, match=r"result\.json is not the result of a search .*search-head again"):
            head_search.read(file)
