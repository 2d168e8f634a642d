"""The drawn lesion."""

import numpy as np

from skinapp.images import synthetic


def test_a_seed_gives_one_drawing_and_another_seed_another() -> None:
    first, again, other = (np.asarray(synthetic.draw(seed)) for seed in (3, 3, 8))
    assert first.shape == (540, 720, 3)
    assert (first == again).all()
    # same skin tone, so only the drawing differs
    assert np.abs(first.astype(int) - other).mean() > 5


def test_the_middle_is_a_dark_lesion_on_lighter_skin() -> None:
    for seed in range(10):
        grey = np.asarray(synthetic.draw(seed).convert("L"), dtype=float)
        middle = grey[240:300, 330:390].mean()
        corners = np.mean([grey[:40, :40], grey[:40, -40:], grey[-40:, :40], grey[-40:, -40:]])
        assert middle < 0.85 * corners, seed


def test_any_size_can_be_drawn() -> None:
    assert synthetic.draw(0, 200, 300).size == (200, 300)
