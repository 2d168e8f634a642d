"""The methods, by name: what each is, what it needs, and the one call that runs any of them."""

import functools
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from skinapp.attention import targets
from skinapp.attention.methods import (
    Progress,
    family,
    grad_cam,
    grad_cam_plus_plus,
    integrated_gradients,
    last_convolution,
    occlusion,
    rise,
    smoothgrad,
)
from skinapp.attention.targets import Target
from skinapp.errors import ImageError, ModelError
from skinapp.images import hair
from skinapp.inference.registry import Model

LITERT, TENSORFLOW, TORCH = frozenset({"litert"}), frozenset({"tensorflow"}), frozenset({"tensorflow", "torch"})


@dataclass(frozen=True)
class Method:
    """A way to make a map. `run` is the `explain` of its file; `layered` tells whether it takes a block."""

    id: str
    title: str
    says: str
    source: str
    needs: frozenset[str]
    run: Callable[..., np.ndarray] = field(repr=False)
    layered: bool = False
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings that may be given, and their usual values."""


METHODS: dict[str, Method] = {
    method.id: method
    for method in (
        Method(
            "last-convolution",
            "Grad-CAM, last convolution",
            "Where the last features speak for the class. Exact for these networks, and as fast as the answer.",
            "Selvaraju et al. 2017, doi:10.1109/ICCV.2017.74",
            LITERT,
            last_convolution.explain,
        ),
        Method(
            "grad-cam",
            "Grad-CAM, any block",
            "Features of a block, each weighted by its mean gradient.",
            "Selvaraju et al. 2017, doi:10.1109/ICCV.2017.74",
            TENSORFLOW,
            grad_cam.explain,
            layered=True,
        ),
        Method(
            "grad-cam-plus-plus",
            "Grad-CAM++, any block",
            "Features of a block, weighted by positive gradients, so that several places with evidence all count.",
            "Chattopadhay et al. 2018, doi:10.1109/WACV.2018.00097",
            TENSORFLOW,
            grad_cam_plus_plus.explain,
            layered=True,
        ),
        Method(
            "integrated-gradients",
            "Integrated gradients",
            "Each pixel's share of the score's change from a black image to this one.",
            "Sundararajan et al. 2017, https://proceedings.mlr.press/v70/sundararajan17a.html",
            TENSORFLOW,
            integrated_gradients.explain,
            settings={"steps": 32},
        ),
        Method(
            "smoothgrad",
            "SmoothGrad",
            "How strongly each pixel moves the score, for or against, averaged over noisy copies of the image.",
            "Smilkov et al. 2017, https://arxiv.org/abs/1706.03825",
            TENSORFLOW,
            smoothgrad.explain,
            settings={"samples": 24, "noise": 0.15, "seed": 0},
        ),
        Method(
            "occlusion",
            "Occlusion",
            "How much the score falls when a patch is hidden behind the image's mean colour.",
            "Zeiler and Fergus 2014, doi:10.1007/978-3-319-10590-1_53",
            LITERT,
            occlusion.explain,
            settings={"cells": 14, "patch": 3},
        ),
        Method(
            "rise",
            "RISE",
            "How much likelier the class is when a place is shown than when it is hidden, over random masks.",
            "Petsiuk et al. 2018, https://arxiv.org/abs/1806.07421",
            LITERT,
            rise.explain,
            settings={"masks": 500, "grid": 7, "seed": 0},
        ),
    )
}

FAMILY = (
    (
        "GradCAM",
        "Grad-CAM",
        "The package's own Grad-CAM, to compare with.",
        "Selvaraju et al. 2017, doi:10.1109/ICCV.2017.74",
    ),
    (
        "GradCAMPlusPlus",
        "Grad-CAM++",
        "The package's own Grad-CAM++, to compare with.",
        "Chattopadhay et al. 2018, doi:10.1109/WACV.2018.00097",
    ),
    (
        "XGradCAM",
        "XGradCAM",
        "Gradients weighted by the features, so that the map adds up to the score.",
        "Fu et al. 2020, https://arxiv.org/abs/2008.02312",
    ),
    (
        "HiResCAM",
        "HiResCAM",
        "Features times their gradients, place by place, without averaging.",
        "Draelos and Carin 2020, https://arxiv.org/abs/2011.08891",
    ),
    (
        "LayerCAM",
        "LayerCAM",
        "Features times their positive gradients, place by place; made for early blocks.",
        "Jiang et al. 2021, doi:10.1109/TIP.2021.3089943",
    ),
    (
        "EigenCAM",
        "EigenCAM",
        "The main pattern of a block's features. It knows no class: all classes get one map.",
        "Muhammad and Yeasin 2020, https://arxiv.org/abs/2008.00299",
    ),
    (
        "EigenGradCAM",
        "EigenGradCAM",
        "The main pattern of features times gradients.",
        "pytorch-grad-cam, https://github.com/jacobgil/pytorch-grad-cam",
    ),
    (
        "ScoreCAM",
        "Score-CAM",
        "Each feature weighted by the score of the image seen through it; one answer for each channel, so slow.",
        "Wang et al. 2020, https://arxiv.org/abs/1910.01279",
    ),
    (
        "AblationCAM",
        "Ablation-CAM",
        "Each feature weighted by what is lost without it; slow in early blocks.",
        "Desai and Ramaswamy 2020, doi:10.1109/WACV45572.2020.9093360",
    ),
    (
        "FinerCAM",
        "Finer-CAM",
        "What sets the class apart from those nearest to it.",
        "Zhang et al. 2025, https://arxiv.org/abs/2501.11309",
    ),
    (
        "ShapleyCAM",
        "Shapley-CAM",
        "Grad-CAM with a second-order term; at the last convolution both are one.",
        "Cai 2025, https://arxiv.org/abs/2501.06261",
    ),
)
"""Of the grad-cam package: its class, the name, what it does, and the paper."""

METHODS |= {
    f"package-{name.lower()}": Method(
        f"package-{name.lower()}",
        f"{title} (package)",
        says,
        source,
        TORCH,
        functools.partial(family.explain, name=name),
        layered=True,
    )
    for name, title, says, source in FAMILY
}


def method(method_id: str) -> Method:
    """ModelError where there is no such method."""
    if method_id not in METHODS:
        raise ModelError(f"There is no method '{method_id}'; there are {', '.join(METHODS)}.")
    return METHODS[method_id]


def explain(
    method_id: str,
    model: Model,
    pixels: np.ndarray,
    target: Target,
    layer: str | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> np.ndarray:
    """A map of where the target's evidence lies: float32 [h, w] in 0-1, its maximum 1, or all zeros where none is.

    `pixels` is uint8 [S, S, 3], the model's input; `layer` names a block of `blocks.blocks`, by default the last.
    ModelError for an unknown method, class, layer or setting, and where a library is missing; ImageError for an image
    of one colour.
    """
    return scaled(raw(method_id, model, pixels, target, layer, progress, **settings))


def raw(
    method_id: str,
    model: Model,
    pixels: np.ndarray,
    target: Target,
    layer: str | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> np.ndarray:
    """What `explain` scales: float32 [h, w] in the method's own units; negative values speak against the target."""
    chosen = method(method_id)
    direction = targets.direction(model, target)
    size = model.input_size
    if pixels.shape != (size, size, 3) or pixels.dtype != np.uint8:
        raise ValueError(f"expected uint8 [{size}, {size}, 3], got {pixels.dtype} {list(pixels.shape)}")
    if (pixels == pixels[0, 0]).all():
        colour = "black" if not pixels.any() else "one colour"
        raise ImageError(f"The image is all {colour}, so there is nothing in it to point at. Use a photo of a lesion.")
    if unknown := set(settings) - set(chosen.settings):
        raise ModelError(f"{chosen.title} has no setting {', '.join(sorted(unknown))}.")
    if layer is not None and not chosen.layered:
        raise ModelError(f"{chosen.title} does not take a layer.")
    if model.removes_hair:
        pixels = hair.remove(pixels)
    found = chosen.run(model, pixels, direction, layer, progress, **{**chosen.settings, **settings})
    # a network that overflows leaves no map rather than a wrong one
    return np.nan_to_num(found.astype(np.float32), nan=0, posinf=0, neginf=0)


def scaled(values: np.ndarray, peak: float | None = None) -> np.ndarray:
    """What speaks for the target, over its maximum or the given `peak`: float32 in 0-1."""
    positive = np.maximum(values, 0).astype(np.float32)
    peak = float(positive.max()) if peak is None else peak
    return np.minimum(positive / peak, 1) if peak > 0 else np.zeros_like(positive)


def missing(needs: frozenset[str]) -> str:
    """A sentence on what has to be installed for this, empty where all is there. Imports nothing."""
    if "torch" in needs:
        parts = [name for name in ("torch", "torchvision", "pytorch_grad_cam") if not importlib.util.find_spec(name)]
        if parts:
            names = ", ".join(part.replace("pytorch_grad_cam", "grad-cam") for part in parts)
            return (
                f"This method needs the research packages, of which {names} {'is' if len(parts) == 1 else 'are'} not "
                "installed. Add them with `.venv/bin/python -m pip install -r requirements-research.txt`."
            )
    if "tensorflow" in needs and not importlib.util.find_spec("tensorflow"):
        return (
            "This method needs TensorFlow, which is not installed. Grad-CAM at the last convolution, occlusion and "
            "RISE work without it; `.venv/bin/python -m pip install -r requirements.txt` adds it."
        )
    return ""
