"""A photo in which a box can be drawn."""

import base64
import io

from PIL import Image

from skinapp.charts.photo import drawable
from skinapp.images.imaging import Crop


def test_the_axes_are_the_pixels_of_the_image() -> None:
    figure = drawable(Image.new("RGB", (300, 200), (200, 150, 130)), Crop(0.5, 0.5, 0.5))
    assert tuple(figure.layout.xaxis.range) == (0, 300)
    assert tuple(figure.layout.yaxis.range) == (200, 0)
    assert figure.layout.dragmode == "select"
    [shown] = figure.layout.images
    data = base64.b64decode(shown.source.partition(",")[2])
    assert Image.open(io.BytesIO(data)).size == (300, 200)
    square = figure.layout.shapes[0]
    assert (square.x0, square.y0, square.x1, square.y1) == (100, 50, 200, 150)
    # the points that Plotly needs to report a box are inside the image, and invisible
    assert 0 < min(figure.data[0].x) < max(figure.data[0].x) < 300
    assert figure.data[0].marker.opacity == 0
