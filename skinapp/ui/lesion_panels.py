"""How far to believe a map, and what else can be said of the lesion: its outline, shape and colour, similar cases.

Every panel takes a `Subject`; the pages choose where it stands.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from skinapp.attention import catalogue as methods
from skinapp.attention import faithfulness, heatmap, pytorch_grad_cam, randomisation, sanity_check
from skinapp.charts.performance import lines
from skinapp.datasets import isic, registry
from skinapp.errors import ModelError, OutlineError, SkinappError
from skinapp.formatting import percent
from skinapp.images import imaging
from skinapp.images.imaging import Crop
from skinapp.inference import retrieval, runtime
from skinapp.inference.registry import Model
from skinapp.inference.runtime import Prediction
from skinapp.lesion import segmentation, shape
from skinapp.lesion.segmentation import Outline
from skinapp.ui import gallery, layout, panel
from skinapp.ui import photo as photos
from skinapp.ui.photo import Photo

FOUND, DRAWN = "Found by the network", "An ellipse"
STEPS = 12
"""Of the insertion and deletion curves: enough for their areas, and a second's work."""


@dataclass(frozen=True)
class Subject:
    """A map and what it is of: the model, the photo and its `crop`, the `square` uint8 [H, H, 3] as it is shown, the
    model's input `pixels` uint8 [S, S, 3], the class's `code`, the map `cam` [h, w], and `explain`, which makes the
    same kind of map of other pixels."""

    model: Model
    photo: Photo
    crop: Crop
    square: np.ndarray
    pixels: np.ndarray
    code: str
    cam: np.ndarray
    explain: faithfulness.Explain

    @property
    def index(self) -> int:
        return self.model.labels.codes.index(self.code)

    @property
    def place(self) -> str:
        """Tells squares apart."""
        return f"{self.photo.key}_{self.crop.x:.4f}_{self.crop.y:.4f}_{self.crop.side:.4f}"

    @property
    def content(self) -> int:
        """Tells what is measured apart, hairs taken out or not."""
        return hash((self.place, self.pixels.tobytes(), self.model.id, self.code, self.cam.tobytes()))

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        return runtime.classifier(self.model).predict(pixels).probabilities

    def answer(self, images: np.ndarray) -> np.ndarray:
        return np.array([self.probabilities(image)[self.index] for image in images])


def last_convolution(model: Model, index: int) -> faithfulness.Explain:
    """What makes Grad-CAM at the last convolution of a class, of a model that has class maps."""

    def explain(pixels: np.ndarray) -> np.ndarray:
        class_maps = runtime.classifier(model).predict(pixels).class_maps
        assert class_maps is not None
        return heatmap.grad_cam(class_maps, index)

    return explain


def outlined(subject: Subject) -> Outline:
    """The lesion's outline in the square, as corrected by hand. OutlineError or ModelError where there is none."""
    state, place = st.session_state, subject.place
    if state.get(f"outline_way_{place}", FOUND) == DRAWN:
        x, y, width, height = (state.get(f"outline_{name}_{place}", 50) / 100 for name in ("x", "y", "width", "height"))
        degrees = state.get(f"outline_turn_{place}", 0)
        return segmentation.ellipse(subject.square.shape[:2], x, y, width, height, degrees)
    found = photos.kept("outline", hash(subject.square.tobytes()), lambda: _found(subject.square))
    if isinstance(found, SkinappError):
        raise found
    threshold = state.get(f"outline_threshold_{place}")
    if threshold is not None:
        found = segmentation.at_threshold(found.probabilities, threshold / 100)
    return segmentation.grown(found, state.get(f"outline_grow_{place}", 0) / 100)


def show_sentence(subject: Subject) -> None:
    """Whether to believe the map, in one sentence."""
    mask, missing = None, ""
    try:
        found = outlined(subject)
        mask, missing = found.mask, found.note
    except (OutlineError, ModelError) as error:
        missing = str(error)
    known = hash((subject.content, None if mask is None else mask.tobytes()))
    evidence = photos.kept(
        "verdict",
        known,
        lambda: sanity_check.gather(
            subject.probabilities, subject.explain, subject.pixels, subject.index, subject.cam, mask
        ),
    )
    words = sanity_check.sentence(evidence, subject.model.labels)
    if evidence.trusted:
        st.info(words, icon=":material/visibility:")
    else:
        st.warning(words, icon=":material/visibility_off:")
    if missing:
        st.caption(missing)


def show_panels(subject: Subject, prediction: Prediction, research: bool = False) -> None:
    """Everything else, in tabs; what loads TensorFlow or PyTorch only for `research`."""
    lesion, measured, cases = st.tabs(["Outline, shape and colour", "How far to believe the map", "Similar cases"])
    with lesion:
        show_lesion(subject)
    with measured:
        show_measures(subject)
        if research:
            show_road(subject)
            show_untrained(subject)
    with cases:
        show_similar(subject.model, prediction)


def show_lesion(subject: Subject) -> None:
    """The outline, what corrects it, and what is measured inside it."""
    picture, controls = st.columns([2, 3], gap="medium")
    with controls:
        _ask_outline(subject)
        millimetres = st.number_input(
            "Side of the square in millimetres, if you know it",
            0.5,
            500.0,
            None,
            key=f"millimetres_{subject.place}",
            placeholder="Not known",
            help="From a ruler in the picture. Only then is a diameter given.",
        )
    try:
        found = outlined(subject)
    except (OutlineError, ModelError) as error:
        picture.image(subject.square, width="stretch", alt="The square of the image")
        st.warning(str(error))
        return
    picture.image(
        segmentation.drawn(subject.square, found),
        "The outline. Check it before you read the numbers.",
        width="stretch",
        alt="The square with the outline of the lesion",
    )
    if found.note:
        st.warning(found.note)
    measurements = photos.kept(
        "shape",
        hash((subject.square.tobytes(), found.mask.tobytes(), millimetres)),
        lambda: shape.measure(subject.square, found.mask, millimetres),
    )
    with st.grid(6, min_column_width=130, gap="small"):
        for one in measurements:
            st.metric(one.name, one.shown, help=f"{one.definition} {one.source}.")
    st.caption(
        "Measurements, not a verdict: what counts as much or little depends on the camera, the light and the outline."
    )
    table = pd.DataFrame(
        {
            "measurement": [one.name for one in measurements],
            "value": [round(one.value, 4) for one in measurements],
            "unit": ["share, 0-1" if one.unit == "%" else one.unit for one in measurements],
            "definition": [one.definition for one in measurements],
            "source": [one.source for one in measurements],
        }
    )
    with st.expander("Definitions and download", icon=":material/straighten:", key="shape_table"):
        for one in measurements:
            st.markdown(f"**{one.name}**: {one.definition} *{one.source}.*")
        st.download_button(
            "Download as CSV",
            table.to_csv(index=False),
            f"{subject.photo.name}-shape.csv",
            "text/csv",
            key="shape_csv",
            icon=":material/download:",
            on_click="ignore",
        )


def show_measures(subject: Subject) -> None:
    """Deletion and insertion, stability, and what is answered to the lesion and to the skin alone."""
    st.markdown(
        "More answers of the model to altered squares: what is hidden in the order of the map, small changes of the "
        "picture, the lesion alone, and the skin alone."
    )
    if not subject.cam.any():
        st.info("The map is empty: no part of the image speaks for this class.")
        return
    name = subject.model.labels[subject.code].name
    if not st.toggle("Measure this map", key="measure_map"):
        return
    measured = photos.kept("measures", subject.content, lambda: _measured(subject))
    st.markdown(f"**Probability of “{layout.plain(name)}” as the strongest places are put in, and taken away**")
    for at, (way, column) in enumerate(zip(("Insertion", "Deletion"), st.columns(2, gap="medium"), strict=True)):
        curves = {title: pair[at] for title, pair in measured["curves"].items()}
        with column:
            _show_curves(way, curves)
    st.caption(
        "A good map lifts insertion quickly and lowers deletion quickly: more than places at random, and more than the "
        "middle of the square, where photographers put the lesion. Hidden places are blurred. Petsiuk et al. 2018, "
        "arXiv:1806.07421."
    )
    left, right = st.columns(2, gap="medium")
    with left:
        st.markdown("**How similar the map stays**")
        st.dataframe(
            pd.DataFrame(measured["stability"].items(), columns=["change", "rank correlation"]).round(2),
            hide_index=True,
            alt="Similarity of the map after small changes",
        )
        st.caption("1 is the same map, 0 no likeness.")
    with right:
        st.markdown("**What the model answers when only a part is shown**")
        try:
            found = outlined(subject)
            answers = faithfulness.parts(subject.answer, subject.pixels, found.mask)
        except (OutlineError, ModelError, ValueError) as error:
            st.info(str(error) if isinstance(error, SkinappError) else "The outline leaves no skin to compare with.")
            return
        inside = faithfulness.energy_inside(subject.cam, found.mask)
        st.dataframe(
            pd.DataFrame(
                {
                    "shown": ["the whole square", "the lesion alone", "the skin alone"],
                    "probability": [percent(share) for share in (answers.whole, answers.lesion, answers.background)],
                }
            ),
            hide_index=True,
            alt="Probability of the class for parts of the square",
        )
        st.caption(
            f"{inside:.0%} of the map's energy lies on the lesion, which takes up {found.share:.0%} of the square."
        )


def _show_curves(way: str, curves: dict[str, np.ndarray]) -> None:
    shares = np.linspace(0, 1, STEPS + 1)
    areas = ", ".join(f"{title} {faithfulness.area(curve):.2f}" for title, curve in curves.items())
    st.caption(f"**{way}**, area under the curve: {areas}.")
    panel.show(
        lines(
            {
                title: pd.DataFrame({"x": shares, "y": curve, "low": curve, "high": curve})
                for title, curve in curves.items()
            },
            "Share of the square",
            "Probability",
        ),
        pd.DataFrame({"share": shares} | curves).round(4),
        way.lower(),
        f"{way}: the probability over the share of the square. {areas}",
    )


def show_road(subject: Subject) -> None:
    """ROAD of the map, and of the two that it has to do better than."""
    if not st.toggle(
        "Remove and fill in, by ROAD",
        key="road_map",
        help="The strongest places, and then the weakest, are filled in from what surrounds them, so that the model "
        "cannot tell the answer from the shape of the hole.",
    ):
        return
    if sentence := methods.missing(frozenset({"torch"})):
        st.warning(sentence)
        return
    try:
        found = photos.kept("road", subject.content, lambda: _road(subject))
    except SkinappError as error:
        st.warning(str(error))
        return
    st.dataframe(
        pd.DataFrame(found.items(), columns=["map", "ROAD"]).round(3),
        hide_index=True,
        width="content",
        alt="ROAD of the map and of two others",
    )
    st.caption(
        "Half of how much more the class's probability falls without the strongest 20%, 50% and 80% of the square than "
        "without the weakest. 0 is no better than chance. Rong et al. 2022, arXiv:2202.00449."
    )


def show_untrained(subject: Subject) -> None:
    """How similar the map is to those of copies of the network that have not learnt."""
    if not st.toggle("Compare with untrained copies of the network", key="untrained_map"):
        return
    bar = st.progress(0.0, "Drawing the network's weights anew (the first time, TensorFlow is loaded)")

    def progress(share: float) -> None:
        bar.progress(share)

    try:
        maps = photos.kept(
            "untrained",
            subject.content,
            lambda: randomisation.cascade(subject.model, subject.pixels, subject.index, progress),
        )
    except SkinappError as error:
        st.warning(str(error))
        return
    finally:
        bar.empty()
    found = {name: faithfulness.similarity(cam, subject.cam) for name, cam in maps.items()}
    st.dataframe(
        pd.DataFrame(found.items(), columns=["drawn anew, down to", "rank correlation"]).round(2),
        hide_index=True,
        width="content",
        alt="Similarity of the map to maps of untrained copies",
    )
    alike = max(found.values()) > sanity_check.ALIKE
    st.caption(
        "This map should not be trusted: it looks the same for an untrained network."
        if alike
        else "The map changes when what was learnt is lost, as it should. The copies' maps are Grad-CAM at the last "
        "convolution; Adebayo et al. 2018, arXiv:1810.03292."
    )


def show_similar(model: Model, prediction: Prediction) -> None:
    """The nearest training images, and what their agreement is worth."""
    source = retrieval.indexed(model)
    if source is None:
        st.info("This model has no index of its training images.")
        return
    try:
        cases = retrieval.index(source).nearest(prediction.embedding)
        card = retrieval.card(source)
    except ModelError as error:
        st.warning(str(error))
        return
    labels = model.labels
    agreeing = sum(case.label == prediction.predicted for case in cases)
    st.markdown(
        f"Of the {card['images']:,} training images, these look most alike to the model, one of each lesion. "
        f"{agreeing} of {len(cases)} share the answer's diagnosis, “{layout.plain(labels[prediction.predicted].name)}”."
    )
    with st.grid(len(cases), min_column_width=140, gap="small"):
        for case in cases:
            with st.container(gap="xsmall"):
                name = labels[case.label].name
                _thumbnail(case.image, f"{case.image}, {name}")
                mark = ":material/check:" if case.label == prediction.predicted else ":material/close:"
                st.markdown(f"{mark} **{name}**  \n[{case.image}]({isic.page(case.image)}), {case.similarity:.2f}")
    sure = card["test"]["sure"]
    words = {"all": f"all {card['test']['asked']}", "most": "more than half", "fewer": "fewer than half"}
    told = "; ".join(
        f"{words[band]} agreed, in {part['right']['value']:.0%} (95% interval {part['right']['low']:.0%} to "
        f"{part['right']['high']:.0%}, {part['images']:,} images)"
        for band, part in sure.items()
    )
    st.caption(
        f"The number is the cosine similarity of the embeddings. On {card['test']['images']:,} test images the answer "
        f"was right where {told}. That cases look alike to the model does not mean that they look alike to a doctor."
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
        st.caption("The image cannot be read any more.")


def _found(square: np.ndarray) -> Outline | SkinappError:
    try:
        return segmentation.find(square)
    except (OutlineError, ModelError) as error:
        return error


def _ask_outline(subject: Subject) -> None:
    place = subject.place
    way = st.segmented_control(
        "Outline",
        [FOUND, DRAWN],
        default=FOUND,
        required=True,
        key=f"outline_way_{place}",
        label_visibility="collapsed",
    )
    if way == DRAWN:
        with st.grid(2, min_column_width=140, gap="small"):
            for name, title in (
                ("x", "Left to right"),
                ("y", "Top to bottom"),
                ("width", "Width"),
                ("height", "Height"),
            ):
                low = 0 if name in "xy" else 5
                st.slider(title, low, 100, 50, format="%d%%", key=f"outline_{name}_{place}")
        st.slider("Turned", 0, 175, 0, 5, format="%d°", key=f"outline_turn_{place}")
        return
    try:
        usual = round(100 * segmentation.card()["threshold"])
    except ModelError:
        return
    with st.grid(2, min_column_width=140, gap="small"):
        st.slider(
            "Least probability",
            5,
            95,
            usual,
            5,
            format="%d%%",
            key=f"outline_threshold_{place}",
            help="A place belongs to the lesion from this probability on.",
        )
        st.slider(
            "Grow or shrink",
            -10,
            10,
            0,
            format="%d%%",
            key=f"outline_grow_{place}",
            help="Moves the border, in percent of the side.",
        )


def _compared(subject: Subject) -> dict[str, np.ndarray]:
    """The map, and two that know nothing of the model."""
    return {
        "this map": subject.cam,
        "the middle": faithfulness.centred_blob(subject.cam.shape),
        "at random": faithfulness.random_map(subject.cam.shape),
    }


def _measured(subject: Subject) -> dict[str, dict]:
    with st.spinner("Asking the model about altered squares"):
        return {
            "curves": {
                name: faithfulness.curves(subject.answer, subject.pixels, cam, STEPS)
                for name, cam in _compared(subject).items()
            },
            "stability": faithfulness.stability(subject.explain, subject.pixels, subject.cam),
        }


def _road(subject: Subject) -> dict[str, float]:
    with st.spinner("Filling in parts of the square (the first time, PyTorch is loaded)"):
        size = subject.pixels.shape[:2]
        return {
            name: pytorch_grad_cam.road(subject.model, subject.pixels, faithfulness.resized(cam, size), subject.index)
            for name, cam in _compared(subject).items()
        }
