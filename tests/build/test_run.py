"""The task that a config asks for."""

from pathlib import Path

import pytest

from slowfast_mvit.build.run import classification_of
from slowfast_mvit.config.load import load_config_text
from slowfast_mvit.tasks.classify import Classification, MixSettings
from slowfast_mvit.tasks.multilabel import MultiLabel

SMALL = (Path(__file__).parents[2] / "configs" / "Toy" / "MVITV2_TOY_8x4.yaml").read_text()
SEVERAL = ("DATA.MULTI_LABEL", "True", "MODEL.HEAD_ACT", "sigmoid", "MODEL.LOSS_FUNC")


@pytest.mark.parametrize(
    ("overrides", "kind", "loss", "activation"),
    [
        ((), Classification, "cross_entropy", "softmax"),
        (("MODEL.LOSS_FUNC", "soft_cross_entropy"), Classification, "soft_cross_entropy", "softmax"),
        (("MODEL.LOSS_FUNC", "bce_logit", "MODEL.HEAD_ACT", "sigmoid"), Classification, "bce_logit", "sigmoid"),
        ((*SEVERAL, "bce"), MultiLabel, "bce", "sigmoid"),
        ((*SEVERAL, "bce_logit"), MultiLabel, "bce_logit", "sigmoid"),
    ],
)
def test_the_task_of_a_config(overrides: tuple[str, ...], kind: type, loss: str, activation: str) -> None:
    task = classification_of(load_config_text(SMALL, "toy", overrides), "float32")
    assert (type(task), task.loss, task.activation, task.num_classes) == (kind, loss, activation, 8)


def test_smoothing_without_mixing() -> None:
    overrides = ("MIXUP.ENABLE", "True", "MIXUP.PROB", "0", "MIXUP.LABEL_SMOOTH_VALUE", "0.2")
    loss = ("MODEL.LOSS_FUNC", "soft_cross_entropy")
    task = classification_of(load_config_text(SMALL, "toy", (*overrides, *loss)), "float32")
    assert task.mix == MixSettings(prob=0.0, label_smoothing=0.2)
    off = ("MIXUP.ENABLE", "False", *loss)
    assert classification_of(load_config_text(SMALL, "toy", off), "float32").mix is None
