"""The operating point of a comparison, and what is said about its thresholds."""

from streamlit.testing.v1 import AppTest


def answer() -> None:
    """A cross-validated model and three others on images from elsewhere; only the first has held-out thresholds."""
    import dataclasses

    from skinapp.evaluation import comparison
    from skinapp.inference import registry
    from skinapp.labels.sets import HAM10000
    from skinapp.ui import operating_point
    from skinapp.ui.operating_point import Setting
    from tests.evaluation.conftest import made

    model = registry.model("ham10000-efficientnetb1")
    crossed = dataclasses.replace(model, card=model.card | {"training": {"images": {"train": 90}}})
    known = {name: made(name, HAM10000, seed=seed) for seed, name in enumerate(("one", "two", "three", "four"))}
    known["one"] = dataclasses.replace(known["one"], model=crossed, further=("made",))
    target = comparison.targets(HAM10000)["mel"]
    shared = comparison.share(list(known.values()), comparison.CLASSES, "made", target)
    answered = operating_point.answer(shared, known, ["one", "two"], Setting(0.95, 0.5, 0.05), "made")
    operating_point.show_answer(shared, known, ["one", "two"], answered, {name: name for name in known})


def test_only_models_without_held_out_thresholds_are_named() -> None:
    at = AppTest.from_function(answer, default_timeout=60).run()
    assert not at.exception
    words = "For two, three and four, no threshold from held-out lesions finds 95% of melanomas."
    assert any(words in one.value for one in at.caption)
