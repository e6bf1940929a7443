"""What a config may ask for and this version cannot do yet: said before any work begins, in one sentence."""

import os
from importlib.util import find_spec

from slowfast_mvit.config.schema import Config
from slowfast_mvit.errors import UserError


def refuse_unbuilt(config: Config) -> None:
    """Raise UserError naming every setting that would otherwise be silently ignored."""
    train, test, data, solver = config.TRAIN.ENABLE, config.TEST.ENABLE, config.DATA, config.SOLVER
    unbuilt = {
        "NUM_SHARDS over 1": config.NUM_SHARDS > 1,
        "NUM_GPUS over 1": config.NUM_GPUS > 1,
        "torchrun with several processes": int(os.environ.get("WORLD_SIZE", "1")) > 1,
        f"TRAIN.DATASET {config.TRAIN.DATASET}": train and config.TRAIN.DATASET != "kinetics",
        f"TEST.DATASET {config.TEST.DATASET}": test and config.TEST.DATASET != "kinetics",
        "DETECTION.ENABLE True": config.DETECTION.ENABLE,
        "DATA.MULTI_LABEL True": data.MULTI_LABEL,
        f"MODEL.LOSS_FUNC {config.MODEL.LOSS_FUNC}": train and "cross_entropy" not in config.MODEL.LOSS_FUNC,
        "MODEL.HEAD_ACT sigmoid": config.MODEL.HEAD_ACT != "softmax",
        "DATA.SKIP_ROWS": data.SKIP_ROWS > 0,
        "AUG.RE_SPLIT True": train and config.AUG.ENABLE and config.AUG.RE_SPLIT,
        "AUG.COLOR_JITTER without RandAugment": train
        and config.AUG.ENABLE
        and not config.AUG.AA_TYPE
        and bool(config.AUG.COLOR_JITTER),
        "SOLVER.LARS_ON True": train and solver.LARS_ON,
        "SOLVER.LAYER_DECAY below 1": train and solver.LAYER_DECAY < 1,
        "TRAIN.KILL_LOSS_EXPLOSION_FACTOR": train and config.TRAIN.KILL_LOSS_EXPLOSION_FACTOR > 0,
        "TEST.NUM_TEMPORAL_CLIPS, or NUM_ENSEMBLE_VIEWS -1": test
        and (bool(config.TEST.NUM_TEMPORAL_CLIPS) or config.TEST.NUM_ENSEMBLE_VIEWS < 1),
        "TEST.SAVE_RESULTS_PATH (use TEST.SAVE_PROBABILITIES)": test and bool(config.TEST.SAVE_RESULTS_PATH),
        "TASK": bool(config.TASK),
        "TENSORBOARD.ENABLE True": config.TENSORBOARD.ENABLE,
    }
    if data.DECODING_BACKEND == "decord" and find_spec("decord") is None:
        raise UserError(
            "DATA.DECODING_BACKEND is decord, which is not installed here: set it to pyav, or pip install decord"
        )
    asked = [setting for setting, on in unbuilt.items() if on]
    if asked:
        raise UserError(
            f"this version does not support {'; '.join(asked)} yet: change it, or wait for the next release"
        )
