"""Parts are found without ESPnet's task, and are those that it would have taken."""

import pytest
from espnet2.tasks import asr

from espnet_mtasr.asr.encoder import espnet_halves
from espnet_mtasr.tasks import building
from espnet_mtasr.tasks.mtasr import MTASRTask


@pytest.mark.parametrize(
    "ours, espnets",
    [
        (building.frontend_choices, asr.frontend_choices),
        (building.specaug_choices, asr.specaug_choices),
        (building.normalize_choices, asr.normalize_choices),
        (espnet_halves.encoder_choices, asr.encoder_choices),
    ],
)
def test_espnets_choices(ours, espnets):
    assert ours.classes == espnets.classes and list(ours.classes)
    assert ours.choices() == espnets.choices()
    assert (ours.default, ours.base_type) == (espnets.default, espnets.base_type)
    for name, found in espnets.classes.items():
        assert ours.get_class(name) is found
    assert set(ours.named) <= set(espnets.classes)


def test_the_task_builds_as_the_builder_does():
    """Also where a class derives from the task and builds one part of its own."""
    assert building.ModelBuilder in MTASRTask.__mro__
    own = set(vars(MTASRTask)) & set(vars(building.ModelBuilder))
    assert {name for name in own if not name.startswith("__")} == set()
    assert MTASRTask.build_model.__func__ is building.ModelBuilder.build_model.__func__
