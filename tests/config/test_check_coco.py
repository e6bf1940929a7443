"""Rules about detectors and COCO: what goes together, and what a job would ignore."""

import pytest

from tests.config.test_check import found

COCO = (
    "TRAIN.DATASET=coco;TEST.DATASET=coco;MODEL.ARCH=mask_rcnn;MVIT.PATCH_2D=True;MVIT.PATCH_KERNEL=[7, 7];"
    "MVIT.PATCH_STRIDE=[4, 4];MVIT.PATCH_PADDING=[3, 3];MVIT.CLS_EMBED_ON=False;MVIT.REL_POS_TEMPORAL=False;"
    "MIXUP.ENABLE=False;AUG.ENABLE=False;AUG.NUM_SAMPLE=1"
)


def test_a_job_that_detects() -> None:
    assert found(COCO) == []
    assert found(f"{COCO};MODEL.ARCH=cascade_mask_rcnn;COCO.JITTER_SCALES=[0.1, 2.0]") == []
    assert found(f"{COCO};SOLVER.WARMUP_EPOCHS=0;SOLVER.MAX_STEPS=67500;SOLVER.WARMUP_STEPS=250") == []
    assert found(f"{COCO};DATA.TEST_CROP_SIZE=256") == []  # it is not used


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ("MODEL.ARCH=mvit", "MODEL.ARCH: mvit finds no objects in images, which coco asks; set it to mask_rcnn or"),
        ("MODEL.ARCH=slow_r50", "MODEL.ARCH: slow_r50 finds no objects in images"),
        (
            "TEST.DATASET=imagenet",
            "MODEL.ARCH: mask_rcnn finds objects in images, and imagenet has none; set TRAIN.DATASET and TEST.DATASET to coco",
        ),
        ("MVIT.CLS_EMBED_ON=True", "MVIT.CLS_EMBED_ON: the backbone of mask_rcnn gives maps and has no class token"),
        (
            "DETECTION.ENABLE=True",
            "DETECTION.ENABLE: it is for actions of given boxes (ava), and mask_rcnn finds its own",
        ),
        ("SOLVER.LAYER_DECAY=0.9", "SOLVER.LAYER_DECAY: 0.9 is for a lone MViT"),
        ("DISTRIBUTED.STRATEGY=fsdp", "DISTRIBUTED.STRATEGY: fsdp shares out the blocks of a lone MViT"),
        ("AUG.ENABLE=True", "AUG.ENABLE: images with objects are mirrored, cropped and resized and nothing else"),
        ("AUG.NUM_SAMPLE=2", "AUG.NUM_SAMPLE: 2, but images with objects are not repeated; set it to 1"),
        (
            "MIXUP.ENABLE=True;MODEL.LOSS_FUNC=soft_cross_entropy",
            "MIXUP.ENABLE: images with objects are not mixed; set it to False",
        ),
        ("COCO.TRAIN_SHORT_SIDES=[]", "COCO.TRAIN_SHORT_SIDES: it is empty; give at least one short side in pixels"),
        (
            "COCO.TEST_SHORT_SIDES=[800, 600]",
            "COCO.TEST_SHORT_SIDES: 800, 600 must grow from each side to the next",
        ),
        ("COCO.CROP_SHORT_SIDES=[400, 400]", "COCO.CROP_SHORT_SIDES: 400, 400 must grow from each side to the next"),
        ("COCO.CROP_SIDES=[600, 384]", "COCO.CROP_SIDES: the least, 600, is more than the greatest, 384; swap them"),
        ("COCO.JITTER_SCALES=[2, 0.1]", "COCO.JITTER_SCALES: the least, 2, is more than the greatest, 0.1; swap them"),
        ("COCO.MAX_SIDE=700", "COCO.MAX_SIDE: 700 is less than the short side 800 of COCO.TRAIN_SHORT_SIDES"),
        ("COCO.TEST_MAX_SIDE=700", "COCO.TEST_MAX_SIDE: 700 is less than the short side 800 of COCO.TEST_SHORT_SIDES"),
        ("TEST.NUM_TEMPORAL_CLIPS=[1, 3]", "TEST.NUM_TEMPORAL_CLIPS: an image has no clips; leave it empty"),
        ("TEST.SAVE_PROBABILITIES=True", "TEST.SAVE_PROBABILITIES: predictions/coco_results.json has the scores"),
        ("TEST.SAVE_RESULTS_PATH=a.pkl", "TEST.SAVE_RESULTS_PATH: the results are in predictions/coco_results.json"),
        ("TENSORBOARD.CLASS_NAMES_PATH=a.json", "TENSORBOARD.CLASS_NAMES_PATH: objects are named by the categories"),
        (
            "SOLVER.WARMUP_EPOCHS=0;SOLVER.WARMUP_STEPS=250",
            "SOLVER.WARMUP_STEPS: 250 goes with SOLVER.MAX_STEPS, which is 0; set both, or WARMUP_EPOCHS in its place",
        ),
        (
            "SOLVER.WARMUP_EPOCHS=2;SOLVER.MAX_STEPS=100",
            "SOLVER.WARMUP_EPOCHS: 2, but with SOLVER.MAX_STEPS the rate follows optimizer steps; set it to 0",
        ),
        (
            "SOLVER.WARMUP_EPOCHS=0;SOLVER.MAX_STEPS=100;SOLVER.WARMUP_STEPS=250",
            "SOLVER.WARMUP_STEPS: 250 is more than SOLVER.MAX_STEPS 100",
        ),
    ],
)
def test_each_rule_of_detectors(overrides: str, said: str) -> None:
    problems = found(f"{COCO};{overrides}")
    assert len(problems) == 1
    assert problems[0].startswith(said)
