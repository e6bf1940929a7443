"""What a config asks for and cannot be had here: said before any work begins, in one sentence."""

from importlib.util import find_spec

from slowfast_mvit.config.check_images import images_or_video
from slowfast_mvit.config.schema import Config
from slowfast_mvit.errors import UserError


def refuse_unbuilt(config: Config) -> None:
    """Raise UserError where a model and its data do not fit, or a reader of videos is not installed."""
    mismatch = images_or_video(config)
    if mismatch:
        raise UserError(mismatch)
    if config.DATA.DECODING_BACKEND == "decord" and find_spec("decord") is None:
        raise UserError(
            "DATA.DECODING_BACKEND is decord, which is not installed here: set it to pyav, or pip install decord"
        )
