"""What a config may ask for and this version cannot do yet: said before any work begins, in one sentence."""

from importlib.util import find_spec

from slowfast_mvit.config.check_images import images_or_video
from slowfast_mvit.config.schema import Config
from slowfast_mvit.errors import UserError

_DATASETS = ("kinetics", "ssv2", "imagenet", "ava", "coco")


def refuse_unbuilt(config: Config) -> None:
    """Raise UserError naming every setting that would otherwise be silently ignored."""
    train, test, data = config.TRAIN.ENABLE, config.TEST.ENABLE, config.DATA
    unbuilt = {
        f"TRAIN.DATASET {config.TRAIN.DATASET}": train and config.TRAIN.DATASET not in _DATASETS,
        f"TEST.DATASET {config.TEST.DATASET}": test and config.TEST.DATASET not in _DATASETS,
    }
    asked = [setting for setting, on in unbuilt.items() if on]
    if asked:
        raise UserError(
            f"this version does not support {'; '.join(asked)} yet: change it, or wait for the next release"
        )
    mismatch = images_or_video(config)
    if mismatch:
        raise UserError(mismatch)
    if data.DECODING_BACKEND == "decord" and find_spec("decord") is None:
        raise UserError(
            "DATA.DECODING_BACKEND is decord, which is not installed here: set it to pyav, or pip install decord"
        )
