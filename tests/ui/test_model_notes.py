"""The limits of a model, in sentences."""

from streamlit.testing.v1 import AppTest


def limits(model_id: str) -> None:
    from skinapp.inference import registry
    from skinapp.ui import model_notes

    model_notes.show_limits(registry.model(model_id))


def test_the_malignant_diagnoses_are_listed_within_the_sentence() -> None:
    at = AppTest.from_function(limits, default_timeout=60, args=("ham10000-efficientnetb1",)).run()
    assert not at.exception
    words = " ".join(one.value for one in at.markdown)
    diagnoses = "actinic keratosis or Bowen's disease, basal cell carcinoma and melanoma"
    assert f"of the images of {diagnoses}, it gave these diagnoses a combined" in words
