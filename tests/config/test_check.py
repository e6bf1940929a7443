import inspect
import re

import pytest

from slowfast_mvit.config.check import RULES, check_config
from slowfast_mvit.config.load import ConfigError, load_config_text
from slowfast_mvit.config.schema import Config, all_keys

GOOD = "DATA:\n  TEST_CROP_SIZE: 224\n"
SEVERAL = "DATA.MULTI_LABEL=True;MODEL.LOSS_FUNC=bce;MODEL.HEAD_ACT=sigmoid"
INCEPTION = "DATA.TRAIN_JITTER_SCALES_RELATIVE=[0.08, 1.0];DATA.TRAIN_JITTER_ASPECT_RELATIVE=[0.75, 1.3333]"


def found(overrides: str) -> list[str]:
    """The problems of a good config with overrides, KEY=VALUE apart by semicolons, without their origin."""
    pairs = [part for pair in overrides.split(";") for part in pair.strip().split("=", 1)] if overrides else []
    try:
        load_config_text(GOOD, "text", pairs)
    except ConfigError as error:
        return [problem.split(": ", 1)[1] for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ("TEST.NUM_SPATIAL_CROPS=2", "TEST.NUM_SPATIAL_CROPS: 2 is not one of 1, 3"),
        ("DATA.ENSEMBLE_METHOD=mean", "DATA.ENSEMBLE_METHOD: 'mean' is not one of 'sum', 'max'"),
        ("SHARD_ID=1", "SHARD_ID: 1 must be less than NUM_SHARDS 1; machines count from 0"),
        (
            "TEST.NUM_ENSEMBLE_VIEWS=0",
            "TEST.NUM_ENSEMBLE_VIEWS: 0 tests nothing; set 1 or more, or -1 for 1, 3, 5, 7 and 10",
        ),
        (
            "DATA.TEST_CROP_SIZE=240",
            "DATA.TEST_CROP_SIZE: 240 differs from DATA.TRAIN_CROP_SIZE 224, and MViT's position tables have one size; "
            "set both to 224 or both to 240",
        ),
        (
            "DATA.TRAIN_CROP_SIZE=320;DATA.TEST_CROP_SIZE=320;TEST.NUM_SPATIAL_CROPS=1;TRAIN.ENABLE=False",
            "DATA.TEST_CROP_SIZE: 320 does not fit: with TEST.NUM_SPATIAL_CROPS 1 the short side of a test frame is "
            "DATA.TRAIN_JITTER_SCALES[0], 256; set that to 320 or more, or NUM_SPATIAL_CROPS to 3",
        ),
        (
            "DATA.TRAIN_CROP_SIZE=320;DATA.TEST_CROP_SIZE=320",
            "DATA.TRAIN_CROP_SIZE: 320 does not fit: frames are resized to a short side from 256 on; "
            "set DATA.TRAIN_JITTER_SCALES[0] to 320 or more",
        ),
        (
            "DATA.TRAIN_JITTER_SCALES=[320, 256]",
            "DATA.TRAIN_JITTER_SCALES: the least, 320, is more than the greatest, 256; swap them",
        ),
        (
            "DATA.TRAIN_JITTER_SCALES_RELATIVE=[0.08, 1]",
            "DATA.TRAIN_JITTER_SCALES_RELATIVE: it goes together with DATA.TRAIN_JITTER_ASPECT_RELATIVE; "
            "set both (0.08, 1.0 and 0.75, 1.3333 for Kinetics) or neither",
        ),
        (
            "AUG.ENABLE=True;AUG.RE_SPLIT=True",
            "AUG.RE_SPLIT: True leaves the first of AUG.NUM_SAMPLE copies of each video without erasing, and with 1 there "
            "would be none: set NUM_SAMPLE to 2 or more, or RE_SPLIT to False",
        ),
        (
            "DATA.LIST_COLUMNS=['path', 'ignore']",
            "DATA.LIST_COLUMNS: ['path', 'ignore'] must name path once and label once; other fields are ignore",
        ),
        ("DATA.LIST_COLUMNS=['path', 'name']", "DATA.LIST_COLUMNS: 'name' is not one of 'path', 'ignore', 'label'"),
        (
            "DATA.REVERSE_INPUT_CHANNEL=True",
            "DATA.REVERSE_INPUT_CHANNEL: frames are RGB here, and BGR input is not offered; set it to False",
        ),
        ("TRAIN.DATASET=ava", "DETECTION.ENABLE: the data set ava has boxes; set it to True"),
        (
            "DETECTION.ENABLE=True",
            "DETECTION.ENABLE: kinetics has no boxes; set it to False, or the data sets to ava",
        ),
        (
            "MIXUP.ENABLE=True",
            "MODEL.LOSS_FUNC: cross_entropy cannot take the mixed labels of MIXUP.ENABLE; set it to soft_cross_entropy "
            "(or bce_logit)",
        ),
        (
            "DATA.MULTI_LABEL=True;MODEL.LOSS_FUNC=soft_cross_entropy",
            "MODEL.LOSS_FUNC: soft_cross_entropy asks which one class is right, and DATA.MULTI_LABEL has several; set it to "
            "bce_logit (and MODEL.HEAD_ACT to sigmoid)",
        ),
        (
            "TRAIN.DATASET=ssv2",
            "TEST.DATASET: kinetics samples its clips in another way than TRAIN.DATASET ssv2, and both are read from one "
            "folder; set them alike",
        ),
        (
            "DATA.MULTI_LABEL=True;MODEL.LOSS_FUNC=bce",
            "MODEL.HEAD_ACT: softmax shares one probability out among the classes, and DATA.MULTI_LABEL asks of each whether "
            "it is there, as the loss does; set it to sigmoid",
        ),
        (
            f"{SEVERAL};TRAIN.DATASET=ssv2;TEST.DATASET=ssv2",
            "DATA.MULTI_LABEL: ssv2 has labels of its own; set it to False, or the data sets to kinetics",
        ),
        (
            "MIXUP.ENABLE=True;MODEL.LOSS_FUNC=soft_cross_entropy;TRAIN.BATCH_SIZE=1",
            "MIXUP.PROB: 1.0 mixes clips of a batch, and there is only 1; raise TRAIN.BATCH_SIZE or AUG.NUM_SAMPLE, "
            "or set MIXUP.PROB to 0",
        ),
        (
            "MIXUP.ENABLE=True;MODEL.LOSS_FUNC=soft_cross_entropy;MIXUP.ALPHA=0;MIXUP.CUTMIX_ALPHA=0",
            "MIXUP.ALPHA: 0, and CUTMIX_ALPHA 0 too, leave nothing to mix by; set one above 0, or MIXUP.PROB to 0",
        ),
        (
            f"{INCEPTION};DATA.TRAIN_CROP_SIZE=312;DATA.TEST_CROP_SIZE=312",
            "DATA.TEST_CROP_SIZE: 312 does not fit: a validation has one crop, of frames whose short side is "
            "DATA.TRAIN_JITTER_SCALES[0], 256; set that to 312 or more",
        ),
        (
            "TEST.ENABLE=False;TEST.SHORT_SIDE=200",
            "TEST.SHORT_SIDE: 200 is less than DATA.TEST_CROP_SIZE 224; set it to 224 or more, or to 0",
        ),
        (
            "SOLVER.REFERENCE_BATCH=512;SOLVER.BASE_LR_SCALE_NUM_SHARDS=True",
            "SOLVER.REFERENCE_BATCH: 512 scales the rates by clips, and SOLVER.BASE_LR_SCALE_NUM_SHARDS by machines; "
            "set one of them off (0 or False)",
        ),
        (
            "SOLVER.COSINE_END_LR=0.5",
            "SOLVER.COSINE_END_LR: 0.5 is more than SOLVER.BASE_LR 0.1, where cosine starts",
        ),
        (
            "SOLVER.LR_POLICY=steps_with_relative_lrs;SOLVER.STEPS=[0, 10];SOLVER.LRS=[1]",
            "SOLVER.STEPS: 2 entries, and SOLVER.LRS has 1; steps_with_relative_lrs needs one factor for each step",
        ),
        (
            "SOLVER.LR_POLICY=steps_with_relative_lrs;SOLVER.STEPS=[5, 10];SOLVER.LRS=[1, 0.1]",
            "SOLVER.STEPS: the first is 5; it must be 0, the beginning",
        ),
        (
            "SOLVER.LR_POLICY=steps_with_relative_lrs;SOLVER.STEPS=[0, 10, 10];SOLVER.LRS=[1, 0.1, 0.01]",
            "SOLVER.STEPS: 0, 10, 10 must grow from each step to the next",
        ),
        ("SOLVER.WARMUP_EPOCHS=301", "SOLVER.WARMUP_EPOCHS: 301 is more than SOLVER.MAX_EPOCH 300"),
        (
            "SOLVER.MOMENTUM=0",
            "SOLVER.NESTEROV: it needs SOLVER.MOMENTUM above 0 and SOLVER.DAMPENING 0; they are 0 and 0",
        ),
        ("SOLVER.BETAS=(0.9, 1.0)", "SOLVER.BETAS: [0.9, 1.0] must be less than 1"),
        ("MVIT.PATCH_KERNEL=[3, 7]", "MVIT.PATCH_KERNEL: 2 numbers; it takes 3 numbers (time, height, width)"),
        (
            "MVIT.PATCH_2D=True;MVIT.PATCH_KERNEL=[7, 7];MVIT.PATCH_STRIDE=[4, 4]",
            "MVIT.PATCH_PADDING: 3 numbers; it takes 2 numbers (height, width) with MVIT.PATCH_2D True",
        ),
        (
            "DATA.NUM_FRAMES=7",
            "DATA.NUM_FRAMES: 7 is not a multiple of the stem's time stride, MVIT.PATCH_STRIDE[0] 2",
        ),
        (
            "DATA.TRAIN_CROP_SIZE=222;DATA.TEST_CROP_SIZE=222",
            "DATA.TRAIN_CROP_SIZE: 222 is not a multiple of the stem's stride in MVIT.PATCH_STRIDE, 4",
        ),
        ("MVIT.NUM_HEADS=5", "MVIT.EMBED_DIM: 96 is not a multiple of MVIT.NUM_HEADS 5"),
        ("MVIT.DIM_MUL=[[16, 2.0]]", "MVIT.DIM_MUL: there is no block 16; MVIT.DEPTH 16 has blocks 0 to 15"),
        ("MVIT.HEAD_MUL=[[-1, 2.0]]", "MVIT.HEAD_MUL: there is no block -1; MVIT.DEPTH 16 has blocks 0 to 15"),
        ("MVIT.HEAD_MUL=[[1, 2.0], [1, 3.0]]", "MVIT.HEAD_MUL: block 1 comes more than once"),
        ("MVIT.DIM_MUL=[[1, 0]]", "MVIT.DIM_MUL: [1, 0.0] holds a number that is not above 0"),
        ("MVIT.POOL_Q_STRIDE=[[1, 2]]", "MVIT.POOL_Q_STRIDE: [1, 2] must be [block, time, height, width]"),
        (
            "MVIT.POOL_Q_STRIDE=[[1, 2, 2]]",
            "MVIT.POOL_Q_STRIDE: [1, 2, 2] must be [block, time, height, width]; for images set MVIT.PATCH_2D, "
            "PATCH_KERNEL, PATCH_STRIDE and PATCH_PADDING (mvit's files leave them out)",
        ),
        (
            "MVIT.POOL_KVQ_KERNEL=[3]",
            "MVIT.POOL_KVQ_KERNEL: [3] must be [time, height, width]",
        ),
    ],
)
def test_each_rule(overrides: str, expected: str) -> None:
    assert found(overrides) == [expected]


IMAGE = "MVIT.PATCH_2D=True;MVIT.PATCH_KERNEL=[7, 7];MVIT.PATCH_STRIDE=[4, 4];MVIT.PATCH_PADDING=[3, 3]"


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ("MVIT.REL_POS_TEMPORAL=True", "MVIT.REL_POS_TEMPORAL: images have no time axis; set it to False"),
        (
            "MVIT.POOL_Q_STRIDE=[[1, 2, 2, 2]]",
            "MVIT.POOL_Q_STRIDE: images have no time axis; the time number must be 1 or left out",
        ),
        (
            "MVIT.POOL_KVQ_KERNEL=[3, 3, 3]",
            "MVIT.POOL_KVQ_KERNEL: images have no time axis; the time number must be 1 or left out",
        ),
        ("MVIT.POOL_KV_STRIDE_ADAPTIVE=[4]", "MVIT.POOL_KV_STRIDE_ADAPTIVE: [4] must be [height, width]"),
    ],
)
def test_rules_of_images(overrides: str, expected: str) -> None:
    assert found(IMAGE) == []
    assert found(f"{IMAGE};{overrides}") == [expected]


@pytest.mark.parametrize(
    "overrides",
    [
        "",
        "DATA.TRAIN_CROP_SIZE=312;DATA.TEST_CROP_SIZE=312;DATA.TRAIN_JITTER_SCALES=[356, 446]",
        "DATA.TRAIN_CROP_SIZE=320;DATA.TEST_CROP_SIZE=320;TRAIN.ENABLE=False",
        "MIXUP.ENABLE=True;TRAIN.ENABLE=False",
        "MIXUP.ENABLE=True;MODEL.LOSS_FUNC=soft_cross_entropy;MIXUP.ALPHA=0",
        f"{INCEPTION};DATA.TRAIN_CROP_SIZE=312;DATA.TEST_CROP_SIZE=312;TEST.SHORT_SIDE=312",
        f"{INCEPTION};DATA.TRAIN_CROP_SIZE=312;DATA.TEST_CROP_SIZE=312;TRAIN.DATASET=ssv2;TEST.DATASET=ssv2",
        "MIXUP.ENABLE=True;MODEL.LOSS_FUNC=bce_logit",
        "MODEL.LOSS_FUNC=soft_cross_entropy;MODEL.HEAD_ACT=sigmoid",
        f"{SEVERAL};DATA.ENSEMBLE_METHOD=max",
        "DATA.MULTI_LABEL=True;MODEL.LOSS_FUNC=bce_logit;MODEL.HEAD_ACT=sigmoid;MIXUP.ENABLE=True",
        "DATA.MULTI_LABEL=True;TRAIN.ENABLE=False;TRAIN.DATASET=ssv2",
        "MIXUP.ENABLE=True;MODEL.LOSS_FUNC=soft_cross_entropy;TRAIN.BATCH_SIZE=1;AUG.NUM_SAMPLE=2",
        "MIXUP.ENABLE=True;MODEL.LOSS_FUNC=soft_cross_entropy;TRAIN.BATCH_SIZE=1;MIXUP.PROB=0",
        "SOLVER.LR_POLICY=steps_with_relative_lrs;SOLVER.STEPS=[0, 10, 15];SOLVER.LRS=[1, 0.1, 0.01]",
        "TRAIN.DATASET=ssv2;TEST.DATASET=ssv2;DATA.REVERSE_INPUT_CHANNEL=True",
        "MODEL.ARCH=slowfast_r50;DATA.TEST_CROP_SIZE=256;MVIT.NUM_HEADS=5;MVIT.DIM_MUL=[[99, 2]]",
        "TEST.NUM_ENSEMBLE_VIEWS=-1",
        "NUM_GPUS=0",
        "DATA.LIST_COLUMNS=['label', 'path']",
        "MVIT.PATCH_KERNEL=[7, 7];MVIT.PATCH_STRIDE=[4, 4];MVIT.PATCH_PADDING=[3, 3]",
    ],
)
def test_what_is_fine(overrides: str) -> None:
    assert found(overrides) == []


def test_rules_leave_out_what_could_not_be_read() -> None:
    config = Config()  # the test crop of 256 is PySlowFast's default, and MViT needs that of training
    assert [problem.partition(":")[0] for problem in check_config(config)] == ["DATA.TEST_CROP_SIZE"]
    assert check_config(config, skip={"DATA.TRAIN_CROP_SIZE"}) == []


def test_a_value_out_of_range_stops_the_rules_that_read_it() -> None:
    assert found("MVIT.NUM_HEADS=0") == ["MVIT.NUM_HEADS: 0 is too small; the least is 1"]
    assert found("MVIT.PATCH_STRIDE=[0, 4, 4]") == ["MVIT.PATCH_STRIDE: 0 is too small; the least is 1"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rules_declare_the_keys_they_read(rule: object) -> None:
    source = inspect.getsource(rule)  # type: ignore[arg-type]
    shorthand = {"_is_mvit(": "MODEL.ARCH", "num_axes(": "MVIT.PATCH_KERNEL"}
    read = {key for call, key in shorthand.items() if call in source}
    if "_datasets(" in source:
        read |= {"TRAIN.ENABLE", "TRAIN.DATASET", "TEST.ENABLE", "TEST.DATASET"}
    source = source.replace("solver.", "config.SOLVER.").replace("rcnn.", "config.RCNN.")
    read |= set(re.findall(r"config\.([A-Z_]+(?:\.[A-Za-z_0-9]+)?)", source)) & set(all_keys())
    assert set(RULES[rule]) == read  # type: ignore[index]
