"""What was run, in pairs of words and values: by the config, and by the model that it builds."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from slowfast_mvit.build.model import build_model
from slowfast_mvit.config.schema import Config
from slowfast_mvit.errors import UserError
from slowfast_mvit.models.flops import count_flops
from slowfast_mvit.models.mvit import MViT
from slowfast_mvit.report.accuracy import figures
from slowfast_mvit.report.files import RunFiles

_WITHOUT_MEMORY = ("mvit", "mask_rcnn", "cascade_mask_rcnn")  # PyTorchVideo's draw their weights when they are built


def summary_of(run: RunFiles) -> list[tuple[str, str]]:
    """Names and values, the most telling first."""
    if run.config is None:
        return []
    config, test = run.config, run.test
    rows = [("Model", config.MODEL.ARCH), *_size(run, config), ("Classes", str(config.MODEL.NUM_CLASSES))]
    rows += [("Data set", _data(config)), ("Data", _place(config)), ("Input", _input(config))]
    if run.steps is not None or run.epochs is not None:
        rows += _training(config)
    rows += [("Device", f"{config.NUM_GPUS} GPU(s) a machine" if config.NUM_GPUS else "CPU")]
    rows += [("Precision of the test", str(test["precision"]))] if "precision" in test else []
    weights = config.TEST.CHECKPOINT_FILE_PATH
    rows += [("Weights of the test", weights)] if weights and test else []
    return [(name, value) for name, value in rows if value]


def command_of(run: RunFiles, there: Mapping[str, Path]) -> str:
    """The command that runs the config of the folder again; empty where it has none. ``there`` are config files by use."""
    path = next((str(path) for path in there.values() if path.is_file()), "")
    return f"python tools/run_net.py --cfg {shlex.quote(path)}" if path and run.config is not None else ""


def _size(run: RunFiles, config: Config) -> list[tuple[str, str]]:
    """Parameters and FLOPs of the network, which is built without memory where it can be."""
    try:
        with torch.device("meta" if config.MODEL.ARCH in _WITHOUT_MEMORY else "cpu"):
            model = build_model(config)
    except UserError as error:
        run.note(error)
        return []
    rows = [("Parameters", f"{sum(parameter.numel() for parameter in model.parameters()):,}")]
    if isinstance(model, MViT):
        flops = count_flops(model.arch, model.num_classes).total / 1e9
        rows.append(("Work of a view", f"{flops:.3g} GFLOPs (a multiply-add counts one)"))
    return rows


def _data(config: Config) -> str:
    names = dict.fromkeys([config.TRAIN.DATASET] * config.TRAIN.ENABLE + [config.TEST.DATASET] * config.TEST.ENABLE)
    return ", ".join(names)


def _place(config: Config) -> str:
    return config.DATA.PATH_TO_DATA_DIR or config.AVA.FRAME_DIR


def _input(config: Config) -> str:
    data = config.DATA
    if "coco" in (config.TRAIN.DATASET, config.TEST.DATASET):
        return f"images, short side {', '.join(map(str, config.COCO.TEST_SHORT_SIDES))} in the test"
    if "imagenet" in (config.TRAIN.DATASET, config.TEST.DATASET):
        return f"images, {data.TRAIN_CROP_SIZE} pixels in training, {data.TEST_CROP_SIZE} in the test"
    if "ssv2" in (config.TRAIN.DATASET, config.TEST.DATASET):
        spread = f"one of each of {data.NUM_FRAMES} equal parts of the video"
    else:
        spread = f"{data.SAMPLING_RATE} apart at {data.TARGET_FPS:g} fps"
    sides = f"{data.TRAIN_CROP_SIZE} pixels in training, {data.TEST_CROP_SIZE} in the test"
    return f"{data.NUM_FRAMES} frames, {spread}; {sides}"


def _training(config: Config) -> list[tuple[str, str]]:
    solver, train = config.SOLVER, config.TRAIN
    length = f"{solver.MAX_STEPS} steps" if solver.MAX_STEPS else f"{solver.MAX_EPOCH} epochs"
    number, repeats = train.BATCH_SIZE * config.NUM_SHARDS * train.ACCUMULATE_STEPS, config.AUG.NUM_SAMPLE
    items = "images" if train.DATASET in ("imagenet", "coco") else "videos"
    return [
        ("Batch", f"{number} {items} a step" + (f", each {repeats} times" if repeats > 1 else "")),
        (
            "Optimizer",
            f"{solver.OPTIMIZING_METHOD}, base rate {solver.BASE_LR:g}, {solver.LR_POLICY} over {length}",
        ),
        ("Start of the training", train.CHECKPOINT_FILE_PATH or "fresh weights"),
        ("Precision of the training", config.MODEL.PRECISION),
    ]


def test_rows(tests: tuple[Mapping[str, Any], ...]) -> list[tuple[str, str]]:
    """Protocol and headline of each test, for a table of several."""
    return [
        (str(test.get("protocol", "")), ", ".join(f"{name} {value}" for name, value, _ in figures(test)))
        for test in tests
    ]
