"""How a published model was trained: its losses by epoch, and its scores under other protocols."""

import pandas as pd

from skinapp.errors import DataError
from skinapp.evaluation.measures import MEASURES
from skinapp.inference.registry import Model


def history(model: Model) -> pd.DataFrame:
    """The model's history.csv in long form: epoch, series, value, chosen and, for several networks, fold, which numbers
    them. Series are the columns of losses and accuracies. DataError if it cannot be read."""
    try:
        table = pd.read_csv(model.folder / "history.csv")
    except (OSError, ValueError) as error:
        raise DataError(f"The history.csv of '{model.id}' cannot be read ({error}).") from None
    wanted = [name for name in table.columns if "loss" in name or "accuracy" in name]
    if "epoch" not in table or not wanted:
        raise DataError(f"The history.csv of '{model.id}' lacks the columns epoch and loss; export the model again.")
    chosen = table.get("chosen", pd.Series(False, index=table.index)).astype(str).str.lower() == "true"
    fold = next(({"fold": table[name]} for name in ("fold", "network") if name in table), {})
    table = table[["epoch", *wanted]].assign(chosen=chosen, **fold)
    long = table.melt(["epoch", "chosen", *fold], var_name="series", value_name="value")
    # with several losses, Keras adds the name of the output to a metric; it is the same metric
    long["series"] = long["series"].str.replace("logits_", "")
    return long.dropna(subset=["value"]).reset_index(drop=True)


def protocols(model: Model) -> pd.DataFrame:
    """A model's scores under its own protocol and others: test, protocol, images, score, value, low, high.

    A test named after a data set in the training data is left out: it is that set's held-out part, under the same
    protocol. So is a test on images of another data set.
    """
    tests = [{"name": "Whole lesions or patients held out", "protocol": model.card["training"]["protocol"]}]
    tests[0] |= model.card["test"] | {"scores": model.card["scores"]}
    trained_on = model.card["training"]["dataset"]
    others = [
        test
        for test in model.card.get("other_tests", [])
        if test["name"] not in trained_on and "predictions" not in test
    ]
    rows = [
        {"test": test["name"], "protocol": test["protocol"], "images": test["images"], "score": name} | figures
        for test in [*tests, *others]
        for name, figures in test["scores"].items()
        if name in MEASURES
    ]
    return pd.DataFrame(rows)
