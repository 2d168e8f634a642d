"""Converts an external Keras file to a network of the app: preprocessing in front, logits and class maps at the end."""

import json
import re
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers
from keras.src.models.functional import Functional

from skinapp.errors import ModelError
from train.publish import export
from train.publish.adopted import (
    LOGITS,
    SIGMOID,
    SMALLEST,
    SOFTMAX,
    Converted,
    Head,
    Source,
    check_one,
    checked_count,
    checked_shape,
)

ACTIVATIONS = {"softmax": SOFTMAX, "sigmoid": SIGMOID, "linear": LOGITS}
IDLE = (layers.Dropout, layers.Identity, layers.SpatialDropout2D)
"""Layers that do nothing at inference."""
MARGINS = (layers.ZeroPadding2D, layers.Cropping2D)
"""Layers that only pad or crop their input features."""
MAX_FILE_BYTES = 100 * 1024**2
"""The maximum size of `model.keras`, in bytes; larger networks do without gradient methods."""
BATCH = 16

Tensor = Any
Operation = Any


def read(file: Path, size: int | None = None) -> Source:
    """A `.keras` file. ModelError if it contains custom code, or anything but one image as input and one row of numbers
    as output."""
    _check_no_code(file)
    try:
        network = keras.saving.load_model(file, compile=False)
    except (ValueError, TypeError, OSError, KeyError, AttributeError, ImportError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelError(f"{file.name} cannot be read as a Keras network ({reason}).") from None
    if not _is_graph(network):
        raise ModelError(f"{file.name} is a {type(network).__name__}, not a network of layers; save it as one.")
    check_one("input", [one.name for one in network.inputs])
    check_one("output", [str(output_name) for output_name in network.output_names])
    side = checked_shape(tuple(network.input_shape), size)
    count = checked_count(tuple(network.output_shape))
    outputs, *_ = _ending(_flat(network, keras.Input((side, side, 3))))

    def run(images: np.ndarray) -> np.ndarray:
        parts = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
        return np.concatenate([np.asarray(network(part, training=False), np.float32) for part in parts])

    return Source("Keras", _name(network, file), side, count, outputs, run, lambda head: _convert(network, side, head))


def _check_no_code(file: Path) -> None:
    """ModelError lists the layers and functions of a file that are not part of Keras."""
    try:
        with zipfile.ZipFile(file) as archive:
            config = json.loads(archive.read("config.json"))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        raise ModelError(f"{file.name} is not a .keras file; save the network with model.save('NAME.keras').") from None
    if names := sorted(set(_own_code(config))):
        raise ModelError(
            f"{file.name} has code of its own: {', '.join(names)}. Only Keras's own layers are adopted; export it as a "
            "SavedModel with model.export(FOLDER), and adopt that."
        )


def _own_code(config: Any) -> Iterator[str]:
    if isinstance(config, list):
        for one in config:
            yield from _own_code(one)
    elif isinstance(config, dict):
        name, module = config.get("class_name"), config.get("module")
        foreign = config.get("registered_name") is not None and not str(module).startswith("keras")
        if name == "Lambda" or (name and foreign):
            yield str(config["config"] if name == "function" else name)
        for one in config.values():
            yield from _own_code(one)


def _is_graph(layer: Any) -> bool:
    return isinstance(layer, Functional) or (isinstance(layer, keras.Sequential) and layer.built)


def _name(network: keras.Model, file: Path) -> str:
    """The name of the backbone if it is a nested network, or else of the whole network."""
    named = [network, *(layer for layer in network.layers if _is_graph(layer))]
    names = [one.name for one in named if not re.match(r"(functional|model|sequential)(_\d+)?$", one.name)]
    return names[-1] if names else file.stem


def _flat(layer: Any, value: Tensor) -> Tensor:
    """The output of a layer for a tensor; nested networks are replaced with their layers."""
    if isinstance(layer, keras.Sequential):
        for one in layer.layers:
            value = _flat(one, value)
        return value
    if isinstance(layer, Functional):
        return layer._run_through_graph([value], call_fn=_call)
    return layer(value)


def _call(operation: Operation, *args: Any, **options: Any) -> Any:
    if _is_graph(operation) and len(operation.inputs) == len(operation.outputs) == 1:
        return _flat(operation, args[0])
    result = operation(*args, **options)
    if not isinstance(operation, layers.Layer) and len(getattr(result, "shape", ())) == 4:
        # so that maps can also be made of the sum of two branches
        return layers.Identity(name=f"{operation.name}_result")(result)
    return result


def _source(tensor: Tensor) -> tuple[Operation, list[Tensor]]:
    """The operation that produces a tensor, and its inputs."""
    history = tensor._keras_history
    return history.operation, history.operation._inbound_nodes[history.node_index].input_tensors


def _ending(output: Tensor) -> tuple[str | None, Tensor, layers.Dense | None]:
    """The kind of outputs, None if the last layer does not show it; the logits if it does, or else the outputs; and the
    dense layer that produces the logits, if any."""
    kind, operation, values = None, *_source(output)
    while isinstance(operation, IDLE):
        output = values[0]
        operation, values = _source(output)
    if isinstance(operation, layers.Activation):
        kind = ACTIVATIONS.get(operation.activation.__name__)
    elif type(operation).__name__ in ("Softmax", "Sigmoid"):
        kind = SOFTMAX if type(operation).__name__ == "Softmax" else SIGMOID
    if kind:
        output = values[0]
        operation, values = _source(output)
    if not isinstance(operation, layers.Dense):
        return kind, output, None
    function = ACTIVATIONS.get(operation.activation.__name__)
    if kind is None:
        return function, output, operation if function else None
    return kind, output, operation if function == LOGITS else None


def _convert(original: keras.Model, side: int, head: Head) -> Converted:
    network = _saved_and_loaded(_whole(original, side, head))
    export.round_kernels(network)
    content, blocks = export.to_litert(network), _blocks(network)
    shapes = export.output_shapes(network)
    return Converted(content, shapes, network.count_params(), network if blocks else None, blocks)


def _whole(original: keras.Model, side: int, head: Head) -> keras.Model:
    """RGB 0-255 [n, side, side, 3] -> logits [n, classes], with the layers that `export` needs: `logits`, a dense one,
    and before it, where the original ends in one, `embedding`: global average pooling, or what was before it."""
    image = keras.Input((side, side, 3), name="image")
    value, before = image, head.preprocessing
    if before.bgr:
        value = keras.ops.flip(value, axis=-1)
    if before.changes:
        value = layers.Rescaling(list(before.scale), list(before.offset), name="preprocessing")(value)
    kind, output, dense = _ending(_flat(original, value))
    last = layers.Dense(len(head.order), name="logits", dtype="float32")
    ours: list[Operation] = [image._keras_history.operation, last]
    if dense is not None:
        vector = _source(output)[1][0]
        features = _pooled(vector)
        pooling = layers.Identity if features is None else layers.GlobalAveragePooling2D
        ours.append(pooling(name="embedding"))
        output = ours[-1](vector if features is None else features)
        kernel = np.asarray(dense.kernel)
        bias = np.asarray(dense.bias) if dense.use_bias else np.zeros(kernel.shape[1], np.float32)
    else:
        if kind is None and head.outputs == SOFTMAX:
            output = keras.ops.log(keras.ops.maximum(output, SMALLEST))
        kernel, bias = np.eye(output.shape[-1], dtype=np.float32), np.zeros(output.shape[-1], np.float32)
    logits = last(output)
    last.set_weights([head.columns(kernel), head.columns(bias)])
    _rename(logits, ours)
    return keras.Model(image, logits, name=re.sub(r"\W", "_", original.name))


def _pooled(embedding: Tensor) -> Tensor | None:
    """The features [n, h, w, D] whose mean over the image the embedding is; None for any other embedding."""
    operation, values = _source(embedding)
    while isinstance(operation, (*IDLE, layers.Flatten)):
        operation, values = _source(values[0])
    pools = isinstance(operation, layers.GlobalAveragePooling2D) and operation.data_format == "channels_last"
    return values[0] if pools else None


def _operations(output: Tensor) -> list[tuple[Operation, list[Tensor], list[Tensor]]]:
    """The operations that compute a tensor, with their inputs and outputs, in topological order."""
    done: dict[int, tuple[Operation, list[Tensor], list[Tensor]]] = {}
    waiting = [output]
    while waiting:
        history = waiting[-1]._keras_history
        node = history.operation._inbound_nodes[history.node_index]
        missing = [input_tensor for input_tensor in node.input_tensors if id(_node(input_tensor)) not in done]
        if missing:
            waiting += missing
            continue
        waiting.pop()
        done.setdefault(id(node), (history.operation, node.input_tensors, node.output_tensors))
    return list(done.values())


def _node(tensor: Tensor) -> Any:
    return tensor._keras_history.operation._inbound_nodes[tensor._keras_history.node_index]


def _rename(output: Tensor, ours: list[Operation]) -> None:
    """Give the layers unique names, except for `ours`: names in nested networks may be repeated outside."""
    used = {one.name: one for one in ours}
    for operation, *_ in _operations(output):
        name, number = operation.name, 1
        while name in used and used[name] is not operation:
            name, number = f"{operation.name}_{number}", number + 1
        operation.name = name
        used[name] = operation


def _saved_and_loaded(network: keras.Model) -> keras.Model:
    """The network as the app will load it; ModelError if loading fails."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            network.save(Path(folder) / "network.keras")
            return keras.saving.load_model(Path(folder) / "network.keras", compile=False)
        except (ValueError, TypeError, OSError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise ModelError(f"The network cannot be saved and loaded again ({reason}).") from None


def _blocks(network: keras.Model) -> tuple[dict[str, Any], ...]:
    """For each feature size, the last layer on which everything after it depends: maps can be made there."""
    [image], [logits] = network.inputs, network.outputs
    steps = _operations(logits)
    before, after = {id(image): 1}, {id(logits): 1}
    for _, values, results in steps:
        for result in results:
            before.setdefault(id(result), sum(before[id(one)] for one in values))
    for _, values, results in reversed(steps):
        for value in values:
            after[id(value)] = after.get(id(value), 0) + sum(after.get(id(one), 0) for one in results)
    chosen: dict[int, dict[str, Any]] = {}
    kernel, convolved = 1, False
    for operation, _, [result, *_] in steps:
        sides = getattr(operation, "kernel_size", ())
        kernel, convolved = max(kernel, *sides, 1), convolved or bool(sides)
        # all paths from the image to the logits pass through it
        only = before[id(result)] * after.get(id(result), 0) == before[id(logits)]
        _, side, other, channels = result.shape if len(result.shape) == 4 else (None, 0, 1, 0)
        layer = isinstance(operation, layers.Layer) and not isinstance(operation, MARGINS)
        if only and convolved and side == other > 1 and layer:
            kernel = kernel if side in chosen else max(*sides, 1, 1)
            chosen[side] = {"layer": operation.name, "side": side, "channels": channels, "kernel": kernel}
    names = [*(f"block{number}" for number in range(1, len(chosen))), "top"]
    return tuple({"name": name} | one for name, one in zip(names, chosen.values(), strict=False))
