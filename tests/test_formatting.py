"""Lists for use within sentences."""

import pytest

from skinapp.formatting import joined


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], ""),
        (["hairs"], "hairs"),
        (["hairs", "ink"], "hairs or ink"),
        (["hairs", "rulers", "ink"], "hairs, rulers or ink"),
    ],
)
def test_a_list_ends_with_its_conjunction(names: list[str], words: str) -> None:
    assert joined(names, "or") == words
