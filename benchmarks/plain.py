"""Plain code, as in most notebooks: Pillow decodes the whole image, Keras predicts, Grad-CAM uses GradientTape."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from skinapp.inference.registry import Model
from skinapp.inference.runtime import softmax


class PlainClassifier:
    """A model's network in Keras. Unlike most notebooks, it builds the Grad-CAM network only once."""

    def __init__(self, model: Model):
        self.model = model
        self.network = keras.saving.load_model(model.folder / "model.keras", compile=False)
        features = self.network.get_layer("embedding").input
        self.features_and_logits = keras.Model(self.network.input, [features, self.network.output])

    def load(self, path: Path) -> np.ndarray:
        """An image file -> float32 [1, size, size, 3], values 0-255: the centre square."""
        image = Image.open(path).convert("RGB")
        side, size = min(image.size), self.model.input_size
        left, top = (image.width - side) // 2, (image.height - side) // 2
        square = image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BICUBIC)
        return np.asarray(square, dtype=np.float32)[np.newaxis]

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        """Probabilities [K] for [1, size, size, 3]."""
        return softmax(self.network.predict(pixels, verbose=0)[0].astype(np.float64) / self.model.temperature)

    def grad_cam(self, pixels: np.ndarray, index: int) -> np.ndarray:
        """Grad-CAM, [h, w] in 0-1, as in Keras's own example (https://keras.io/examples/vision/grad_cam/)."""
        with tf.GradientTape() as tape:
            features, logits = self.features_and_logits(pixels)
            logit = logits[:, index]
        weights = tf.reduce_mean(tape.gradient(logit, features), axis=(0, 1, 2))
        cam = tf.nn.relu(tf.squeeze(features[0] @ weights[:, tf.newaxis]))
        return (cam / tf.maximum(tf.reduce_max(cam), 1e-12)).numpy()
