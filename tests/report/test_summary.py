from dataclasses import replace

import pytest

from slowfast_mvit.config.schema import Config
from slowfast_mvit.report.summary import _training


@pytest.mark.parametrize(
    ("dataset", "repeats", "said"),
    [
        ("kinetics", 1, "24 videos a step"),
        ("kinetics", 2, "24 videos a step, each 2 times"),
        ("coco", 1, "24 images a step"),
    ],
)
def test_what_a_step_has(dataset, repeats, said):
    config = Config()
    config = replace(
        config,
        NUM_SHARDS=2,
        TRAIN=replace(config.TRAIN, DATASET=dataset, BATCH_SIZE=4, ACCUMULATE_STEPS=3),
        AUG=replace(config.AUG, NUM_SAMPLE=repeats),
    )
    assert dict(_training(config))["Batch"] == said
