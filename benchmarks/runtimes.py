"""python -m benchmarks.runtimes: `score` compared with the same network in OpenVINO and ONNX Runtime.

It needs packages that the app does not: pip install openvino onnxruntime onnx tf2onnx. All decode the same JPEGs with
the same function, on every core, each runtime with as many single-threaded networks, or streams, as there are cores.
Time is processor time, so that a busy machine matters little; that of `score` includes loading the network and writing
the rows, that of the others does not. Probabilities are compared on images of HAM10000 if they are on disk, otherwise
on the JPEGs, which are drawings.
"""

import contextlib
import functools
import os
import queue
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks import pictures
from benchmarks.tasks import Task, model
from skinapp.images import imaging
from skinapp.inference.runtime import Classifier, softmax

CORES = os.cpu_count() or 1
HAM10000 = Path(os.environ.get("SKINAPP_DATA", Path(__file__).parents[2] / "shared" / "data")) / "ham10000" / "images"
IMAGES = 300
REPEATS = 3
SIDE = 2048
"""Size of the square matrices whose products show how many multiply-adds per second are possible."""

Logits = Callable[[np.ndarray], np.ndarray]
"""One image, float32 [1, size, size, 3], to logits [K]."""


def litert() -> Sequence[Logits]:
    def network(classifier: Classifier) -> Logits:
        return lambda image: classifier.predict(image[0].astype(np.uint8)).logits

    return [network(Classifier(model(), threads=1)) for _ in range(CORES)]


def openvino(precision: str) -> Sequence[Logits]:
    import openvino as ov

    core = ov.Core()
    network = core.read_model(model().folder / model().weights[0])
    network.reshape([1, model().input_size, model().input_size, 3])
    settings = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "THROUGHPUT"}
    settings |= {"NUM_STREAMS": str(CORES), "INFERENCE_NUM_THREADS": str(CORES)}
    compiled = core.compile_model(network, "CPU", settings)

    def stream() -> Logits:
        request = compiled.create_infer_request()
        return lambda image: logits_of([np.array(value) for value in request.infer([image]).values()])

    return [stream() for _ in range(CORES)]


def onnx_runtime() -> Sequence[Logits]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        weights = model().folder / model().weights[0]
        command = [sys.executable, "-m", "tf2onnx.convert", "--tflite", weights, "--output", file, "--opset", "18"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        content = file.read_bytes()

    def session() -> Logits:
        one = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        name = one.get_inputs()[0].name
        return lambda image: logits_of(one.run(None, {name: image}))

    return [session() for _ in range(CORES)]


def logits_of(outputs: Sequence[np.ndarray]) -> np.ndarray:
    """The logits [K] among a network's outputs; runtimes rename and reorder them."""
    return next(output[0] for output in outputs if output.shape == (1, len(model().labels.codes)))


def classify(folder: Path, each: Sequence[Logits]) -> np.ndarray:
    """Logits [n, K] of the first IMAGES of a folder, on every core."""
    free: queue.SimpleQueue[Logits] = queue.SimpleQueue()
    for one in each:
        free.put(one)

    def answer(file: Path) -> np.ndarray:
        network = free.get()
        try:
            return network(imaging.load(file, model().input_size)[np.newaxis].astype(np.float32))
        finally:
            free.put(network)

    with ThreadPoolExecutor(len(each)) as pool:
        return np.stack(list(pool.map(answer, sorted(folder.iterdir())[:IMAGES])))


def probabilities(folder: Path, each: Sequence[Logits]) -> np.ndarray:
    """The same as calibrated probabilities."""
    return softmax(classify(folder, each).astype(np.float64) / model().temperature)


def classifying(networks: Callable[[], Sequence[Logits]]) -> Task:
    each = networks()
    return lambda folder: classify(folder, each)


def multiply_adds() -> Task:
    """The network's number of multiply-adds for the images of a folder, performed as float32 matrix products."""
    count = network_multiply_adds()
    generator = np.random.default_rng(0)
    left, right = (generator.random((SIDE, SIDE), np.float32) for _ in range(2))
    return lambda folder: [left @ right for _ in range(round(count * len(list(folder.iterdir())) / SIDE**3))]


def network_multiply_adds() -> int:
    """The multiply-adds of the network's convolutions and dense layers for one image."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(str(model().folder / model().weights[0]), experimental_op_resolver_type=plain)
    shapes = {one["index"]: one["shape"] for one in interpreter.get_tensor_details()}
    total = 0
    for operation in interpreter._get_ops_details():
        weights = [shapes[index] for index in operation["inputs"][1:2] if index in shapes]
        outputs = int(np.prod(shapes[operation["outputs"][0]]))
        if operation["op_name"] in ("CONV_2D", "FULLY_CONNECTED"):
            total += outputs * int(np.prod(weights[0][1:]))
        elif operation["op_name"] == "DEPTHWISE_CONV_2D":
            total += outputs * int(np.prod(weights[0][1:3]))
    return total


NETWORKS: dict[str, Callable[[], Sequence[Logits]]] = {
    "OpenVINO": functools.partial(openvino, "f32"),
    "OpenVINO, bfloat16": functools.partial(openvino, "bf16"),
    "ONNX Runtime": onnx_runtime,
}
PRODUCTS = "multiply-adds in NumPy"
TASKS: dict[str, Callable[[], Task]] = {
    **{name: functools.partial(classifying, networks) for name, networks in NETWORKS.items()},
    PRODUCTS: multiply_adds,
}
"""Tasks that `benchmarks.worker` times in addition to its own."""


def main() -> int:
    from benchmarks.worker import worker

    names = ["scoring", *TASKS]
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as workers:
        few = pictures.dermoscopy_images(Path(temporary) / "few", 8)
        folder = pictures.dermoscopy_images(Path(temporary) / "images", IMAGES)
        run = {name: workers.enter_context(worker(name, "processor")) for name in names}
        for name in names:
            run[name](few)  # warm up
        turns = [{name: run[name](folder) for name in names} for _ in range(REPEATS)]
        compared = HAM10000 if HAM10000.is_dir() else folder
        reference = probabilities(compared, litert())
        print(f"{CORES} cores, {IMAGES} JPEGs of {'x'.join(map(str, pictures.HAM10000_SIZE))}, ", end="")
        print(f"{network_multiply_adds() / 1e6:.0f} million multiply-adds each\n")
        print("| | images/s | its time / time of `score` | largest difference of a probability | other class |")
        print("|---|---|---|---|---|")
        for name in names:
            speed = CORES * IMAGES / statistics.median(turn[name] for turn in turns)
            ratios = [turn[name] / turn["scoring"] for turn in turns]
            spread = f"{min(ratios):.2f} to {max(ratios):.2f}, n = {REPEATS}" if name != "scoring" else ""
            same = ["", ""]
            if name in NETWORKS:
                found = probabilities(compared, NETWORKS[name]())
                changed = (found.argmax(axis=1) != reference.argmax(axis=1)).sum()
                same = [f"{np.abs(found - reference).max():.1g}", f"{changed} of {len(found)}"]
            title = name if spread else "`score`, LiteRT"
            cells = [title, f"{speed:.0f}", f"{statistics.median(ratios):.2f} ({spread})" if spread else "1", *same]
            print(f"| {' | '.join(cells)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
