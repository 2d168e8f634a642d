"""The diagram's stages, from the one parser of a network's file."""

import pytest

from skinapp.charts import architecture
from skinapp.inference import registry
from skinapp.inference.architecture import blocks


@pytest.mark.parametrize("model", registry.models().values(), ids=lambda model: model.id)
def test_the_stages_of_a_network(model: registry.Model) -> None:
    stages = architecture.stages(model)
    assert stages[0].shape == f"{model.input_size} x {model.input_size} x 3"
    ending = [stage.name for stage in stages if stage.name not in ("Mean", "Weighted sum")]
    assert ending[-2:] == ["Head", "Probabilities"]
    assert stages[-1].shape == str(len(model.labels.codes))
    assert len(architecture.diagram(stages).layout.shapes) == len(stages)
    if blocks(model):
        height, width, _ = model.card["outputs"]["class_maps"]
        last = next(stage for stage in stages if stage.name == "Last convolution")
        assert last.shape == f"{height} x {width} x {model.card['outputs']['embedding'][0]}"
        inner = [block for block in blocks(model) if block.stage]
        assert sum(stage.name.startswith("Block ") for stage in stages) == len({block.stage for block in inner})
        bottlenecks = [int(stage.does.split()[0]) for stage in stages if stage.name.startswith("Block ")]
        assert sum(bottlenecks) == len(inner)
