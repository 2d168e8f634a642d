"""Converts an external LiteRT file or SavedModel to a network of the app. The file's graph is edited, so that its
weights and operations are unchanged: preprocessing is put in front, and logits, embedding and class maps become
outputs.

The schema is https://github.com/google-ai-edge/LiteRT/blob/main/tflite/schema/schema.fbs.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from skinapp.errors import ModelError
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

FLOAT, INTEGER = schema.TensorType.FLOAT32, schema.TensorType.INT32
WEIGHTS = (FLOAT, schema.TensorType.FLOAT16, schema.TensorType.INT8)
SIGNATURES = ("serving_default", "serve")
"""The signatures that are taken where a file has several."""
Op = schema.BuiltinOperator


def read(file: Path, size: int | None = None) -> Source:
    """A `.tflite` file. ModelError if it does not map one float image to one row of numbers."""
    try:
        return from_content(file.read_bytes(), "LiteRT", file.stem, size)
    except (OSError, ValueError, RuntimeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelError(f"{file.name} cannot be read as a LiteRT file ({reason}).") from None


def from_content(content: bytes, form: str, name: str, size: int | None) -> Source:
    """The content of a LiteRT file. Errors as for `read`, and those of the runtime."""
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    graph = Graph(content)
    taken, result = (graph.tensors[index] for index in (graph.input, graph.output))
    for what, tensor in (("input", taken), ("output", result)):
        if tensor.type != FLOAT:
            raise ModelError(f"Its {what} is quantised or an integer; convert it with float32 inputs and outputs.")
    side = checked_shape(_shape(taken), size)
    if _shape(taken)[0] not in (None, 1):
        raise ModelError(f"It takes batches of {taken.shape[0]} images; convert it for one image.")
    count = checked_count(_shape(result))
    outputs = {Op.SOFTMAX: SOFTMAX, Op.LOGISTIC: SIGMOID, Op.FULLY_CONNECTED: LOGITS}.get(graph.code_of(graph.output))

    def run(images: np.ndarray) -> np.ndarray:
        rows = []
        for image in images:
            interpreter.set_tensor(graph.input, image[np.newaxis])
            interpreter.invoke()
            rows.append(interpreter.get_tensor(graph.output)[0].copy())
        return np.stack(rows)

    return Source(form, name, side, count, outputs, run, lambda head: _convert(content, outputs, head))


def read_saved_model(folder: Path, size: int | None = None) -> Source:
    """The folder of a SavedModel. ModelError as for `read`, or if it cannot be converted."""
    import tensorflow as tf
    from tensorflow.lite.python.convert_phase import ConverterError

    try:
        loaded = tf.saved_model.load(folder)
    except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelError(f"{folder.name} cannot be read as a SavedModel ({reason}).") from None
    name = _chosen(list(loaded.signatures))
    signature = loaded.signatures[name]
    _, inputs = signature.structured_input_signature
    check_one("input", list(inputs))
    check_one("output", list(signature.structured_outputs))
    [(image_name, spec)], [result] = inputs.items(), signature.structured_outputs
    if spec.dtype != tf.float32:
        raise ModelError(f"Its input is {spec.dtype.name}; export it with float32.")
    side = checked_shape(tuple(spec.shape), size)
    image = tf.TensorSpec((1, side, side, 3), tf.float32)
    serve = tf.function(lambda image: signature(**{image_name: image})[result], input_signature=[image])
    try:
        converter = tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()], loaded)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
        content = converter.convert()
    except (ConverterError, ValueError, TypeError, RuntimeError, tf.errors.OpError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ModelError(f"{folder.name} cannot be converted to LiteRT ({reason}).") from None
    source = from_content(content, "SavedModel", folder.name, None)

    def run(images: np.ndarray) -> np.ndarray:
        return np.concatenate([np.asarray(serve(one[np.newaxis])) for one in images])

    return Source("SavedModel", folder.name, side, source.count, source.outputs, run, source.convert)


def _chosen(names: list[str]) -> str:
    """The signature to use. ModelError if there is none, or the choice is ambiguous."""
    for name in SIGNATURES:
        if name in names:
            return name
    if len(names) != 1:
        listed = f"the signatures {', '.join(names)}" if names else "no signature"
        raise ModelError(f"It has {listed}; export it with one, named {SIGNATURES[0]}.")
    return names[0]


class Graph:
    """The graph of a LiteRT file that is being edited: `input` and `output` are the indices of its tensors."""

    def __init__(self, content: bytes):
        """ModelError for a file with several inputs or outputs, or with several signatures of which none is the
        default."""
        self.model: Any = schema.ModelT.InitFromPackedBuf(content, 0)
        signatures = self.model.signatureDefs or []
        number = 0
        if len(signatures) > 1:
            names = [signature.signatureKey.decode() for signature in signatures]
            number = signatures[names.index(_chosen(names))].subgraphIndex
        elif signatures:
            number = signatures[0].subgraphIndex
        self.number, self.graph = number, self.model.subgraphs[number]
        self.tensors: list[Any] = self.graph.tensors
        check_one("input", [_text(self.tensors[index].name) for index in self.graph.inputs])
        check_one("output", [_text(self.tensors[index].name) for index in self.graph.outputs])
        [self.input], [self.output] = map(list, (self.graph.inputs, self.graph.outputs))

    def operation(self, tensor: int) -> Any | None:
        """The operation that produces a tensor; None for an input or a constant."""
        return next((operator for operator in self.graph.operators if tensor in operator.outputs), None)

    def code_of(self, tensor: int) -> int | None:
        """The code of that operation, one of BuiltinOperator."""
        operation = self.operation(tensor)
        if operation is None:
            return None
        code = self.model.operatorCodes[operation.opcodeIndex]
        # older files have the code only in the deprecated field
        return max(code.builtinCode, code.deprecatedBuiltinCode)

    def constant(self, index: int) -> np.ndarray | None:
        """The value of an integer constant; None for any other tensor."""
        data = self.model.buffers[self.tensors[index].buffer].data
        if self.tensors[index].type != INTEGER or data is None or not len(data):
            return None
        return np.frombuffer(bytes(bytearray(data)), np.int32)

    def add_constant(self, value: np.ndarray) -> int:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(value.tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        return self.add_tensor(value.shape, INTEGER if value.dtype == np.int32 else FLOAT, len(self.model.buffers) - 1)

    def add_tensor(self, shape: Sequence[int], kind: int = FLOAT, buffer: int = 0) -> int:
        tensor = schema.TensorT()
        tensor.shape, tensor.type, tensor.buffer = list(map(int, shape)), kind, buffer
        tensor.name, tensor.hasRank = f"adopted_{len(self.tensors)}", True
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def add(self, code: int, inputs: Sequence[int], result: int, options: Any = None, *, first: bool = False) -> int:
        """Add an operation at the end, or before all others; return its output tensor `result`."""
        known = [
            number
            for number, one in enumerate(self.model.operatorCodes)
            if max(one.builtinCode, one.deprecatedBuiltinCode) == code and not one.customCode
        ]
        if not known:
            added = schema.OperatorCodeT()
            added.builtinCode, added.deprecatedBuiltinCode, added.version = code, min(code, 127), 1
            self.model.operatorCodes.append(added)
            known = [len(self.model.operatorCodes) - 1]
        operation = schema.OperatorT()
        operation.opcodeIndex, operation.inputs, operation.outputs = known[0], list(inputs), [result]
        if options is not None:
            operation.builtinOptions = options
            name = type(options).__name__.removesuffix("T")
            operation.builtinOptionsType = getattr(schema.BuiltinOptions, name)
        self.graph.operators.insert(0 if first else len(self.graph.operators), operation)
        return result

    def shape(self, index: int) -> list[int]:
        return [int(side) for side in self.tensors[index].shape]

    def packed(self, outputs: dict[str, int]) -> bytes:
        """The file with a single signature, from `image` to these outputs."""
        import flatbuffers

        self.graph.inputs, self.graph.outputs = [self.input], list(outputs.values())
        signature = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = "serve", self.number
        signature.inputs = [_named("image", self.input)]
        signature.outputs = [_named(name, index) for name, index in outputs.items()]
        self.model.signatureDefs = [signature]
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def _convert(content: bytes, kind: str | None, head: Head) -> Converted:
    graph = Graph(content)
    last = graph.operation(graph.output)
    logits = graph.output
    if kind in (SOFTMAX, SIGMOID) and last is not None:
        logits = int(last.inputs[0])
        graph.graph.operators.remove(last)
    elif kind is None and head.outputs == SOFTMAX:
        shape = graph.shape(graph.output)
        floor = graph.add_constant(np.array(SMALLEST, np.float32))
        above = graph.add(Op.MAXIMUM, [graph.output, floor], graph.add_tensor(shape), schema.MaximumMinimumOptionsT())
        logits = graph.add(Op.LOG, [above], graph.add_tensor(shape))
    outputs = _before(graph, logits)
    outputs = {"logits": _columns(graph, logits, head)} | {
        name: _columns(graph, index, head) if name == "class_maps" else index for name, index in outputs.items()
    }
    _prepend(graph, head)
    shapes = {name: graph.shape(index)[1:] for name, index in outputs.items()}
    return Converted(graph.packed(outputs), shapes, _parameters(graph))


def _before(graph: Graph, logits: int) -> dict[str, int]:
    """The tensors of the embedding and the class maps, if logits come from a dense layer whose input comes from global
    average pooling."""
    if graph.code_of(logits) != Op.FULLY_CONNECTED:
        return {}
    dense = graph.operation(logits)
    assert dense is not None
    options, vector = dense.builtinOptions, int(dense.inputs[0])
    if options.fusedActivationFunction or options.weightsFormat or len(graph.shape(vector)) != 2:
        return {}
    pooled = vector
    while graph.code_of(pooled) in (Op.RESHAPE, Op.SQUEEZE):
        reshaping = graph.operation(pooled)
        assert reshaping is not None
        pooled = int(reshaping.inputs[0])
    features = _averaged(graph, pooled)
    if features is None:
        return {"embedding": vector}
    # the same dense layer at every position of the features, without its bias
    *places, _ = graph.shape(features)
    everywhere = schema.FullyConnectedOptionsT()
    everywhere.keepNumDims = True
    everywhere.asymmetricQuantizeInputs = options.asymmetricQuantizeInputs
    maps = graph.add_tensor([*places, graph.shape(logits)[-1]])
    graph.add(Op.FULLY_CONNECTED, [features, int(dense.inputs[1]), -1], maps, everywhere)
    # versions of an operation add capabilities; this use needs the fifth
    code = graph.model.operatorCodes[graph.graph.operators[-1].opcodeIndex]
    code.version = max(code.version, 5)
    return {"embedding": vector, "class_maps": maps}


def _averaged(graph: Graph, pooled: int) -> int | None:
    """The features [1, h, w, D] whose mean over the image is the tensor; None for any other tensor."""
    operation = graph.operation(pooled)
    if operation is None or graph.code_of(pooled) not in (Op.MEAN, Op.AVERAGE_POOL_2D):
        return None
    features = int(operation.inputs[0])
    shape = graph.shape(features)
    if len(shape) != 4 or graph.tensors[features].type != FLOAT:
        return None
    if graph.code_of(pooled) == Op.MEAN:
        axes = graph.constant(int(operation.inputs[1]))
        whole = axes is not None and sorted(axes % 4) == [1, 2]
    else:
        pool = operation.builtinOptions
        sides = [pool.filterHeight, pool.filterWidth]
        whole = sides == shape[1:3] and graph.shape(pooled)[1:3] == [1, 1] and not pool.fusedActivationFunction
    return features if whole else None


def _columns(graph: Graph, index: int, head: Head) -> int:
    """A tensor [..., outputs] as [..., classes], see `Head.columns`."""
    if head.single:
        *rest, _ = graph.shape(index)
        room = np.array([*([0, 0] for _ in rest), [1, 0]], np.int32)
        index = graph.add(Op.PAD, [index, graph.add_constant(room)], graph.add_tensor([*rest, 2]), schema.PadOptionsT())
    if head.order != tuple(range(len(head.order))):
        index = _gathered(graph, index, head.order, graph.add_tensor(graph.shape(index)))
    return index


def _gathered(graph: Graph, index: int, order: Sequence[int], result: int, *, first: bool = False) -> int:
    """The entries of a tensor's last axis in another order."""
    options = schema.GatherOptionsT()
    options.axis = len(graph.shape(index)) - 1
    return graph.add(Op.GATHER, [index, graph.add_constant(np.array(order, np.int32))], result, options, first=first)


def _prepend(graph: Graph, head: Head) -> None:
    """The preprocessing, from a new input."""
    before, shape = head.preprocessing, graph.shape(graph.input)
    shape[0] = 1
    graph.tensors[graph.input].shapeSignature = None
    # in reverse order, as each is put before all others
    for code, values, options in (
        (Op.ADD, before.offset, schema.AddOptionsT()),
        (Op.MUL, before.scale, schema.MulOptionsT()),
    ):
        if before.changes:
            new = graph.add_tensor(shape)
            constant = graph.add_constant(np.array(values, np.float32))
            graph.add(code, [new, constant], graph.input, options, first=True)
            graph.input = new
    if before.bgr:
        new = graph.add_tensor(shape)
        _gathered(graph, new, (2, 1, 0), graph.input, first=True)
        graph.input = new


def _parameters(graph: Graph) -> int:
    """The number of values in the graph's constants."""
    return sum(
        int(np.prod(tensor.shape))
        for tensor in graph.tensors
        if tensor.type in WEIGHTS
        and tensor.shape is not None
        and (data := graph.model.buffers[tensor.buffer].data) is not None
        and len(data)
    )


def _shape(tensor: Any) -> tuple[int | None, ...]:
    """A tensor's shape, with None for dynamic dimensions."""
    shape = tensor.shapeSignature if tensor.shapeSignature is not None and len(tensor.shapeSignature) else tensor.shape
    return tuple(None if side < 0 else int(side) for side in (shape if shape is not None else ()))


def _named(name: str, index: int) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name, index
    return entry


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)
