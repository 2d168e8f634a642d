"""Training images similar to an image, and how informative their agreement is."""

import streamlit as st

from skinapp.datasets import isic, registry
from skinapp.datasets.registry import DATASETS, DataSet
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
    # cards of older indices, all made from HAM10000, do not name the data set
    dataset = DATASETS[card.get("dataset", "ham10000")]
    looked_up = card.get("looked_up", dataset.title)
    labels, predicted = analysis.model.labels, analysis.prediction.predicted
    agreeing = sum(case.label == predicted for case in cases)
    name = layout.plain(labels[predicted].name)
    st.markdown(
        f"The most similar of {card['images']:,} images from {dataset.title}, as the model sees them, one per "
        f"{dataset.group}. {agreeing} of {len(cases)} have the predicted class, “{name}”."
    )
    with st.grid(len(cases), min_column_width=140, gap="small"):
        for case in cases:
            with st.container(gap="xsmall"):
                name = labels[case.label].name
                _thumbnail(dataset, case.image, f"{case.image}, {name}")
                mark = ":material/check:" if case.label == predicted else ":material/close:"
                image = layout.plain(case.image)
                if dataset.id == "ham10000":
                    image = f"[{image}]({isic.page(case.image)})"
                st.markdown(f"{mark} **{name}**  \n:small[{image}], {case.similarity:.2f}")
    test = card["test"]
    agreement = {"all": f"all {retrieval.NEIGHBOURS}", "most": "more than half", "fewer": "fewer than half"}
    accuracies = "; ".join(
        f"{part['right']['value']:.0%} where {agreement[band]} agreed ({_interval(part['right'])}{part['images']:,} "
        "images)"
        for band, part in test["sure"].items()
    )
    st.caption(
        f"Numbers are cosine similarities of the embeddings. On {test['images']:,} test images from {looked_up}, the "
        f"prediction was correct for {accuracies}. Cases that look alike to the model may not look alike to a doctor."
    )


def _interval(share: dict[str, float | None]) -> str:
    """The interval of a share, empty if it was computed from too few lesions."""
    low, high = share["low"], share["high"]
    return "" if low is None or high is None else f"95% interval {low:.0%} to {high:.0%}, "


def _thumbnail(dataset: DataSet, image: str, alt: str) -> None:
    """Show an image of a data set, if the data set is on this machine."""
    folder = registry.data_root() / dataset.folder / dataset.images[0]
    file = next((file for ending in imaging.EXTENSIONS if (file := folder / f"{image}{ending}").is_file()), None)
    if file is None:
        return
    try:
        st.image(gallery.small(str(file), file.stat().st_mtime), width="stretch", alt=alt)
    except (OSError, SkinappError):
        st.caption("The image can no longer be read.")
