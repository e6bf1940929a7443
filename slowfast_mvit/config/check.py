"""Rules that one key's type cannot state: ranges, and what must hold between keys. No file or folder is looked at."""

import itertools
from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType

from slowfast_mvit.config.check_ava import AVA_RULES
from slowfast_mvit.config.check_baselines import BASELINE_RULES
from slowfast_mvit.config.check_coco import COCO_RULES
from slowfast_mvit.config.check_images import IMAGE_RULES, used_datasets
from slowfast_mvit.config.check_mvit import MVIT_RULES, Rule
from slowfast_mvit.config.check_rcnn import RCNN_RULES
from slowfast_mvit.config.keys import get_value, range_problem
from slowfast_mvit.config.schema import Config, all_keys


def check_config(config: Config, skip: Collection[str] = ()) -> list[str]:
    """Everything that is wrong with a config, each a sentence that begins with "KEY: "; empty if nothing is.

    Rules that read a key of `skip` are left out: the loader names there the keys whose value it could not read.
    """
    unusable = set(skip)
    problems = []
    for name, declared in all_keys().items():
        problem = None if name in unusable else range_problem(declared, get_value(config, name))
        if problem:
            problems.append(f"{name}: {problem}")
            unusable.add(name)
    for rule, keys in RULES.items():
        if unusable.isdisjoint(keys):
            problems.extend(rule(config))
    return problems


def _machines(config: Config) -> Iterator[str]:
    if config.SHARD_ID >= config.NUM_SHARDS:
        yield f"SHARD_ID: {config.SHARD_ID} must be less than NUM_SHARDS {config.NUM_SHARDS}; machines count from 0"


def _views(config: Config) -> Iterator[str]:
    if config.TEST.NUM_ENSEMBLE_VIEWS == 0:
        yield "TEST.NUM_ENSEMBLE_VIEWS: 0 tests nothing; set 1 or more, or -1 for 1, 3, 5, 7 and 10"


def _clip_numbers(config: Config) -> Iterator[str]:
    numbers = config.TEST.NUM_TEMPORAL_CLIPS
    for number in sorted({number for number in numbers if numbers.count(number) > 1}):
        yield f"TEST.NUM_TEMPORAL_CLIPS: {number} comes more than once"


def _short_side(config: Config) -> Iterator[str]:
    side, crop, used = config.TEST.SHORT_SIDE, config.DATA.TEST_CROP_SIZE, used_datasets(config)
    others = sorted(used - {"kinetics", "ssv2"})
    if side and others:
        yield f"TEST.SHORT_SIDE: it is for kinetics and ssv2, and not for {', '.join(others)}; set it to 0"
    elif side and used and side < crop:
        yield f"TEST.SHORT_SIDE: {side} is less than DATA.TEST_CROP_SIZE {crop}; set it to {crop} or more, or to 0"


def _task(config: Config) -> Iterator[str]:
    if not all(letter.isalnum() or letter in "_-." for letter in config.TASK):
        yield f"TASK: {config.TASK!r} begins the names of files; take letters, digits, _, - and . only"


def _one_crop_side(config: Config) -> Iterator[str]:
    crop, short_side = config.DATA.TEST_CROP_SIZE, config.DATA.TRAIN_JITTER_SCALES[0]
    one_crop = config.TEST.ENABLE and config.TEST.DATASET == "kinetics" and config.TEST.NUM_SPATIAL_CROPS == 1
    if one_crop and not config.TEST.SHORT_SIDE and crop > short_side:
        yield (
            f"DATA.TEST_CROP_SIZE: {crop} does not fit: with TEST.NUM_SPATIAL_CROPS 1 the short side of a test frame "
            f"is DATA.TRAIN_JITTER_SCALES[0], {short_side}; set that to {crop} or more, or NUM_SPATIAL_CROPS to 3"
        )


def _validation_crop_fits(config: Config) -> Iterator[str]:
    """A validation while training has one crop, whatever the test has."""
    crop, short_side = config.DATA.TEST_CROP_SIZE, config.DATA.TRAIN_JITTER_SCALES[0]
    # Where the test has one crop or the training crop does not fit either, the rules beside this one say so.
    tests_so = config.TEST.ENABLE and config.TEST.NUM_SPATIAL_CROPS == 1
    trains_so = not config.DATA.TRAIN_JITTER_SCALES_RELATIVE and short_side < config.DATA.TRAIN_CROP_SIZE
    validates = config.TRAIN.ENABLE and config.TRAIN.DATASET == "kinetics" and not config.TEST.SHORT_SIDE
    if validates and not tests_so and not trains_so and crop > short_side:
        yield (
            f"DATA.TEST_CROP_SIZE: {crop} does not fit: a validation has one crop, of frames whose short side is "
            f"DATA.TRAIN_JITTER_SCALES[0], {short_side}; set that to {crop} or more"
        )


def _train_crop_fits(config: Config) -> Iterator[str]:
    crop, short_side = config.DATA.TRAIN_CROP_SIZE, config.DATA.TRAIN_JITTER_SCALES[0]
    uses_scales = not config.DATA.TRAIN_JITTER_SCALES_RELATIVE and config.TRAIN.DATASET in ("kinetics", "ssv2", "ava")
    if config.TRAIN.ENABLE and uses_scales and crop > short_side:
        yield (
            f"DATA.TRAIN_CROP_SIZE: {crop} does not fit: frames are resized to a short side from "
            f"{short_side} on; set DATA.TRAIN_JITTER_SCALES[0] to {crop} or more"
        )


def _spared_copies(config: Config) -> Iterator[str]:
    spares, copies = config.AUG.ENABLE and config.AUG.RE_SPLIT, config.AUG.NUM_SAMPLE
    if config.TRAIN.ENABLE and spares and copies < 2:
        yield (
            "AUG.RE_SPLIT: True leaves the first of AUG.NUM_SAMPLE copies of each video without erasing, and with "
            f"{copies} there would be none: set NUM_SAMPLE to 2 or more, or RE_SPLIT to False"
        )


def _jitter(config: Config) -> Iterator[str]:
    pairs = {
        "DATA.TRAIN_JITTER_SCALES": config.DATA.TRAIN_JITTER_SCALES,
        "DATA.TRAIN_JITTER_SCALES_RELATIVE": config.DATA.TRAIN_JITTER_SCALES_RELATIVE,
        "DATA.TRAIN_JITTER_ASPECT_RELATIVE": config.DATA.TRAIN_JITTER_ASPECT_RELATIVE,
    }
    for name, pair in pairs.items():
        if pair and pair[0] > pair[1]:
            yield f"{name}: the least, {pair[0]}, is more than the greatest, {pair[1]}; swap them"
    if bool(config.DATA.TRAIN_JITTER_SCALES_RELATIVE) != bool(config.DATA.TRAIN_JITTER_ASPECT_RELATIVE):
        yield (
            "DATA.TRAIN_JITTER_SCALES_RELATIVE: it goes together with DATA.TRAIN_JITTER_ASPECT_RELATIVE; "
            "set both (0.08, 1.0 and 0.75, 1.3333 for Kinetics) or neither"
        )


def _list_columns(config: Config) -> Iterator[str]:
    columns = config.DATA.LIST_COLUMNS
    if columns and (columns.count("path") != 1 or columns.count("label") != 1):
        yield f"DATA.LIST_COLUMNS: {list(columns)} must name path once and label once; other fields are ignore"


def _same_dataset(config: Config) -> Iterator[str]:
    train, test = config.TRAIN.DATASET, config.TEST.DATASET
    if used_datasets(config) == {"kinetics", "ssv2"}:
        yield (
            f"TEST.DATASET: {test} samples its clips in another way than TRAIN.DATASET {train}, and both are read from one "
            "folder; set them alike"
        )


def _channel_order(config: Config) -> Iterator[str]:
    used = used_datasets(config)
    if config.DATA.REVERSE_INPUT_CHANNEL and used - {"ssv2"}:
        yield "DATA.REVERSE_INPUT_CHANNEL: frames are RGB here, and BGR input is not offered; set it to False"


def _boxes(config: Config) -> Iterator[str]:
    used = used_datasets(config)
    if "ava" in used and not config.DETECTION.ENABLE:
        yield "DETECTION.ENABLE: the data set ava has boxes; set it to True"
    if config.DETECTION.ENABLE and used & {"kinetics", "ssv2", "imagenet"}:
        yield f"DETECTION.ENABLE: {', '.join(sorted(used))} has no boxes; set it to False, or the data sets to ava"


def _mixup_loss(config: Config) -> Iterator[str]:
    if config.TRAIN.ENABLE and config.MIXUP.ENABLE and config.MODEL.LOSS_FUNC == "cross_entropy":
        yield (
            "MODEL.LOSS_FUNC: cross_entropy cannot take the mixed labels of MIXUP.ENABLE; set it to soft_cross_entropy "
            "(or bce_logit)"
        )


def _several_labels(config: Config) -> Iterator[str]:
    if not config.DATA.MULTI_LABEL:
        return
    others = sorted(used_datasets(config) - {"kinetics"})
    if others:
        yield f"DATA.MULTI_LABEL: {', '.join(others)} has labels of its own; set it to False, or the data sets to kinetics"
    if config.TRAIN.ENABLE and config.MODEL.LOSS_FUNC not in ("bce", "bce_logit"):
        yield (
            f"MODEL.LOSS_FUNC: {config.MODEL.LOSS_FUNC} asks which one class is right, and DATA.MULTI_LABEL has several; "
            "set it to bce_logit (and MODEL.HEAD_ACT to sigmoid)"
        )
    elif config.TRAIN.ENABLE and config.MODEL.HEAD_ACT == "softmax":
        yield (
            "MODEL.HEAD_ACT: softmax shares one probability out among the classes, and DATA.MULTI_LABEL asks of each whether "
            "it is there, as the loss does; set it to sigmoid"
        )


def _mixup_batch(config: Config) -> Iterator[str]:
    clips = config.TRAIN.BATCH_SIZE * config.AUG.NUM_SAMPLE
    if config.TRAIN.ENABLE and config.MIXUP.ENABLE and config.MIXUP.PROB > 0 and clips < 2:
        yield (
            f"MIXUP.PROB: {config.MIXUP.PROB} mixes clips of a batch, and there is only {clips}; "
            "raise TRAIN.BATCH_SIZE or AUG.NUM_SAMPLE, or set MIXUP.PROB to 0"
        )


def _mixup_alphas(config: Config) -> Iterator[str]:
    mixes = config.TRAIN.ENABLE and config.MIXUP.ENABLE and config.MIXUP.PROB > 0
    if mixes and config.MIXUP.ALPHA == config.MIXUP.CUTMIX_ALPHA == 0:
        yield "MIXUP.ALPHA: 0, and CUTMIX_ALPHA 0 too, leave nothing to mix by; set one above 0, or MIXUP.PROB to 0"


def _scaling(config: Config) -> Iterator[str]:
    if config.SOLVER.REFERENCE_BATCH and config.SOLVER.BASE_LR_SCALE_NUM_SHARDS:
        yield (
            f"SOLVER.REFERENCE_BATCH: {config.SOLVER.REFERENCE_BATCH} scales the rates by clips, and "
            "SOLVER.BASE_LR_SCALE_NUM_SHARDS by machines; set one of them off (0 or False)"
        )


def _cosine(config: Config) -> Iterator[str]:
    end, base = config.SOLVER.COSINE_END_LR, config.SOLVER.BASE_LR
    if config.TRAIN.ENABLE and config.SOLVER.LR_POLICY == "cosine" and end > base:
        yield f"SOLVER.COSINE_END_LR: {end} is more than SOLVER.BASE_LR {base}, where cosine starts"


def _steps(config: Config) -> Iterator[str]:
    steps, factors = config.SOLVER.STEPS, config.SOLVER.LRS
    if config.SOLVER.LR_POLICY != "steps_with_relative_lrs":
        return
    if len(steps) != len(factors) or not steps:
        yield (
            f"SOLVER.STEPS: {len(steps)} entries, and SOLVER.LRS has {len(factors)}; "
            "steps_with_relative_lrs needs one factor for each step"
        )
    elif steps[0] != 0:
        yield f"SOLVER.STEPS: the first is {steps[0]:g}; it must be 0, the beginning"
    elif any(after <= before for before, after in itertools.pairwise(steps)):
        yield f"SOLVER.STEPS: {', '.join(f'{step:g}' for step in steps)} must grow from each step to the next"


def _warmup(config: Config) -> Iterator[str]:
    warmup, epochs = config.SOLVER.WARMUP_EPOCHS, config.SOLVER.MAX_EPOCH
    if config.TRAIN.ENABLE and not config.SOLVER.MAX_STEPS and warmup > epochs:
        yield f"SOLVER.WARMUP_EPOCHS: {warmup:g} is more than SOLVER.MAX_EPOCH {epochs}"


def _nesterov(config: Config) -> Iterator[str]:
    solver = config.SOLVER
    wrong = solver.MOMENTUM == 0 or solver.DAMPENING != 0
    if config.TRAIN.ENABLE and solver.OPTIMIZING_METHOD == "sgd" and solver.NESTEROV and wrong:
        yield (
            "SOLVER.NESTEROV: it needs SOLVER.MOMENTUM above 0 and SOLVER.DAMPENING 0; "
            f"they are {solver.MOMENTUM:g} and {solver.DAMPENING:g}"
        )


def _betas(config: Config) -> Iterator[str]:
    if any(beta >= 1 for beta in config.SOLVER.BETAS):
        yield f"SOLVER.BETAS: {list(config.SOLVER.BETAS)} must be less than 1"


# Each rule with the keys that it reads.
RULES: Mapping[Rule, tuple[str, ...]] = MappingProxyType(
    {
        _machines: (
            "NUM_SHARDS",
            "SHARD_ID",
        ),
        _views: ("TEST.NUM_ENSEMBLE_VIEWS",),
        _clip_numbers: ("TEST.NUM_TEMPORAL_CLIPS",),
        _short_side: (
            "TRAIN.ENABLE",
            "TRAIN.DATASET",
            "TEST.ENABLE",
            "TEST.DATASET",
            "TEST.SHORT_SIDE",
            "DATA.TEST_CROP_SIZE",
        ),
        _task: ("TASK",),
        _one_crop_side: (
            "TEST.ENABLE",
            "TEST.DATASET",
            "TEST.NUM_SPATIAL_CROPS",
            "TEST.SHORT_SIDE",
            "DATA.TEST_CROP_SIZE",
            "DATA.TRAIN_JITTER_SCALES",
        ),
        _validation_crop_fits: (
            "TRAIN.ENABLE",
            "TRAIN.DATASET",
            "TEST.ENABLE",
            "TEST.NUM_SPATIAL_CROPS",
            "TEST.SHORT_SIDE",
            "DATA.TRAIN_CROP_SIZE",
            "DATA.TEST_CROP_SIZE",
            "DATA.TRAIN_JITTER_SCALES",
            "DATA.TRAIN_JITTER_SCALES_RELATIVE",
        ),
        _train_crop_fits: (
            "TRAIN.ENABLE",
            "TRAIN.DATASET",
            "DATA.TRAIN_CROP_SIZE",
            "DATA.TRAIN_JITTER_SCALES",
            "DATA.TRAIN_JITTER_SCALES_RELATIVE",
        ),
        _spared_copies: (
            "TRAIN.ENABLE",
            "AUG.ENABLE",
            "AUG.NUM_SAMPLE",
            "AUG.RE_SPLIT",
        ),
        _jitter: (
            "DATA.TRAIN_JITTER_SCALES",
            "DATA.TRAIN_JITTER_SCALES_RELATIVE",
            "DATA.TRAIN_JITTER_ASPECT_RELATIVE",
        ),
        _list_columns: ("DATA.LIST_COLUMNS",),
        _same_dataset: (
            "TRAIN.ENABLE",
            "TRAIN.DATASET",
            "TEST.ENABLE",
            "TEST.DATASET",
        ),
        _channel_order: (
            "TRAIN.ENABLE",
            "TRAIN.DATASET",
            "TEST.ENABLE",
            "TEST.DATASET",
            "DATA.REVERSE_INPUT_CHANNEL",
        ),
        _boxes: (
            "TRAIN.ENABLE",
            "TRAIN.DATASET",
            "TEST.ENABLE",
            "TEST.DATASET",
            "DETECTION.ENABLE",
        ),
        _mixup_loss: (
            "TRAIN.ENABLE",
            "MIXUP.ENABLE",
            "MODEL.LOSS_FUNC",
        ),
        _several_labels: (
            "TRAIN.ENABLE",
            "TRAIN.DATASET",
            "TEST.ENABLE",
            "TEST.DATASET",
            "MODEL.HEAD_ACT",
            "MODEL.LOSS_FUNC",
            "DATA.MULTI_LABEL",
        ),
        _mixup_batch: (
            "TRAIN.ENABLE",
            "TRAIN.BATCH_SIZE",
            "AUG.NUM_SAMPLE",
            "MIXUP.ENABLE",
            "MIXUP.PROB",
        ),
        _mixup_alphas: (
            "TRAIN.ENABLE",
            "MIXUP.ENABLE",
            "MIXUP.ALPHA",
            "MIXUP.CUTMIX_ALPHA",
            "MIXUP.PROB",
        ),
        _scaling: (
            "SOLVER.BASE_LR_SCALE_NUM_SHARDS",
            "SOLVER.REFERENCE_BATCH",
        ),
        _cosine: (
            "TRAIN.ENABLE",
            "SOLVER.BASE_LR",
            "SOLVER.LR_POLICY",
            "SOLVER.COSINE_END_LR",
        ),
        _steps: (
            "SOLVER.LR_POLICY",
            "SOLVER.STEPS",
            "SOLVER.LRS",
        ),
        _warmup: (
            "TRAIN.ENABLE",
            "SOLVER.MAX_EPOCH",
            "SOLVER.MAX_STEPS",
            "SOLVER.WARMUP_EPOCHS",
        ),
        _nesterov: (
            "TRAIN.ENABLE",
            "SOLVER.OPTIMIZING_METHOD",
            "SOLVER.MOMENTUM",
            "SOLVER.DAMPENING",
            "SOLVER.NESTEROV",
        ),
        _betas: ("SOLVER.BETAS",),
        **MVIT_RULES,
        **BASELINE_RULES,
        **IMAGE_RULES,
        **AVA_RULES,
        **COCO_RULES,
        **RCNN_RULES,
    }
)
