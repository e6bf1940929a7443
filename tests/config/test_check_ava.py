"""Rules about boxes: what a job with boxes would ignore, or cannot mean."""

import pytest

from slowfast_mvit.config.load import load_config_text
from tests.config.test_check import GOOD, found

AVA = "TRAIN.DATASET=ava;TEST.DATASET=ava;DETECTION.ENABLE=True;MODEL.LOSS_FUNC=bce;MODEL.HEAD_ACT=sigmoid"
NAMES = "TENSORBOARD.CLASS_NAMES_PATH: actions are named by AVA.LABEL_MAP_FILE, or in the box lists; leave it empty"


def test_a_job_with_boxes() -> None:
    assert found(AVA) == []
    assert found(f"{AVA};AVA.TEST_CENTRE_CROP=True;AVA.TEST_SHORT_SIDES=[224,256];AVA.TEST_FLIP=True") == []
    assert found(f"{AVA};MODEL.LOSS_FUNC=cross_entropy;MODEL.HEAD_ACT=softmax") == []
    assert found(f"{AVA};MODEL.ARCH=slowfast_r50") == []


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            "MODEL.ARCH=x3d_s",
            "MODEL.ARCH: x3d_s has no form that scores boxes; set it to mvit or slow_r50 or slowfast_r50",
        ),
        ("AUG.ENABLE=True", "AUG.ENABLE: clips with boxes are cropped and mirrored and nothing else"),
        ("AUG.NUM_SAMPLE=2", "AUG.NUM_SAMPLE: 2, but clips with boxes are not repeated; set it to 1"),
        ("MIXUP.ENABLE=True", "MIXUP.ENABLE: clips with boxes are not mixed; set it to False"),
        (
            "DATA.TRAIN_JITTER_SCALES_RELATIVE=[0.08, 1];DATA.TRAIN_JITTER_ASPECT_RELATIVE=[0.75, 1.33]",
            "DATA.TRAIN_JITTER_SCALES_RELATIVE: clips with boxes are cropped after a resize of the short side",
        ),
        ("MODEL.HEAD_ACT=softmax", "MODEL.HEAD_ACT: softmax does not go with MODEL.LOSS_FUNC bce"),
        ("MODEL.LOSS_FUNC=cross_entropy", "MODEL.HEAD_ACT: sigmoid does not go with MODEL.LOSS_FUNC cross_entropy"),
        (
            "AVA.TEST_CENTRE_CROP=True;AVA.TEST_SHORT_SIDES=[192,256]",
            "AVA.TEST_SHORT_SIDES: 192 is less than DATA.TEST_CROP_SIZE 224",
        ),
        ("AVA.TEST_SHORT_SIDES=[256,256]", "AVA.TEST_SHORT_SIDES: 256 comes more than once"),
        (
            "TEST.NUM_TEMPORAL_CLIPS=[1,5]",
            "TEST.NUM_TEMPORAL_CLIPS: boxes are tested by the clip around their key frame",
        ),
        ("TEST.SAVE_PROBABILITIES=True", "TEST.SAVE_PROBABILITIES: predictions/detections.csv has the scores"),
        ("TEST.SAVE_RESULTS_PATH=r.pkl", "TEST.SAVE_RESULTS_PATH: the results of boxes are in"),
        ("DATA.ENSEMBLE_METHOD=max", "DATA.ENSEMBLE_METHOD: max, but the views of boxes are averaged; set it to sum"),
        ("TENSORBOARD.CLASS_NAMES_PATH=x.json", NAMES),
    ],
)
def test_what_a_job_with_boxes_would_ignore(overrides: str, said: str) -> None:
    problems = found(f"{AVA};{overrides}")
    assert len(problems) == 1 and problems[0].startswith(said)


def test_whole_frames_may_be_smaller_than_a_crop() -> None:
    assert found(f"{AVA};AVA.TEST_SHORT_SIDES=[192]") == []


def test_jobs_without_boxes_are_not_asked() -> None:
    assert load_config_text(GOOD, "text", ["AVA.TEST_FLIP", "True", "AUG.ENABLE", "True"])
