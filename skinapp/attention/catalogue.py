"""The attention methods by id: a description of each, its requirements, and one function that runs any of them."""

import functools
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from skinapp.attention import pytorch_grad_cam, targets
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
from skinapp.inference.registry import Model

LITERT, TENSORFLOW, TORCH = frozenset({"litert"}), frozenset({"tensorflow"}), frozenset({"tensorflow", "torch"})


@dataclass(frozen=True)
class Method:
    """A way to make a map. `run` is the `explain` function of its file, `layered` says whether it can be applied to any
    block, and `quick` whether a map costs about one forward or backward pass."""

    id: str
    title: str
    description: str
    source: str
    needs: frozenset[str]
    run: Callable[..., np.ndarray] = field(repr=False)
    layered: bool = False
    quick: bool = False
    settings: dict[str, Any] = field(default_factory=dict)
    """The settings that can be changed, with their defaults."""
    max_settings: dict[str, Any] = field(default_factory=dict)
    """The maximum of each setting that affects the running time."""
    classifications: Callable[..., int] = field(default=lambda **settings: 1, repr=False)
    """How many images a map with these settings classifies, forwards or backwards."""

    @property
    def runs_on_copies(self) -> bool:
        """Whether it can explain a randomised copy in memory; the grad-cam package needs a network file."""
        return "torch" not in self.needs


METHODS: dict[str, Method] = {
    method.id: method
    for method in (
        Method(
            "last-convolution",
            "Grad-CAM, last convolution",
            "Where the last features are evidence for the class. Exact for these networks, at no extra cost.",
            "Selvaraju et al. 2017, doi:10.1109/ICCV.2017.74",
            LITERT,
            last_convolution.explain,
            quick=True,
        ),
        Method(
            "grad-cam",
            "Grad-CAM, any block",
            "Features of a block, each weighted by its mean gradient.",
            "Selvaraju et al. 2017, doi:10.1109/ICCV.2017.74",
            TENSORFLOW,
            grad_cam.explain,
            layered=True,
            quick=True,
        ),
        Method(
            "grad-cam-plus-plus",
            "Grad-CAM++, any block",
            "Features of a block, weighted by positive gradients, so several areas with evidence all count.",
            "Chattopadhay et al. 2018, doi:10.1109/WACV.2018.00097",
            TENSORFLOW,
            grad_cam_plus_plus.explain,
            layered=True,
            quick=True,
        ),
        Method(
            "integrated-gradients",
            "Integrated gradients",
            "Each pixel's share of the score's change from a black image to this one.",
            "Sundararajan et al. 2017, https://proceedings.mlr.press/v70/sundararajan17a.html",
            TENSORFLOW,
            integrated_gradients.explain,
            settings={"steps": 32},
            max_settings={"steps": 128},
            classifications=lambda steps: steps,
        ),
        Method(
            "smoothgrad",
            "SmoothGrad",
            "How strongly each pixel moves the score, for or against, averaged over noisy copies of the image.",
            "Smilkov et al. 2017, https://arxiv.org/abs/1706.03825",
            TENSORFLOW,
            smoothgrad.explain,
            settings={"samples": 24, "noise": 0.15, "seed": 0},
            max_settings={"samples": 96, "noise": 1.0},
            classifications=lambda samples, **_: samples,
        ),
        Method(
            "occlusion",
            "Occlusion",
            "How much the score drops when a patch is covered with the image's mean colour.",
            "Zeiler and Fergus 2014, doi:10.1007/978-3-319-10590-1_53",
            LITERT,
            occlusion.explain,
            settings={"cells": 14, "patch": 3},
            max_settings={"cells": 28, "patch": 8},
            classifications=occlusion.classifications,
        ),
        Method(
            "rise",
            "RISE",
            "How much more likely the class is when a pixel is shown than when it is hidden, over random masks.",
            "Petsiuk et al. 2018, https://arxiv.org/abs/1806.07421",
            LITERT,
            rise.explain,
            settings={"masks": 500, "grid": 7, "seed": 0},
            max_settings={"masks": 1000, "grid": 28},
            classifications=lambda masks, **_: masks,
        ),
    )
}

PACKAGE_METHODS = (
    (
        "GradCAM",
        "Grad-CAM",
        "The package's own Grad-CAM, for comparison.",
        "Selvaraju et al. 2017, doi:10.1109/ICCV.2017.74",
    ),
    (
        "GradCAMPlusPlus",
        "Grad-CAM++",
        "The package's own Grad-CAM++, for comparison.",
        "Chattopadhay et al. 2018, doi:10.1109/WACV.2018.00097",
    ),
    (
        "XGradCAM",
        "XGradCAM",
        "Gradients weighted by the features, so the map adds up to the score.",
        "Fu et al. 2020, https://arxiv.org/abs/2008.02312",
    ),
    (
        "HiResCAM",
        "HiResCAM",
        "Features times their gradients, pixel by pixel, without averaging.",
        "Draelos and Carin 2020, https://arxiv.org/abs/2011.08891",
    ),
    (
        "LayerCAM",
        "LayerCAM",
        "Features times their positive gradients, pixel by pixel; designed for early blocks.",
        "Jiang et al. 2021, doi:10.1109/TIP.2021.3089943",
    ),
    (
        "EigenCAM",
        "EigenCAM",
        "The main pattern of a block's features. It ignores the class: all classes get the same map.",
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
        "Each feature weighted by the score of the image seen through it; one prediction per channel, so it is slow.",
        "Wang et al. 2020, https://arxiv.org/abs/1910.01279",
    ),
    (
        "AblationCAM",
        "Ablation-CAM",
        "Each feature weighted by the drop in the score without it; slow in early blocks.",
        "Desai and Ramaswamy 2020, doi:10.1109/WACV45572.2020.9093360",
    ),
    (
        "FinerCAM",
        "Finer-CAM",
        "What distinguishes the class from the most similar ones.",
        "Zhang et al. 2025, https://arxiv.org/abs/2501.11309",
    ),
    (
        "ShapleyCAM",
        "Shapley-CAM",
        "Grad-CAM with a second-order term; at the last convolution both are the same.",
        "Cai 2025, https://arxiv.org/abs/2501.06261",
    ),
)
"""The methods of the grad-cam package: class, name, description and paper."""

METHODS |= {
    f"package-{name.lower()}": Method(
        f"package-{name.lower()}",
        f"{title} (package)",
        description,
        source,
        TORCH,
        functools.partial(family.explain, name=name),
        layered=True,
    )
    for name, title, description, source in PACKAGE_METHODS
}


def method(method_id: str) -> Method:
    """The method with this id; ModelError if there is none."""
    if method_id not in METHODS:
        raise ModelError(f"There is no method '{method_id}'; choose one of {', '.join(METHODS)}.")
    return METHODS[method_id]


def available(method: Method, model: Model) -> bool:
    """Whether the model's folder has the network that the method needs, or its network gives the class maps that it
    needs."""
    if method.id == "last-convolution":
        return model.has_class_maps
    return method.needs == LITERT or "model.keras" in model.card["files"]


def explain(
    method_id: str,
    model: Model,
    pixels: np.ndarray,
    target: Target,
    layer: str | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> np.ndarray:
    """A map of the evidence for the target: float32 [h, w] in 0-1 with maximum 1, or all zeros if there is none.

    `pixels` is uint8 [S, S, 3], the model's input from `runtime.network_input`; `layer` names a block of
    `architecture.blocks`, by default the last. ModelError for an unknown method, class, layer or setting, a setting
    beyond its bound, or if a library is missing; ImageError for an image of one colour. An exception raised by
    `progress` stops the work.
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
    """The map before scaling: float32 [h, w] in the method's own units. Negative values are evidence against the
    target."""
    chosen = method(method_id)
    class_weights = targets.class_weights(model, target)
    size = model.input_size
    if pixels.shape != (size, size, 3) or pixels.dtype != np.uint8:
        raise ValueError(f"expected uint8 [{size}, {size}, 3], got {pixels.dtype} {list(pixels.shape)}")
    if (pixels == pixels[0, 0]).all():
        colour = "black" if not pixels.any() else "one colour"
        raise ImageError(f"The image is all {colour}, so there is nothing to explain. Use a photo of a lesion.")
    if unknown := set(settings) - set(chosen.settings):
        raise ModelError(f"{chosen.title} has no setting {', '.join(sorted(unknown))}.")
    for name, value in settings.items():
        if name in chosen.max_settings and not 0 < value <= chosen.max_settings[name]:
            raise ModelError(f"{chosen.title}: {name} must be above 0 and at most {chosen.max_settings[name]:,}.")
    if layer is not None and not chosen.layered:
        raise ModelError(f"{chosen.title} cannot be applied to a chosen layer.")
    values = chosen.run(model, pixels, class_weights, layer, progress, **{**chosen.settings, **settings})
    # if the network overflows, show no map rather than a wrong one
    return np.nan_to_num(values.astype(np.float32), nan=0, posinf=0, neginf=0)


def scaled(values: np.ndarray, peak: float | None = None) -> np.ndarray:
    """The evidence for the target, divided by its maximum or by `peak`: float32 in 0-1."""
    positive = np.maximum(values, 0).astype(np.float32)
    peak = float(positive.max()) if peak is None else peak
    return np.minimum(positive / peak, 1) if peak > 0 else np.zeros_like(positive)


def missing(needs: frozenset[str]) -> str:
    """A message naming what to install and the command to do so, or "" if nothing is missing. Imports nothing."""
    if "torch" in needs:
        parts = [name for name in ("torch", "torchvision", "pytorch_grad_cam") if not importlib.util.find_spec(name)]
        if parts:
            names = ", ".join(part.replace("pytorch_grad_cam", "grad-cam") for part in parts)
            return f"Not installed: {names}. {pytorch_grad_cam.INSTALL} adds what is missing; PyTorch takes several GB."
    if "tensorflow" in needs and not importlib.util.find_spec("tensorflow"):
        return (
            "Gradients and copies of a network need TensorFlow, which is not installed here; "
            "`.venv/bin/python -m pip install -r requirements.txt` adds it."
        )
    return ""
