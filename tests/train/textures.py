"""Pictures with different textures, which a search for duplicates must distinguish."""

import numpy as np
from PIL import Image

from tests.pictures import lesion


def texture(seed: int) -> Image.Image:
    """Skin with a spot and a coarse random texture, which survives resizing as hairs and pigment do."""
    generator = np.random.default_rng(seed)
    noise = generator.integers(0, 255, (18, 24, 3), dtype=np.uint8)
    layer = Image.fromarray(noise).resize((300, 225), Image.Resampling.BICUBIC)
    return Image.blend(lesion(300, 225, seed), layer, 0.25)
