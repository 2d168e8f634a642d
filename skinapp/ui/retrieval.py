"""Training images similar to an image, and how informative their agreement is."""

import streamlit as st

from skinapp.datasets import isic, registry
from skinapp.errors import ModelError, SkinappError
from skinapp.images import imaging
from skinapp.inference import retrieval
from skinapp.inference.analysis import Analysis
from skinapp.ui import gallery, layout


def show(analysis: Analysis) -> None:
    """The training images nearest to the image."""
    source = retrieval.with_index(analysis.model)
    if source is None:
        st.info("Similar cases are not available for this model.")
        return
    try:
        cases = retrieval.index(source).nearest(analysis.prediction.embedding)
        card = retrieval.card(source)
    except ModelError as error:
        st.warning(str(error))
        return
    labels, predicted = analysis.model.labels, analysis.prediction.predicted
    agreeing = sum(case.label == predicted for case in cases)
    st.markdown(
        f"The most similar of the {card['images']:,} training images, as the model sees them, one per lesion. "
        f"{agreeing} of {len(cases)} have the predicted diagnosis, “{layout.plain(labels[predicted].name)}”."
    )
    with st.grid(len(cases), min_column_width=140, gap="small"):
        for case in cases:
            with st.container(gap="xsmall"):
                name = labels[case.label].name
                _thumbnail(case.image, f"{case.image}, {name}")
                mark = ":material/check:" if case.label == predicted else ":material/close:"
                st.markdown(f"{mark} **{name}**  \n[{case.image}]({isic.page(case.image)}), {case.similarity:.2f}")
    test = card["test"]
    agreement = {"all": f"all {test['asked']}", "most": "more than half", "fewer": "fewer than half"}
    accuracies = "; ".join(
        f"{part['right']['value']:.0%} where {agreement[band]} agreed (95% interval {part['right']['low']:.0%} to "
        f"{part['right']['high']:.0%}, {part['images']:,} images)"
        for band, part in test["sure"].items()
    )
    st.caption(
        f"Numbers are cosine similarities of the embeddings. On {test['images']:,} test images, the prediction was "
        f"correct for {accuracies}. Cases that look alike to the model may not look alike to a doctor."
    )


def _thumbnail(image: str, alt: str) -> None:
    """An image of HAM10000, where the data set is on this machine."""
    folder = registry.data_root() / registry.DATASETS["ham10000"].folder / "images"
    file = next((file for ending in imaging.EXTENSIONS if (file := folder / f"{image}{ending}").is_file()), None)
    if file is None:
        return
    try:
        st.image(gallery.small(str(file), file.stat().st_mtime), width="stretch", alt=alt)
    except (OSError, SkinappError):
        st.caption("The image can no longer be read.")
