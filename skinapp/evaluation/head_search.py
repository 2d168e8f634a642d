"""The results of `python -m train search-head`: heads of a pre-trained network, each trained with one augmentation."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from skinapp.errors import DataError

FILE = Path(__file__).with_name("head_search.json")


@dataclass(frozen=True)
class HeadSearch:
    """The heads that were tried: `trials` has a row for each, the best on the validation lesions first.

    Its columns are trial, the settings of the head (augmentation, hidden, dropout, learning_rate), parameters, epoch,
    and val_balanced_accuracy and val_accuracy, each with the limits of its 95% interval in the columns _low and _high.
    `settings` are those of the search as a whole; `images` and `lesions` count its parts, train and validation.
    """

    settings: dict[str, Any]
    images: dict[str, int]
    lesions: dict[str, int]
    trials: pd.DataFrame


def read(file: Path = FILE) -> HeadSearch | None:
    """The result in a file; None if there is none. DataError if it cannot be read."""
    try:
        content = json.loads(file.read_text())
        trials = pd.DataFrame(content["trials"])
        return HeadSearch(
            content["settings"],
            {name: part["images"] for name, part in content["parts"].items()},
            {name: part["lesions"] for name, part in content["parts"].items()},
            trials.sort_values("val_balanced_accuracy", ascending=False, kind="stable", ignore_index=True),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{file} is not the result of a search ({error}); run python -m train search-head again."
        ) from None
