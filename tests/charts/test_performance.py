import numpy as np
import pytest

from skinapp.charts import performance


@pytest.mark.parametrize("span", [0.0011, 0.099, 0.0999, 0.17, 0.181, 0.44, 0.46, 0.89, 0.91, 0.99, 1.0])
@pytest.mark.parametrize("low", [-0.37, 0.0, 0.6])
def test_an_axis_has_a_few_round_numbers_within_it(low: float, span: float) -> None:
    ticks = performance._ticks(low, low + span)
    assert 3 <= len(ticks) <= 10
    assert min(ticks) >= low - 1e-6
    assert max(ticks) <= low + span + 1e-6
    assert np.diff(ticks) == pytest.approx(np.diff(ticks)[0], abs=2e-6)
